#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The example ResNet-20 with polynomials of degree 2, encrypted, at 128 bits: one real image, from the model file to the
# answer. Takes 3 GiB of memory, 2 GiB of disk. usage: tests/e2e/resnet20.sh BUILD_DIR
build=$(cd "${1:?usage: tests/e2e/resnet20.sh BUILD_DIR}" && pwd) || exit 1
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/e2e/lib.sh
. ./lib.sh
example=$(cd ../../examples/resnet20_cifar10 && pwd) || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/weft-resnet-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkdir "$work/tmp" "$work/bin" "$work/area" "$work/log" || exit 1
export TMPDIR="$work/tmp"
cd "$work/area" || exit 1

of_json() { # file, name
    awk -v name="\"$2\":" '$1 == name {gsub(/[",]/, "", $2); print $2; exit}' "$1"
}
true_of() { # an awk expression
    awk "BEGIN {exit !($1)}"
}

"$build/weft" build "$example/degree2/model.yaml" -o "$work/bin/r" --images="$example/test_100.bin" >build.txt 2>&1
holds "it compiles" [ $? = 0 ]
holds "it bootstraps at 128 bits" grep -q '^ring .*128-bit security' build.txt
bound=$(awk '/^error/ {print $4}' build.txt)
succeeds "one image, encrypted" "$work/bin/r" run "$example/test_100.bin" --index 3 --json
cp "$work/log/out" run.json
holds "the error is below the predicted $bound" true_of "$(of_json run.json max_logit_error) <= $bound"
holds "peak memory is below 6 GiB" true_of "$(of_json run.json peak_rss_bytes) < 6 * 2^30"
holds "the class is the cleartext's" [ "$(of_json run.json class)" = "$(of_json run.json clear_class)" ]
holds "nothing is left behind" [ -z "$(ls "$TMPDIR")" ]
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
