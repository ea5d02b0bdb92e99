"""Functions of two and three tensors, element by element, broadcast by NumPy's rules, up to 6
dimensions."""

import numpy as np
import torch

from sweep_case import Case, overflowing


def broadcast_shapes(r, n):
    """n shapes that broadcast to one of up to 6 dimensions, in all ways that NumPy has."""
    full = r.shape(0, 6, largest=4, count=96)
    shapes = []
    for _ in range(n):
        kind = r.integer(0, 3)
        shape = [1 if kind and r.chance(0.35) else d for d in full]
        if kind > 1:  # leading dimensions may be missing
            shape = shape[r.integer(0, len(shape)):]
        shapes.append(shape)
    return shapes


def gathered(terms, shape, k=0):
    """terms, of the broadcast shape, summed to `shape`, as a tolerance of k roundings a term: n terms
    to a sum add n - 1. Where they may overflow in float anything goes, since their order counts."""
    lead = terms.ndim - len(shape)
    axes = tuple(i for i in range(terms.ndim) if i < lead or shape[i - lead] != terms.shape[i])
    n = int(np.prod([terms.shape[i] for i in axes], dtype=np.int64))
    finite = np.where(np.isfinite(terms), terms, 0).sum(axis=axes).reshape(shape)
    return k + n - 1, terms.sum(axis=axes).reshape(shape), overflowing(finite)


# op: function, roundings of the value, sum of the sizes of its operands (None: |y|), slopes by a and b,
# with roundings. Borders.
OPS = {
    "add": (torch.add, 1, None, lambda a, b, y: (1, 1), 0),
    "sub": (torch.sub, 1, None, lambda a, b, y: (1, 1), 0),
    "mul": (torch.mul, 1, None, lambda a, b, y: (b, a), 1),
    "div": (torch.div, 1, None, lambda a, b, y: (1 / b, y / b), 3),
    "maximum": (torch.maximum, 0, None, lambda a, b, y: (1, 1), 0),
    "minimum": (torch.minimum, 0, None, lambda a, b, y: (1, 1), 0),
}
def power_slopes(a, b, y):
    """a^(b - 1), b - 1 being rounded, moves by ln a times that; a^b ln a."""
    log = np.abs(np.log(np.abs(a)))
    moved = np.where(np.isfinite(log), log, 0)
    base = np.where(b == 0, 0, np.abs(b * np.power(np.abs(a), b - 1)) * (1 + moved * (1 + np.abs(b))))
    return base, np.where((a == 0) & (b >= 0), 0, np.abs(y * log))


OPS["pow_tensor"] = (torch.pow, 6, None, power_slopes, 16)  # within 3 ulp
COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]


def tolerance_of(k, slopes, k_slope):
    def tolerance(x, y, dy, dx):
        result = [(k, np.abs(y[0]))]
        for given, slope, grad in zip(x, slopes(x[0], x[1], y[0]), dx):
            terms = np.abs(dy[0] * np.broadcast_to(np.abs(slope), dy[0].shape))
            result.append(gathered(terms, given.shape, k_slope))
        return result
    return tolerance


def arithmetic(r):
    op = r.choice(list(OPS))
    function, k, _, slopes, k_slope = OPS[op]
    a, b = broadcast_shapes(r, 2)
    special = 0 if op == "div" and r.chance(0.5) else 0.3
    x = [r.values(a, [0, 1, -1, 2], special), r.values(b, [0, 1, -1, 2], special)]
    if a == b and r.chance(0.3):  # ties
        x[1] = r.mixed(x[1], [0], 0)
        same = r.g.random(x[0].shape) < 0.5
        x[1] = np.where(same, x[0], x[1]).astype(np.float32)
    return Case(op, x, function, grad=(0, 1), tolerance=tolerance_of(k, slopes, k_slope))


def comparison(r):
    op = r.choice(COMPARISONS)
    a, b = broadcast_shapes(r, 2)
    x = [np.round(r.values(s, [0, 1, -1])).astype(np.float32) if r.chance(0.5)
         else r.values(s, [0, 1, -1]) for s in (a, b)]
    return Case(op, x, lambda a, b: getattr(torch, op)(a, b).to(a.dtype), grad=(),
                tolerance=lambda x, y, dy, dx: [(0, y[0])])


def where(r):
    c, a, b = broadcast_shapes(r, 3)
    x = [r.values(c, [0, 0, 0, 1]), r.values(a), r.values(b)]

    def tolerance(x, y, dy, dx):
        result = [(0, y[0])]
        for given, grad in zip(x[1:], dx):
            result.append(gathered(np.abs(dy[0]), given.shape))
        return result

    return Case("where", x, lambda c, a, b: torch.where(c != 0, a, b), grad=(1, 2),
                tolerance=tolerance)


def expand(r):
    shape, to = broadcast_shapes(r, 1)[0], None
    lead = r.shape(0, 6 - len(shape), largest=3, count=6)
    to = lead + [r.integer(1, 3) if d == 1 else d for d in shape]

    def tolerance(x, y, dy, dx):
        return [(0, y[0]), gathered(np.abs(dy[0]), x[0].shape)]

    return Case("expand", [r.values(shape)], lambda x: x.expand(to), to, tolerance=tolerance)


def make(r):
    kind = r.integer(0, 19)
    if kind < 12:
        return arithmetic(r)
    return comparison(r) if kind < 15 else where(r) if kind < 18 else expand(r)
