# SPDX-License-Identifier: Apache-2.0
"""Data sets: CIFAR's binary records, or a folder of pictures for each class. All in memory as bytes."""
import glob
import os

import numpy as np
import torch


class DataError(Exception):
    """Images that cannot be used; the text names the file."""


def read_records(path, shape, classes):
    """Records of one label byte and the picture's bytes, channel by channel: what `weft sim` reads too"""
    size = 1 + shape[0] * shape[1] * shape[2]
    raw = np.fromfile(path, dtype=np.uint8)
    if len(raw) == 0 or len(raw) % size:
        raise DataError("%s: %d bytes are no whole number of records of %d" % (path, len(raw), size))
    records = raw.reshape(-1, size)
    if records[:, 0].max() >= classes:
        raise DataError("%s: label %d, but the network has %d outputs" % (path, records[:, 0].max(), classes))
    return records[:, 1:].reshape((-1,) + tuple(shape)), records[:, 0].astype(np.int64)


def read_folder(path, shape):
    """CLASS/*.png (or .jpg); classes are numbered in the order of their names, or by them if they are numbers"""
    from PIL import Image
    names = sorted(d for d in os.listdir(path) if os.path.isdir(os.path.join(path, d)))
    numbered = names and all(n.isdigit() for n in names)
    pictures, labels = [], []
    for i, name in enumerate(names):
        for file in sorted(glob.glob(os.path.join(path, name, "*"))):
            if not file.lower().endswith((".png", ".jpg", ".jpeg", ".ppm", ".bmp")):
                continue
            with Image.open(file) as picture:
                pixels = np.asarray(picture.convert("L" if shape[0] == 1 else "RGB"))
            pixels = pixels[None] if shape[0] == 1 else pixels.transpose(2, 0, 1)
            if pixels.shape != tuple(shape):
                raise DataError("%s: %dx%d pixels, wanted %dx%d" % (file, *pixels.shape[1:], *shape[1:]))
            pictures.append(pixels)
            labels.append(int(name) if numbered else i)
    if not pictures:
        raise DataError("%s: no pictures in folders of classes" % path)
    return np.stack(pictures), np.array(labels, dtype=np.int64)


def read_part(path, part, shape, classes):
    """`part` is train or test. None if the folder has no such part."""
    if os.path.isdir(os.path.join(path, part)):
        return read_folder(os.path.join(path, part), shape)
    files = sorted(glob.glob(os.path.join(path, "data_batch_*.bin" if part == "train" else "test_batch.bin")))
    parts = [read_records(f, shape, classes) for f in files]
    return tuple(np.concatenate(p) for p in zip(*parts)) if parts else None


def load(path, shape, classes):
    """(pictures, labels) for training and, if there are any, for testing"""
    for folder in (path, os.path.join(path, "cifar-10-batches-bin")):
        train = read_part(folder, "train", shape, classes) if os.path.isdir(folder) else None
        if train:
            test = read_part(folder, "test", shape, classes)
            return _tensors(train), _tensors(test) if test else None
    raise DataError("%s: neither data_batch_*.bin nor train/CLASS/*.png there" % path)


def _tensors(part):
    return torch.from_numpy(np.ascontiguousarray(part[0])), torch.from_numpy(part[1])


def augment(pictures, generator, margin):
    """Random crop after a margin of black, and a random mirror image"""
    n, _, rows, columns = pictures.shape
    padded = np.pad(pictures.numpy(), ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(2, 3))
    top, left = generator.integers(0, 2 * margin + 1, (2, n))
    crops = windows[np.arange(n), :, top, left]
    mirrored = generator.random(n) < 0.5
    crops[mirrored] = crops[mirrored][..., ::-1]
    return torch.from_numpy(np.ascontiguousarray(crops))
