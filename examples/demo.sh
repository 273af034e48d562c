#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole road on a real model and a real image: compile, make keys, encrypt, infer, decrypt, compare.
# usage: examples/demo.sh BUILD_DIR
set -eu
build=$(cd "${1:?usage: demo.sh BUILD_DIR}" && pwd)
cd "$(dirname "$0")/lenet_mnist"
out=$build/demo
rm -rf "$out"
mkdir -p "$out"
say() { printf '\n$ %s\n' "$*"; }

say "weft build model.yaml -o lenet"
"$build/weft" build model.yaml -o "$out/lenet"

cd "$out"
image=$OLDPWD/digit_7.png
say "./lenet-client keygen keys                               # on the hospital's machine"
./lenet-client keygen keys
say "./lenet-client encrypt digit_7.png --key keys -o image.ct"
./lenet-client encrypt "$image" --key keys -o image.ct
rm -rf server && mkdir server
cp lenet-server lenet.dat keys/eval.weft image.ct server/      # all that the server ever gets
say "./lenet-server infer image.ct --keys eval.weft -o result.ct   # on the server, which has no secret key"
(cd server && ./lenet-server infer image.ct --keys eval.weft -o result.ct)
cp server/result.ct .
say "./lenet-client decrypt result.ct --key keys              # back at the hospital"
./lenet-client decrypt result.ct --key keys
say "./lenet run digit_7.png                                  # the same in one process, beside the cleartext"
./lenet run "$image"
