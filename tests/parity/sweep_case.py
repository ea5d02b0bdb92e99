"""What the families of the sweep share: random cases by number, their files, and the comparison.

A case is made from a counter-based generator keyed by its family, seed and number alone, so each can
be made again by itself. Its numbers are floats, so that f32 and f64 start alike. The reference is
PyTorch in double, for both.

Denormals. Weft computes with FTZ and DAZ set: denormal operands are zeros of their sign, and results
below the smallest normal number are zero. So the reference sees such operands as zeros (PyTorch runs
under set_flush_denormal, and f32's denormals are flushed before they become double), and a difference
below the smallest normal number, times what the formula multiplies it by, counts nothing. In f64
cases, f32's denormals stand for double's.

Infinities and NaN must be where PyTorch has them. Signs of zeros are not compared. Where PyTorch's
own f32 is not finite but its double is, or its f32 NaN and its double infinite, something overflowed
on the way in float: there Weft may be right, or overflow as well.
"""

import math

import numpy as np
import torch

F32, F64, I64 = 0, 1, 5  # weft_dtype
TORCH = {F32: torch.float32, F64: torch.float64, I64: torch.int64}
NUMPY = {F32: np.float32, F64: np.float64, I64: np.int64}
TINY = {F32: 2.0 ** -126, F64: 2.0 ** -1022}
UNIT = {F32: 2.0 ** -24}
F64_BOUND = 1e-12  # of the magnitude: at least 9000 roundings of double, but far below a wrong formula
DENORMALS = [1e-40, -1e-40, 1.1754942e-38, -1.4e-45]
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.1754944e-38, -1.1754944e-38, 3.4e38, -3.4e38,
           1.0, -1.0, 1e-20, -1e-20, 1e20, -1e20] + DENORMALS


class Random:
    """Numbers of one case."""

    def __init__(self, family, seed, number):
        self.g = np.random.Generator(np.random.Philox(key=[family, seed], counter=[0, 0, 0, number]))

    def integer(self, low, high):
        return int(self.g.integers(low, high + 1))

    def choice(self, items):
        return items[int(self.g.integers(len(items)))]

    def chance(self, p):
        return self.g.random() < p

    def shape(self, low, high, largest=5, count=200):
        """A shape of low to high dimensions of at most `largest`, of at most `count` elements."""
        shape = [self.integer(1, largest) for _ in range(self.integer(low, high))]
        while math.prod(shape) > count:
            i = self.integer(0, len(shape) - 1)
            shape[i] = max(1, shape[i] // 2)
        return shape

    def normal(self, shape, scale=1.0):
        return (self.g.standard_normal(shape) * scale).astype(np.float32)

    def values(self, shape, borders=(), special=0.3):
        """Mostly normal numbers of some scale; in some cases coarse ones, of which many are equal;
        in others (with a chance of `special`) also the values of SPECIAL. Borders may come in any."""
        x = self.normal(shape, 10.0 ** self.g.uniform(-1, 1))
        if self.chance(0.2):
            x = (np.round(x * 2) / 2).astype(np.float32)
        x = self.mixed(x, borders, 0.25)
        return self.mixed(x, SPECIAL, 0.3) if self.chance(special) else x

    def mixed(self, x, others, p):
        """x with some of its elements replaced by some of the others."""
        if not len(others) or not x.size:
            return x
        put = self.g.choice(np.array(others, dtype=np.float32), size=x.shape)
        return np.where(self.g.random(x.shape) < p, put, x).astype(np.float32)


class Case:
    """op, options: as sweep_ops.c has them. inputs: float32 or int64 arrays. grad: which want a
    gradient. function: PyTorch's, of the inputs, giving an output or a list. tolerance(x, y, dy, dx):
    for the outputs and for the gradients, how large an error of one rounding each is, and how many
    roundings there are: [(count, magnitude) ...] of arrays in double; None: one rounding of the result.
    A count of 0 asks for equality. A third item, if any, is where anything goes. state: what the
    function changed of its inputs, as arrays."""

    def __init__(self, op, inputs, function, options=(), grad=(0,), tolerance=None, state=None):
        self.op, self.inputs, self.function = op, inputs, function
        self.options, self.grad, self.tolerance, self.state = options, grad, tolerance, state

    def __str__(self):
        shapes = " ".join(str(list(x.shape)) for x in self.inputs)
        return f"{self.op}({shapes}; {', '.join(f'{o:g}' for o in self.options)})"


def given(x, dtype):
    """The numbers that Weft gets."""
    if x.dtype == np.int64:
        return x
    if dtype == F32:
        return x
    y = x.astype(np.float64)
    denormal = (np.abs(y) < TINY[F32]) & (y != 0)
    return np.where(denormal, y * 2.0 ** -900, y)


def flushed(x, dtype):
    if x.dtype == np.int64:
        return x
    return np.where(np.abs(x) < TINY[dtype], np.copysign(0.0, x), x).astype(np.float64)


def overflowing(total):
    """Where a sum of numbers of this total size may overflow in float: then its order counts."""
    return np.isfinite(total) & (total > 3e38)


class Sweep:
    """Collects cases of one type, with what PyTorch makes of them, and writes Weft's file."""

    def __init__(self, dtype, file):
        self.dtype, self.file = dtype, file
        self.cases = []
        self.parts = []    # [(case, what, shape)]
        self.expected = [] # arrays, one a part: value, tolerance
        self.tolerance = []

    def add(self, case, random):
        dtype = self.dtype
        arrays = [given(x, dtype) for x in case.inputs]
        tensors = [torch.from_numpy(flushed(x, dtype).copy()) for x in arrays]
        for i in case.grad:
            tensors[i].requires_grad_()
        outputs = case.function(*tensors)
        outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        seeds = [random.mixed(random.normal(tuple(y.shape)), [0.0, 1.0], 0.2)
                 if y.requires_grad else None for y in outputs]
        pairs = [(y, torch.from_numpy(s.astype(np.float64)).reshape(y.shape))
                 for y, s in zip(outputs, seeds) if s is not None]
        dx = []
        if case.grad and pairs:
            dx = torch.autograd.grad([p[0] for p in pairs], [tensors[i] for i in case.grad],
                                     [p[1] for p in pairs], allow_unused=True)
        overflow = self.overflows(case, tensors, pairs)
        x = [t.detach().numpy() for t in tensors]
        y = [t.detach().numpy() for t in outputs]
        dy = [None if s is None else s.astype(np.float64).reshape(o.shape)
              for s, o in zip(seeds, y)]
        dx = [np.zeros_like(x[i]) if d is None else d.numpy() for i, d in zip(case.grad, dx)]
        state = case.state() if case.state else []
        tolerance = None
        if case.tolerance:
            with np.errstate(all="ignore"):
                tolerance = case.tolerance(x, y, dy, dx)
        self.cases.append(case)
        names = [f"output {i}" for i in range(len(y))]
        if pairs:
            names += [f"gradient of input {i}" for i in case.grad]
        names += [f"statistics {i}" for i in range(len(state))]
        largest = max((np.abs(np.where(np.isfinite(v), v, 0)).max(initial=0) for v in x
                       if v.dtype != np.int64), default=0)
        floor = TINY[dtype] * 4 * (1 + min(largest, 1000.0))
        for k, (name, want) in enumerate(zip(names, y + (dx if pairs else []) + state)):
            self.expect(name, want, tolerance[k] if tolerance else None, floor)
            if k in overflow:
                last, single = self.tolerance[-1], overflow[k]
                last[~np.isfinite(single) & ~np.isnan(last)] = math.inf
                last[np.isnan(single) & np.isinf(self.expected[-1])] = math.nan
        self.write(case, arrays, seeds if pairs else [])

    def overflows(self, case, tensors, pairs):
        """{number of a result: PyTorch's f32}, for f32 cases of numbers that may overflow."""
        floats = [t.detach() for t in tensors if t.is_floating_point()]
        extreme = [((t.abs() > 1e6) | ((t != 0) & (t.abs() < 1e-6))).any() for t in floats]
        if self.dtype != F32 or not any(extreme):
            return {}
        single = [t.detach().to(torch.float32) if t.is_floating_point() else t for t in tensors]
        for i in case.grad:
            single[i].requires_grad_()
        y = case.function(*single)
        y = list(y) if isinstance(y, (list, tuple)) else [y]
        results = [t.detach() for t in y]
        seeds = [s for _, s in pairs]
        if pairs:
            results += torch.autograd.grad([t for t in y if t.requires_grad],
                                           [single[i] for i in case.grad],
                                           [s.float() for s in seeds], allow_unused=True)
        return {k: t.numpy().ravel() for k, t in enumerate(results) if t is not None}

    def expect(self, name, want, tolerance, floor):
        self.parts.append((len(self.cases) - 1, name, want.shape))
        want = np.asarray(want)
        self.expected.append(want.astype(np.float64).ravel())
        count, size, free = (*tolerance, None)[:3] if tolerance else (1, np.abs(want), None)
        unit = count * UNIT[F32] if self.dtype == F32 else F64_BOUND if count else 0.0
        size = np.broadcast_to(np.asarray(size, dtype=np.float64), want.shape)
        error = np.where(np.isfinite(size), size, 0) * unit + (floor if count else 0)
        self.tolerance.append((error if free is None else np.where(free, math.nan, error)).ravel())

    def write(self, case, arrays, seeds):
        words = [case.op, len(case.options), *(f"{o:.17g}" for o in case.options), len(arrays)]
        for i, x in enumerate(arrays):
            dtype = I64 if x.dtype == np.int64 else self.dtype
            words += [dtype, int(i in case.grad), x.ndim, *x.shape]
        words.append(len(seeds))
        for s in seeds:
            words += [self.dtype, -1] if s is None else [self.dtype, s.ndim, *s.shape]
        self.file.write((" ".join(map(str, words)) + "\n").encode())
        for x in [*arrays, *(s for s in seeds if s is not None)]:
            kind = NUMPY[I64] if x.dtype == np.int64 else NUMPY[self.dtype]
            self.file.write(np.ascontiguousarray(x, dtype=kind).tobytes())

    def compare(self, data):
        """What is wrong with Weft's results, the bytes `data`: (case, what) in words."""
        wrong, got, at, part = [], [], 0, 0
        for i, case in enumerate(self.cases):
            end = data.find(b"\n", at)
            if end < 0:
                wrong.append((case, "Weft's results end here"))
                return wrong, 0.0
            words, at = data[at:end].split(b" "), end + 1
            n = 0
            while part + n < len(self.parts) and self.parts[part + n][0] == i:
                n += 1
            expected = self.parts[part:part + n]
            values = None
            if words[0] == b"error":
                wrong.append((case, data[at - 1 - len(b" ".join(words)):end].decode()))
            else:
                values, at, complaint = self.read_case(words, data, at, expected, part)
                if complaint:
                    wrong.append((case, complaint))
                    values = None
            got += values or self.expected[part:part + n]
            part += n
        with np.errstate(all="ignore"):
            worst = self.differences(np.concatenate(got), wrong)
        return wrong, worst

    def read_case(self, words, data, at, expected, part):
        numbers, values, complaint = list(map(int, words)), [], None
        k = 1
        if numbers[0] != len(expected):
            complaint = f"{numbers[0]} results, expected {len(expected)}"
        for j in range(numbers[0]):
            dtype, rank = numbers[k:k + 2]
            shape = tuple(numbers[k + 2:k + 2 + rank])
            k += 2 + rank
            if dtype < 0:  # no gradient arrived: zero
                values.append(np.zeros_like(self.expected[part + j]))
                continue
            count = math.prod(shape)
            values.append(np.frombuffer(data, NUMPY[dtype], count, at).astype(np.float64))
            at += count * np.dtype(NUMPY[dtype]).itemsize
            if complaint is None and shape != expected[j][2]:
                complaint = f"{expected[j][1]} is {list(shape)}, expected {list(expected[j][2])}"
        return values, at, complaint

    def differences(self, got, wrong):
        want, tolerance = np.concatenate(self.expected), np.concatenate(self.tolerance)
        nearest = want.astype(np.float32).astype(np.float64) if self.dtype == F32 else want
        error = np.abs(got - want)
        same = (got == nearest) | (np.isnan(got) & np.isnan(want))
        good = same | (np.isfinite(want) & ((error <= tolerance) | np.isinf(tolerance)))
        good |= np.isnan(tolerance)
        owner = np.repeat(np.arange(len(self.parts)), [e.size for e in self.expected])
        for part in np.unique(owner[~good]):
            i = np.flatnonzero(~good & (owner == part))[0]
            case, what, shape = self.parts[part]
            first = i - np.flatnonzero(owner == part)[0]
            wrong.append((self.cases[case], f"{what}{list(shape)}[{first}] is {got[i]:.9g}, PyTorch "
                          f"has {want[i]:.9g}, allowed error {tolerance[i]:.2g}"))
        used = np.where(same | ~good | ~(tolerance > 0) | np.isinf(tolerance), 0, error / tolerance)
        return float(used.max(initial=0))
