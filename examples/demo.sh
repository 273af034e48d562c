#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole road on a real model and a real image: compile, make keys, encrypt, infer, decrypt, compare.
# usage: examples/demo.sh BUILD_DIR
set -eu
build=$(cd "${1:?usage: demo.sh BUILD_DIR}" && pwd)
example=$(cd "$(dirname "$0")/lenet_mnist" && pwd)
rm -rf "$build/demo"
mkdir -p "$build/demo/server"
cd "$build/demo"
cp "$example/model.yaml" "$example/weights.safetensors" "$example/test_100.bin" "$example/digit_7.png" .
export PATH="$build:$PATH"
say() {
    [ -z "${2:-}" ] || printf '\n# %s' "$2"
    printf '\n$ %s\n' "$1"
}

say "weft build model.yaml --images=test_100.bin -o lenet" "The model becomes a program for the server and one for the client."
weft build model.yaml --images=test_100.bin -o lenet

say "./lenet-client keygen keys" "At the hospital: keys, and an encrypted image."
./lenet-client keygen keys
say "./lenet-client encrypt digit_7.png --key keys -o image.ct"
./lenet-client encrypt digit_7.png --key keys -o image.ct

cp lenet-server lenet.dat keys/eval.weft image.ct server/
say "./lenet-server infer image.ct --keys eval.weft -o result.ct" \
    "On the server, in a folder with lenet-server, lenet.dat, eval.weft and image.ct: no secret key."
(cd server && ./lenet-server infer image.ct --keys eval.weft -o result.ct)
cp server/result.ct .

say "./lenet-client decrypt result.ct --key keys" "Back at the hospital."
./lenet-client decrypt result.ct --key keys

say "./lenet run digit_7.png" "All of it in one process, beside the same network on unencrypted numbers."
./lenet run digit_7.png
