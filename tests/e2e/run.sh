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

# One thread unless a case says otherwise: idle threads of a busy machine cost more than they bring.
export OMP_NUM_THREADS=1

# ---- three models: the example, its twin of another name, and a small one with other parameters ---------
sed 's/^name:.*/name: twin/' "$example/model.yaml" >"$work/bin/twin.yaml"
cp "$example/weights.safetensors" "$work/bin/"
cat >"$work/bin/small.yaml" <<'YAML'
name: small
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
succeeds "build a small model" "$build/weft" build "$work/bin/small.yaml" -o "$work/bin/small"
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
secret='m ~ /^(client__|app__app_client|app__app_run|app__app_all|app__app_check|app__image|app__workdir)/'
members "$secret" >"$symbols.secret"
members "!($secret)" >"$symbols.public"
LC_ALL=C comm -23 "$symbols.secret" "$symbols.public" >"$symbols.only"
holds "the library has client symbols to look for" [ "$(grep -c -E '^rt_(keygen|encrypt|decrypt|secret_load)$' "$symbols.only")" = 4 ]
holds "the server holds no symbol of the client" [ -z "$(LC_ALL=C comm -12 "$symbols.only" "$symbols.server")" ]
holds "the client holds them" [ "$(grep -c -E '^rt_(keygen|encrypt|decrypt|secret_load)$' "$symbols.client")" = 4 ]
holds "the client cannot infer" [ -z "$(grep -E '^rt_(infer|eval_open|pmac)$' "$symbols.client")" ]
holds "the server calls no image library" [ -z "$(nm -u "$work/bin/lenet-server" | grep -E ' (png|jpeg)_')" ]
holds "the client does" [ -n "$(nm -u "$work/bin/lenet-client" | grep -E ' (png|jpeg)_')" ]

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
succeeds "keygen" "$client" keygen keys -q
holds "the secret key is for its owner only" [ "$(stat -c %a keys/secret.weft)" = 600 ]
succeeds "keygen of other keys" "$client" keygen keys2 -q
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
    sed -n '/"values"/,/]/p' answer.json | grep -o -E -e '-?[0-9][-+0-9.e]*' >values.txt
    logits "$i" | paste - values.txt | awk 'NF != 2 || $1 - $2 > 0.02 || $2 - $1 > 0.02 {bad = 1} END {exit bad || NR != 10}'
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

"$build/weft" estimate "$example/model.yaml" --json >estimate.json
holds "estimate: bytes of the evaluation keys" [ "$(json estimate.json key_bytes)" = "$(file_size keys/eval.weft)" ]
holds "estimate: bytes of a ciphertext" [ "$(json estimate.json ciphertext_bytes_in)" = "$(file_size image.ct)" ]
holds "estimate: bytes of a result" [ "$(json estimate.json ciphertext_bytes_out)" = "$(file_size one.ct)" ]
holds "estimate and info: the same memory" [ "$(json estimate.json memory_one_image_bytes) $(json estimate.json memory_server_bytes) $(json estimate.json memory_all_kept_bytes) $(json estimate.json max_memory_bytes)" = \
    "$(json info.json memory_one_image_bytes) $(json info.json memory_server_bytes) $(json info.json memory_all_kept_bytes) $(json info.json max_memory_bytes)" ]
"$build/weft" build "$example/model.yaml" --estimate --json >estimate2.json
holds "build --estimate says the same" cmp estimate.json estimate2.json

"$whole" run "$records" --index 11 --layers >layers.txt
"$build/weft" estimate "$example/model.yaml" >estimate.txt
# without the columns that only one of the two has: line and the time of one image, then what is computed
sed -n '/^layer/,/^$/p' estimate.txt | awk 'NF > 10 && $1 != "layer" {$4 = $5 = ""; print}' >expected.rows
sed -n '/^layer/,/^all/p' layers.txt | awk 'NF > 10 && $1 != "layer" && $1 != "all" {$4 = $5 = ""; print}' | sed 's/  */ /g' >found.rows
sed -i 's/  */ /g' expected.rows
holds "run --layers: the rows of the estimate" cmp expected.rows found.rows
holds "run --layers: seven of them" [ "$(wc -l <found.rows)" = 7 ]
"$server" infer image.ct --keys keys -o layers.ct --layers --json >layers.json
holds "infer --layers: measured times" awk '/"seconds"/ {gsub(/[,]/, ""); n++; if (!($2 > 0)) bad = 1} END {exit bad || n != 7}' layers.json

"$whole" run "$records" --index 11 --json --keep kept >run.json
holds "run: the cleartext agrees" [ "$(json run.json label)" = "$(json run.json clear_label)" ]
holds "run: right" [ "$(json run.json class)" = "$(json run.json true_class)" ]
holds "run: the error is below 0.01" awk "BEGIN {exit !($(json run.json max_logit_error) < 0.01)}"
within_a_tenth() { # file, predicted bytes
    peak=$(json "$1" peak_rss_bytes)
    [ "$((10 * peak))" -gt "$((9 * $2))" ] && [ "$((10 * peak))" -lt "$((11 * $2))" ]
}
one_image=$(json estimate.json memory_one_image_bytes)
holds "run: peak memory of one image as predicted, within a tenth" within_a_tenth run.json "$one_image"
"$whole" run "$records" --index 11 --count 2 --json >run2.json
holds "run: peak memory of several as predicted, within a tenth" within_a_tenth run2.json "$(json estimate.json memory_server_bytes)"

# ---- --max-memory -----------------------------------------------------------------------------------------------
"$server" infer image.ct --keys keys -o least.ct --max-memory 1M >/dev/null 2>least.txt
holds "too little memory: one error, exit 1, nothing written" [ $? = 1 -a ! -e least.ct -a "$(wc -l <least.txt)" = 1 ]
least=$(sed -n 's/.*: error: .*: needs at least \([0-9]*\) MiB of memory, 1 MiB are allowed.*/\1/p' least.txt)
holds "too little memory: the least is named ($least MiB)" [ "${least:-0}" -gt 100 ]
fails "a MiB less than the least" "needs at least $least MiB" "$server" infer image.ct --keys keys -o bad.out --max-memory "$((least - 1))M"
succeeds "the least" "$server" infer image.ct --keys keys -o least.ct --max-memory "${least}M" -q
holds "the same bits with the least" cmp least.ct one.ct
holds "the least is what was predicted, but for 2 MiB" [ "$((least - one_image / 1048576))" -ge -2 -a "$((least - one_image / 1048576))" -le 2 ]
for size in "$((least + 20))M" "$((least + 60))M"; do
    "$whole" run "$records" --index 11 --count 2 --json --max-memory "$size" >run3.json
    holds "run within $size: right" [ "$(json run3.json class)" = "$(json run2.json class)" ]
    holds "run within $size: no more" [ "$(json run3.json peak_rss_bytes)" -lt "$((${size%M} * 1048576))" ]
done
"$build/weft" build "$example/model.yaml" --emit=c -o budget.c --max-memory 20M >budget.txt 2>&1
holds "build: too little memory: one error, exit 1, nothing written" [ $? = 1 -a ! -e budget.c -a "$(wc -l <budget.txt)" = 1 ]
need=$(sed -n 's/^error: .* needs at least \([0-9]*\)M .*/\1/p' budget.txt)
"$build/weft" estimate "$example/model.yaml" --max-memory 20M >estimate3.txt 2>&1
holds "estimate says the same" cmp estimate3.txt budget.txt
succeeds "build: what the error named" "$build/weft" build "$example/model.yaml" --emit=c -o budget.c --max-memory "${need}M" -q
holds "build: it is the program's own limit" grep -q "max_memory = $((need * 1048576))u," budget.c/interface.c
rm -r budget.c
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
flipped "$whole.dat" 96 bad.in
fails "a weight changed" bad.in "$server" infer image.ct -o bad.out --data bad.in
fails "a weight changed: run" bad.in "$whole" run "$records" --data bad.in
flipped keys/eval.weft "$(($(file_size keys/eval.weft) / 3))" bad.in
fails "a key byte changed" bad.in "$server" infer image.ct --keys bad.in -o bad.out
fails "the evaluation keys of someone else" key "$server" infer image.ct --keys keys2 -o bad.out
fails "the secret key of someone else" key "$client" decrypt one.ct --key keys2
for m in twin small; do
    "$work/bin/$m-client" keygen "$m.keys" -q && "$work/bin/$m-client" encrypt "$records" --key "$m.keys" -o "$m.ct" -q &&
        "$work/bin/$m-server" infer "$m.ct" --keys "$m.keys" -o "$m.out" -q
    holds "model $m works" [ -s "$m.out" ]
    fails "data file of model $m" "$m.dat" "$server" infer image.ct -o bad.out --data "$work/bin/$m.dat"
    fails "ciphertext of model $m" "$m.ct" "$server" infer "$m.ct" -o bad.out
    fails "evaluation keys of model $m" "$m.keys" "$server" infer "$m.ct" --keys "$m.keys" -o bad.out
    fails "result of model $m" "$m.out" "$client" decrypt "$m.out"
    fails "secret key of model $m" "$m.keys" "$client" encrypt "$records" --key "$m.keys" -o bad.out
done

# Toy parameters, of the same model: a warning at each run, and a mark in every file
succeeds "build with toy parameters" "$build/weft" build "$work/bin/small.yaml" --insecure --log-n 10 -o "$work/bin/toy"
"$work/bin/toy-client" keygen toy.keys -q 2>toy.warnings && "$work/bin/toy-client" encrypt "$records" --key toy.keys -o toy.ct -q 2>>toy.warnings &&
    "$work/bin/toy-server" infer toy.ct --keys toy.keys -o toy.out -q 2>>toy.warnings &&
    "$work/bin/toy-client" decrypt toy.out --key toy.keys 2>>toy.warnings >toy.txt
holds "toy parameters work" [ "$(wc -l <toy.txt)" = 5 ]
holds "toy parameters warn at each run" [ "$(grep -c ': warning: .*not secure' toy.warnings) $(wc -l <toy.warnings)" = "4 4" ]
fails "toy ciphertext" toy.ct "$work/bin/small-server" infer toy.ct --keys small.keys -o bad.out
fails "toy evaluation keys" toy.keys "$work/bin/small-server" infer small.ct --keys toy.keys -o bad.out
fails "toy result" toy.out "$work/bin/small-client" decrypt toy.out --key small.keys
fails "toy secret key" toy.keys "$work/bin/small-client" decrypt small.out --key toy.keys

# Every kind of file, changed and cut in many places; of the small model, whose keys load quickly
client=$work/bin/small-client server=$work/bin/small-server whole=$work/bin/small
mv small.keys/eval.weft small.keys/secret.weft . && cp "$whole.dat" small.dat
use() { # case, kind of file, file: a command that reads it
    case $2 in
    data) fails "$1" "$3" "$server" infer small.ct --keys eval.weft -o bad.out --data "$3" ;;
    keys) fails "$1" "$3" "$server" infer small.ct --keys "$3" -o bad.out ;;
    encrypt) fails "$1" "$3" "$client" encrypt "$records" --key "$3" -o bad.out ;;
    key) fails "$1" "$3" "$client" decrypt small.out --key "$3" ;;
    image) fails "$1" "$3" "$server" infer "$3" --keys eval.weft -o bad.out ;;
    result) fails "$1" "$3" "$client" decrypt "$3" --key secret.weft ;;
    esac
}
for pair in data:small.dat keys:eval.weft encrypt:secret.weft key:secret.weft image:small.ct result:small.out; do
    kind=${pair%:*} name=${pair#*:}
    size=$(file_size "$name")
    for at in 3 10 13 17 22 25 33 41 49 57 65 100 130 200 "$((size / 2))" "$((size - 1))"; do
        flipped "$name" "$at" bad.in
        use "$kind: $name, byte $at changed" "$kind" bad.in
    done
    for length in 0 1 8 63 64 65 127 128 200 "$((size / 2))" "$((size - 1))"; do
        head -c "$length" "$name" >bad.in
        use "$kind: $name, only $length bytes" "$kind" bad.in
    done
    cp "$name" bad.in && echo >>bad.in
    use "$kind: $name, a byte too many" "$kind" bad.in
    use "$kind: no such file" "$kind" nothing.weft
    use "$kind: a directory" "$kind" "$work/bin"
    use "$kind: a picture" "$kind" "$example/digit_3.png"
done
rm -f bad.in

client=$work/bin/lenet-client server=$work/bin/lenet-server whole=$work/bin/lenet
fails "a result where an image belongs" one.ct "$server" infer one.ct --keys keys -o bad.out
fails "an image where a result belongs" image.ct "$client" decrypt image.ct
fails "a secret key where evaluation keys belong" secret.weft "$server" infer image.ct --keys keys/secret.weft -o bad.out
fails "evaluation keys where a secret key belongs" eval.weft "$client" decrypt one.ct --key keys/eval.weft
fails "keygen does not overwrite" keys "$client" keygen keys -q
mkdir empty
fails "no keys there" empty "$client" encrypt "$records" --key empty -o bad.out
fails "no evaluation keys there" empty "$server" infer image.ct --keys empty -o bad.out
fails "no such image" nothing.png "$client" encrypt nothing.png -o bad.out
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
sh -c "trap '' XFSZ; ulimit -f 100; exec '$client' keygen full -q" 2>full.txt
holds "keygen without room says so and leaves no folder" [ $? = 1 -a ! -e full -a "$(grep -c ': error: full/.*: cannot write' full.txt)" = 1 ]
sh -c "trap '' XFSZ; ulimit -f 100; exec '$build/weft' build '$example/model.yaml' --emit=c -o full.c -q" 2>full.txt
holds "sources without room: said, and none is left" [ $? = 1 -a -z "$(ls -d full.c* 2>/dev/null)" -a "$(grep -c '^error: cannot write .*model.dat' full.txt)" = 1 ]
fails "stdout full" "standard output" sh -c "'$client' info >/dev/full"
"$client" encrypt >/dev/null 2>usage.txt
holds "a mistake in the usage ends with 2" [ $? = 2 ]
summary
