#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs that bootstrap, end to end at 128 bits: a synthetic chain too deep for any ring, and the example LeNet with
# few levels a bootstrap; then what can be wrong with their files. usage: tests/e2e/bootstrap.sh BUILD_DIR
build=$(cd "${1:?usage: tests/e2e/bootstrap.sh BUILD_DIR}" && pwd) || exit 1
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/e2e/lib.sh
. ./lib.sh
here=$PWD example=$(cd ../../examples/lenet_mnist && pwd) || exit 1
weft=$build/weft

work=$(mktemp -d "${TMPDIR:-/tmp}/weft-boot-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkdir "$work/tmp" "$work/bin" "$work/area" "$work/log" || exit 1
export TMPDIR="$work/tmp"
cd "$work/area" || exit 1
export OMP_NUM_THREADS=1

true_of() { # an awk expression
    awk "BEGIN {exit !($1)}"
}
row() { # file of --stats, name
    awk -v name="$2" '$1 == name {last = $2} END {print last}' "$1"
}
each_error_below() { # file of run --json, bound, images: each image's own error
    awk -v bound="$2" -v count="$3" '/"max_logit_error"/ {gsub(/[",]/, ""); n++; if (!($2 <= bound)) bad = 1}
        END {exit bad || n < count}' "$1"
}
memory_is_predicted() { # file of --stats, name of the prediction, measured bytes: within a tenth
    want=$(row "$1" "$2")
    shift
    true_of "$2 > 0.9 * $want && $2 < 1.1 * $want"
}

# ---- the deep chain: 28 convolutions and polynomials; where bootstraps go, Weft says ------------------------
synthetic() { # blocks, channels
    "${PYTHON:-/usr/bin/python3}" -B "$here/deep.py" "$work/bin" "$@" || exit 1
}
synthetic 28
chain=$work/bin/deep records=$work/bin/deep.bin
"$weft" build "$chain.yaml" -o "$chain" --boot-levels=4 --images "$records" --stats --explain >build.txt 2>explain.txt
holds "build a chain of 29 levels" [ $? = 0 ]
[ "$failed" = 0 ] || { cat explain.txt; summary; exit 1; }
boots=$(row build.txt bootstraps)
holds "at least three bootstraps ($boots)" [ "$boots" -ge 3 ]
holds "that leave four levels" [ "$(row build.txt boot_level)" = 5 ]
failure=$(row build.txt boot_log2_failure)
holds "statistics: all fail together with at most 2^-40 (2^$failure)" true_of "$failure < -40"
holds "report: so it says" grep -q "^bootstraps  $boots, to level 5; one fails with probability 2^$(printf %.0f "$failure")\$" build.txt
holds "report: both secrets" grep -q '^secrets .* of weight 32 for raising: log2(q_0 p_0) = [0-9.]*: 128-bit security (at most [0-9]*)$' build.txt
holds "explain: so it says" grep -q "bootstraps: $boots in all; .* in one of 2^${failure#-}.* runs" explain.txt
holds "explain: each bootstrap, and why" [ "$(grep -c 'note: bootstrap of 1 ciphertext after layer .*: one level is left' explain.txt)" = "$boots" ]
holds "explain: the next best place of each" [ "$(grep -c -e 'note:   the next best place costs' -e 'note:   no other place will do' explain.txt)" = "$boots" ]
holds "explain: the range of each" [ "$(grep -c 'note: bootstrap after layer .*: values reach .* on the sample pictures; range' explain.txt)" = "$boots" ]
"$weft" build "$chain.yaml" --emit=ckks -o deep.ir --boot-levels=4 --images "$records" --stats=json >stats.json
holds "the same numbers as JSON" grep -q "\"bootstraps\":$boots,\"boot_level\":5,\"boot_log2_failure\":$failure,\"sparse_weight\":32," stats.json

"$chain" run "$records" --count 2 --threads 2 --keep kept --json >run.json
holds "the chain runs" [ $? = 0 ]
bound=$(json run.json error_bound)
holds "every encrypted result is the cleartext's to within $bound" each_error_below run.json "$bound" 2
holds "the bound is below a thousandth" true_of "$bound > 0 && $bound < 0.001"
holds "peak memory as the report says, within a tenth" memory_is_predicted build.txt memory_server "$(json run.json peak_rss_bytes)"

"$chain-client" info >info.txt
"$chain-server" info --json >info.json
holds "info: the dense secret and its bound" grep -q '^security  *lambda = 128 bits (eprint 2024/463, classical)$' info.txt
holds "info: the sparse one: what it encrypts" grep -q '^sparse secret  *32 coefficients are not zero; encrypts modulo q_0 p_0 only, log2 = [0-9.]*$' info.txt
holds "info: its security and the source" grep -q '^  its security  *lambda >= 128 bits (own estimate: primal hybrid attack, MATZOV costs, classical)$' info.txt
sed -n '/"sparse_secret"/,/}/p' info.json >sparse.json
holds "info: the same as JSON" [ "$(json sparse.json weight) $(json sparse.json lambda)" = "32 128.0" ]
holds "info: its modulus" true_of "$(json sparse.json log2_modulus) <= 105"
holds "info: bytes of the evaluation keys" [ "$(json info.json key_bytes)" = "$(file_size kept/eval.weft)" ]

printf X | dd of=kept/eval.weft bs=1 seek=400000000 conv=notrunc 2>/dev/null
fails "a key byte changed" kept "$chain-server" infer kept/input.ct --keys kept -o bad.out
rm -rf kept

"$weft" opt "$chain.yaml" --boot-levels=4 --passes=..ckks_place -o placed.ir
fails "placed bootstraps that leave too few levels" "--boot-levels=2" "$weft" opt placed.ir --boot-levels=2 -o bad.ir
synthetic 75
"$weft" opt "$chain.yaml" --bootstrap=never -o bad.ir 2>never.txt
holds "no bootstraps where there must be some" [ $? = 1 -a ! -e bad.ir -a "$(grep -c ": error: layer 'p[0-9]*' needs .* more than the largest secure ring carries" never.txt)" = 1 ]

# ---- the example, with bootstraps that it does not need -------------------------------------------------------
lenet=$work/bin/lenet images=$example/test_100.bin
"$weft" build "$example/model.yaml" -o "$lenet" --precision=32 --bootstrap=always --boot-levels=2 --images "$images" --stats >build.txt
holds "build the LeNet with bootstraps" [ $? = 0 ]
holds "three of them or more" [ "$(row build.txt bootstraps)" -ge 3 ]
"$lenet" run "$images" --count 10 --index 7 --threads 2 --json >run.json
holds "ten encrypted images" [ $? = 0 ]
bound=$(json run.json error_bound)
holds "every logit is within $bound" each_error_below run.json "$bound" 10
awk '/"clear_class"/ {clear[++c] = $2} /"class"/ {class[++e] = $2}
    END {for (i = 1; i <= c; i++) if (clear[i] != class[i]) bad = 1; exit bad || c != e || c < 10}' run.json
holds "every class is the cleartext's" [ $? = 0 ]
holds "peak memory as the report says, within a tenth" memory_is_predicted build.txt memory_server "$(json run.json peak_rss_bytes)"

# ---- two ciphertexts a value: a bootstrap for both, or one each ------------------------------------------------
synthetic 5 16
for pairs in auto never; do
    "$weft" build "$chain.yaml" -o "$work/bin/wide" --insecure --log-n=10 --bootstrap=always --boot-levels=2 --boot-pairs=$pairs \
        --boot-precision=12 --images "$records" --stats >build.txt 2>/dev/null
    echo "$(row build.txt bootstraps)" >"boots.$pairs"
    "$work/bin/wide" run "$records" --count 3 --json >run.json 2>/dev/null
    holds "--boot-pairs=$pairs: every result is the cleartext's" each_error_below run.json "$(json run.json error_bound)" 3
    holds "--boot-pairs=$pairs: the bound is small" true_of "$(json run.json error_bound) < 0.002"
done
holds "half as many bootstraps" [ "$(($(cat boots.auto) * 2))" = "$(cat boots.never)" ]

# ---- files with mistakes: of the chain in a toy ring, whose keys load quickly ---------------------------------
toy=$work/bin/toy
synthetic 5
"$weft" build "$chain.yaml" -o "$toy" --insecure --log-n=10 --bootstrap=always --boot-levels=2 --images "$records" --stats >build.txt
holds "build a toy program" [ "$(row build.txt bootstraps)" -ge 1 ]
holds "report: neither secret is secure" [ "$(grep -c INSECURE build.txt)" = 2 ]
quiet() { # a toy program without its warning
    "$@" 2>"$work/log/raw"
    status=$?
    grep -v ': warning: .*not secure' "$work/log/raw" >&2
    return "$status"
}
quiet "$toy" run "$records" --keep keys --json >run.json
holds "the toy program gives the cleartext's result" each_error_below run.json "$(json run.json error_bound)" 1
quiet "$toy-client" info >info.txt
holds "info: neither secret is secure" [ "$(grep -c 'NONE: toy parameters' info.txt)" = 2 ]
use() { # case, kind of file, file: a command that reads it
    case $2 in
    data) fails "$1" "$3" quiet "$toy-server" infer keys/input.ct --keys keys -o bad.out --data "$3" ;;
    keys) fails "$1" "$3" quiet "$toy-server" infer keys/input.ct --keys "$3" -o bad.out ;;
    secret) fails "$1" "$3" quiet "$toy-client" decrypt keys/output.ct --key "$3" ;;
    image) fails "$1" "$3" quiet "$toy-server" infer "$3" --keys keys -o bad.out ;;
    esac
}
cp "$toy.dat" toy.dat
for pair in data:toy.dat keys:keys/eval.weft secret:keys/secret.weft image:keys/input.ct; do
    kind=${pair%:*} name=${pair#*:}
    size=$(file_size "$name")
    for at in 3 10 17 25 33 41 57 65 130 200 "$((size / 3))" "$((size / 2))" "$((size - 1))"; do
        flipped "$name" "$at" bad.in
        use "$kind: byte $at changed" "$kind" bad.in
    done
    for length in 0 8 64 127 200 "$((size / 2))" "$((size - 1))"; do
        head -c "$length" "$name" >bad.in
        use "$kind: only $length bytes" "$kind" bad.in
    done
    cp "$name" bad.in && echo >>bad.in
    use "$kind: a byte too many" "$kind" bad.in
done
summary
