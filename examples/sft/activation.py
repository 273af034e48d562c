# SPDX-License-Identifier: Apache-2.0
"""The starting polynomials, as powers of t. Nothing here needs torch.

`hermite` is the expansion in probabilists' Hermite polynomials under N(0, 1), cut off after the degree,
with the coefficients of Peregrine's single-stage fine-tuning (He3 is zero for both functions).
`legendre` is the least-squares polynomial on [-R, R]: the expansion in Legendre polynomials there."""
import math

# Coefficients of the normalised He0, He1, He2, He4
HERMITE = {"relu": (0.39894228, 0.5, 0.28209479, -0.08143375), "silu": (0.20662096, 0.5, 0.24808519, -0.03780501)}


def function(kind, x):
    if kind == "relu":
        return max(x, 0.0)
    if kind == "relu6":
        return min(max(x, 0.0), 6.0)
    return x / (1 + math.exp(-x)) if x > -700 else 0.0


def hermite(kind, degree):
    """Powers of t: a0 + a1 t + a2/sqrt(2) (t^2 - 1) + a4/sqrt(24) (t^4 - 6 t^2 + 3)"""
    a0, a1, a2, a4 = HERMITE["relu" if kind == "relu6" else kind]
    a2, a4 = a2 / math.sqrt(2), a4 / math.sqrt(24) if degree == 4 else 0.0
    powers = [a0 - a2 + 3 * a4, a1, a2 - 6 * a4, 0.0, a4]
    return powers[:degree + 1]


def _legendre_powers(n):
    """P_n as powers, by (k+1) P_(k+1) = (2k+1) t P_k - k P_(k-1)"""
    before, current = [0.0], [1.0]
    for k in range(n):
        shifted = [0.0] + [(2 * k + 1) * c for c in current]
        before = [k * c for c in before] + [0.0] * (len(shifted) - len(before))
        before, current = current, [(s - b) / (k + 1) for s, b in zip(shifted, before)]
    return current


def _gauss_legendre(n):
    """Nodes and weights on [-1, 1]: Newton's iteration from the usual first guess"""
    nodes = []
    for i in range(n):
        x = math.cos(math.pi * (i + 0.75) / (n + 0.5))
        for _ in range(100):
            p0, p1 = 1.0, x
            for k in range(1, n):
                p0, p1 = p1, ((2 * k + 1) * x * p1 - k * p0) / (k + 1)
            slope = n * (x * p1 - p0) / (x * x - 1)
            step = p1 / slope
            x -= step
            if abs(step) < 1e-15:
                break
        nodes.append((x, 2 / ((1 - x * x) * slope * slope)))
    return nodes


def legendre(kind, degree, radius):
    """Least squares on [-radius, radius]. Halves are integrated apart: ReLU has a corner at 0."""
    nodes = _gauss_legendre(40)
    powers = [0.0] * (degree + 1)
    for n in range(degree + 1):
        basis = _legendre_powers(n)
        value = 0.0
        for half in (-1, 1):
            for x, w in nodes:
                t = (x + half) / 2
                value += w / 2 * function(kind, radius * t) * sum(c * t**k for k, c in enumerate(basis))
        for k, c in enumerate(basis):
            powers[k] += value * (2 * n + 1) / 2 * c / radius**k
    return powers


def start(kind, basis, degree, radius):
    return hermite(kind, degree) if basis == "hermite" else legendre(kind, degree, radius)
