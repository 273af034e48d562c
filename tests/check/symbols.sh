#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Nothing global without the prefix rt_ leaves the runtime library, and no object of the server's half
# refers to a function that only the client's half defines.
lib=${1:?usage: symbols.sh BUILD_DIR}/libweft_rt.a
passed=0 failed=0
verdict() {
    if [ -z "$2" ]; then
        passed=$((passed + 1)); echo "ok   $1"
    else
        failed=$((failed + 1)); echo "FAIL $1:"; echo "$2" | sed 's/^/    /' | head -n 20
    fi
}
verdict "exported names begin with rt_" "$(nm -g --defined-only "$lib" | awk 'NF==3 && $3 !~ /^rt_/ {print $3}')"

# tags of the archive members by folder: the library names them folder__file.o
client=$(nm -g --defined-only "$lib" 2>/dev/null | awk '/\.o:$/ {m=$1} NF==3 && m ~ /^client__/ {print $3}' | sort -u)
used=$(nm -g --undefined-only "$lib" 2>/dev/null | awk '/\.o:$/ {m=$1} NF==2 && m !~ /^client__|^app__app_(client|all|run|check)/ {print $2}' | sort -u)
[ -n "$client" ] || client_missing="no client objects found in $lib"
verdict "the client's half is in the library" "${client_missing:-}"
echo "$client" >"${TMPDIR:-/tmp}/weft_client.$$"
verdict "the server's half uses nothing of the client's" "$(echo "$used" | grep -Fx -f "${TMPDIR:-/tmp}/weft_client.$$")"
rm -f "${TMPDIR:-/tmp}/weft_client.$$"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
