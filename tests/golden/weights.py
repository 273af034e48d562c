#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small weight files of the golden tests: usage: weights.py, in this folder.

The files are committed; running this again must not change them."""
import json
import struct

state = 1


def number():
    """Multiples of 1/64 in [-1, 1): exact in every type, short in every print."""
    global state
    state = (state * 1103515245 + 12345) % 2**31
    return (state >> 16) % 128 / 64 - 1


def write(path, tensors):
    header, data = {}, b""
    for name, (shape, values, kind) in tensors.items():
        code = {"F32": "f", "F64": "d", "F16": "e", "I64": "q"}[kind]
        raw = struct.pack("<%d%s" % (len(values), code), *values)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def random(*shape, kind="F32"):
    n = 1
    for d in shape:
        n *= d
    return list(shape), [number() for _ in range(n)], kind


def ones(*shape):
    return list(shape), [1.0] * shape[0], "F32"


good = {
    "conv.weight": random(2, 1, 3, 3),
    "conv.bias": random(2),
    "conv2.weight": random(2, 2, 3, 3, kind="F16"),
    "dw.weight": random(2, 1, 3, 3),
    "bn.weight": random(2),
    "bn.bias": random(2),
    "bn.running_mean": random(2),
    "bn.running_var": ones(2),
    "act.coeff": random(2, 3),
    "fc.weight": random(3, 8, kind="F64"),
    "fc.bias": random(3),
    "last.weight": random(3, 2),
    "last.bias": random(3),
}
write("ir/tiny.safetensors", good)
write("c/tiny.safetensors", good)

nan, inf = float("nan"), float("inf")
bad = {
    "conv.weight": random(2, 1, 3, 3),
    "vector.weight": random(2),
    "wide.weight": random(4, 3, 3, 3),
    "nan.weight": ([2, 1, 3, 3], [1.0] * 13 + [nan] + [1.0] * 4, "F32"),
    "inf.weight": ([2, 1, 3, 3], [1.0] * 18, "F32"),
    "inf.bias": ([2], [0.0, inf], "F32"),
    "whole.weight": ([2, 1, 3, 3], [1] * 18, "I64"),
    "empty.weight": ([0, 1, 3, 3], [], "F32"),
    "five.weight": ([1, 1, 1, 1, 1], [1.0], "F32"),
    "norm.weight": ones(2),
    "norm.bias": ones(2),
    "norm.running_mean": ones(2),
    "norm.running_var": ([2], [1.0, -1.0], "F32"),
    "act.coeff": random(2, 3),
    "nine.coeff": random(10),
    "fc.weight": random(3, 32),
    "odd.bias": random(3),
}
write("reject/some.safetensors", bad)
with open("reject/some.safetensors", "rb") as f:
    whole = f.read()
with open("reject/cut.safetensors", "wb") as f:
    f.write(whole[:-5])
with open("reject/text.safetensors", "wb") as f:
    f.write(b"these are not weights\n")
with open("reject/hello.safetensors", "wb") as f:
    f.write(struct.pack("<Q", 2**40) + b"{}")

zero = {
    "conv.weight": ([2, 1, 3, 3], [0.0] * 18, "F32"),
    "conv.bias": ([2], [1.0, 2.0], "F32"),
    "fc.weight": ([3, 2], [0.5] * 6, "F32"),
}
write("cli/zero.safetensors", zero)
