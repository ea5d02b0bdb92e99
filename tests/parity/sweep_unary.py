"""Functions of one tensor, element by element."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from sweep_case import Case


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def phi(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def single(v):
    """v rounded to float, as Weft's f32 kernels take it."""
    return float(np.float32(v))


# The magnitudes: how far one rounding of an operand of some step moves the result. Where they are
# more than the result's size the comment says which step. x, y: input and output; o: the options.

def by_x(x, y, o):
    return np.abs(y) * (1 + np.minimum(np.abs(x), 100))


def gelu_tanh_inner(x):
    x = np.clip(x, -12, 12)  # farther out the gate is 0 or 1 to the last bit
    return 2 * math.sqrt(2 / math.pi) * (np.abs(x) + 0.044715 * np.abs(x) ** 3)


def gelu_slope(x, y, o):
    x = np.clip(x, -20, 20)
    upper = np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(np.nan_to_num(x))
    return (upper + np.abs(x) * phi(x)) * (1 + x * x)


def gelu_tanh_slope(x, y, o):
    z = np.clip(x, -12, 12)
    u, s = gelu_tanh_inner(x), sigmoid(gelu_tanh_inner(x) * np.sign(x))
    return s * (1 + u) * (1 + np.abs(z) * 1.6 * (1 + 0.14 * z * z))


def mish_slope(x, y, o):
    z = np.minimum(x, 40)
    e = np.exp(z)
    n = e * (e + 2)
    return n / (n + 2) + np.abs(z) * 4 * e * (1 + e) / (n + 2) ** 2


def silu_slope(x, y, o):
    return sigmoid(x) * (1 + np.minimum(np.abs(x), 100))


def one(x, y, o):
    return np.ones_like(x)


# PyTorch's own double is less exact than Weft's here: gelu loses digits beside 1 (1 + erf, 1 + tanh),
# hardsigmoid has a gradient of 1/6 rounded to float.
def exact_gelu(x):
    return x * 0.5 * torch.special.erfc(-x * math.sqrt(0.5))


def exact_hardsigmoid(x):
    return F.relu6(x + 3) / 6


def exact_gelu_tanh(x):
    t = torch.where(x.abs() > 40, 40 * torch.sign(x), x)  # the gate is 0 or 1 there
    return x * torch.sigmoid(2 * math.sqrt(2 / math.pi) * (t + 0.044715 * t ** 3))


# What weft/ops.h says is otherwise: the gradients of mish and gelu_tanh at infinity.
def finite_mish(x):
    return torch.where(x > 40, x, F.mish(torch.where(x > 40, 0, x)))


# op: PyTorch's function of x and the options; roundings and magnitude of the value (None: |y|), the
# same of the slope (None: that of the gradient itself); borders; options.
# exp, log and pow of kernels/simd are within 2, 2 and 3 ulp, of two roundings each; +-*/ and sqrt
# within one. Counts are sums of these along the formulas of activation_lanes.h.
OPS = {
    "relu": (F.relu, 0, None, 1, None, [0]),
    "relu6": (F.relu6, 0, None, 1, None, [0, 6]),
    "sigmoid": (torch.sigmoid, 8, None, 24, lambda x, y, o: y, []),
    "tanh": (torch.tanh, 12, None, 26, one, [1e-4]),
    "silu": (F.silu, 10, None, 30, silu_slope, []),
    "gelu": (exact_gelu, 16, lambda x, y, o: np.abs(y) * (1 + np.minimum(x * x, 400)), 24,
             gelu_slope, []),  # exp(-x x/2): x x is rounded
    "gelu_tanh": (exact_gelu_tanh, 20,
                  lambda x, y, o: np.abs(y) * (1 + gelu_tanh_inner(x)), 40, gelu_tanh_slope, []),
    "hardsigmoid": (exact_hardsigmoid, 3, one, 2, None, [-3, 3]),
    "hardswish": (F.hardswish, 5, lambda x, y, o: np.abs(x), 4, one, [-3, 3]),
    "mish": (finite_mish, 16, None, 30, mish_slope, [20]),
    "neg": (torch.neg, 0, None, 0, None, []),
    "abs": (torch.abs, 0, None, 0, None, [0]),
    "exp": (torch.exp, 4, None, 6, None, [88, -87]),
    "log": (torch.log, 4, None, 2, None, [1]),
    "sqrt": (torch.sqrt, 1, None, 4, None, [0]),
    "rsqrt": (torch.rsqrt, 3, None, 12, None, [0]),
    "reciprocal": (torch.reciprocal, 1, None, 4, None, [0]),
}


def plain(r):
    op = r.choice(list(OPS))
    function, k, size, k_slope, slope_size, borders = OPS[op]
    return build(r, op, function, (), k, size, k_slope, slope_size, borders)


def build(r, op, function, options, k, size, k_slope, slope_size, borders):
    x = r.values(r.shape(0, 4, count=60), borders)
    if op in ("log", "sqrt", "rsqrt", "pow") and r.chance(0.7):
        x = np.abs(x)

    def tolerance(x, y, dy, dx):
        value = np.abs(y[0]) if size is None else size(x[0], y[0], options)
        slope = (np.abs(dx[0]) if slope_size is None
                 else np.abs(dy[0]) * slope_size(x[0], y[0], options))
        # PyTorch's vectors and the elements left over behind them differ in the gradient at NaN.
        free = np.isnan(x[0]) if op in ("relu6", "elu", "hardswish", "hardsigmoid") else None
        return [(k, value), (k_slope, slope, free)]

    return Case(op, [x], function, options, tolerance=tolerance)


def leaky_relu(r):
    a = single(r.choice([0.01, 0.2, 0.0, 1.0, -0.5, 3.0]))
    return build(r, "leaky_relu", lambda x: F.leaky_relu(x, a), (a,), 1, None, 1, None, [0])


def elu(r):
    a = single(r.choice([1.0, 0.5, 2.0, 1.67326]))
    return build(r, "elu", lambda x: F.elu(x, a), (a,), 8, None, 6, None, [0, -1e-4])


def clamp(r):
    low, high = sorted(float(v) for v in np.round(r.normal(2, 2.0) * 4) / 4)
    if r.chance(0.2):
        low = -math.inf
    elif r.chance(0.2):
        high = math.inf
    elif r.chance(0.1):
        low, high = high, low
    borders = [v for v in (low, high) if math.isfinite(v)]
    return build(r, "clamp", lambda x: torch.clamp(x, low, high), (low, high), 0, None, 0, None,
                 borders)


def softplus(r):
    beta, threshold = r.choice([0.5, 1.0, 2.0, 0.25]), r.choice([20.0, 3.0, math.inf, -1.0])

    def value(x, y, o):  # exp(-|beta x|) of a rounded product
        return np.abs(y) * (1 + np.minimum(np.abs(beta * x), 100))

    def slope(x, y, o):
        return np.where(beta * x > threshold, 1,
                        sigmoid(beta * x) * (1 + np.minimum(np.abs(beta * x), 100)))

    # From 600 on the rest is below 1e-260; PyTorch's exp overflows from 709 on.
    return build(r, "softplus", lambda x: F.softplus(x, beta, min(threshold, 600.0)), (beta, threshold), 12,
                 value, 12, slope, [threshold / beta] if math.isfinite(threshold) else [])


def power(r):
    a = single(r.choice([2.0, 3.0, -1.0, 0.5, -0.5, 1.0, 0.0, 1.5, 4.0, -2.0, 5.0, 0.1, 2.7, -3.0,
                         7.3]))

    def slope(x, y, o):  # the exponent a - 1 is rounded
        with np.errstate(all="ignore"):
            part = np.abs(np.nan_to_num(np.log(np.abs(x))))
        return np.abs(a * np.abs(x) ** (a - 1)) * (1 + part) if a else np.zeros_like(x)

    return build(r, "pow", lambda x: torch.pow(x, a), (a,), 6, None, 12, slope, [0, 1, -1])


def scale(r):
    a = single(r.normal(1)[0])
    if r.chance(0.5):
        return build(r, "scale", lambda x: x * a, (a,), 1, None, 1, None, [0])
    return build(r, "add_scalar", lambda x: x + a, (a,), 1, None, 0, None, [-a])


def prelu(r):
    shape = r.shape(1, 4, count=60)
    n = shape[1] if len(shape) > 1 and r.chance(0.6) else 1
    if n == 1 and len(shape) > 1 and r.chance(0.3):
        shape[1] = 1
    per = [0, *range(2, len(shape))] if n > 1 else list(range(len(shape)))

    def tolerance(x, y, dy, dx):
        terms = np.where(x[0] > 0, 0, np.abs(x[0] * dy[0]))
        k = x[0].size + 2
        return [(1, np.abs(y[0])), (1, np.abs(dx[0])),
                (k, terms.sum(axis=tuple(per)).reshape(dx[1].shape))]

    return Case("prelu", [r.values(shape, [0], special=0), r.normal([n])],
                lambda x, w: F.prelu(x, w), grad=(0, 1), tolerance=tolerance)


def bias(r):
    shape = r.shape(2, 4, count=60)
    per = (0, *range(2, len(shape)))

    def tolerance(x, y, dy, dx):
        size = np.abs(x[0]) + np.abs(x[1]).reshape([-1] + [1] * (len(shape) - 2))
        return [(1, size), (0, np.abs(dx[0])), (math.prod(shape), np.abs(dy[0]).sum(axis=per))]

    return Case("bias", [r.values(shape), r.normal([shape[1]])],
                lambda x, b: x + b.reshape([-1] + [1] * (len(shape) - 2)), grad=(0, 1),
                tolerance=tolerance)


def make(r):
    if r.chance(0.65):
        return plain(r)
    return r.choice([leaky_relu, elu, clamp, softplus, power, power, scale, prelu, bias])(r)
