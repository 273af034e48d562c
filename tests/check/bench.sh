#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The benchmark: its rows have names of their own, its JSON has the promised fields, and the compiler takes
# the figures that it writes. Times are not judged here.
build=${1:?usage: bench.sh BUILD_DIR}
build=$(cd "$build" && pwd) || exit 1
cd "$(dirname "$0")/../.." || exit 1
bench=$build/bench/bench
passed=0 failed=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
verdict() { # name, status, file to show
    if [ "$2" = 0 ]; then
        passed=$((passed + 1)); echo "ok   $1"
    else
        failed=$((failed + 1)); echo "FAIL $1"; head -n 20 "$3"
    fi
}

"$bench" --list >"$tmp/list" 2>&1
[ $? = 0 ] && [ -s "$tmp/list" ] && [ -z "$(sort "$tmp/list" | uniq -d)" ]
verdict "every row has a name of its own" $? "$tmp/list"

missing=""
for op in ntt intt key_switch hoisted_rotation mul_relin_rescale rescale mod_up mod_down pmul_periodic pmac encode \
    decode encrypt decrypt keygen; do
    grep -q "^$op/2^15/" "$tmp/list" || missing="$missing $op"
done
echo "missing:$missing" >"$tmp/missing"
[ -z "$missing" ]
verdict "the promised operations are there" $? "$tmp/missing"

"$bench" --quick --seconds=0.0005 --threads=1 --filter='^(ntt|mac)/2.15/' --json="$tmp/out.json" >"$tmp/log" 2>&1
rc=$?
row='"op": "ntt", "n": 32768, "limbs": 1, "cpu": "[a-z0-9]*", "threads": 1, "median_ns": [0-9.e+]*, "floor_ns": [0-9.e+]*, "ratio": [0-9.e+-]*'
[ $rc = 0 ] && grep -Eq "$row" "$tmp/out.json" && [ "$(head -n 1 "$tmp/out.json")" = "[" ] &&
    [ "$(tail -n 1 "$tmp/out.json")" = "]" ]
verdict "results are written" $? "$tmp/log"

for bad in '--filter=(' '--threads=0' '--clock=sun' '--seconds=-1' 'word' '--filter=^nothing$'; do
    "$bench" "$bad" >"$tmp/log" 2>&1
    [ $? = 1 ] && [ -s "$tmp/log" ]
    verdict "refused: $bad" $? "$tmp/log"
done

"$bench" --quick --seconds=0.0005 --filter='^$' --cost="$tmp/cost" >"$tmp/log" 2>&1 &&
    "$build/weft" build tests/golden/c/square.yaml --emit=c --cost="$tmp/cost" -o "$tmp/square" >>"$tmp/log" 2>&1
verdict "the compiler takes the figures" $? "$tmp/log"

"$bench" --quick --seconds=0.0005 --filter='^$' --cost="$tmp/cost.def" >"$tmp/log" 2>&1
grep -o '^COST([a-z_]*' passes/cost.def >"$tmp/names"
grep -o '^COST([a-z_]*' "$tmp/cost.def" | diff "$tmp/names" - >>"$tmp/log" 2>&1
verdict "the figures are those of passes/cost.def" $? "$tmp/log"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
