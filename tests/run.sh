#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every test there is and adds them up. usage: tests/run.sh BUILD_DIR [pattern]
# Each program or script prints its own cases; the last line is "N passed, N failed".
build=${1:?usage: tests/run.sh BUILD_DIR [pattern]}
pattern=${2:-.}
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
log=$build/test.log
: >"$log"

one() { # name command...
    name=$1; shift
    echo "$name" | grep -Eq "$pattern" || return 0
    start=$(date +%s)
    "$@" >"$build/one.log" 2>&1
    rc=$?
    cat "$build/one.log" >>"$log"
    # Criterion's closing line, or the plain one
    set -- $(sed -n -e 's/\x1b\[[0-9;]*m//g' \
        -e 's/.*Synthesis: Tested: *\([0-9]*\) *| Passing: *\([0-9]*\) *| Failing: *\([0-9]*\) *| Crashing: *\([0-9]*\).*/\1 \2/p' \
        -e 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2 plain/p' "$build/one.log" | tail -n 1)
    if [ $# = 3 ]; then p=$1 f=$2
    elif [ $# = 2 ]; then p=$2 f=$(($1 - $2))
    else p=0 f=1; echo "     $name printed no count"
    fi
    [ "$rc" != 0 ] && [ "$f" = 0 ] && f=1
    [ "$p" = 0 ] && [ "$f" = 0 ] && { f=1; echo "     $name ran no test"; }
    passed=$((passed + p)) failed=$((failed + f))
    if [ "$f" = 0 ]; then
        printf 'ok   %-28s %4d passed  %3d s\n' "$name" "$p" $(($(date +%s) - start))
    else
        printf 'FAIL %-28s %4d passed, %d failed (exit %d)\n' "$name" "$p" "$f" "$rc"
        grep -E 'FAIL|CRASH|Assertion|error:|ERROR' "$build/one.log" | head -n 20
    fi
}

one check/deps tests/check/deps.sh
one check/headers tests/check/headers.sh
one check/symbols tests/check/symbols.sh "$build"
one check/bench tests/check/bench.sh "$build"
for t in "$build"/tests/*/*; do
    [ -x "$t" ] && [ -f "$t" ] && case $t in *.o|*.d) ;; *) one "${t#"$build"/tests/}" "$t" ;; esac
done
one golden tests/golden/run.sh "$build"
one e2e tests/e2e/run.sh "$build"
one e2e/bootstrap tests/e2e/bootstrap.sh "$build"
one e2e/resnet20 tests/e2e/resnet20.sh "$build"
one e2e/eval tests/e2e/eval.sh "$build"
one e2e/check tests/e2e/check.sh "$build"
one sft "${PYTHON:-/usr/bin/python3}" -B examples/sft/test_plain.py "$build/weft"
echo "full output: $log"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
