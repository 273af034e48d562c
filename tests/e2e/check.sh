#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs built with --check: all layers of the example within their budgets; then one mistake at a time in the
# text of the program, which `run --check` must place in the right layer. usage: tests/e2e/check.sh BUILD_DIR
build=$(cd "${1:?usage: tests/e2e/check.sh BUILD_DIR}" && pwd) || exit 1
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/e2e/lib.sh
. ./lib.sh
example=$(cd ../../examples/lenet_mnist && pwd) || exit 1
weft=$build/weft records=$example/test_100.bin

work=$(mktemp -d "${TMPDIR:-/tmp}/weft-check-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkdir "$work/tmp" "$work/area" "$work/log" || exit 1
export TMPDIR="$work/tmp" OMP_NUM_THREADS=1
cd "$work/area" || exit 1

# ---- nothing wrong ----------------------------------------------------------------------------------------
succeeds "write the program as text" "$weft" build "$example/model.yaml" --check --images "$records" --emit=ckks -o lenet.ir
succeeds "the text reads back" "$weft" opt lenet.ir --passes=none -o again.ir
holds "to the same text" cmp lenet.ir again.ir
succeeds "build it" "$weft" build lenet.ir --check -q -o lenet
succeeds "build it from the model" "$weft" build "$example/model.yaml" --check --images "$records" --emit=c -o direct -q
succeeds "build the text as C" "$weft" build lenet.ir --check --images "$records" --emit=c -o text -q
holds "the same program" cmp direct/model.c text/model.c
holds "the same checks" cmp direct/clear.c text/clear.c
succeeds "all layers are right" ./lenet run "$records" --index 3 --check
cp "$work/log/out" right.txt
for layer in conv1 act1 conv2 act2 fc1 act3 fc2; do
    holds "layer $layer is looked at" grep -q "^$layer  *[0-9]" right.txt
done
holds "errors are near their budgets, not far below" awk '/^(conv|act|fc)/ {n++; if ($6 > $7 || $6 < $7 / 1000) bad = 1} END {exit bad || n < 7}' right.txt
succeeds "three images, one line each" ./lenet run "$records" --count 3 --check --lines
holds "three lines" [ "$(wc -l <"$work/log/out")" = 3 ]
succeeds "an ordinary program" "$weft" build "$example/model.yaml" -q -o plain
fails "it cannot check" "built without" ./plain run "$records" --check
"$weft" build "$example/model.yaml" --emit=ckks -o plain.ir
holds "an ordinary text carries nothing for it" [ "$(grep -c -e '^check ' -e '^packed' plain.ir)" = 0 ]
"$weft" build plain.ir --check -q -o bad >"$work/log/out" 2>"$work/log/err"
holds "and cannot become a program that checks" [ $? = 1 -a "$(grep -c 'does not carry what --check compares with' "$work/log/err")" = 1 ]

# ---- one mistake at a time ----------------------------------------------------------------------------------
located() { # case, layer, its line, mutated text
    if cmp -s lenet.ir "$4"; then
        bad "$1" "the text did not change"
        return
    fi
    if ! "$weft" build "$4" --check -q -o wrong 2>"$work/log/err"; then
        bad "$1" "does not build: $(head -n 2 "$work/log/err")"
        return
    fi
    ./wrong run "$records" --index 3 --check >"$work/log/out" 2>"$work/log/err"
    if [ $? = 1 ] && grep -q "layer '$2' (line $3) is the first that is wrong: error [0-9].*, budget [0-9]" "$work/log/err"; then
        ok "$1    ($(cat "$work/log/err"))"
    else
        bad "$1" "not in layer '$2': $(cat "$work/log/err")"
    fi
}

dropped() { # layer: its k-th rotation by something becomes no rotation
    awk -v mark="# $1 " -v nth="$2" '
        index($0, mark) && / = key_mul .* by=/ && ++n == nth {
            sub(/key_mul %[0-9]+, /, "lift "); sub(/ by=[0-9]+/, "")
        } {print}' lenet.ir
}
dropped conv1 2 >m.ir
located "a rotation dropped in conv1" conv1 9 m.ir
dropped conv2 5 >m.ir
located "a rotation dropped in conv2" conv2 11 m.ir
dropped fc1 7 >m.ir
located "a rotation dropped in fc1" fc1 14 m.ir

# One weight of 3200: the layer's products take another map, with a constant of its own
map_of() { # layer
    sed -n "s/^%[0-9]* = pmac .* map=&\([0-9]*\) .*# $1 .*/\1/p" lenet.ir | head -n 1
}
weight() { # layer, weight tensor, its shape, its size, which element, by how much
    awk -v layer="$1" -v tensor="$2" -v shape="$3" -v size="$4" -v at="$5" -v add="$6" -v map="$(map_of "$1")" '
        /^\$/ {consts++; if (index($0, "\"" tensor "\"")) weight = substr($1, 2)}
        /^@/ && !done {
            printf "$%d = values dims=[%s] data=[", consts, shape
            for (i = 0; i < size; i++) printf "%s%s", i ? "," : "", i == at ? add : 0
            printf "]\n$%d = c_add $%d, $%d\n", consts + 1, weight, consts
            done = 1
        }
        /^&/ {maps++; copy = $1 == "&" map; if (copy) kept = $0}
        /^  term/ && copy {term = $0}
        (/^reference/) {
            sub(/^&[0-9]+/, "\\&" maps, kept); sub(/weight=\$[0-9]+/, "weight=$" consts + 1, term)
            print kept "\n" term
        }
        / = pmac / && index($0, "# " layer " ") {sub("map=&" map " ", "map=\\&" maps " ")}
        {print}' lenet.ir
}
weight conv1 conv1.weight 8,1,5,5 200 37 0.25 >m.ir
located "one weight of conv1 changed" conv1 9 m.ir
weight conv2 conv2.weight 16,8,5,5 3200 1234 0.25 >m.ir
located "one weight of conv2 changed" conv2 11 m.ir

# A scale in the text: the plaintexts of the layer at another one than was planned. The compiler itself refuses it.
scaled() { # layer
    awk -v mark="# $1 " '
        index($0, mark) && / = pmac / {
            match($0, /pt_scale=[0-9.e+]+/)
            was = substr($0, RSTART + 9, RLENGTH - 9)
            sub(/pt_scale=[0-9.e+]+/, sprintf("pt_scale=%.17g", was * 1.01))
        } {print}' lenet.ir
}
for pair in conv2:11 fc1:14 fc2:16; do
    scaled "${pair%:*}" >m.ir
    "$weft" build m.ir --check -q -o wrong >"$work/log/out" 2>"$work/log/err"
    holds "a scale wrong in ${pair%:*}: refused" [ $? = 1 -a "$(grep -c "model.yaml:${pair#*:}:.*: error: .*scale .* the operands give" "$work/log/err")" = 1 ]
done

# And in the C, where nothing but the check can see it: the layer's result is labelled with another scale
source=$(cd "$build" && while [ ! -e runtime/rt.h ] && [ "$PWD" != / ]; do cd ..; done; pwd)
for pair in conv1:9 conv2:11 fc2:16; do
    layer=${pair%:*}
    rm -rf wrong.c && cp -r text wrong.c
    scale=$(sed -n "s/^ *{\"$layer\", .*, \([0-9.e+]*\), [0-9.e-]*},\$/\1/p" text/clear.c | head -n 1)
    sed "s#^\( *rt_check(e, \([0-9]*\), .* $layer \*/\)#    rt_relabel(e, \2, \2, 1.01 * $scale);\n\1#" text/model.c >wrong.c/model.c
    # shellcheck disable=SC2086
    if ! (cd wrong.c && ${CC:-cc} -std=c11 -O1 -I"$source/runtime" -I"$source/runtime/app" $WEFT_EXTRA_CFLAGS -fopenmp main_all.c model.c interface.c clear.c \
        "$build/libweft_rt.a" -lsodium -lxxhash -ljansson -lpng -ljpeg -lm -o wrong) 2>"$work/log/err"; then
        bad "a scale wrong in the C of $layer" "does not build: $(head -n 3 "$work/log/err")"
        continue
    fi
    wrong.c/wrong run "$records" --index 3 --check --data text/model.dat >"$work/log/out" 2>"$work/log/err"
    holds "a scale wrong in the C of $layer    ($(cat "$work/log/err"))" [ $? = 1 -a "$(grep -c "layer '$layer' (line ${pair#*:}): scale 2^[0-9.]*, planned 2^" "$work/log/err")" = 1 ]
done
summary
