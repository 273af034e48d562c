#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a deep synthetic network: usage: deep.py FOLDER BLOCKS [CHANNELS]

FOLDER/deep.yaml, deep.safetensors and deep.bin, ten records of a label byte and 8 x 8 random pixels. A block
is a 3x3 convolution whose rows of weights have absolute sum 1, and the polynomial 0.8 x + 0.25 x^2 - 0.1,
which takes [-1, 1] into itself: values stay bounded however deep the network is."""
import json
import struct
import sys

CHANNELS, SIZE, OUTPUTS, RECORDS = int(sys.argv[3]) if len(sys.argv) > 3 else 2, 8, 4, 10
state = 1


def number():
    global state
    state = (state * 1103515245 + 12345) % 2**31
    return (state >> 15) % 2**15 / 2**14 - 1


def unit_rows(rows, columns, centre):
    """Absolute sum 1, most of it at the element centre(row): what the image says does not fade away."""
    out = []
    for r in range(rows):
        row = [number() for _ in range(columns)]
        row[centre(r)] = 0
        rest = sum(abs(v) for v in row)
        row = [0.1 * v / rest for v in row]
        row[centre(r)] = 0.9
        out += row
    return out


def write(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack("<%df" % len(values), *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


folder, blocks = sys.argv[1], int(sys.argv[2])
tensors, layers, channels = {}, [], 1
for k in range(blocks):
    size = 3 if k % 2 == 0 else 1
    tensors["c%d.weight" % k] = (
        [CHANNELS, channels, size, size],
        unit_rows(CHANNELS, channels * size * size, lambda r: r % channels * size * size + size * size // 2))
    layers.append("{name: c%d, op: conv2d, padding: same}" % k)
    layers.append("{name: p%d, op: poly, coefficients: [-0.1, 0.8, 0.25]}" % k)
    channels = CHANNELS
features = CHANNELS * SIZE * SIZE
tensors["fc.weight"] = ([OUTPUTS, features], [number() / 8 for _ in range(OUTPUTS * features)])
layers += ["{name: flat, op: flatten}", "{name: fc, op: linear}"]
write(folder + "/deep.safetensors", tensors)
with open(folder + "/deep.yaml", "w") as f:
    f.write("name: deep\ninput: {shape: [1, %d, %d], range: [-1, 1]}\nweights: deep.safetensors\nlayers:\n" % (SIZE, SIZE))
    f.writelines("  - %s\n" % layer for layer in layers)
with open(folder + "/deep.bin", "wb") as f:
    for _ in range(RECORDS):
        f.write(bytes([0] + [int(127.5 * (number() + 1)) for _ in range(SIZE * SIZE)]))
