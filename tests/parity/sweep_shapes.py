"""Ops that move elements: nothing is rounded, but where a gradient adds."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from sweep_case import Case


def exact(x, y, dy, dx):
    return [(0, v) for v in y] + [(1, np.abs(d)) for d in dx]


def drawn(r, low=1, high=6):
    shape = r.shape(low, high, largest=5, count=150)
    return shape, r.values(shape)


def signed(r, dim, rank):
    return dim - rank if r.chance(0.3) else dim


def permute(r):
    shape, x = drawn(r, 1)
    order = [int(d) for d in r.g.permutation(len(shape))]
    options = [signed(r, d, len(shape)) for d in order]
    return Case("permute", [x], lambda x: x.permute(order), options, tolerance=exact)


def transpose(r):
    shape, x = drawn(r)
    a, b = (r.integer(-len(shape), len(shape) - 1) for _ in range(2))
    return Case("transpose", [x], lambda x: x.transpose(a, b), [a, b], tolerance=exact)


def reshape(r):
    shape, x = drawn(r, 0)
    to, left = [], math.prod(shape)
    while len(to) < 5 and (left > 1 or r.chance(0.4)):
        divisors = [d for d in range(1, left + 1) if left % d == 0]
        to.append(r.choice(divisors))
        left //= to[-1]
    if left > 1:
        to.append(left)
    if to and r.chance(0.4):
        to[r.integer(0, len(to) - 1)] = -1
    return Case("reshape", [x], lambda x: x.reshape(to), to, tolerance=exact)


def flatten(r):
    shape, x = drawn(r)
    start = r.integer(-len(shape), len(shape) - 1)
    return Case("flatten", [x], lambda x: x.flatten(start), [start], tolerance=exact)


def split(r):
    shape, x = drawn(r)
    dim = r.integer(0, len(shape) - 1)
    sizes, left = [], shape[dim]
    while left:
        sizes.append(r.integer(1, left))
        left -= sizes[-1]
    options = [signed(r, dim, len(shape)), *sizes]
    return Case("split", [x], lambda x: x.split(sizes, dim), options, tolerance=exact)


def chunk(r):
    shape, x = drawn(r)
    dim = r.integer(0, len(shape) - 1)
    n = r.integer(1, shape[dim])
    return Case("chunk", [x], lambda x: x.chunk(n, dim), [signed(r, dim, len(shape)), n],
                tolerance=exact)


def concat(r):
    shape, _ = drawn(r)
    dim, n = r.integer(0, len(shape) - 1), r.integer(1, 5)
    inputs = []
    for _ in range(n):
        own = list(shape)
        own[dim] = r.integer(1, 4)
        inputs.append(r.values(own))
    return Case("concat", inputs, lambda *x: torch.cat(x, dim), [signed(r, dim, len(shape))],
                grad=range(n), tolerance=exact)


def stack(r):
    shape, _ = drawn(r, 0, 5)
    dim, n = r.integer(-len(shape) - 1, len(shape)), r.integer(1, 5)
    return Case("stack", [r.values(shape) for _ in range(n)], lambda *x: torch.stack(x, dim), [dim],
                grad=range(n), tolerance=exact)


def sliced(r):
    shape, x = drawn(r)
    dim = r.integer(0, len(shape) - 1)
    size = shape[dim]
    while True:
        start, stop, step = r.integer(-size - 1, size), r.integer(-size - 1, size + 2), r.integer(1, 3)
        if len(range(size)[start:stop:step]):
            break
    if r.chance(0.2) and len(range(size)[start::step]):
        stop = None
    index = tuple([slice(None)] * dim + [slice(start, stop, step)])
    options = [signed(r, dim, len(shape)), start, 1e18 if stop is None else stop, step]
    return Case("slice", [x], lambda x: x[index], options, tolerance=exact)


def narrow(r):
    shape, x = drawn(r)
    dim = r.integer(0, len(shape) - 1)
    start = r.integer(0, shape[dim] - 1)
    length = r.integer(1, shape[dim] - start)
    return Case("narrow", [x], lambda x: x.narrow(dim, start, length),
                [signed(r, dim, len(shape)), start, length], tolerance=exact)


def one_hot(r):
    shape = r.shape(0, 5, largest=4, count=60)
    classes = r.integer(1, 9)
    y = r.g.integers(0, classes, size=shape, dtype=np.int64)
    return Case("one_hot", [np.asarray(y)], lambda y: F.one_hot(y, classes), [classes], grad=(),
                tolerance=exact)


def channel_shuffle(r):
    shape, _ = drawn(r, 3, 5)
    groups = r.integer(1, 4)
    shape[1] = groups * r.integer(1, 5)
    return Case("channel_shuffle", [r.values(shape)], lambda x: F.channel_shuffle(x, groups),
                [groups], tolerance=exact)


def make(r):
    return r.choice([permute, permute, transpose, reshape, flatten, split, chunk, concat, stack,
                     sliced, sliced, narrow, one_hot, channel_shuffle])(r)
