#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds every fuzz target with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, and runs each for
# SECONDS from the seeds in the repository. usage: tests/fuzz/run.sh [SECONDS]
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:-20}
out=build/fuzz
passed=0 failed=0
command -v clang >/dev/null || { echo "fuzz: needs clang (apt-get install clang)"; exit 1; }
mkdir -p "$out"
flags="-std=c11 -D_GNU_SOURCE -DWEFT_VERSION=\"fuzz\" -DWEFT_PREFIX=\"/\" -g -O1 -fopenmp -Iir -Icompiler -Ipasses -Ibackends -Iruntime -Iruntime/app -isystem /usr/include/flint"

seeds() { # target folder
    mkdir -p "$2"
    case $1 in
    ir) find tests/golden -name '*.ir' -exec cp {} "$2" \; ;;
    yaml) find tests/golden examples -name '*.yaml' -exec cp {} "$2" \; ;;
    weights) find tests/golden examples -name '*.safetensors' -size -90k -exec cp {} "$2" \; ;;
    image) find examples -name '*.png' -exec cp {} "$2" \; ;;
    esac
}

for f in tests/fuzz/*.c; do
    t=$(basename "$f" .c)
    case $t in
    ir|weights|yaml) src="$(ls ir/*.c ir/base/*.c passes/*.c backends/*/*.c compiler/*.c | grep -v compiler/main.c)" libs="-lyaml -ljansson -lxxhash -lflint -lm" ;;
    *) src="$(ls runtime/*/*.c)" libs="-lsodium -lxxhash -ljansson -lpng -ljpeg -lm" ;;
    esac
    portable=
    case $t in ir|weights|yaml) ;; *) portable=-DWEFT_PORTABLE_ONLY ;; esac
    # shellcheck disable=SC2086
    clang $flags $portable -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all "$f" $src $libs -o "$out/$t" || { failed=$((failed + 1)); continue; }
    seeds "$t" "$out/$t.corpus"
    if ASAN_OPTIONS=detect_leaks=0 "$out/$t" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 \
        -artifact_prefix="$out/$t." "$out/$t.corpus" >"$out/$t.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $t: $(grep -E 'Done [0-9]+ runs' "$out/$t.log")"
    else
        failed=$((failed + 1))
        echo "FAIL $t:"; tail -n 20 "$out/$t.log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
