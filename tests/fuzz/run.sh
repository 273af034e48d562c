#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target of a folder (made by `make fuzzers`) for SECONDS, from the repository's seeds and with
# dictionaries made of the tables and pages that define the words. A crash leaves its input beside the target.
# usage: tests/fuzz/run.sh BUILD_DIR [SECONDS [pattern]]
build=$(cd "${1:?usage: tests/fuzz/run.sh BUILD_DIR [SECONDS [pattern]]}" && pwd) || exit 1
seconds=${2:-20} pattern=${3:-.}
cd "$(dirname "$0")/../.." || exit 1
out=$build/fuzz
passed=0 failed=0

seeds() { # target
    case $1 in
    ir) find tests/golden tests/fuzz/seeds/ir -name '*.ir' ;;
    yaml | pipeline) find tests/golden tests/fuzz/seeds/yaml -name '*.yaml' ;;
    weights) find tests/golden examples -name '*.safetensors' -size -90k ;;
    image) find tests/fuzz/seeds/image -type f; find examples -name '*.png' ;;
    files) find tests/fuzz/seeds/files -type f ;;
    esac 2>/dev/null
}

words() { # target: what its texts are made of
    case $1 in
    ir) sed -n 's/^[A-Z]* *( *\([a-z_0-9]*\),.*/\1/p' ir/ops.def ir/attrs.def ;;
    yaml | pipeline) grep -o '`[a-z_0-9]*`' compiler/MODEL.md | tr -d '\140' ;;
    files) printf '%s\n' WEFTFILE ;;
    weights) printf '%s\n' dtype shape data_offsets __metadata__ F64 F32 F16 BF16 I64 ;;
    image) printf '%s\n' IHDR IDAT IEND PLTE tRNS NUMPY descr fortran_order shape True False '<f4' '<f8' '|u1' ;;
    esac | LC_ALL=C sort -u | sed -n 's/..*/"&"/p'
}

for program in "$out"/*; do
    t=$(basename "$program")
    case $t in *.*) continue ;; esac
    [ -x "$program" ] && echo "$t" | grep -Eq "$pattern" || continue
    mkdir -p "$out/$t.corpus"
    seeds "$t" | while read -r f; do cp "$f" "$out/$t.corpus/seed_$(echo "$f" | tr / _)"; done
    words "$t" >"$out/$t.dict"
    if ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 \
        -dict="$out/$t.dict" -artifact_prefix="$out/$t." "$out/$t.corpus" >"$out/$t.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $t: $(grep -oE 'Done [0-9]+ runs' "$out/$t.log"), $(grep -oE 'cov: [0-9]+' "$out/$t.log" | tail -n 1)"
    else
        failed=$((failed + 1))
        echo "FAIL $t:"
        grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|RELOAD|INITED)' "$out/$t.log" | tail -n 40
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
