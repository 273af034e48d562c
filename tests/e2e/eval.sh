#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `weft eval` on the example: clear, simulated and encrypted side by side, interrupted and resumed, ranges left, and
# everything that can be wrong with what it is given. usage: tests/e2e/eval.sh BUILD_DIR
build=$(cd "${1:?usage: tests/e2e/eval.sh BUILD_DIR}" && pwd) || exit 1
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/e2e/lib.sh
. ./lib.sh
example=$(cd ../../examples/lenet_mnist && pwd) || exit 1
weft=$build/weft records=$example/test_100.bin

work=$(mktemp -d "${TMPDIR:-/tmp}/weft-eval-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkdir "$work/tmp" "$work/area" "$work/log" || exit 1
export TMPDIR="$work/tmp" OMP_NUM_THREADS=1
cd "$work/area" || exit 1
cp "$example/model.yaml" "$example/weights.safetensors" .

refuses() { # case, what the message must name, a command that must end with 1, one error, and nothing written
    what=$1 part=$2
    shift 2
    contents >"$work/log/before"
    "$@" >"$work/log/out" 2>"$work/log/err"
    status=$?
    contents >"$work/log/after"
    line=$(cat "$work/log/err")
    if [ "$status" != 1 ] || [ "$(grep -c 'error: ' "$work/log/err")" != 1 ]; then
        bad "$what" "exit $status: $line"
    elif ! grep -q -e "$part" "$work/log/err" || [ -s "$work/log/out" ]; then
        bad "$what" "not '$part': $line"
    elif ! cmp -s "$work/log/before" "$work/log/after"; then
        bad "$what" "files changed: $(diff "$work/log/before" "$work/log/after" | head -n 3)"
    else
        ok "$what    ($line)"
    fi
}

# ---- side by side -----------------------------------------------------------------------------------------
succeeds "clear and simulated" "$weft" eval model.yaml "$records" -o whole.json
holds "clear: all right" grep -q '^clear  *100  *100  *100.00 %   96.30 to 100.00 %$' "$work/log/out"
holds "simulated: all right, all agree" grep -q '^simulated  *100  *100 .*  100   96.30 to 100.00 %$' "$work/log/out"
holds "all errors are counted" [ "$(sed -n 's/.*"histogram": \(.*\)},/\1/p' whole.json | tr -d '[]' | tr ',' '\n' | awk 'NR % 2 == 0 {n += $1} END {print n}')" = 1000 ]
holds "no state is left" [ -z "$(ls ./*.state 2>/dev/null)" ]
succeeds "build a program" "$weft" build model.yaml -q -o lenet
succeeds "encrypted, with that program" "$weft" eval model.yaml "$records" --limit 10 --encrypted --count 6 --program lenet -o some.json
holds "encrypted: six right, six agree" grep -q '^encrypted  *6  *6 .*  6   60.97 to 100.00 %$' "$work/log/out"
holds "encrypted: the error is one of encryption" awk '/^encrypted / && NF < 8 {n++; if (!($2 > 1e-5 && $2 < 0.01)) bad = 1} END {exit bad || n != 1}' "$work/log/out"
succeeds "encrypted, with a program of its own" "$weft" eval model.yaml "$records" --limit 4 --encrypted --count 9 -q
succeeds "encrypted, with threads and memory of its own" "$weft" eval model.yaml "$records" --limit 2 --encrypted --program lenet --threads 2 --max-memory 250M -q
holds "they are passed on" grep -q '^encrypted  *2  *2 ' "$work/log/out"
"$weft" eval model.yaml "$records" --limit 2 --encrypted --program lenet --max-memory 1M >"$work/log/out" 2>"$work/log/err"
holds "too little memory: the program says what it needs" [ $? = 1 -a "$(grep -c 'lenet: error: .* needs at least' "$work/log/err")" = 1 ]
rm -f ./*.state
"$weft" eval model.yaml "$records" --limit 2 --max-memory 1G >"$work/log/out" 2>"$work/log/err"
holds "--max-memory wants --encrypted" [ $? = 2 -a "$(grep -c 'max-memory is for --encrypted' "$work/log/err")" = 1 ]
succeeds "encrypted, again with a program of its own" "$weft" eval model.yaml "$records" --limit 4 --encrypted --count 9 -q
holds "no more images than there are" grep -q '^encrypted  *4  *4 ' "$work/log/out"
holds "the temporary program is gone" [ -z "$(ls "$TMPDIR")" ]
succeeds "JSON alone on stdout" "$weft" eval model.yaml "$records" --limit 2 -o -
holds "JSON: it is one object" [ "$(head -n 1 "$work/log/out")$(tail -n 1 "$work/log/out")" = "{}" ]

# ---- interrupted and resumed ------------------------------------------------------------------------------
stop() { # when the file is there and holds the pattern: TERM to the last job
    pid=$!
    while ! grep -q "$2" "$1" 2>/dev/null && kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    sleep "$3"
    kill -TERM "$pid" 2>/dev/null
    wait "$pid"
}
for i in 1 2 3 4 5 6 7 8; do cat "$records"; done >long.bin
"$weft" eval model.yaml long.bin -o part.json >"$work/log/out" 2>"$work/log/err" &
stop part.json.state '^simulated' 0.1
holds "interrupted: exit 1, and it says how to go on" [ $? = 1 -a "$(grep -c 'interrupted, simulated [0-9]* of 800; --resume goes on' "$work/log/err")" = 1 ]
done=$(awk '$1 == "simulated" {print $2}' part.json.state)
holds "interrupted: the state holds what was done ($done)" [ "$done" -gt 0 -a "$done" -lt 800 -a ! -e part.json ]
cp part.json.state kept.state
succeeds "resume" "$weft" eval model.yaml long.bin -o part.json --resume
succeeds "the same without a break" "$weft" eval model.yaml long.bin -o full.json
holds "resumed: the same counts and errors" cmp part.json full.json
"$weft" eval model.yaml "$records" --limit 60 --encrypted --count 60 --program lenet -o enc.json >"$work/log/out" 2>"$work/log/err" &
stop enc.json.state '^simulated 60 ' 0.3
holds "interrupted among encrypted images" grep -q 'interrupted, encrypted [0-9]* of 60; --resume goes on' "$work/log/err"
done=$(awk '$1 == "encrypted" {print $2}' enc.json.state)
holds "its state ($done)" [ "$done" -lt 60 ]
succeeds "resume there" "$weft" eval model.yaml "$records" --limit 60 --encrypted --count 60 --program lenet -o enc.json --resume
holds "encrypted: sixty in the end" grep -q '"encrypted": {"images": 60, "right": 60' enc.json
holds "no secret key is left" [ -z "$(ls "$TMPDIR")" ]

# ---- ranges -----------------------------------------------------------------------------------------------
"${PYTHON:-/usr/bin/python3}" -B - <<'PY' || exit 1
import json, struct
raw = open("weights.safetensors", "rb").read()
size = struct.unpack("<Q", raw[:8])[0]
header, data = json.loads(raw[8:8 + size]), raw[8 + size:]
for name, low, high in (("act1", -0.5, 0.5), ("act3", -1e6, 1e6)):
    channels = {"act1": 8, "act3": 64}[name]
    values = struct.pack("<%df" % (2 * channels), *([low] * channels + [high] * channels))
    header[name + ".range"] = {"dtype": "F32", "shape": [2, channels], "data_offsets": [len(data), len(data) + len(values)]}
    data += values
text = json.dumps(header).encode()
open("ranged.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + data)
PY
sed 's/weights.safetensors/ranged.safetensors/' model.yaml >ranged.yaml
"$weft" eval ranged.yaml "$records" -o ranged.json >"$work/log/out" 2>"$work/log/err"
holds "ranges: one of two is left" grep -q '^ranges      1 of 2 activations with known range are left$' "$work/log/out"
holds "ranges: layer, line, count" grep -q '^  act1 (ranged.yaml:10): 100 images, channel [0-7] reaches .*, made for -0.5 to 0.5$' "$work/log/out"
holds "ranges: a warning, with its place" [ "$(grep -c "ranged.yaml:10:.*warning: layer 'act1': 100 of 100 pictures leave the range" "$work/log/err")" = 1 ]
holds "ranges: in the JSON" grep -q '{"layer": "act1", "line": 10, "images": 100,' ranged.json

# ---- mistakes ---------------------------------------------------------------------------------------------
refuses "no such images" "nothing.bin: No such file" "$weft" eval model.yaml nothing.bin
head -c 1000 "$records" >cut.bin
refuses "images cut short" "cut.bin: 1000 bytes are not a whole number of records of 785" "$weft" eval model.yaml cut.bin
: >empty.bin
refuses "no image at all" "empty.bin: " "$weft" eval model.yaml empty.bin
refuses "a folder for images" "tmp" "$weft" eval model.yaml "$work/tmp"
refuses "no such model" "nothing.yaml" "$weft" eval nothing.yaml "$records"
refuses "the state cannot be written" "cannot write 'nowhere/r.json.state'" "$weft" eval model.yaml "$records" -o nowhere/r.json
refuses "nothing to resume" "nothing to resume: model.eval.state" "$weft" eval model.yaml "$records" --resume
cp kept.state model.eval.state
refuses "the state of other images" "model.eval.state: the state of another evaluation" "$weft" eval model.yaml "$records" --resume
for length in 0 5 20 40 100 "$(($(file_size kept.state) - 5))"; do
    head -c "$length" kept.state >part2.json.state
    refuses "a state of $length bytes" "part2.json.state: " "$weft" eval model.yaml long.bin -o part2.json --resume
done
sed 's/^simulated [0-9]*/simulated 99999/' kept.state >part2.json.state
refuses "a state that claims too much" "damaged" "$weft" eval model.yaml long.bin -o part2.json --resume
rm -f ./*.state
refuses "no such program" "cannot run 'nothing'" "$weft" eval model.yaml "$records" --encrypted --program nothing
refuses "no program of ours" "is no program that weft built" "$weft" eval model.yaml "$records" --encrypted --program /bin/true
refuses "the program of another model" "built from another model" "$weft" eval ranged.yaml "$records" --encrypted --program lenet
"$weft" eval model.yaml "$records" --count 3 >"$work/log/out" 2>"$work/log/err"
holds "--count wants --encrypted" [ $? = 2 -a "$(grep -c 'count is for --encrypted' "$work/log/err")" = 1 ]
mv lenet.dat gone.dat
"$weft" eval model.yaml "$records" --limit 2 --encrypted --count 2 --program lenet >"$work/log/out" 2>"$work/log/err"
holds "the program fails: it says why, and so do we" [ $? = 1 -a "$(grep -c -e 'lenet: error: .*lenet.dat' -e 'failed after 0 of 2' "$work/log/err")" = 2 ]
summary
