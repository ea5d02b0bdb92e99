"""Tensors without elements, where PyTorch takes them: nothing is rounded, since every result is
empty, zeros or NaN; concat's other inputs are copied."""

import numpy as np
import torch
import torch.nn.functional as F

import sweep_binary
from sweep_case import Case
from sweep_reduce import axes_of, options_of, some_dims
from sweep_shapes import exact


def zeros(r, low, high):
    """A shape of which some dimensions are 0."""
    shape = r.shape(low, high, largest=4, count=60)
    for i in range(len(shape)):
        if r.chance(0.3):
            shape[i] = 0
    if 0 not in shape:
        shape[r.integer(0, len(shape) - 1)] = 0
    return shape


def unary(r):
    op = r.choice(["relu", "exp", "log", "neg", "tanh", "silu"])
    function = getattr(F if op in ("relu", "silu") else torch, op)
    return Case(op, [r.values(zeros(r, 1, 5))], function, tolerance=exact)


def binary(r):
    full = zeros(r, 1, 6)
    a, b = ([d if d != 0 and r.chance(0.7) or r.chance(0.5) else 1 for d in full] for _ in range(2))
    for i, d in enumerate(full):
        if d == 0 and 0 not in (a[i], b[i]):
            a[i] = 0
    op = r.choice(["add", "sub", "mul", "div", "maximum", "pow_tensor"])
    return Case(op, [r.values(a), r.values(b)], sweep_binary.OPS[op][0], grad=(0, 1), tolerance=exact)


def reduction(r):
    op, shape, keep = r.choice(["sum", "mean"]), zeros(r, 1, 5), r.chance(0.5)
    dims = some_dims(r, len(shape))
    axes = axes_of(dims, len(shape))
    return Case(op, [r.values(shape)], lambda x: getattr(torch, op)(x, dim=axes, keepdim=keep),
                options_of(dims, keep), tolerance=exact)


def extreme(r):
    """Along a dimension that is there."""
    shape = zeros(r, 2, 5)
    there = [i for i, d in enumerate(shape) if d]
    if not there:
        return reduction(r)
    dim, keep = r.choice(there), r.chance(0.5)
    return Case("max", [r.values(shape)], lambda x: torch.amax(x, dim, keepdim=keep),
                options_of([dim], keep), tolerance=exact)


def softmax(r):
    shape = zeros(r, 1, 5)
    dim = r.integer(0, len(shape) - 1)
    op = r.choice(["softmax", "log_softmax"])
    return Case(op, [r.values(shape)], lambda x: getattr(torch, op)(x, dim), [dim], tolerance=exact)


def moved(r):
    shape = zeros(r, 2, 5)
    x = r.values(shape)
    if r.chance(0.5):
        order = [int(d) for d in r.g.permutation(len(shape))]
        return Case("permute", [x], lambda x: x.permute(order), order, tolerance=exact)
    to = [0, r.integer(1, 4)] if r.chance(0.5) else [r.integer(0, 3), 2, 0]
    return Case("reshape", [x], lambda x: x.reshape(to), to, tolerance=exact)


def concat(r):
    shape = r.shape(1, 5, largest=3, count=40)
    dim, n = r.integer(0, len(shape) - 1), r.integer(1, 4)
    if r.chance(0.2):
        shape[r.integer(0, len(shape) - 1)] = 0
    inputs = []
    for _ in range(n):
        shape = list(shape)
        shape[dim] = r.choice([0, 0, 1, 2])
        inputs.append(r.values(shape))
    return Case("concat", inputs, lambda *x: torch.cat(x, dim), [dim], grad=range(n),
                tolerance=exact)


def linear(r):
    lead, n_in, n_out = zeros(r, 1, 3), r.integer(1, 6), r.integer(1, 5)
    if r.chance(0.3):  # sums of no products
        lead, n_in = r.shape(1, 3, largest=3), 0
    inputs = [r.normal([*lead, n_in]), r.normal([n_out, n_in])]
    if r.chance(0.6):
        inputs.append(r.normal([n_out]))


    def tolerance(x, y, dy, dx):  # the bias is added, and its gradient a sum
        sums = np.abs(dy[0]).reshape(-1, n_out).sum(axis=0)
        return exact(x, y, dy, dx[:2]) + [(60, sums)][:len(dx) - 2]

    return Case("linear", inputs, F.linear, grad=range(len(inputs)), tolerance=tolerance)


def images(r):
    """No images, of some size."""
    c, k, size = r.integer(1, 5), r.integer(1, 5), [r.integer(3, 7), r.integer(3, 7)]
    x = r.normal([0, c, *size])
    op = r.choice(["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
                   "upsample2d"])
    if op == "conv2d":
        return Case(op, [x, r.normal([k, c, 3, 3]), r.normal([k])],
                    lambda x, w, b: F.conv2d(x, w, b, 1, 1), [1, 1, 1, 1, 1, 1, 1], range(3), exact)
    if op == "conv_transpose2d":
        return Case(op, [x, r.normal([c, k, 3, 3]), r.normal([k])],
                    lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1),
                    [2, 2, 1, 1, 1, 1, 1, 1, 1], range(3), exact)
    if op == "max_pool2d":
        return Case(op, [x], lambda x: F.max_pool2d(x, 2), [2, 2, 2, 2, 0, 0, 1, 1, 0, 1],
                    tolerance=exact)
    if op == "avg_pool2d":
        return Case(op, [x], lambda x: F.avg_pool2d(x, 2), [2, 2, 2, 2, 0, 0, 1, 1, 0, 1],
                    tolerance=exact)
    if op == "adaptive_avg_pool2d":
        return Case(op, [x], lambda x: F.adaptive_avg_pool2d(x, (2, 1)), [2, 1], tolerance=exact)
    return Case(op, [x], lambda x: F.interpolate(x, size=(9, 5)), [9, 5, 0, 0], tolerance=exact)


def loss(r):
    op, how, shape = r.choice(["mse_loss", "l1_loss"]), r.integer(0, 2), zeros(r, 1, 4)
    names = ("mean", "sum", "none")
    return Case(op, [r.normal(shape), r.normal(shape)],
                lambda a, b: getattr(F, op)(a, b, reduction=names[how]), [how], (0, 1), exact)


def layer_norm(r):
    n = r.integer(1, 5)
    shape = [*zeros(r, 1, 3), n]
    return Case("layer_norm", [r.normal(shape), r.normal([n]), r.normal([n])],
                lambda x, g, b: F.layer_norm(x, [n], g, b, 1e-5), [1e-5, 1], range(3), exact)


def batch_norm(r):
    """The running statistics stay; the gradients of gamma and beta are zeros."""
    c = r.integer(1, 5)
    shape = [0, c] if r.chance(0.3) else r.choice([[0, c, 3, 2], [2, c, 0, 3], [3, c, 2, 0]])
    training, affine = r.chance(0.7), r.chance(0.7)
    inputs = [r.normal(shape)] + ([r.normal([c]), r.normal([c])] if affine else [])
    inputs += [r.normal([c]), np.abs(r.normal([c])) + np.float32(0.5)]
    kept = []

    def function(x, *rest):
        gamma, beta = rest[:2] if affine else (None, None)
        kept[:] = [t.detach().clone() for t in rest[-2:]]
        return F.batch_norm(x, kept[0], kept[1], gamma, beta, training, 0.25, 1e-5)

    def tolerance(x, y, dy, dx):
        return exact(x, y, dy, dx) + [(0, t.numpy()) for t in kept]

    return Case("batch_norm", inputs, function, [1e-5, 0.25, training, affine],
                range(3 if affine else 1), tolerance, lambda: [t.numpy() for t in kept])


def classes(r):
    """No rows."""
    k, how, op = r.integer(0, 5), r.integer(0, 2), r.choice(["nll_loss", "cross_entropy", "soft"])
    names = ("mean", "sum", "none")
    smoothing = r.choice([0.0, 0.25]) if k else 0.0  # torch's sum of nothing is NaN there
    weight = [np.abs(r.normal([k]))] if r.chance(0.4) and k else []
    x, y = r.normal([0, k]), np.zeros(0, dtype=np.int64)
    if op == "nll_loss":
        return Case(op, [x, y, *weight],
                    lambda x, y, w=None: F.nll_loss(x, y, w, reduction=names[how]), [how, -100],
                    tolerance=exact)
    soft = op == "soft"
    return Case("cross_entropy", [x, r.normal([0, k]) if soft else y, *weight],
                lambda x, y, w=None: F.cross_entropy(x, y, w, reduction=names[how],
                                                     label_smoothing=smoothing),
                [how, -100, smoothing], (0, 1) if soft else (0,), exact)


def parts(r):
    """Parts without elements, and of tensors without elements."""
    shape = r.shape(1, 5, largest=4, count=60) if r.chance(0.7) else zeros(r, 1, 5)
    dim = r.integer(0, len(shape) - 1)
    size, x = shape[dim], r.values(shape)
    kind = r.choice(["split", "chunk", "slice", "narrow"])
    if kind == "split":
        sizes = [r.choice([0, 0, 1]) for _ in range(r.integer(1, 6))]
        left = size - sum(sizes)
        while left < 0:
            sizes[sizes.index(1)] = 0
            left += 1
        sizes[r.integer(0, len(sizes) - 1)] += left
        return Case("split", [x], lambda x: x.split(sizes, dim), [dim, *sizes], tolerance=exact)
    if kind == "chunk":
        n = r.integer(1, 6)
        return Case("chunk", [x], lambda x: x.chunk(n, dim), [dim, n], tolerance=exact)
    if kind == "narrow":
        start = r.integer(0, size)
        return Case("narrow", [x], lambda x: x.narrow(dim, start, 0), [dim, start, 0],
                    tolerance=exact)
    start, stop, step = r.integer(-5, 5), r.integer(-5, 5), r.integer(1, 3)
    take = (slice(None),) * dim + (slice(start, stop, step),)
    return Case("slice", [x], lambda x: x[take].clone(), [dim, start, stop, step], tolerance=exact)


def one_hot(r):
    shape, n = zeros(r, 1, 4), r.integer(1, 5)
    return Case("one_hot", [np.zeros(shape, dtype=np.int64)], lambda x: F.one_hot(x, n), [n],
                (), exact)


def make(r):
    return r.choice([unary, binary, binary, reduction, reduction, extreme, softmax, moved, concat,
                     concat, linear, images, images, loss, layer_norm, batch_norm, classes, classes,
                     parts, parts, parts, one_hot])(r)
