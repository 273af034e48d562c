# SPDX-License-Identifier: Apache-2.0
"""A model file and its weights as a torch network; the polynomial activation with range normalisation."""
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from activation import start
from model import ACTIVATIONS, ModelError

UPPER = 3.0  # the interval of t that a channel's range is mapped to


class BoxedPolynomial(torch.autograd.Function):
    """y = sum_k powers[k] z^k with z = x clamped to factor * bound (factor 0: not at all), and the
    overflow sum ((x - clamp(x, bound)) / bound)^2 / batch. A clamped input gets the gradient of the
    place where it was clamped. Written out by hand because an activation is most of a step's time on
    a CPU: every line here is one pass over the picture, and autograd would make twice as many."""

    @staticmethod
    def forward(ctx, x, powers, bound, factor):
        v = [p.view(1, -1, 1, 1) for p in powers]
        b = bound.view(1, -1, 1, 1)
        inside = torch.minimum(torch.maximum(x, -b), b)
        excess = x - inside
        overflow = (torch.linalg.vector_norm(excess, dim=(0, 2, 3)) / bound).square().sum() / len(x)
        if factor != 1:
            inside = torch.minimum(torch.maximum(x, -factor * b), factor * b) if factor else x
        y = torch.addcmul(v[-2], inside, v[-1])
        for p in v[-3::-1]:
            y.mul_(inside).add_(p)
        ctx.save_for_backward(inside, excess, powers, bound)
        return y, overflow

    @staticmethod
    def backward(ctx, grad_y, grad_overflow):
        z, excess, powers, bound = ctx.saved_tensors
        slopes = [(k * powers[k]).view(1, -1, 1, 1) for k in range(1, len(powers))]
        grad_x = torch.addcmul(slopes[-2], z, slopes[-1])
        for p in slopes[-3::-1]:
            grad_x.mul_(z).add_(p)
        grad_x.mul_(grad_y)
        grad_x.addcmul_(excess, (2 / len(z) * grad_overflow / bound.square()).view(1, -1, 1, 1))
        grad_powers, term = torch.zeros_like(powers), grad_y * z
        grad_powers[0], grad_powers[1] = grad_y.sum((0, 2, 3)), term.sum((0, 2, 3))
        grad_powers[2] = term.mul_(z).sum((0, 2, 3))  # the higher ones are not trained
        return grad_x, grad_powers, None, None


class PolynomialActivation(nn.Module):
    """y = s p(x / s) with s = M / 3 per channel, M the channel's running maximum of |x| times a headroom.

    p begins as the Hermite or Legendre polynomial of the function. Its coefficients up to t^2 are trained
    for each channel; there is no t^3, and the leading one of degree 4 stays as it is: t^4 decides what
    happens outside of the range, and its fourth root divides in the compiled circuit.
    In training the input is clamped to a box, which opens and disappears; in evaluation there is none."""

    def __init__(self, channels, kind, basis, degree, headroom=1.0):
        super().__init__()
        self.kind, self.basis, self.degree, self.headroom = kind, basis, degree, headroom
        first = torch.tensor(start(kind, basis, degree, UPPER))
        self.trained = nn.Parameter(first[:3].repeat(channels, 1).t().contiguous())
        self.register_buffer("fixed", first[3:].repeat(channels, 1).t().contiguous())
        self.register_buffer("bound", torch.ones(channels))
        self.register_buffer("seen", torch.zeros(2, channels))
        self.factor, self.overflow, self.track, self.outside = 0.0, None, False, None

    def scale(self):
        return self.bound * (self.headroom / UPPER)

    def coefficients(self):
        """Powers of x: c_k = p_k / s^(k-1)"""
        s = self.scale()
        p = torch.cat([self.trained, self.fixed])
        return torch.stack([p[k] * s ** (1 - k) for k in range(self.degree + 1)])

    def observe(self, x):
        low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
        self.seen.copy_(torch.stack([torch.minimum(self.seen[0], low), torch.maximum(self.seen[1], high)]))
        self.outside = (x.abs() > self.bound.view(1, -1, 1, 1)).flatten(1).any(1)

    def forward(self, x):
        if self.training:
            y, self.overflow = BoxedPolynomial.apply(x, self.coefficients(), self.bound, self.factor)
            return y
        self.overflow = None
        if self.track:
            self.observe(x)
        return evaluate_polynomial(self.coefficients(), x)


def evaluate_polynomial(powers, x):
    v = [p.view(1, -1, 1, 1) if p.dim() else p for p in powers]
    y = v[-1] * x
    for p in v[-2:0:-1]:
        y = (y + p) * x
    return y + v[0]


class Polynomial(nn.Module):
    """`poly` as the file says it: coefficients [degree + 1, channels] or [degree + 1]"""

    def __init__(self, powers):
        super().__init__()
        self.powers = nn.Parameter(powers)

    def forward(self, x):
        return evaluate_polynomial(self.powers, x)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *x):
        return self.function(*x)


def wrap_pad(x, top, bottom, left, right, mode):
    """Padding as ir/ir.h defines it: circular repeats the picture; spiral reads position (r, c) at
    r * columns + c, modulo the picture's size, so that a row's end continues in the next row."""
    if mode == "zeros":
        return F.pad(x, (left, right, top, bottom))
    if mode == "circular":
        return F.pad(x, (left, right, top, bottom), mode="circular")
    n, channels, rows, columns = x.shape
    flat = x.reshape(n, channels, rows * columns)
    before, after = top * columns + left, bottom * columns + right
    flat = torch.cat([flat[:, :, rows * columns - before:], flat, flat[:, :, :after]], 2)
    return flat.unfold(2, columns + left + right, columns)


class Convolution(nn.Module):
    def __init__(self, weight, bias, stride, dilation, groups, padding, mode):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias) if bias is not None else None
        self.stride, self.dilation, self.groups, self.padding, self.mode = stride, dilation, groups, padding, mode

    def pads(self, x):
        if self.padding != "same":
            return self.padding
        pads = []
        for axis in (0, 1):
            size, stride = x.shape[2 + axis], self.stride[axis]
            span = (self.weight.shape[2 + axis] - 1) * self.dilation[axis] + 1
            total = max(0, ((size + stride - 1) // stride - 1) * stride + span - size)
            pads += [total // 2, total - total // 2]
        return tuple(pads)

    def forward(self, x):
        top, bottom, left, right = self.pads(x)
        plain = self.mode == "zeros" and top == bottom and left == right
        if not plain:
            x = wrap_pad(x, top, bottom, left, right, self.mode)
        return F.conv2d(x, self.weight, self.bias, self.stride, (top, left) if plain else 0, self.dilation, self.groups)


def max_pool(layer):
    kernel, padding = layer.pair("kernel", None), layer.pair("padding", 0)
    stride = layer.pair("stride", list(kernel))
    return lambda x: F.max_pool2d(x, kernel, stride, padding)


def average_pool(layer):
    kernel, padding = layer.pair("kernel", None), layer.pair("padding", 0)
    stride = layer.pair("stride", list(kernel))
    return lambda x: F.avg_pool2d(x, kernel, stride, padding)


def subsample(layer):
    (rows, columns), (before, after) = layer.pair("stride", 1), layer.pair("channels", 0)
    return lambda x: F.pad(x[:, :, ::rows, ::columns], (0, 0, 0, 0, before, after))


FUNCTIONS = {
    "global_avg_pool": lambda layer: lambda x: x.mean((2, 3), keepdim=True),
    "add": lambda layer: lambda *x: sum(x[1:], x[0]),
    "concat": lambda layer: lambda *x: torch.cat(x, 1),
    "flatten": lambda layer: lambda x: x.reshape(len(x), -1, 1, 1),
    "square": lambda layer: torch.square,
    "relu": lambda layer: F.relu,
    "relu6": lambda layer: F.relu6,
    "silu": lambda layer: F.silu,
    "max_pool": max_pool,
    "avg_pool": average_pool,
    "subsample": subsample,
    "upsample_nearest": lambda layer: lambda x: F.interpolate(x, scale_factor=layer.keys["factor"], mode="nearest"),
}


class Network(nn.Module):
    """The layers of a model file in order. All values have four axes, as in Weft."""

    def __init__(self, model, tensors, dtype=torch.float32):
        super().__init__()
        self.model, self.tensors, self.dtype = model, tensors, dtype
        self.modules_by_name = {layer.name: self._make(layer) for layer in model.layers}
        self.parts = nn.ModuleList(self.modules_by_name.values())
        self.uses = {}
        for i, layer in enumerate(model.layers):
            for name in layer.inputs:
                self.uses[name] = i
        del self.tensors

    # ---- from the file ----------------------------------------------------------------------------

    def _tensor(self, layer, key, optional=False):
        given = layer.keys.get(key)
        if given is False:
            return None
        name = given if isinstance(given, str) else "%s.%s" % (layer.name, key)
        if name not in self.tensors:
            if optional and given is None:
                return None
            raise self.model.error(layer.entry, "layer '%s': there is no tensor '%s'" % (layer.name, name))
        shape, values = self.tensors[name]
        return torch.from_numpy(np.array(values, dtype=np.float64).reshape(shape)).to(self.dtype)

    def _make(self, layer):
        if layer.op in FUNCTIONS:
            return Function(FUNCTIONS[layer.op](layer))
        return {"conv2d": self._conv2d, "linear": self._linear, "batch_norm": self._batch_norm,
                "poly": self._poly}[layer.op](layer)

    def _conv2d(self, layer):
        weight, keys = self._tensor(layer, "weight"), layer.keys
        padding = keys.get("padding", 0)
        if isinstance(padding, list):
            padding = tuple(padding) if len(padding) == 4 else (padding[0], padding[0], padding[1], padding[1])
        elif padding != "same":
            padding = (padding,) * 4
        groups = keys.get("groups", 1)
        groups = weight.shape[0] if groups == "depthwise" else groups
        return Convolution(weight, self._tensor(layer, "bias", True), layer.pair("stride", 1),
                           layer.pair("dilation", 1), groups, padding, keys.get("padding_mode", "zeros"))

    def _linear(self, layer):
        weight = self._tensor(layer, "weight")
        return Convolution(weight[:, :, None, None], self._tensor(layer, "bias", True), (1, 1), (1, 1), 1, (0,) * 4,
                           "zeros")

    def _batch_norm(self, layer):
        mean = self._tensor(layer, "running_mean")
        norm = nn.BatchNorm2d(len(mean), eps=float(layer.keys.get("eps", 1e-5)), dtype=self.dtype)
        weight, bias = self._tensor(layer, "weight", True), self._tensor(layer, "bias", True)
        with torch.no_grad():
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(self._tensor(layer, "running_var"))
            norm.weight.copy_(torch.ones_like(mean) if weight is None else weight)
            norm.bias.copy_(torch.zeros_like(mean) if bias is None else bias)
        return norm

    def _poly(self, layer):
        if "coefficients" in layer.keys:
            return Polynomial(torch.tensor([float(c) for c in layer.keys["coefficients"]], dtype=self.dtype))
        powers = self._tensor(layer, "coeff")
        if powers.dim() == 2 and layer.keys.get("coeff_order", "degree") == "channel":
            powers = powers.t().contiguous()
        return Polynomial(powers)

    # ---- running ----------------------------------------------------------------------------------

    def normalise(self, pictures):
        """Bytes as the network sees them, where the network is"""
        pictures = pictures.to(next(self.parameters()).device)
        low, high = self.model.range
        mean, std = (torch.tensor(v, device=pictures.device).view(1, -1, 1, 1)
                     for v in (self.model.mean, self.model.std))
        raw = low + pictures.float() * ((high - low) / 255)
        return ((raw - mean) / std).contiguous(memory_format=torch.channels_last)

    def forward(self, x, keep=()):
        """The logits; with `keep`, also the results of the named layers"""
        values, kept = {"input": x}, []
        for i, layer in enumerate(self.model.layers):
            values[layer.name] = self.modules_by_name[layer.name](*[values[name] for name in layer.inputs])
            for name in layer.inputs:
                if self.uses[name] == i and name not in keep and name != self.model.output:
                    values.pop(name, None)
        kept = [values[name] for name in keep]
        logits = values[self.model.output].flatten(1)
        return (logits, kept) if keep else logits

    def activations(self):
        return [(layer.name, self.modules_by_name[layer.name]) for layer in self.model.layers
                if isinstance(self.modules_by_name[layer.name], PolynomialActivation)]


def channel_counts(network):
    """Name -> channels of every layer's result"""
    shapes = {}
    x = network.normalise(torch.zeros((1,) + network.model.shape, dtype=torch.uint8))
    values = {"input": x}
    with torch.no_grad():
        for layer in network.model.layers:
            values[layer.name] = network.modules_by_name[layer.name](*[values[name] for name in layer.inputs])
            shapes[layer.name] = tuple(values[layer.name].shape[1:])
    return shapes


def substitute(network, shapes, basis, degree, headroom, padding_mode=None):
    """Replaces what is no polynomial: activations by polynomials, max pooling by average pooling"""
    found = 0
    for i, layer in enumerate(network.model.layers):
        part = network.modules_by_name[layer.name]
        if layer.op in ACTIVATIONS:
            part = PolynomialActivation(shapes[layer.name][0], layer.op, basis, degree, headroom)
            found += 1
        elif layer.op == "max_pool":
            part = Function(average_pool(layer))
        elif layer.op == "conv2d" and padding_mode and part.padding != (0,) * 4:
            part.mode = padding_mode
        network.modules_by_name[layer.name] = network.parts[i] = part
    if not found:
        raise ModelError("%s: error: no layer is a %s: there is nothing to replace"
                         % (network.model.path, " or ".join(ACTIVATIONS)))
