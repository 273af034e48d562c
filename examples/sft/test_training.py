#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests that need torch: python3 test_training.py WEFT. A training of seconds, and its pieces."""
import csv
import os
import re
import subprocess
import sys
import tempfile
import unittest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

import export
import images
import sft
import tensors
import test_plain
import training
from model import Model
from network import BoxedPolynomial, Network, PolynomialActivation, channel_counts, evaluate_polynomial, substitute
from network import wrap_pad

WEFT = None
SHAPE = (2, 8, 8)


def small_network():
    return Network(Model("m.yaml", test_plain.TAIL), test_plain.small_tensors())


def small_data(n, seed=1):
    """Three kinds of picture that stay what they are when moved and mirrored: stripes one way, the other, both"""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, n)
    pictures = generator.integers(0, 120, (n,) + SHAPE).astype(np.uint8)
    row, column = np.mgrid[0:SHAPE[1], 0:SHAPE[2]]
    for picture, label in zip(pictures, labels):
        picture += (((row, column, row + column)[label] % 2) * 120).astype(np.uint8)
    return pictures, labels.astype(np.uint8)


def write_data(folder):
    os.mkdir(folder)
    for name, n, seed in (("data_batch_1.bin", 360, 1), ("test_batch.bin", 120, 2)):
        pictures, labels = small_data(n, seed)
        np.concatenate([labels[:, None], pictures.reshape(n, -1)], 1).tofile(os.path.join(folder, name))


class Activations(unittest.TestCase):
    def test_gradients(self):
        """Against autograd on the same formula; a clamped input counts as lying where it was clamped"""
        torch.manual_seed(1)
        bound = torch.tensor([1.0, 2.0, 3.0]).double()
        box = bound.view(1, -1, 1, 1)
        for factor in (0.0, 1.0, 1.5):
            for degree in (2, 4):
                x = (2 * torch.randn(4, 3, 5, 5, dtype=torch.double)).requires_grad_()
                powers = torch.randn(degree + 1, 3, dtype=torch.double, requires_grad=True)
                weight = torch.randn_like(x)
                y, overflow = BoxedPolynomial.apply(x, powers, bound, factor)
                found = torch.autograd.grad((y * weight).sum() + 3 * overflow, (x, powers))
                clamped = torch.minimum(torch.maximum(x, -factor * box), factor * box) if factor else x
                z = x + (clamped - x).detach()
                excess = torch.relu(x.abs() - box) / box
                want_y, want_overflow = evaluate_polynomial(powers, z), excess.square().sum() / 4
                wanted = torch.autograd.grad((want_y * weight).sum() + 3 * want_overflow, (x, powers))
                torch.testing.assert_close(y, want_y)
                torch.testing.assert_close(overflow, want_overflow)
                torch.testing.assert_close(found[0], wanted[0])
                torch.testing.assert_close(found[1][:3], wanted[1][:3])

    def test_range_normalisation(self):
        """y = s p(x / s) with s = M/3, and 1/2 as the factor of x whatever the range"""
        for degree in (2, 4):
            part = PolynomialActivation(2, "relu", "hermite", degree).double()
            part.bound.copy_(torch.tensor([3.0, 12.0]))
            powers = part.coefficients()
            torch.testing.assert_close(powers[1], torch.full((2,), 0.5).double())
            x = torch.linspace(-9, 9, 50).double().view(1, 1, 1, -1).expand(1, 2, 1, -1)
            s = torch.tensor([1.0, 4.0]).double().view(1, -1, 1, 1)
            p = test_plain.activation.hermite("relu", degree)
            wanted = s * sum(c * (x / s)**k for k, c in enumerate(p))
            torch.testing.assert_close(part.eval()(x), wanted, rtol=1e-6, atol=1e-6)

    def test_running_maximum(self):
        x = torch.zeros(384, 1, 2, 2)
        x[0], x[128], x[256] = 1.0, -3.0, 2.0
        self.assertAlmostEqual(training.running_maximum(x).item(), 0.9 * (0.9 * 1 + 0.1 * 3) + 0.1 * 2, 6)

    def test_evaluation_has_no_clamp(self):
        part = PolynomialActivation(1, "relu", "hermite", 2).eval()
        x = torch.tensor([1e3]).view(1, 1, 1, 1)
        torch.testing.assert_close(part(x), evaluate_polynomial(part.coefficients(), x))
        self.assertGreater(part(x).item(), 1e5)


class Padding(unittest.TestCase):
    def test_every_mode_follows_its_definition(self):
        x = torch.randn(2, 3, 4, 5)
        rows, columns = 4, 5
        for mode in ("zeros", "circular", "spiral"):
            for top, bottom, left, right in ((1, 1, 1, 1), (2, 1, 0, 3)):
                y = wrap_pad(x, top, bottom, left, right, mode)
                self.assertEqual(tuple(y.shape), (2, 3, rows + top + bottom, columns + left + right))
                for r in range(-top, rows + bottom):
                    for c in range(-left, columns + right):
                        flat = (r * columns + c) % (rows * columns)
                        wanted = {"zeros": x[:, :, r, c] if 0 <= r < rows and 0 <= c < columns else 0 * x[:, :, 0, 0],
                                  "circular": x[:, :, r % rows, c % columns],
                                  "spiral": x.flatten(2)[:, :, flat]}[mode]
                        self.assertTrue(torch.equal(y[:, :, r + top, c + left], wanted), (mode, r, c))


class Folding(unittest.TestCase):
    def test_a_folded_network_is_the_same(self):
        for degree, mode in ((2, None), (4, "circular"), (4, "spiral")):
            network = small_network()
            substitute(network, channel_counts(network.eval()), "hermite", degree, 1.0, mode)
            for i, (_, part) in enumerate(network.activations()):
                part.bound.copy_(torch.linspace(4, 10 + i, len(part.bound)))
            found = export.collect(network.eval(), {})
            model = Model("n.yaml", sft.export.rewrite(network.model, "w", mode))
            self.assertFalse([layer for layer in model.layers if layer.op == "batch_norm"])
            other = Network(model, found, torch.float64)
            pictures = torch.from_numpy(small_data(16)[0])
            self.assertLess(export.largest_difference(network, other, pictures), 1e-6)

    def test_the_comparison_sees_a_wrong_fold(self):
        network = small_network()
        substitute(network, channel_counts(network.eval()), "hermite", 2, 1.0)
        found = export.collect(network.eval(), {})
        found["conv1.bias"][1][0] += 1e-3
        other = Network(Model("n.yaml", sft.export.rewrite(network.model, "w")), found, torch.float64)
        self.assertGreater(export.largest_difference(network, other, torch.from_numpy(small_data(16)[0])), 1e-6)


class Data(unittest.TestCase):
    def test_folders_and_records_are_the_same(self):
        from PIL import Image
        pictures = np.random.default_rng(1).integers(0, 256, (4, 3, 8, 8)).astype(np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            for i, picture in enumerate(pictures):
                where = os.path.join(folder, "train", ("cat", "dog")[i // 2])
                os.makedirs(where, exist_ok=True)
                Image.fromarray(picture.transpose(1, 2, 0)).save(os.path.join(where, "%d.png" % i))
            (found, labels), test = images.load(folder, (3, 8, 8), 2)
            self.assertTrue(np.array_equal(found.numpy(), pictures))
            self.assertEqual((labels.tolist(), test), ([0, 0, 1, 1], None))

    def test_wrong_files_are_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "data_batch_1.bin")
            for content in (b"\0" * 130, b"", b"\5" * 129):
                with open(path, "wb") as f:
                    f.write(content)
                with self.assertRaises(images.DataError):
                    images.load(folder, SHAPE, 3)

    def test_augmentation_moves_and_mirrors(self):
        picture = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).expand(200, 1, 8, 8) + 1
        made = images.augment(picture, np.random.default_rng(1), 1)
        self.assertEqual(len(torch.unique(made, dim=0)), 18)  # 9 places, mirrored or not
        self.assertTrue(any(torch.equal(m, picture[0]) for m in made))


class WholeRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keep = tempfile.TemporaryDirectory()
        cls.folder = cls.keep.name
        cls.data = os.path.join(cls.folder, "data")
        write_data(cls.data)
        cls.source = os.path.join(cls.folder, "m.yaml")
        with open(cls.source, "w", encoding="utf-8") as f:
            f.write(test_plain.TAIL)
        tensors.save(os.path.join(cls.folder, "small.safetensors"), test_plain.small_tensors())

    @classmethod
    def tearDownClass(cls):
        cls.keep.cleanup()

    def train(self, name, *more):
        out = os.path.join(self.folder, name)
        status = sft.main([self.source, self.data, "-o", out, "--batch", "20", "--held-back", "60", "--calibration",
                           "200", "--lr", "0.02", "--no-distil", "--threads", "1", "--seed", "3", "--margin", "1",
                           *more])
        self.assertEqual(status, 0)
        return out

    def simulate(self, folder):
        records = os.path.join(self.data, "test_batch.bin")
        done = subprocess.run([WEFT, "sim", os.path.join(folder, "model.yaml"), records, "--insecure"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_training_export_and_compiler(self):
        """Learns the three kinds, and `weft` finds as many of them as torch"""
        for name, more in (("two", ["--degree", "2"]), ("four", ["--degree", "4", "--padding-mode", "spiral"])):
            out = self.train(name, "--epochs", "6", *more)
            with open(os.path.join(out, "training.csv"), encoding="utf-8") as f:
                rows = list(csv.DictReader(f))
            self.assertEqual([r["epoch"] for r in rows], ["%d" % i for i in range(7)])
            accuracy = float(rows[-1]["test_accuracy"])
            self.assertGreater(accuracy, 0.7)  # guessing finds a third
            written = tensors.load(os.path.join(out, "weights.safetensors"))
            self.assertEqual(written["act.coeff"][0], (3 if name == "two" else 5, 4))
            self.assertEqual(written["layer2.act2.range_held_back"][0], (2, 6))
            found = re.search(r"^top-1 +(\d+) ", self.simulate(out), re.M)
            self.assertIsNotNone(found)
            self.assertAlmostEqual(int(found.group(1)) / 120, accuracy, delta=0.001)

    def test_a_resumed_run_ends_where_a_whole_one_does(self):
        def weights(folder):
            with open(os.path.join(folder, "weights.safetensors"), "rb") as f:
                return f.read()
        whole = self.train("whole", "--epochs", "2")
        real, calls = training.Training.save, []

        def stop_after_the_first(job, path):
            real(job, path)
            calls.append(path)
            raise KeyboardInterrupt
        training.Training.save = stop_after_the_first
        try:
            parts = os.path.join(self.folder, "parts")
            with self.assertRaises(AssertionError):
                self.train("parts", "--epochs", "2")
        finally:
            training.Training.save = real
        self.assertEqual(len(calls), 1)
        self.train("parts", "--epochs", "2", "--resume")
        self.assertEqual(weights(parts), weights(whole))

    def test_mistakes_end_with_status_1(self):
        out = os.path.join(self.folder, "none")
        for arguments in ([self.source, "/nowhere", "-o", out], ["/nowhere.yaml", self.data, "-o", out],
                          [self.source, self.data, "-o", out, "--held-back", "360"],
                          [self.source, self.data, "-o", out, "--held-back", "60", "--batch", "301"]):
            self.assertEqual(sft.main(arguments), 1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: test_training.py WEFT")
    WEFT = os.path.abspath(sys.argv[1])
    sys.exit(test_plain.run(sys.modules["__main__"]))
