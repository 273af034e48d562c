#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone; every source has its licence line.
cd "$(dirname "$0")/../.." || exit 1
passed=0 failed=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
for h in $(find ir passes backends compiler runtime tests -name '*.h' | LC_ALL=C sort); do
    isa=""
    case $h in *_avx2.h) isa="-mavx2 -mfma" ;; *_avx512.h) isa="-mavx512f -mavx512dq -mavx512vl -mavx512ifma" ;; esac
    printf '#include "%s"\ntypedef int weft_header_test;\n' "$PWD/$h" >"$tmp/h.c"
    # shellcheck disable=SC2086
    if ${CC:-cc} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror $isa -fsyntax-only -Iir -Icompiler -Ipasses -Ibackends \
        -Iruntime -Iruntime/app -Itests/support "$tmp/h.c" 2>"$tmp/err"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL $h does not compile alone"
        head -n 5 "$tmp/err"
    fi
done
for f in $(find Makefile ir passes backends compiler runtime tests .ci \( -name '*.[ch]' -o -name '*.def' -o -name '*.sh' -o -name '*.py' -o -name Makefile \) | grep -v /golden/ | LC_ALL=C sort); do
    if head -n 3 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0'; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL $f has no licence line"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
