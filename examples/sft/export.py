# SPDX-License-Identifier: Apache-2.0
"""From the fine-tuned network to files that `weft build` reads: batch norms and ranges folded, checked."""
import array
import copy
import math
import os

import torch

import tensors
import training
from model import Model, ModelError, foldable, rewrite
from network import Network, PolynomialActivation

TOLERANCE = 1e-6  # of the folded network in double precision, against the largest logit


def double_tensor(value):
    value = value.detach().double().cpu().contiguous()
    return tuple(value.shape), array.array("d", value.flatten().tolist())


def tensor_name(layer, key):
    given = layer.keys.get(key)
    return given if isinstance(given, str) else "%s.%s" % (layer.name, key)


class Collector:
    """Tensors by name; one name for two different tensors would make a wrong network"""

    def __init__(self, model):
        self.model, self.tensors = model, {}

    def add(self, layer, key, value):
        name, value = tensor_name(layer, key), double_tensor(value)
        if self.tensors.setdefault(name, value) != value:
            raise self.model.error(layer.entry, "layer '%s': the tensor '%s' belongs to another layer too, and what "
                                   "is folded into it differs" % (layer.name, name))


def folded_into(model):
    """Name of a convolution -> name of the batch norm that is folded into it"""
    norms = {id(norm) for _, _, _, norm in foldable(model)}
    return {layer.inputs[0]: layer.name for layer in model.layers if id(layer.entry) in norms}


def fold(convolution, norm):
    """Weight and bias of both in one"""
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = -norm.running_mean.double()
    if convolution.bias is not None:
        bias = bias + convolution.bias.double()
    return convolution.weight.double() * factor.view(-1, 1, 1, 1), bias * factor + norm.bias.double()


def collect(network, ranges):
    """All tensors of the rewritten model, in double precision. `ranges`: key -> layer -> [2][channels]"""
    model, out, folds = network.model, Collector(network.model), folded_into(network.model)
    for layer in model.layers:
        part = network.modules_by_name[layer.name]
        if layer.op in ("conv2d", "linear"):
            weight, bias = part.weight, part.bias
            if layer.name in folds:
                weight, bias = fold(part, network.modules_by_name[folds[layer.name]])
            out.add(layer, "weight", weight.flatten(1) if layer.op == "linear" else weight)
            if bias is not None:
                out.add(layer, "bias", bias)
        elif layer.op == "batch_norm" and layer.name not in folds.values():
            for key in ("weight", "bias", "running_mean", "running_var"):
                if layer.keys.get(key) is not False:
                    out.add(layer, key, getattr(part, key))
        elif isinstance(part, PolynomialActivation):
            out.add(layer, "coeff", part.coefficients())
            for key, values in ranges.items():
                out.add(layer, key, values[layer.name])
        elif layer.op == "poly" and "coefficients" not in layer.keys:
            channels_first = layer.keys.get("coeff_order") == "channel" and part.powers.dim() == 2
            out.add(layer, "coeff", part.powers.t() if channels_first else part.powers)
    return out.tensors


@torch.no_grad()
def largest_difference(network, other, pictures):
    """Between the logits of two networks in double precision, relative to the largest logit"""
    network, other = (copy.deepcopy(n).cpu().double().eval() for n in (network, other))
    x = network.normalise(pictures.cpu()).double()
    a, b = network(x), other(x)
    return ((a - b).abs().max() / a.abs().max()).item()


def observed(network, data):
    """Ranges of every polynomial's input, accuracy, share of images outside the box, finite ones"""
    accuracy, outside, finite = training.evaluate(network, data, True)
    return {name: part.seen.clone() for name, part in network.activations()}, accuracy, outside, finite


def beyond(ranges, wider):
    """How far, at worst, values leave the first ranges; 1 is not at all"""
    worst = 1.0
    for name, inner in ranges.items():
        size = inner.abs().amax(0).clamp_min(1e-6)
        worst = max(worst, (wider[name].abs().amax(0) / size).max().item())
    return worst


def export(network, folder, data, held_back, test, padding_mode, metadata):
    """Writes model.yaml and weights.safetensors, reads them back and compares; returns the lines of a report."""
    network.eval()
    seen, train_accuracy, _, _ = observed(network, data)
    held_seen, held_accuracy, _, _ = observed(network, held_back)
    lines = ["training images    %6.2f %%" % (100 * train_accuracy),
             "held-back images   %6.2f %%" % (100 * held_accuracy),
             "their activations reach at most %.2f times the range of the training images" % beyond(seen, held_seen)]
    if test:
        test_seen, accuracy, outside, finite = observed(network, test)
        lines.append("test images        %6.2f %% of %d, %d finite, no clamp" % (100 * accuracy, len(test[1]), finite))
        lines.append("%.2f %% of them have an activation outside of the box of training; at most %.2f times the "
                     "range of the training images" % (100 * outside, beyond(seen, test_seen)))
        metadata = {**metadata, "test_accuracy": "%.4f" % accuracy}
    found = collect(network, {"range": seen, "range_held_back": held_seen})
    text = "# Polynomials of degree %d in place of activations: written by examples/sft/sft.py, seed %d\n" \
        % (metadata["degree"], metadata["seed"]) + rewrite(network.model, "weights.safetensors", padding_mode)
    exact = Network(Model("model.yaml", text), found, torch.float64)
    difference = largest_difference(network, exact, held_back[0][:64])
    if not difference <= TOLERANCE:
        raise ModelError("%s: error: the folded network differs from the trained one by %g of the largest logit"
                         % (network.model.path, difference))
    path = os.path.join(folder, "model.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    tensors.save(os.path.join(folder, "weights.safetensors"), found, metadata)
    with open(path, encoding="utf-8") as f:
        written = Network(Model(path, f.read()), tensors.load(os.path.join(folder, "weights.safetensors")))
    rounded = largest_difference(network, written, held_back[0][:64])
    if not math.isfinite(rounded):
        raise ModelError("%s: error: the network that was written is not finite" % path)
    lines.append("folding differs by %.1e of the largest logit, rounding of the file to 32 bits by %.1e"
                 % (difference, rounded))
    return lines
