"""Reductions over lists of dimensions, softmax and log_softmax."""

import math

import numpy as np
import torch

from sweep_case import Case, overflowing


def some_dims(r, rank):
    """A list of dimensions, some counted from the end; None: all."""
    if rank == 0 or r.chance(0.2):
        return None
    dims = [d for d in range(rank) if r.chance(0.5)] or [r.integer(0, rank - 1)]
    return [d - rank if r.chance(0.3) else d for d in dims]


def drawn(r):
    shape = r.shape(0, 6, largest=5, count=120)
    if r.chance(0.1):
        shape = [r.integer(1, 3), r.integer(60, 150)]
    return shape, some_dims(r, len(shape))


def axes_of(dims, rank):
    return tuple(range(rank)) if dims is None else tuple(d % rank for d in dims)


def count(shape, dims):
    return math.prod(shape[d] for d in axes_of(dims, len(shape)))


def options_of(dims, keep):
    return [float(keep), *(dims or [])]


def sums(r):
    op, (shape, dims), keep = r.choice(["sum", "mean"]), drawn(r), r.chance(0.5)
    n, axes = count(shape, dims), axes_of(dims, len(shape))
    function = getattr(torch, op)
    divisor = n if op == "mean" else 1

    def tolerance(x, y, dy, dx):
        terms = np.abs(x[0]).sum(axis=axes, keepdims=keep) / divisor
        finite = np.where(np.isfinite(x[0]), np.abs(x[0]), 0).sum(axis=axes, keepdims=keep)
        return [(n + 1, terms, overflowing(finite)), (2 * (divisor > 1), np.abs(dx[0]))]

    return Case(op, [r.values(shape)], lambda x: function(x, dim=axes, keepdim=keep),
                options_of(dims, keep), tolerance=tolerance)


def extremes(r):
    op, (shape, dims), keep = r.choice(["max", "min"]), drawn(r), r.chance(0.5)
    function = torch.amax if op == "max" else torch.amin
    axes = axes_of(dims, len(shape))
    return Case(op, [r.values(shape, [0, 1, 2])],
                lambda x: function(x, dim=axes, keepdim=keep) if x.dim() else function(x),
                options_of(dims, keep),
                tolerance=lambda x, y, dy, dx: [(0, y[0]), (2, np.abs(dx[0]))])


def places(r):
    op = r.choice(["argmax", "argmin"])
    shape = r.shape(0, 6, largest=5, count=120)
    dim = None if not shape or r.chance(0.3) else r.integer(-len(shape), len(shape) - 1)
    keep = r.chance(0.5)
    return Case(op, [r.values(shape, [0, 1, 2])],
                lambda x: getattr(torch, op)(x, dim=dim, keepdim=keep),
                options_of(None if dim is None else [dim], keep), grad=(),
                tolerance=lambda x, y, dy, dx: [(0, y[0])])


def softmaxes(r):
    op, (shape, dims) = r.choice(["softmax", "log_softmax"]), drawn(r)
    axes = axes_of(dims, len(shape))
    n = count(shape, dims)

    def function(x):
        """PyTorch's over one dimension, of the dimensions moved to the end and flattened."""
        rest = [d for d in range(x.dim()) if d not in axes]
        order = [*rest, *axes]
        flat = x.permute(order).reshape([x.shape[d] for d in rest] + [n])
        y = getattr(torch, op)(flat, -1)
        return y.reshape([x.shape[d] for d in order]).permute([order.index(d)
                                                               for d in range(x.dim())])

    # exp(x - max) of a rounded difference, within 2 ulp; the sum of n of them; a division.
    def tolerance(x, y, dy, dx):
        top = x[0].max(axis=axes, keepdims=True)
        distance = np.minimum(np.abs(x[0] - top), 1000)
        p = y[0] if op == "softmax" else np.exp(y[0])
        spread = distance + (p * distance).sum(axis=axes, keepdims=True)
        if op == "softmax":
            inner = np.abs(dy[0] * p).sum(axis=axes, keepdims=True)
            own = p * (np.abs(dy[0]) + inner) * (1 + spread)
            moved = p * (np.abs(dy[0]) * p * (1 + spread)).sum(axis=axes, keepdims=True)
            return [(n + 8, p * (1 + spread)), (2 * n + 20, own + moved)]
        total = np.abs(dy[0]).sum(axis=axes, keepdims=True)
        return [(n + 8, 1 + np.abs(y[0]) + distance + np.abs(np.where(distance, x[0], 0))),
                (2 * n + 12, np.abs(dy[0]) + p * total * (2 + spread + np.abs(top)))]

    return Case(op, [r.values(shape, special=0.2)], function, dims or [], tolerance=tolerance)


def make(r):
    return r.choice([sums, sums, extremes, extremes, places, softmaxes])(r)
