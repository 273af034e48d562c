#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Golden tests: usage: tests/golden/run.sh BUILD_DIR [--update]. The name of a case is the rule it is about.
#   reject/NAME.yaml  `weft check` must end with 1 and say          NAME.want.err
#   ir/NAME.yaml      the program after each pass is                NAME.PASS.want.ir
#                     NAME.opts, if there: a line of options, and a line of the passes whose dumps are compared
#   c/NAME.yaml       the generated C is                            NAME.want.c
#   cli/NAME.cmd      `weft` with these arguments does and says     NAME.want.out
#   stats/NAME        counts of the model examples/NAME are         NAME.want.json
# Every program of the ir cases is also read back and printed again, and compiled from there on: the text
# and the C must be the same.
build=$(cd "${1:?usage: tests/golden/run.sh BUILD_DIR [--update]}" && pwd) || exit 1
update=${2:-}
weft=$build/weft
cd "$(dirname "$0")" || exit 1
golden=$PWD
tmp=$(mktemp -d "${TMPDIR:-/tmp}/weft-golden-XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM HUP
passed=0 failed=0
NO_COLOR=1
export NO_COLOR

ok() {
    passed=$((passed + 1))
    echo "ok   $1"
}

bad() { # case, why
    failed=$((failed + 1))
    echo "FAIL $1: $2"
}

same() { # wanted, found: says nothing when they are equal
    if [ "$update" = --update ]; then
        cmp -s "$1" "$2" || cp "$2" "$1"
    elif [ ! -e "$1" ]; then
        echo "there is no $1 (run with --update and read what it writes)"
    elif ! cmp -s "$1" "$2"; then
        echo "differs from $1:"
        diff "$1" "$2" | head -n 12
    fi
}

reject() {
    "$weft" check "$1.yaml" >"$tmp/out" 2>"$tmp/err"
    status=$?
    if [ "$status" != 1 ]; then
        bad "reject/$1" "exit $status, wanted 1"
    elif [ -s "$tmp/out" ]; then
        bad "reject/$1" "wrote on stdout"
    else
        why=$(same "$1.want.err" "$tmp/err")
        if [ -z "$why" ]; then ok "reject/$1"; else bad "reject/$1" "$why"; fi
    fi
}

options= only=
emit_c() { # input, folder: all that is generated, as one file
    # shellcheck disable=SC2086
    rm -rf "$2" && "$weft" build "$1" --insecure --log-n=12 $options --emit=c -o "$2" -q 2>"$tmp/err" || return 1
    (cd "$2" && for f in *.c; do printf '/* ==== %s ==== */\n' "$f"; cat "$f"; done) >"$2.c"
    cksum <"$2/model.dat" >>"$2.c"
}

program() { # ir/NAME.yaml
    rm -rf "$tmp/dump"
    options= only=
    [ ! -e "$1.opts" ] || { read -r options && read -r only; } <"$1.opts"
    # shellcheck disable=SC2086
    if ! "$weft" opt "$1.yaml" --insecure --log-n=12 $options --dump-after-all --dump-dir="$tmp/dump" -o "$tmp/last.ir" 2>"$tmp/err"; then
        bad "ir/$1" "$(head -n 3 "$tmp/err")"
        return
    fi
    emit_c "$1.yaml" "$tmp/direct" || bad "ir/$1: C" "$(head -n 3 "$tmp/err")"
    for dump in "$tmp"/dump/*.ir; do
        pass=$(basename "$dump" .ir | sed 's/^[0-9]*_//')
        case " ${only:-$pass} " in
        *" $pass "*)
            why=$(same "$1.$pass.want.ir" "$dump")
            if [ -z "$why" ]; then ok "ir/$1.$pass"; else bad "ir/$1.$pass" "$why"; fi
            ;;
        esac
        "$weft" opt "$dump" --passes=none -o "$tmp/again.ir" 2>"$tmp/err"
        if cmp -s "$dump" "$tmp/again.ir"; then
            ok "ir/$1.$pass reads back"
        else
            bad "ir/$1.$pass reads back" "$(cat "$tmp/err"; diff "$dump" "$tmp/again.ir" | head -n 6)"
        fi
        if emit_c "$dump" "$tmp/resumed" && cmp -s "$tmp/direct.c" "$tmp/resumed.c"; then
            ok "ir/$1.$pass reaches the same C"
        else
            bad "ir/$1.$pass reaches the same C" "$(head -n 3 "$tmp/err"; diff "$tmp/direct.c" "$tmp/resumed.c" | head -n 6)"
        fi
    done
}

generated() { # c/NAME.yaml
    if emit_c "$1.yaml" "$tmp/code"; then
        why=$(same "$1.want.c" "$tmp/code.c")
        if [ -z "$why" ]; then ok "c/$1"; else bad "c/$1" "$why"; fi
    else
        bad "c/$1" "$(head -n 3 "$tmp/err")"
    fi
}

usage() { # cli/NAME.cmd: both streams, then the exit status
    eval "set -- \"$1\" $(cat "$1.cmd")"
    name=$1
    shift
    env -u WEFT_EXTRA_CFLAGS "$weft" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
    status=$?
    { cat "$tmp/out"; sed -e "s,$tmp,TMP,g" -e 's/ -I [^ ]*/ -I DIR/g' -e 's/\(tmp\)[A-Za-z0-9]\{6\}/\1XXXXXX/g' "$tmp/err"; echo "exit $status"; } >"$tmp/all"
    why=$(same "$name.want.out" "$tmp/all")
    if [ -z "$why" ]; then ok "cli/$name"; else bad "cli/$name" "$why"; fi
}

counts() { # examples/NAME
    if "$weft" build "../../../examples/$1/model.yaml" --emit=ckks -o "$tmp/ckks.ir" --stats=json >"$tmp/stats.json" 2>"$tmp/err"; then
        why=$(same "$1.want.json" "$tmp/stats.json")
        if [ -z "$why" ]; then ok "stats/$1"; else bad "stats/$1" "$why"; fi
    else
        bad "stats/$1" "$(head -n 3 "$tmp/err")"
    fi
}

special() { # what is no plain file stays what it is: a pipe, a link to a pipe, a link to a file
    mkfifo "$tmp/pipe" && ln -s pipe "$tmp/to_pipe" && : >"$tmp/target" && ln -s target "$tmp/to_target" || return
    "$weft" opt conv.yaml --passes=none -o "$tmp/wanted"
    for name in pipe to_pipe; do
        cat "$tmp/pipe" >"$tmp/got" &
        "$weft" opt conv.yaml --passes=none -o "$tmp/$name"
        if [ -p "$tmp/$name" ] && wait $! && cmp -s "$tmp/wanted" "$tmp/got"; then ok "output/$name"; else bad "output/$name" "not written through"; kill $! 2>/dev/null; fi
    done
    "$weft" opt conv.yaml --passes=none -o "$tmp/to_target"
    if [ -L "$tmp/to_target" ] && cmp -s "$tmp/wanted" "$tmp/target"; then ok output/to_target; else bad output/to_target "the link is gone"; fi
}

lists() { # the ways to name passes
    "$weft" opt chain.yaml --passes=..nn_fold -o "$tmp/range.ir" &&
        "$weft" opt chain.yaml --passes=nn_linear,nn_poly,nn_fold -o "$tmp/list.ir" &&
        "$weft" opt chain.yaml --passes=nn_linear -o "$tmp/first.ir" &&
        "$weft" opt "$tmp/first.ir" --passes=..nn_fold -o "$tmp/resumed.ir" &&
        "$weft" build chain.yaml --emit=nn -o "$tmp/stage.ir" &&
        "$weft" opt "$tmp/range.ir" --passes=nn_layout.. -o "$tmp/rest.ir" &&
        "$weft" opt chain.yaml -o "$tmp/all.ir" || { bad passes "a command fails"; return 0; }
    for name in list resumed; do
        if cmp -s "$tmp/range.ir" "$tmp/$name.ir"; then ok "passes/$name"; else bad "passes/$name" "another result"; fi
    done
    if cmp -s "$tmp/rest.ir" "$tmp/all.ir"; then ok passes/rest; else bad passes/rest "another result"; fi
    if grep -q '^# after nn_layout' "$tmp/stage.ir"; then ok passes/stage; else bad passes/stage "does not end after nn_layout"; fi
}

cd "$golden/ir" && lists && special
cd "$golden/reject" && for f in *.yaml; do reject "${f%.yaml}"; done
cd "$golden/cli" && for f in *.cmd; do usage "${f%.cmd}"; done
cd "$golden/ir" && for f in *.yaml; do program "${f%.yaml}"; done
options=
cd "$golden/c" && for f in *.yaml; do generated "${f%.yaml}"; done
cd "$golden/stats" && for d in ../../../examples/*/model.yaml; do counts "$(basename "$(dirname "$d")")"; done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
