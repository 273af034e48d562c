# SPDX-License-Identifier: Apache-2.0
# Verdicts and helpers of the end-to-end tests. Wants $work with $work/log and $work/area in it.
passed=0 failed=0

ok() {
    passed=$((passed + 1))
    echo "ok   $1"
}

bad() { # case, why
    failed=$((failed + 1))
    echo "FAIL $1: $2"
}

holds() { # case, a command that must succeed
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then ok "$what"; else bad "$what" "$*"; fi
}

succeeds() { # case, a command that must succeed without a word on stderr
    what=$1
    shift
    if ! "$@" >"$work/log/out" 2>"$work/log/err"; then
        bad "$what" "exit $? of $*: $(head -n 3 "$work/log/err")"
    elif [ -s "$work/log/err" ]; then
        bad "$what" "on stderr: $(head -n 3 "$work/log/err")"
    else
        ok "$what"
    fi
}

# What is in the working area and in the directory for temporary files, with sizes and times.
contents() {
    find "$work/area" "$work/tmp" -printf '%p %s %T@\n' | LC_ALL=C sort
}

fails() { # case, what the message must name, a command that must end in one error line and write nothing
    what=$1 part=$2
    shift 2
    contents >"$work/log/before"
    "$@" >"$work/log/out" 2>"$work/log/err"
    status=$?
    contents >"$work/log/after"
    line=$(cat "$work/log/err")
    case $line in
    *": error: "*"$part"*) named=yes ;;
    *) named=no ;;
    esac
    if [ "$status" != 1 ]; then
        bad "$what" "exit $status, wanted 1: $line"
    elif [ "$(wc -l <"$work/log/err")" != 1 ]; then
        bad "$what" "not one line on stderr: $line"
    elif [ "$named" = no ]; then
        bad "$what" "the message does not name '$part': $line"
    elif [ -s "$work/log/out" ]; then
        bad "$what" "wrote on stdout: $(head -n 1 "$work/log/out")"
    elif ! cmp -s "$work/log/before" "$work/log/after"; then
        bad "$what" "files changed: $(diff "$work/log/before" "$work/log/after" | head -n 3)"
    else
        ok "$what    ($line)"
    fi
}

flipped() { # file, offset, copy: one bit of one byte changed
    cp "$1" "$3"
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\$(printf %03o $((byte ^ 4)))" | dd of="$3" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

file_size() {
    stat -c %s "$1"
}

json() { # file, key: its first value, strings without quotes
    sed -n 's/^ *"'"$2"'": *"\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p' "$1" | head -n 1
}

summary() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
