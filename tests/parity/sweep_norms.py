"""layer_norm, group_norm and batch_norm."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from sweep_case import Case

# How far roundings move a normalised value, xhat = (x - mean) s, s = 1/sqrt(var + eps), n elements
# a group, all in units of one rounding u:
#   the mean is off by at most e = n avg|x|; so is every x - mean, and by |x - mean| itself;
#   the mean of squares of what is off by e is off by at most (n + 4) var + e^2 u, so s is off by half
#   of that share of var + eps, and three roundings: rho = (n + 4)/2 + e^2 u s^2 / 2 + 3;
#   so xhat is off by at most d = e s + |xhat| (rho + 2).
# The gradient s (g - avg g - xhat avg(g xhat)), g = gamma dy, follows term by term.
UNIT = 2.0 ** -24


class Group:
    """x, g: (groups, n) in double."""

    def __init__(self, x, eps, fixed=None):
        n = x.shape[1]
        self.n, self.x = n, x
        mean, var = fixed if fixed else (x.mean(1, keepdims=True), x.var(1, keepdims=True))
        self.s = 1 / np.sqrt(var + eps)
        self.xhat = (x - mean) * self.s
        e = n * np.abs(x).mean(1, keepdims=True)
        self.rho = (n + 4) / 2 + e * e * UNIT * self.s ** 2 / 2 + 3
        if fixed:  # s x + (beta - mean s)
            e, self.rho = 4 * (np.abs(mean) + np.abs(x)), 3
        self.off = e * self.s + np.abs(self.xhat) * (self.rho + 2)

    def gradient(self, g):
        """The error of the gradient of x, of g = gamma dy, which is off by a rounding itself."""
        def avg(v):
            return v.mean(1, keepdims=True)
        a, xhat = np.abs(g), np.abs(self.xhat)
        product = avg(a * xhat)
        own = (a + avg(a) + xhat * product) * (self.rho + self.n + 6)
        return self.s * (own + self.off * product + xhat * avg(a * self.off))


def finished(shape, group, back, x, y, dy, dx, gamma, affine_axes):
    """The tolerances of y, dx and the gradients of gamma and beta that are there."""
    scale = 1 if gamma is None else np.abs(gamma)
    off = back(group.off)
    value = scale * off + np.abs(y[0]) + sum(np.abs(v) for v in x[2:3])
    result = [(1, value), (1, back(group.gradient(group.g)))]
    n = math.prod(shape[a] for a in affine_axes)
    if len(dx) > 1:
        size = np.abs(dy[0]) * (off + (n + 2) * np.abs(back(group.xhat)))
        result.append((1, size.sum(axis=affine_axes)))
    if len(dx) > 2:
        result.append((n, np.abs(dy[0]).sum(axis=affine_axes)))
    return result


def spread(r, shape):
    """x whose mean is not far beyond its deviation, of which the bound above would tell little."""
    scale = 10.0 ** r.g.uniform(-1, 1)
    x = r.normal(shape) * scale + r.g.normal() * scale
    if r.chance(0.05):
        x = np.full(shape, r.g.normal())
    x = x.astype(np.float32)
    if r.chance(0.05):
        x.flat[r.integer(0, x.size - 1)] = r.choice([math.nan, math.inf])
    return x


def parameters(r, shape):
    """Nothing, gamma, or gamma and beta."""
    return [r.normal(shape) for _ in range(r.integer(0, 2))]


def layer_norm(r):
    shape = r.shape(1, 5, largest=6, count=200)
    last = r.integer(1, len(shape))
    normalised = shape[-last:]
    eps = r.choice([1e-5, 1e-3, 1e-2])
    inputs = [spread(r, shape), *parameters(r, normalised)]

    def function(x, gamma=None, beta=None):
        return F.layer_norm(x, normalised, gamma, beta, eps)

    def tolerance(x, y, dy, dx):
        n = math.prod(normalised)
        gamma = x[1] if len(x) > 1 else None
        group = Group(x[0].reshape(-1, n), eps)
        group.g = (dy[0] * (1 if gamma is None else gamma)).reshape(-1, n)
        padded = [x[0], None if gamma is None else gamma, *x[2:]]
        return finished(shape, group, lambda v: v.reshape(shape), padded, y, dy, dx, gamma,
                        tuple(range(len(shape) - last)))

    return Case("layer_norm", inputs, function, [eps, last], range(len(inputs)), tolerance)


def per_channel(v, rank):
    return v.reshape([1, -1] + [1] * (rank - 2))


def group_norm(r):
    shape = r.shape(3, 5, largest=5, count=200)
    groups = r.integer(1, 3)
    shape[1] = groups * r.integer(1, 4)
    eps = r.choice([1e-5, 1e-3, 1e-2])
    inputs = [spread(r, shape), *parameters(r, [shape[1]])]

    def function(x, gamma=None, beta=None):
        return F.group_norm(x, groups, gamma, beta, eps)

    def tolerance(x, y, dy, dx):
        rows = shape[0] * groups
        gamma = per_channel(x[1], len(shape)) if len(x) > 1 else None
        group = Group(x[0].reshape(rows, -1), eps)
        group.g = (dy[0] * (1 if gamma is None else gamma)).reshape(rows, -1)
        padded = [x[0], gamma, *(per_channel(v, len(shape)) for v in x[2:])]
        return finished(shape, group, lambda v: v.reshape(shape), padded, y, dy, dx, gamma,
                        (0, *range(2, len(shape))))

    if math.prod(shape) == shape[0] * groups:
        shape[-1] += 1
        inputs[0] = spread(r, shape)
    return Case("group_norm", inputs, function, [eps, groups], range(len(inputs)), tolerance)


def batch_norm(r):
    shape = r.shape(4, 4, largest=6, count=250)
    if r.chance(0.3):
        shape = [r.integer(2, 9), r.integer(1, 9)]
    if math.prod(shape) == shape[1]:
        shape[0] += 1
    eps, momentum = r.choice([1e-5, 1e-3, 1e-2]), r.choice([0.1, 0.25, 1.0, 0.0])
    training, affine = r.chance(0.7), r.chance(0.7)
    c, rank = shape[1], len(shape)
    inputs = [spread(r, shape)] + ([r.normal([c]), r.normal([c])] if affine else [])
    inputs += [r.normal([c]), np.abs(r.normal([c])) + np.float32(0.5)]
    kept = []

    def function(x, *rest):
        gamma, beta = rest[:2] if affine else (None, None)
        kept[:] = [t.detach().clone() for t in rest[-2:]]
        return F.batch_norm(x, kept[0], kept[1], gamma, beta, training, momentum, eps)

    def tolerance(x, y, dy, dx):
        def rows(v):
            return np.moveaxis(v, 1, 0).reshape(c, -1)

        def back(v):
            return np.moveaxis(v.reshape([c] + [d for i, d in enumerate(shape) if i != 1]), 0, 1)
        flat = rows(x[0])
        group = Group(flat, eps, None if training else (x[-2].reshape(c, 1), x[-1].reshape(c, 1)))
        gamma = per_channel(x[1], rank) if affine else None
        group.g = rows(dy[0] * (1 if gamma is None else gamma))
        padded = [x[0], gamma, *([per_channel(x[2], rank)] if affine else [])]
        result = finished(shape, group, back, padded, y, dy, dx, gamma, (0, *range(2, rank)))
        if not training:
            result[1] = (8, np.abs(dx[0]))
        n = flat.shape[1]
        e = n * np.abs(flat).mean(1)
        var = flat.var(1) * n / max(n - 1, 1)
        # weft/ops.h: a batch with an infinite number may leave the running mean NaN.
        free = ~np.isfinite(flat).all(axis=1)
        result.append((momentum and training, e + 3 * np.abs(x[-2]), free))
        result.append((momentum and training, (n + 7) * var + e * e * UNIT + 3 * x[-1]))
        return result

    return Case("batch_norm", inputs, function, [eps, momentum, training, affine],
                range(3 if affine else 1), tolerance, lambda: [t.numpy() for t in kept])


def make(r):
    return r.choice([layer_norm, group_norm, batch_norm])(r)
