#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole road with the separate binaries, as a user goes it: compile, make keys, encrypt, infer where no
# secret key is, decrypt; then everything that can be wrong with the files. usage: tests/e2e/run.sh BUILD_DIR
build=$(cd "${1:?usage: tests/e2e/run.sh BUILD_DIR}" && pwd) || exit 1
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/e2e/lib.sh
. ./lib.sh
example=$(cd ../../examples/lenet_mnist && pwd) || exit 1
records=$example/test_100.bin record=785 # one label byte and 28 x 28 pixels

work=$(mktemp -d "${TMPDIR:-/tmp}/weft-e2e-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkdir "$work/tmp" "$work/bin" "$work/area" "$work/log" || exit 1
export TMPDIR="$work/tmp"
cd "$work/area" || exit 1
client=$work/bin/lenet-client server=$work/bin/lenet-server whole=$work/bin/lenet

# ---- three models: the example, its twin of another name, and one with other parameters ---------------
sed 's/^name:.*/name: twin/' "$example/model.yaml" >"$work/bin/twin.yaml"
cp "$example/weights.safetensors" "$work/bin/"
cat >"$work/bin/other.yaml" <<'YAML'
name: other
input: {shape: [1, 28, 28], range: [0, 1]}
weights: weights.safetensors
layers:
  - {name: conv1, op: conv2d, stride: 2}
  - {name: square1, op: square}
  - {name: pool, op: global_avg_pool}
  - {name: flat, op: flatten}
YAML
succeeds "build the example" "$build/weft" build "$example/model.yaml" -o "$work/bin/lenet"
succeeds "build its twin" "$build/weft" build "$work/bin/twin.yaml" -o "$work/bin/twin"
succeeds "build another model" "$build/weft" build "$work/bin/other.yaml" -o "$work/bin/other"
[ "$failed" = 0 ] || { cat "$work"/log/*; summary; exit 1; }

# ---- who holds what -------------------------------------------------------------------------------------
symbols=$work/log/symbols
for n in client server; do
    nm "$work/bin/lenet-$n" | awk 'NF==3 {print $3}' | LC_ALL=C sort -u >"$symbols.$n"
done
# Names that only the client's half of the library defines, static functions too. A name that another
# member has as well says nothing.
members() { # awk condition on the member's name
    nm "$build/libweft_rt.a" 2>/dev/null | awk '/\.o:$/ {m=$1} NF==3 && '"$1"' && $2 ~ /[TtDdBbRr]/ {print $3}' | LC_ALL=C sort -u
}
secret='m ~ /^(client__|app__app_client|app__app_run|app__app_all|app__image|app__workdir)/'
members "$secret" >"$symbols.secret"
members "!($secret)" >"$symbols.public"
LC_ALL=C comm -23 "$symbols.secret" "$symbols.public" >"$symbols.only"
holds "the library has client symbols to look for" [ "$(grep -c -E '^rt_(keygen|encrypt|decrypt|secret_load)$' "$symbols.only")" = 4 ]
holds "the server holds no symbol of the client" [ -z "$(LC_ALL=C comm -12 "$symbols.only" "$symbols.server")" ]
holds "the client holds them" [ "$(grep -c -E '^rt_(keygen|encrypt|decrypt|secret_load)$' "$symbols.client")" = 4 ]
holds "the client cannot infer" [ -z "$(grep -E '^rt_(infer|eval_open|pmac)$' "$symbols.client")" ]
holds "the server links no image library" [ -z "$(grep -E '^(png|jpeg)_' "$symbols.server")" ]

hex() { od -An -v -tx1 "$@" | tr -d ' \n'; }
# 32 bytes from the middle of the weights and of the value table: in the data file, in no program
values=$(hex -j 960 -N 32 "$whole.dat")
floats=$(hex -j "$(($(file_size "$example/weights.safetensors") / 2 / 4 * 4))" -N 32 "$example/weights.safetensors")
hex "$whole.dat" | grep -q "$values"
holds "the data file holds the weights" [ $? = 0 ]
for n in client server; do
    found=$(hex "$work/bin/lenet-$n" | grep -c -e "$values" -e "$floats")
    holds "lenet-$n holds no weights" [ "$found" = 0 ]
done

# ---- the road ---------------------------------------------------------------------------------------------
succeeds "keygen" "$client" keygen keys
holds "the secret key is for its owner only" [ "$(stat -c %a keys/secret.weft)" = 600 ]
succeeds "keygen of other keys" "$client" keygen keys2
mkdir server && cp keys/eval.weft server/

logits() { # of image $1, one a line
    at=$(od -An -tu8 -N 8 "$example/logits_100.safetensors" | tr -d ' ')
    od -An -v -tf4 -w4 -j "$((8 + at + 40 * $1))" -N 40 "$example/logits_100.safetensors"
}
for i in 0 11 22 37 99; do
    "$client" encrypt "$records" --index "$i" -o image.ct -q &&
        "$server" infer image.ct --keys server/eval.weft -o server/result.ct -q &&
        "$client" decrypt server/result.ct --json >answer.json
    label=$(od -An -tu1 -j "$((i * record))" -N 1 "$records" | tr -d ' ')
    holds "image $i is a $label" [ "$(json answer.json class)" = "$label" ]
    sed -n '/"values"/,/]/p' answer.json | grep -o -E '[-0-9.e]+' >values.txt
    logits "$i" | paste - values.txt | awk 'NF != 2 || $1 - $2 > 0.01 || $2 - $1 > 0.01 {bad = 1} END {exit bad || NR != 10}'
    holds "image $i has the logits of the reference" [ $? = 0 ]
done
mv server/result.ct result.ct
succeeds "infer with one thread" "$server" infer image.ct --keys keys -o one.ct --threads 1
succeeds "infer with two threads" "$server" infer image.ct --keys keys -o two.ct --threads 2
holds "the same bits with one and two threads" cmp one.ct two.ct
succeeds "the all-in-one binary infers" "$whole" infer image.ct -o three.ct -q
holds "the same bits again" cmp one.ct three.ct
for d in 3 7; do
    "$client" encrypt "$example/digit_$d.png" -o png.ct -q && "$server" infer png.ct -o png.out -q &&
        "$client" decrypt png.out --json >answer.json
    holds "digit_$d.png is a $d" [ "$(json answer.json class)" = "$d" ]
done
"$client" decrypt png.out --top 3 >answer.txt
holds "decrypt shows the three largest, best first" [ "$(awk 'NR == 1 || $2 <= last {n++} {last = $2} END {print n + 0}' answer.txt)" = 3 ]

"$client" info --json >info.json
"$server" info --json >info2.json
holds "client and server say the same of the model" cmp info.json info2.json
holds "info: 128 bits" [ "$(json info.json lambda)" = 128.0 ]
holds "info: bytes of the evaluation keys" [ "$(json info.json key_bytes)" = "$(file_size keys/eval.weft)" ]
holds "info: bytes of a ciphertext" [ "$(json info.json ciphertext_bytes_in)" = "$(file_size image.ct)" ]
holds "info: bytes of a result" [ "$(json info.json ciphertext_bytes_out)" = "$(file_size one.ct)" ]

"$whole" run "$records" --index 11 --json --keep kept >run.json
holds "run: the cleartext agrees" [ "$(json run.json label)" = "$(json run.json clear_label)" ]
holds "run: right" [ "$(json run.json class)" = "$(json run.json true_class)" ]
holds "run: the error is below 0.01" awk "BEGIN {exit !($(json run.json max_logit_error) < 0.01)}"
holds "run: peak memory below 1 GiB" [ "$(json run.json peak_rss_bytes)" -lt 1073741824 ]
succeeds "files that run kept are good for the others" "$client" decrypt kept/output.ct --key kept
"$whole" run "$records" --count 3 --index 40 >count.txt
holds "run: three records" grep -q '^3 of 3 agree with the cleartext' count.txt
holds "run leaves no temporary directory" [ -z "$(ls "$TMPDIR")" ]
"$whole" run "$records" --count 100 >/dev/null 2>&1 &
pid=$!
while [ -z "$(ls "$TMPDIR"/weft-run-*/secret.weft 2>/dev/null)" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
kill -TERM "$pid"
wait "$pid" 2>/dev/null
holds "an interrupted run leaves no secret key" [ $? = 143 -a -z "$(ls "$TMPDIR")" ]

# ---- mistakes: one line, exit 1, nothing written ------------------------------------------------------------
data=$whole.dat
bad_data() { # case, what the message must name, data file
    fails "$1" "$2" "$server" infer image.ct --keys keys -o bad.out --data "$3"
}
set -- 3 10 13 17 25 33 41 49 57 70 100 "$((64 + 32 + 8 * 100))" "$(($(file_size "$data") / 2))" "$(($(file_size "$data") - 1))"
for at; do
    flipped "$data" "$at" bad.in
    bad_data "data file, byte $at changed" bad.in bad.in
done
flipped "$data" 96 bad.in
fails "run: data file, a weight changed" bad.in "$whole" run "$records" --data bad.in
bad_data "data file of another model" twin.dat "$work/bin/twin.dat"
bad_data "no data file" nothing.dat nothing.dat
for at in 3 10 13 17 25 33 41 49 57 65 128 150 300000 "$(($(file_size keys/eval.weft) - 1))"; do
    flipped keys/eval.weft "$at" bad.in
    fails "evaluation keys, byte $at changed" bad.in "$server" infer image.ct --keys bad.in -o bad.out
done
for at in 3 10 13 17 25 33 41 49 57 65 200 "$(($(file_size keys/secret.weft) - 1))"; do
    flipped keys/secret.weft "$at" bad.in
    fails "secret key, byte $at changed: decrypt" bad.in "$client" decrypt one.ct --key bad.in
    fails "secret key, byte $at changed: encrypt" bad.in "$client" encrypt "$records" --key bad.in -o bad.out
done
for at in 3 10 13 17 25 33 41 49 57 65 130 5000 "$(($(file_size image.ct) - 1))"; do
    flipped image.ct "$at" bad.in
    fails "ciphertext, byte $at changed" bad.in "$server" infer bad.in --keys keys -o bad.out
done
for at in 3 41 57 100 5000; do
    flipped one.ct "$at" bad.in
    fails "result, byte $at changed" bad.in "$client" decrypt bad.in
done
for file in image.ct:infer one.ct:decrypt keys/eval.weft:keys keys/secret.weft:key "$data:data"; do
    name=${file%:*} use=${file#*:} size=$(file_size "$name")
    for length in 0 1 8 63 64 65 127 128 200 "$((size / 2))" "$((size - 1))" "$((size + 1))"; do
        head -c "$length" "$name" >bad.in
        [ "$length" -gt "$size" ] && echo >>bad.in
        case $use in
        infer) set -- "$server" infer bad.in --keys keys -o bad.out ;;
        decrypt) set -- "$client" decrypt bad.in ;;
        keys) set -- "$server" infer image.ct --keys bad.in -o bad.out ;;
        key) set -- "$client" encrypt "$records" --key bad.in -o bad.out ;;
        data) set -- "$server" infer image.ct --keys keys -o bad.out --data bad.in ;;
        esac
        fails "$(basename "$name") of $length bytes" bad.in "$@"
    done
done
rm -f bad.in

fails "infer with other keys" key "$server" infer image.ct --keys keys2 -o bad.out
fails "decrypt with another key" key "$client" decrypt one.ct --key keys2
for m in twin other; do
    "$work/bin/$m-client" keygen "$m.keys" -q && "$work/bin/$m-client" encrypt "$records" --key "$m.keys" -o "$m.ct" -q
    "$work/bin/$m-server" infer "$m.ct" --keys "$m.keys" -o "$m.out" -q
    holds "model $m works" [ -s "$m.out" ]
    fails "ciphertext of model $m" "$m.ct" "$server" infer "$m.ct" --keys keys -o bad.out
    fails "ciphertext and keys of model $m" "$m" "$server" infer "$m.ct" --keys "$m.keys" -o bad.out
    fails "result of model $m" "$m.out" "$client" decrypt "$m.out"
    fails "secret key of model $m" "$m.keys" "$client" encrypt "$records" --key "$m.keys" -o bad.out
done
fails "a result where an image belongs" one.ct "$server" infer one.ct --keys keys -o bad.out
fails "an image where a result belongs" image.ct "$client" decrypt image.ct
fails "a secret key where evaluation keys belong" secret.weft "$server" infer image.ct --keys keys/secret.weft -o bad.out
fails "evaluation keys where a secret key belongs" eval.weft "$client" decrypt one.ct --key keys/eval.weft
fails "a picture where a ciphertext belongs" digit_3.png "$server" infer "$example/digit_3.png" --keys keys -o bad.out
fails "keygen does not overwrite" keys "$client" keygen keys
mkdir empty
fails "no keys there" empty "$client" encrypt "$records" --key empty -o bad.out
fails "no evaluation keys there" empty "$server" infer image.ct --keys empty -o bad.out
fails "no such key file" nothing "$client" decrypt one.ct --key nothing
fails "no such ciphertext" nothing.ct "$server" infer nothing.ct --keys keys -o bad.out
fails "no such image" nothing.png "$client" encrypt nothing.png -o bad.out
fails "a directory for a ciphertext" empty "$server" infer empty --keys keys -o bad.out
fails "a directory for a result" empty "$client" decrypt empty
fails "a directory for an image" empty "$client" encrypt empty -o bad.out
fails "a directory for the output of encrypt" empty "$client" encrypt "$records" -o empty
fails "a directory for the output of infer" empty "$server" infer image.ct --keys keys -o empty
fails "no directory for the output of encrypt" nowhere/x.ct "$client" encrypt "$records" -o nowhere/x.ct
fails "no directory for the output of infer" nowhere/x.ct "$server" infer image.ct --keys keys -o nowhere/x.ct
fails "no directory for the keys" nowhere/keys "$client" keygen nowhere/keys
fails "a file for the directory of keys" image.ct "$client" keygen image.ct
printf 'P5 28 28 255\n' >gray.pgm
fails "an image of an unknown format" gray.pgm "$client" encrypt gray.pgm -o bad.out
head -c 300 "$example/digit_3.png" >cut.png
fails "a truncated image" cut.png "$client" encrypt cut.png -o bad.out
fails "a truncated image in run" cut.png "$whole" run cut.png
# a grey PNG of 1 x 1 pixel
printf '\211PNG\015\012\032\012\000\000\000\015IHDR\000\000\000\001\000\000\000\001\010\000\000\000\000\072\176\233U\000\000\000\012IDATx\234c\140\000\000\000\002\000\001H\257\244q\000\000\000\000IEND\256B\140\202' >small.png
fails "an image of another size" "small.png: image is 1x1, the model wants 28x28" "$client" encrypt small.png -o bad.out
head -c 1000 "$records" >part.bin
fails "half a record" part.bin "$client" encrypt part.bin -o bad.out
fails "a record beyond the end" test_100.bin "$client" encrypt "$records" --index 100 -o bad.out
fails "more records than there are" test_100.bin "$whole" run "$records" --count 101
fails "stdout full" "standard output" sh -c "'$client' info >/dev/full"
"$client" encrypt >/dev/null 2>usage.txt
holds "a mistake in the usage ends with 2" [ $? = 2 ]
summary
