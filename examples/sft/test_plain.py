#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of everything that needs no torch: python3 test_plain.py [WEFT]. The last line counts."""
import os
import subprocess
import sys
import tempfile
import unittest

import activation
import plot
import tensors
from model import Model, ModelError, foldable, rewrite

WEFT = None

NETWORK = """# a comment that stays
name: small
input: {shape: [2, 8, 8], range: [0, 1], mean: [0.5, 0.4], std: 0.25}
weights: small.safetensors
blocks:
  basic:
    params: {stride: 1, grow: [0, 0], act: relu}
    layers:
      - {name: conv1, op: conv2d, stride: $stride, padding: 1}
      - {name: bn1, op: batch_norm}  # vanishes
      - {name: act1, op: relu}
      - name: conv2
        op: conv2d
        padding: 1
        bias: false
      - name: bn2
        op: batch_norm
        eps: 0.001
      - {name: shortcut, op: subsample, inputs: input, stride: $stride, channels: $grow}
      - {name: sum, op: add, inputs: [bn2, shortcut]}
      - {name: act2, op: silu}
layers:
  - {name: conv1, op: conv2d, padding: 1}
  - {name: bn1, op: batch_norm}
  - {name: act, op: relu}
  - {name: pool, op: max_pool, kernel: 3, stride: 1, padding: 1}
  - {name: layer1, block: basic, repeat: 2}
  - {name: layer2, block: basic, with: {stride: 2, grow: [1, 1]}}
  - {name: unread, op: batch_norm, inputs: act, weight: false, bias: false}
  - {name: both, op: concat, inputs: [pool, layer1, layer1.0, unread]}
  - {name: mean, op: global_avg_pool, inputs: layer2}
  - {name: flat, op: flatten}
  - {name: linear, op: linear}
"""
TAIL = NETWORK.replace("  - {name: unread, op: batch_norm, inputs: act, weight: false, bias: false}\n"
                       "  - {name: both, op: concat, inputs: [pool, layer1, layer1.0, unread]}\n", "")


def small_tensors():
    """Weights of TAIL from a plain generator"""
    state = [7]

    def numbers(shape, low=-0.4, high=0.4):
        n = 1
        for s in shape:
            n *= s
        values = []
        for _ in range(n):
            state[0] = (state[0] * 1103515245 + 12345) % 2**31
            values.append(low + (high - low) * (state[0] >> 8) / 2**23)
        return tuple(shape), values
    out = {}
    convolutions = [("conv1", 4, 2, "bn1", False)]
    for block, inner, outer in (("layer1.0", 4, 4), ("layer1.1", 4, 4), ("layer2", 4, 6)):
        convolutions += [(block + ".conv1", outer, inner, block + ".bn1", True),
                         (block + ".conv2", outer, outer, block + ".bn2", False)]
    for name, rows, columns, norm, bias in convolutions:
        out[name + ".weight"] = numbers((rows, columns, 3, 3))
        if bias:
            out[name + ".bias"] = numbers((rows,))
        out[norm + ".weight"], out[norm + ".bias"] = numbers((rows,), 0.5, 1.5), numbers((rows,))
        out[norm + ".running_mean"], out[norm + ".running_var"] = numbers((rows,)), numbers((rows,), 0.2, 1.0)
    out["linear.weight"], out["linear.bias"] = numbers((3, 6)), numbers((3,))
    return out


class Polynomials(unittest.TestCase):
    def close(self, found, wanted, digits):
        self.assertEqual(len(found), len(wanted))
        for f, w in zip(found, wanted):
            self.assertAlmostEqual(f, w, digits)

    def test_hermite_has_the_published_powers(self):
        self.close(activation.hermite("relu", 4), [0.149603, 0.5, 0.299207, 0, -0.0166226], 6)
        self.close(activation.hermite("relu", 2), [0.199471, 0.5, 0.199471], 6)
        self.close(activation.hermite("silu", 4), [0.00804749, 0.5, 0.221724, 0, -0.00771692], 6)
        self.close(activation.hermite("silu", 2), [0.0311982, 0.5, 0.175423], 6)

    def test_hermite_has_the_published_errors(self):
        for kind, degree, radius, wanted in (("relu", 4, 3, 0.15), ("relu", 4, 4, 1.3), ("relu", 2, 3, 0.49),
                                             ("silu", 4, 3, 0.034), ("silu", 4, 5, 1.7)):
            powers = activation.hermite(kind, degree)
            errors = (abs(sum(c * t**k for k, c in enumerate(powers)) - activation.function(kind, t))
                      for t in (radius * i / 500 for i in range(-500, 501)))
            self.assertAlmostEqual(max(errors), wanted, 1 if wanted > 1 else 2)

    def test_legendre_has_the_published_powers(self):
        self.close(activation.legendre("silu", 2, 3), [0.0681049, 0.5, 0.1575734], 6)
        self.close(activation.legendre("silu", 4, 5), [0.07044710, 0.5, 0.1701522, 0, -0.003158518], 7)
        self.close(activation.legendre("silu", 2, 10), [0.7736330, 0.5, 0.0493251], 6)

    def test_legendre_of_relu_is_the_closed_form(self):
        for r in (1.0, 3.0, 5.0):  # 3r/32 + t/2 + 15/(32r) t^2
            self.close(activation.legendre("relu", 2, r), [3 * r / 32, 0.5, 15 / (32 * r)], 12)


class Tensors(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "t.safetensors")

    def tearDown(self):
        self.folder.cleanup()

    def test_round_trip(self):
        tensors.save(self.path, {"b": ((2, 3), [0.5 * i for i in range(6)]), "a": ((), [1.25])}, {"seed": 1})
        found = tensors.load(self.path)
        self.assertEqual(list(found), ["a", "b"])
        self.assertEqual(found["b"][0], (2, 3))
        self.assertEqual(list(found["b"][1]), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
        self.assertEqual(list(found["a"][1]), [1.25])

    def test_the_same_tensors_give_the_same_bytes(self):
        tensors.save(self.path, {"a": ((1,), [1]), "b": ((1,), [2])})
        with open(self.path, "rb") as f:
            first = f.read()
        tensors.save(self.path, {"b": ((1,), [2]), "a": ((1,), [1])})
        with open(self.path, "rb") as f:
            self.assertEqual(f.read(), first)

    def test_damaged_files_are_refused(self):
        tensors.save(self.path, {"a": ((2,), [1, 2])})
        with open(self.path, "rb") as f:
            good = f.read()
        for bad in (b"", good[:20], good[:-1], b"\0" * 16, good.replace(b"[2]", b"[3]"), good.replace(b'"a"', b"'a'"),
                    good.replace(b"[0,8]", b"[8,0]"), good.replace(b"[0,8]", b"7    ")):
            with open(self.path, "wb") as f:
                f.write(bad)
            with self.assertRaises(tensors.TensorError):
                tensors.load(self.path)


class Models(unittest.TestCase):
    def test_blocks_unfold_as_the_compiler_does(self):
        model = Model("m.yaml", NETWORK)
        layers = {layer.name: layer for layer in model.layers}
        self.assertEqual(len(layers), 33)  # 4 + 3 blocks of 8 + 5
        self.assertEqual(model.output, "linear")
        self.assertEqual(layers["both"].inputs, ["pool", "layer1.1.act2", "layer1.0.act2", "unread"])
        self.assertEqual(layers["layer1.1.shortcut"].inputs, ["layer1.0.act2"])
        self.assertEqual(layers["layer2.conv1"].keys["stride"], 2)
        self.assertEqual(layers["layer1.0.conv1"].keys["stride"], 1)
        self.assertEqual((model.mean, model.std), ([0.5, 0.4], [0.25, 0.25]))

    def test_only_private_batch_norms_are_folded(self):
        folded = [(before["name"], norm["name"]) for _, _, before, norm in foldable(Model("m.yaml", NETWORK))]
        self.assertEqual(folded, [("conv1", "bn1"), ("conv1", "bn1"), ("conv2", "bn2")])
        shared = NETWORK.replace("inputs: [bn2, shortcut]", "inputs: [bn2, conv2]")
        folded = [(before["name"], norm["name"]) for _, _, before, norm in foldable(Model("m.yaml", shared))]
        self.assertEqual(folded, [("conv1", "bn1"), ("conv1", "bn1")])

    def test_rewriting_changes_what_it_must_and_nothing_else(self):
        wanted = NETWORK
        for old, new in (("      - {name: bn1, op: batch_norm}  # vanishes\n", ""),
                         ("      - name: bn2\n        op: batch_norm\n        eps: 0.001\n", ""),
                         ("  - {name: bn1, op: batch_norm}\n", ""), ("[bn2, shortcut]", "[conv2, shortcut]"),
                         ("bias: false\n", "bias: true\n        padding_mode: spiral\n"),
                         ("op: relu}", "op: poly}"), ("op: silu}", "op: poly}"),
                         ("op: max_pool", "op: avg_pool"), ("small.safetensors", "new.safetensors"),
                         ("stride: $stride, padding: 1}", "stride: $stride, padding: 1, padding_mode: spiral}"),
                         ("conv2d, padding: 1}", "conv2d, padding: 1, padding_mode: spiral}")):
            self.assertIn(old, wanted)
            wanted = wanted.replace(old, new)
        self.assertEqual(rewrite(Model("m.yaml", NETWORK), "new.safetensors", "spiral"), wanted)

    def test_a_rewritten_model_has_the_same_layers(self):
        model = Model("m.yaml", NETWORK)
        text = rewrite(model, "new.safetensors")
        again = Model("n.yaml", text)
        gone = {layer.name for layer in model.layers} - {layer.name for layer in again.layers}
        self.assertEqual(gone, {layer.name for layer in model.layers if layer.op == "batch_norm"} - {"unread"})
        self.assertEqual(rewrite(again, "new.safetensors"), text)

    def test_mistakes_name_their_place(self):
        for change, wanted in ((("op: flatten", "op: flaten"), "m.yaml:32:5: error: unsupported operator 'flaten'"),
                               (("inputs: layer2", "inputs: layer3"), "m.yaml:31:5: error: there is no layer 'layer3'"),
                               (("$grow}", "$grw}"), "m.yaml:19:9: error: there is no parameter 'grw'"),
                               (("block: basic, rep", "block: basc, rep"), "m.yaml:27:5: error: there is no block"),
                               (("layers:\n  - {name: conv1", "layers:\n  - {name: [conv1"), "m.yaml:23:"),
                               (("shape: [2, 8, 8], ", ""), "m.yaml:2:1: error: 'input' needs")):
            self.assertIn(change[0], NETWORK)
            with self.assertRaises(ModelError) as caught:
                Model("m.yaml", NETWORK.replace(*change))
            self.assertTrue(str(caught.exception).startswith(wanted), str(caught.exception))


class Pictures(unittest.TestCase):
    def test_a_plot_has_a_point_for_each_epoch(self):
        rows = [{"epoch": e, "held_back_accuracy": 0.9 + e / 100, "overshoot": 1.0} for e in range(4)]
        self.assertEqual(plot.svg(rows).count("<polyline"), 2)
        self.assertEqual(len(plot.svg(rows).split('points="')[1].split('"')[0].split()), 3)
        self.assertIsNone(plot.svg(rows[:1]))


class Compiler(unittest.TestCase):
    def test_weft_reads_a_rewritten_model(self):
        if WEFT is None:
            self.fail("usage: test_plain.py WEFT")
        with tempfile.TemporaryDirectory() as folder:
            model = Model("m.yaml", TAIL)
            with open(os.path.join(folder, "m.yaml"), "w", encoding="utf-8") as f:
                f.write(rewrite(model, "m.safetensors", "spiral"))
            given = small_tensors()
            given = {k: v for k, v in given.items() if ".bn" not in k and not k.startswith("bn")}
            for layer in model.layers:
                if layer.op == "conv2d":
                    given.setdefault(layer.name + ".bias", (given[layer.name + ".weight"][0][:1],
                                                            [0.1] * given[layer.name + ".weight"][0][0]))
                if layer.op in ("relu", "silu"):
                    given[layer.name + ".coeff"] = ((3,), activation.hermite(layer.op, 2))
            tensors.save(os.path.join(folder, "m.safetensors"), given)
            done = subprocess.run([WEFT, "check", os.path.join(folder, "m.yaml")], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))


RANGES = """name: seen
input: {shape: [2, 3, 3], range: [0, 255]}
weights: seen.safetensors
layers:
  - {name: first, op: poly, coefficients: [0, 1, 0.5]}
  - {name: second, op: square}
"""


class Ranges(unittest.TestCase):
    """`weft ranges` on a network whose first activation reads the picture"""

    def setUp(self):
        self.keep = tempfile.TemporaryDirectory()
        self.folder = self.keep.name
        pixels = [[[(37 * i + 5 * k + 100 * c) % 200 + 3 * c for k in range(9)] for c in range(2)] for i in range(40)]
        self.channels = [sorted(v for picture in pixels for v in picture[c]) for c in range(2)]
        self.above = sum(max(picture[1]) > 150 for picture in pixels)
        with open(os.path.join(self.folder, "images.bin"), "wb") as f:
            for picture in pixels:
                f.write(bytes([0] + picture[0] + picture[1]))
        with open(os.path.join(self.folder, "seen.yaml"), "w", encoding="utf-8") as f:
            f.write(RANGES)

    def tearDown(self):
        self.keep.cleanup()

    def run_weft(self, trained):
        tensors.save(os.path.join(self.folder, "seen.safetensors"), trained)
        done = subprocess.run([WEFT, "ranges", "seen.yaml", "images.bin"], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done, tensors.load(os.path.join(self.folder, "seen.ranges.safetensors"))

    def test_ranges_and_quantiles(self):
        _, found = self.run_weft({"unused": ((1,), [0])})
        self.assertEqual(sorted(found), ["first.quantiles", "first.range", "second.quantiles", "second.range"])
        ends = [v for end in (0, -1) for v in (values[end] for values in self.channels)]
        self.assertEqual((found["first.range"][0], list(found["first.range"][1])), ((2, 2), ends))
        after = [v + v * v / 2 for v in ends]
        self.assertEqual(list(found["second.range"][1]), after)
        shape, quantiles = found["first.quantiles"]
        self.assertEqual(shape, (5, 2))
        for i, share in enumerate((0.001, 0.01, 0.5, 0.99, 0.999)):
            for c, values in enumerate(self.channels):
                wanted = values[max(0, -int(-share * len(values) // 1) - 1)]
                self.assertGreaterEqual(quantiles[2 * i + c], wanted)
                self.assertLessEqual(quantiles[2 * i + c], wanted * 2**(1 / 16) + 1e-4)

    def test_pictures_that_leave_the_range_of_training(self):
        low, high = ([values[end] for values in self.channels] for end in (0, -1))
        inside, _ = self.run_weft({"first.range": ((2, 2), low + high)})
        self.assertRegex(inside.stdout, r"first .* 0\.00 %")
        self.assertRegex(inside.stdout, r"second .* not known")
        self.assertEqual(inside.stderr, "")
        self.assertIn(self.above, range(1, 40))
        near, _ = self.run_weft({"first.range": ((2, 2), low + [high[0], 150])})
        self.assertRegex(near.stdout, r"first .* %.2f %%" % (100 * self.above / 40))
        self.assertEqual(near.stderr, "")
        far, _ = self.run_weft({"first.range": ((2, 2), low + [high[0], 100])})
        self.assertIn("seen.yaml:5:5: warning: layer 'first'", far.stderr)
        self.assertIn("channel 1 reaches %d, trained from %d to 100" % (high[1], low[1]), far.stderr)


def run(module):
    """All tests of a module; the line at the end is what tests/run.sh reads"""
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(module))
    failed = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - failed - len(result.skipped), failed))
    return failed != 0


if __name__ == "__main__":
    WEFT = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else None
    sys.exit(run(sys.modules["__main__"]))
