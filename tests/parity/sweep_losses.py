"""The losses, with their reductions, weights, ignored labels and smoothing."""

import numpy as np
import torch
import torch.nn.functional as F

from sweep_case import Case

REDUCTIONS = ("mean", "sum", "none")  # weft_reduction's order


def elementwise(r):
    op = r.choice(["mse_loss", "l1_loss"])
    shape, how = r.shape(1, 5, largest=4, count=60), r.integer(0, 2)
    x, target = r.values(shape, special=0.1), r.values(shape, special=0.1)
    same = r.g.random(shape) < 0.1
    x = np.where(same, target, x).astype(np.float32)

    def tolerance(x, y, dy, dx):
        n = x[0].size
        size = np.abs(x[0]) + np.abs(x[1])
        with np.errstate(all="ignore"):
            terms = (x[0] - x[1]) ** 2 if op == "mse_loss" else np.abs(x[0] - x[1])
        value = terms if how == 2 else terms.sum() / (n if how == 0 else 1)
        value = np.abs(y[0]) if op == "mse_loss" else value
        return [(3 if how == 2 else n + 4, value)] + [(5, np.abs(d)) for d in dx]

    return Case(op, [x, target], lambda a, b: getattr(F, op)(a, b, reduction=REDUCTIONS[how]),
                [how], (0, 1), tolerance)


def bce(r):
    shape, how = r.shape(1, 4, largest=5, count=60), r.integer(0, 2)
    weighted, positive = r.chance(0.4), r.chance(0.4)

    def smaller():
        s = [1 if r.chance(0.3) else d for d in shape]
        return np.abs(r.normal(s[r.integer(0, len(s) - 1):]))

    target = r.g.random(shape).astype(np.float32)
    target = r.mixed(target, [0, 1], 0.4)
    inputs = [r.mixed(r.normal(shape, 4), [0, 30, -30, 100, -100], 0.1), target]
    inputs += [smaller() for _ in range(weighted + positive)]

    def function(x, t, *rest):
        return F.binary_cross_entropy_with_logits(
            x, t, rest[0] if weighted else None, reduction=REDUCTIONS[how],
            pos_weight=rest[-1] if positive else None)

    # log p and log(1 - p) are softplus of -x and x, exp of a rounded number within 2 ulp.
    def tolerance(x, y, dy, dx):
        n = x[0].size
        w = x[2] if weighted else 1
        q = x[-1] if positive else 1
        up, down = np.logaddexp(0, x[0]), np.logaddexp(0, -x[0])
        scale = np.broadcast_to(np.abs(w) * (q * x[1] + (1 - x[1]) + np.abs(q - 1) + 1),
                                x[0].shape)
        terms = scale * (up + down + np.abs(x[0]) + 1)
        value = terms if how == 2 else terms.sum() / (n if how == 0 else 1)
        each = np.abs(dy[0]) / (n if how == 0 else 1)
        return [((0 if how == 2 else n) + 20, value), (40, each * scale * (2 + 0 * x[0])),
                (30, each * np.broadcast_to(np.abs(w) * (q + 1) * (up + down + 1), x[0].shape))]

    return Case("bce_with_logits", inputs, function, [how, weighted, positive], (0, 1), tolerance)


def labelled(r, op, smoothing):
    n, k, how = r.integer(1, 9), r.integer(1, 9), r.integer(0, 2)
    ignore = r.choice([-100, r.integer(0, k - 1)])
    y = r.g.integers(0, k, size=n, dtype=np.int64)
    if ignore < 0:
        y[r.g.random(n) < 0.15] = ignore
    inputs = [r.normal([n, k], 10.0 ** r.g.uniform(-1, 1.5)), y]
    if r.chance(0.4):
        w = np.abs(r.normal([k]))
        inputs.append(r.mixed(w, [0], 0.1))
    return n, k, how, ignore, inputs


def row_terms(x, smoothing, w):
    """How far a rounding of the logits or of the sum of exponentials moves a row's loss."""
    top = np.abs(x).max(1)
    lse = np.abs(np.log(np.exp(x - x.max(1, keepdims=True)).sum(1)))
    return (2 * top + lse + 1) * w.max() * (1 + smoothing)


def nll_loss(r):
    n, k, how, ignore, inputs = labelled(r, "nll_loss", 0)

    def tolerance(x, y, dy, dx):
        w = x[2] if len(x) > 2 else np.ones(k)
        used = x[1] != ignore
        total = w[x[1][used]].sum()
        picked = np.zeros(n)
        picked[used] = np.abs(x[0][used, x[1][used]] * w[x[1][used]])
        divide = total if how == 0 else 1
        return [(2, picked) if how == 2 else (2 * n + 4, picked.sum() / divide),
                (n + 4, np.abs(dx[0]))]

    return Case("nll_loss", inputs,
                lambda x, y, w=None: F.nll_loss(x, y, w, ignore_index=ignore,
                                                reduction=REDUCTIONS[how]), [how, ignore],
                tolerance=tolerance)


def cross_entropy(r):
    smoothing = r.choice([0.0, 0.0, 0.125, 0.5, 1.0])
    n, k, how, ignore, inputs = labelled(r, "cross_entropy", smoothing)

    def tolerance(x, y, dy, dx):
        w = x[2] if len(x) > 2 else np.ones(k)
        used = x[1] != ignore
        divide = w[x[1][used]].sum() if how == 0 else 1
        rows = np.where(used, row_terms(x[0], smoothing, w) * (1 + smoothing * k), 0)
        each = np.abs(dy[0]) * np.ones(n) / divide
        p = np.exp(x[0] - x[0].max(1, keepdims=True))
        spread = x[0].max(1) - x[0].min(1)
        grad = np.where(used, each * w.max() * (1 + smoothing * k) * (1 + spread), 0)[:, None]
        return [(3 * k + 20, rows) if how == 2 else (3 * k + 2 * n + 20, rows.sum() / divide),
                (4 * k + 2 * n + 20, grad * np.minimum(p + (used[:, None] * 1.0), 1))]

    return Case("cross_entropy", inputs,
                lambda x, y, w=None: F.cross_entropy(x, y, w, ignore_index=ignore,
                                                     label_smoothing=smoothing,
                                                     reduction=REDUCTIONS[how]),
                [how, ignore, smoothing], tolerance=tolerance)


def soft_labels(r):
    n, k, how = r.integer(1, 7), r.integer(1, 8), r.integer(0, 2)
    smoothing = r.choice([0.0, 0.125, 1.0])
    target = r.g.random((n, k)).astype(np.float32)
    inputs = [r.normal([n, k], 3), target / target.sum(1, keepdims=True)]
    if r.chance(0.4):
        inputs.append(np.abs(r.normal([k])))

    def tolerance(x, y, dy, dx):
        w = x[2] if len(x) > 2 else np.ones(k)
        rows = row_terms(x[0], smoothing, w) * (1 + smoothing) * k
        divide = n if how == 0 else 1
        each = (np.abs(dy[0]) * np.ones(n) / divide)[:, None]
        spread = (x[0].max(1) - x[0].min(1))[:, None]
        top = np.abs(x[0]).max(1)[:, None]
        return [(3 * k + 20, rows) if how == 2 else (3 * k + 2 * n + 20, rows.sum() / divide),
                (6 * k + 20, each * w.max() * k * (1 + spread) * np.ones((n, k))),
                (2 * k + 20, each * w.max() * (1 + 2 * top + spread) * np.ones((n, k)))]

    return Case("cross_entropy", inputs,
                lambda x, t, w=None: F.cross_entropy(x, t, w, label_smoothing=smoothing,
                                                     reduction=REDUCTIONS[how]),
                [how, -100, smoothing], (0, 1), tolerance)


def make(r):
    return r.choice([elementwise, bce, nll_loss, cross_entropy, cross_entropy, soft_labels])(r)
