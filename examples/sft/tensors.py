# SPDX-License-Identifier: Apache-2.0
"""Reads and writes safetensors files without any library: name -> (shape, flat array('f')).

The file is an 8-byte length, a JSON header of that length, and the raw little-endian values."""
import array
import json
import struct
import sys


class TensorError(Exception):
    """A weight file that cannot be used; the text names the file and the tensor."""


def _product(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def _values(path, name, kind, raw):
    """Any of the types that `weft` reads, as 32-bit floats."""
    if kind in ("F32", "F64"):
        values = array.array("f" if kind == "F32" else "d", raw)
        if sys.byteorder == "big":
            values.byteswap()
        return values if kind == "F32" else array.array("f", values)
    if kind == "F16":
        return array.array("f", struct.unpack("<%de" % (len(raw) // 2), raw))
    if kind == "BF16":
        halves = struct.unpack("<%dH" % (len(raw) // 2), raw)
        return array.array("f", (struct.unpack("<f", struct.pack("<I", h << 16))[0] for h in halves))
    raise TensorError("%s: tensor '%s' has the type %s; wanted F64, F32, F16 or BF16" % (path, name, kind))


SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def load(path):
    """All floating-point tensors of the file; integer ones (PyTorch's counters) are left out."""
    with open(path, "rb") as f:
        raw = f.read()
    try:
        length, = struct.unpack_from("<Q", raw)
        header = json.loads(raw[8:8 + length])
        data = memoryview(raw)[8 + length:]
        entries = sorted((k, v) for k, v in header.items() if k != "__metadata__")
        tensors = {}
        for name, entry in entries:
            kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            if kind not in SIZES:
                continue
            if end - begin != SIZES[kind] * _product(shape) or not 0 <= begin <= end <= len(data):
                raise TensorError("%s: tensor '%s' does not lie in the file" % (path, name))
            tensors[name] = (tuple(shape), _values(path, name, kind, data[begin:end].tobytes()))
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as e:
        raise TensorError("%s: not a safetensors file (%s)" % (path, e)) from None
    return tensors


def save(path, tensors, metadata=None):
    """Writes name -> (shape, numbers) as 32-bit floats, sorted by name; equal tensors give equal files."""
    header, blobs, offset = {}, [], 0
    if metadata:
        header["__metadata__"] = {k: str(v) for k, v in sorted(metadata.items())}
    for name in sorted(tensors):
        shape, values = tensors[name]
        values = array.array("f", values)
        if len(values) != _product(shape):
            raise ValueError("tensor '%s': %d values for the shape %s" % (name, len(values), shape))
        if sys.byteorder == "big":
            values.byteswap()
        blob = values.tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            f.write(blob)
