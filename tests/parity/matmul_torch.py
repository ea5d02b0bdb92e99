#!/usr/bin/env python3
"""PyTorch's half of test_matmul.py: random cases, what PyTorch makes of them, and the comparison.

    matmul_torch.py MATMUL_DRIVER FOLDER

The reference is PyTorch in double, from the same numbers. A result that is the sum of n products may
differ by what n roundings cost, in whatever order: gamma_n sum |a||b|, gamma_n = n u / (1 - n u) (Higham,
Accuracy and Stability of Numerical Algorithms, 3.1), u = 2^-24 in f32; and by n of the least normal
numbers, since smaller ones count as 0. In f64: 1e-12 sum |a||b|. NaN and infinities stand where
PyTorch has them. Prints, as the last line, JSON: {cases: ..., results: [{what, cases, worst, case}]}.
"""

import json
import os
import random
import subprocess
import sys

import torch

DTYPES = {"f64": torch.float64, "f32": torch.float32}
SEED, SWEEP = 11, 1300  # each in both types
LEAST = {"f64": 2.0 ** -1022, "f32": 2.0 ** -126}

rng = random.Random(SEED)
generator = torch.Generator().manual_seed(SEED)


def sizes(limit=9):
    """One of few, of the lanes' and tiles' neighbours, or any."""
    return rng.choice([1, 2, rng.randint(1, limit), rng.choice([7, 8, 15, 16, 17, 31, 33, 49, 65])])


def batches():
    """Two lists of batch dimensions that broadcast."""
    full = [rng.choice([1, 2, 3, rng.randint(1, 5)]) for _ in range(rng.randint(0, 4))]
    two = []
    for _ in range(2):
        keep = full[rng.randint(0, len(full)):] if rng.random() < 0.3 else full
        two.append([1 if rng.random() < 0.3 else n for n in keep])
    return two


def any_case():
    m, n, k = sizes(), sizes(), sizes(30)
    if rng.random() < 0.03:
        k = rng.choice([255, 256, 257, 600, 1030])
    call = rng.choices(["matmul", "dot", "mv", "bmm", "outer", "linear"], [20, 1, 1, 2, 1, 2])[0]
    if call == "dot":
        return call, 0, 0, [k], [k]
    if call == "mv":
        return call, 0, 0, [m, k], [k]
    if call == "outer":
        return call, 0, 0, [m], [n]
    x, y = batches()
    if call == "bmm":
        return call, 0, 0, [len(x) + 1, m, k], [len(x) + 1, k, n]
    if call == "linear":
        return call, 0, 0, x + [k], [n, k]
    ta, tb = rng.randint(0, 1), rng.randint(0, 1)
    a = x + ([k, m] if ta else [m, k])
    b = y + ([n, k] if tb else [k, n])
    if rng.random() < 0.1:
        ta, a = 0, [k]
    if rng.random() < 0.1:
        tb, b = 0, [k]
    return call, ta, tb, a, b


# Sums of products over a long batch, in splits; tiles of every kind; shapes of attention and of windows.
LARGE = [("matmul", 0, 0, [40, 40], [200, 40, 40]), ("matmul", 1, 0, [40, 50], [150, 40, 30]),
         ("matmul", 0, 1, [300, 30, 40], [30, 40]), ("matmul", 1, 1, [1, 64, 48], [90, 33, 64]),
         ("matmul", 0, 1, [6, 49, 64], [6, 49, 64]), ("matmul", 0, 0, [2, 3, 197, 197], [2, 3, 197, 64]),
         ("matmul", 1, 0, [3, 300, 140], [3, 300, 70]), ("matmul", 0, 0, [4, 50, 300], [300, 130]),
         ("matmul", 0, 0, [70, 3, 40, 40], [3, 40, 40]), ("matmul", 0, 0, [70, 1, 40, 40], [3, 40, 40]),
         ("matmul", 0, 0, [500, 300], [300]), ("matmul", 1, 0, [300, 500], [300]),
         ("matmul", 0, 0, [9, 60, 300], [300]), ("matmul", 0, 0, [300], [9, 300, 60]),
         ("linear", 0, 0, [8, 49, 96], [70, 96]), ("matmul", 0, 0, [700, 5, 4], [700, 4, 3]),
         ("matmul", 0, 0, [600, 8, 8], [8, 8]), ("matmul", 0, 0, [8, 8], [600, 8, 8])]


def numbers(shape, dtype, strange):
    """Floats, so that both types start alike; `strange`: some are 0, NaN, infinite, or of other sizes."""
    x = torch.randn(shape, generator=generator)
    if strange:
        pick = torch.randint(0, 40, shape, generator=generator)
        for i, value in enumerate((0.0, -0.0, float("inf"), -float("inf"), float("nan"))):
            if i < 2 or strange == "infinite":
                x = torch.where(pick == i, torch.tensor(value), x)
        x = torch.where(pick > 35, x * 1e-12, torch.where(pick > 30, x * 1e6, x))
    return x.to(DTYPES[dtype])


def product(case, a, b):
    call, ta, tb = case[:3]
    if call == "linear":
        return torch.nn.functional.linear(a, b)
    return getattr(torch, call)(a.mT if ta else a, b.mT if tb else b)


def results_of(case, a, b, dy=None):
    """y and the gradients of a and b, and y's shape."""
    a, b = (t.detach().double().requires_grad_() for t in (a, b))
    y = product(case, a, b)
    y.backward(dy.double())
    return [t.detach() for t in (y, a.grad, b.grad)]


def main():
    driver, folder = sys.argv[1:]
    torch.set_num_threads(1)
    paths = [os.path.join(folder, name) for name in ("cases", "in", "out")]
    cases = []
    with open(paths[0], "w", encoding="utf-8") as text, open(paths[1], "wb") as data:
        for i in range(SWEEP + len(LARGE)):
            case = any_case() if i < SWEEP else LARGE[i - SWEEP]
            strange = (None, "finite", "infinite")[max(0, rng.randint(-3, 2))] if i < SWEEP else None
            shape = product(case, torch.empty(case[3], device="meta"),
                            torch.empty(case[4], device="meta")).shape
            for dtype in DTYPES:
                given = [numbers(s, dtype, strange) for s in (case[3], case[4], shape)]
                cases.append((case, dtype, strange, given))
                words = [case[0], dtype, *case[1:3]]
                for s in (case[3], case[4], shape):
                    words += [len(s), *s]
                print(*words, file=text)
                for t in given:
                    data.write(t.numpy().tobytes())
    subprocess.run([driver, *paths], check=True, timeout=300)
    with open(paths[2], "rb") as f:
        out = f.read()
    at = 0
    worst = {}
    for case, dtype, strange, (a, b, dy) in cases:
        want = results_of(case, a, b, dy)
        finite = [t.nan_to_num(0.0, 0.0, 0.0).abs() for t in (a, b, dy)]
        sums = results_of(case, *finite)
        products = dy.numel() * (1 if case[0] == "outer" else a.shape[-2 if case[1] else -1])
        for what, w, s in zip(("y", "gradient of a", "gradient of b"), want, sums):
            size = w.numel() * a.element_size()
            g = torch.frombuffer(bytearray(out[at:at + size]), dtype=DTYPES[dtype]).double()
            at += size
            g = g.reshape(w.shape)
            n = products // w.numel()
            nu = n * 2.0 ** -24
            bound = (1e-12 if dtype == "f64" else nu / (1 - nu)) * s + n * LEAST[dtype]
            same = torch.where(w.isfinite(), g.isfinite(), (g == w) | (g.isnan() & w.isnan()))
            off = torch.where(w.isfinite() & g.isfinite(), (g - w).abs() / bound, 0.0)
            error = max(off.max().item(), 0.0 if same.all() else float("inf"))
            kept = worst.setdefault(f"{dtype} {what}", {"cases": 0, "strange": 0, "worst": -1.0})
            kept["cases"] += 1
            kept["strange"] += not bool(w.isfinite().all())
            if error > kept["worst"]:
                kept.update(worst=error, case=f"{case} {strange}")
    assert at == len(out)
    print(json.dumps({"cases": len(cases), "results": worst}))


main()
