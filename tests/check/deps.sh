#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The arrows of the house: which folder may include from which. Anything else is a failure.
cd "$(dirname "$0")/../.." || exit 1
passed=0 failed=0

# check FOLDER PATTERN: every quoted include in FOLDER must match one of the |-separated prefixes;
# a name without a slash must be a header in the folder itself or match too.
check() {
    folder=$1 allowed=$2 bad=""
    for f in $(find "$folder" -name '*.[ch]' | LC_ALL=C sort); do
        for inc in $(sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$f"); do
            [ -e "$(dirname "$f")/$inc" ] && case "$inc" in */*|..*) ;; *) continue ;; esac
            echo "$inc" | grep -Eq "^($allowed)$" && continue
            bad="$bad\n    $f includes \"$inc\""
        done
    done
    if [ -z "$bad" ]; then
        passed=$((passed + 1))
        echo "ok   arrows of $folder"
    else
        failed=$((failed + 1))
        printf 'FAIL arrows of %s%b\n' "$folder" "$bad"
    fi
}

check ir/base 'base/base\.h'
check ir '(base/)?base\.h|ir\.h|(ops|attrs)\.def'
check passes 'ir\.h|base/base\.h|passes\.h|level\.h|passes\.def|cost\.def'
check backends 'ir\.h|base/base\.h|backends\.h|ops\.def|(c|sim|dot)/[a-z_]*\.h'
check compiler 'ir\.h|base/base\.h|passes\.h|backends\.h|compiler\.h|layers\.def|passes\.def'
check runtime/sys 'sys/[a-z_]*\.h'
check runtime/kernel 'sys/[a-z_]*\.h|kernel/[a-z0-9_/]*\.h'
check runtime/ring '(sys|kernel|ring)/[a-z_]*\.h'
check runtime/core 'rt\.h|rt_clear\.h|(sys|kernel|ring|core)/[a-z_]*\.h'
check runtime/eval 'rt\.h|rt_clear\.h|(sys|kernel|ring|core|eval)/[a-z_]*\.h'
check runtime/client 'rt\.h|rt_client\.h|(sys|kernel|ring|core|client)/[a-z_]*\.h'
check runtime/clear 'rt\.h|rt_clear\.h|(sys|core|clear)/[a-z_]*\.h'
check runtime/app 'rt\.h|rt_client\.h|rt_clear\.h|rt_app\.h|sys/sys\.h|app/[a-z_]*\.h'
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
