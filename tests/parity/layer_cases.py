#!/usr/bin/env python3
"""PyTorch's half of test_layers.py: the cases, what PyTorch makes of them, and the comparison.

    layer_cases.py PARITY_DRIVER FOLDER

Each case runs in double and in float; the reference is PyTorch in double in both, from the same
numbers. Prints, as the last line, a JSON list of {group, case, what, error, bound}: the largest
error of a tensor relative to its largest value (or 1), and what its arithmetic may cost.
"""

import json
import math
import os
import subprocess
import sys

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import optimizer_cases

DTYPES = {"f64": torch.float64, "f32": torch.float32}
REDUCTIONS = ("mean", "sum", "none")  # weft_reduction's order

cases = []    # of the driver
tensors = {}  # its inputs
expected = {} # case: {what: tensor}
bounds = {}   # case: roundings allowed, in units of the largest value
texts = {}    # case: repr
samples = {}  # initialiser cases: (PyTorch's own sample, its bounds or None)
generator = torch.Generator().manual_seed(3)


def randn(shape, dtype, scale=1.0):
    """Float numbers, so that f32 and f64 start alike."""
    return (torch.randn(shape, generator=generator) * scale).to(DTYPES[dtype])


def store(case, part, t):
    tensors[f"{case}/{part}"] = t.detach().clone().contiguous()


def double(t):
    return t.detach().double() if t.is_floating_point() else t.detach()


# Where PyTorch's own double is not one: the gradient of Hardsigmoid has 1/6 in float.
FORMULAS = {"Hardsigmoid": lambda x: F.relu6(x + 3) / 6}


def layer(call, shape, length=64, training=True, values=None, **options):
    """A layer of torch.nn. `length`: of the longest sum in it, forward or backward."""
    for dtype in DTYPES:
        name = f"{call}.{len(cases)}"
        given = options
        if call in ("MaxPool2d", "AvgPool2d"):  # whose texts show one number as given
            given = {k: v[0] if isinstance(v, tuple) and v[0] == v[1] else v
                     for k, v in options.items()}
        module = getattr(nn, call)(**given)
        texts[name] = repr(module)
        module = module.double().train(training)
        with torch.no_grad():
            for t in (*module.parameters(), *module.buffers()):
                if t.is_floating_point():
                    t.copy_(double(randn(t.shape, dtype, 0.5)))
                    if t.dim() == 1:
                        t.abs_().add_(0.25)  # variances; gains away from 0
        for key, t in module.state_dict().items():
            store(name, f"state/{key}", t.to(DTYPES[dtype]) if t.is_floating_point() else t)
        x = torch.tensor(values, dtype=DTYPES[dtype]) if values else randn(shape, dtype, 2.0)
        store(name, "x", x)
        x = double(x).requires_grad_()
        y = FORMULAS.get(call, module)(x)
        dy = randn(y.shape, dtype)
        store(name, "dy", dy)
        y.backward(double(dy))
        want = {"y": y, "d/x": x.grad}
        want.update({f"d/{k}": p.grad for k, p in module.named_parameters()})
        want.update({f"b/{k}": b for k, b in module.named_buffers()})
        expected[name] = {k: double(v) for k, v in want.items()}
        bounds[name] = length
        fields = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()
                  if v is not None}
        cases.append({"name": name, "group": "layer", "dtype": dtype, "call": call, "in": ["x"],
                      "grad": [0], "training": training, **fields})


def loss(call, inputs, function, grad=(0,), length=64, **options):
    """inputs: functions of a dtype; function: what PyTorch does with them."""
    for dtype in DTYPES:
        name = f"{call}.{len(cases)}"
        made = [make(dtype) for make in inputs]
        names = ["x", "target", "w2", "w3"][:len(made)]
        for part, t in zip(names, made):
            store(name, part, t)
        made = [double(t) for t in made]
        for i in grad:
            made[i].requires_grad_()
        y = function(*made)
        dy = randn(y.shape, dtype)
        store(name, "dy", dy)
        y.backward(double(dy))
        want = {"y": y, **{f"d/{names[i]}": made[i].grad for i in grad}}
        expected[name] = {k: double(v) for k, v in want.items()}
        bounds[name] = length
        cases.append({"name": name, "group": "loss", "dtype": dtype, "call": call, "in": names,
                      "grad": list(grad), **options})


def optimizer(call, options, steps=50):
    for dtype in DTYPES:
        name = f"{call}.{len(cases)}"
        p, g = randn((1, 33), dtype), randn((steps, 33), dtype)
        store(name, "p", p)
        store(name, "g", g)
        param = nn.Parameter(double(p))
        o = optimizer_cases.make(call, [param], options)
        for row in double(g):
            param.grad = row[None].clone()
            o.step()
        expected[name] = {"y": double(param)}
        bounds[name] = 16 * steps
        cases.append({"name": name, "group": "optimizer", "dtype": dtype, "call": call, **options})


def initialiser(call, shape, limits=None, driver=None, **options):
    for dtype in DTYPES:
        name = f"{call}.{len(cases)}"
        t = torch.zeros(shape, dtype=DTYPES[dtype])
        store(name, "x", t)
        getattr(nn.init, call)(t, **options, generator=generator) \
            if call != "constant_" else nn.init.constant_(t, options["val"])
        samples[name] = (double(t).flatten(), limits)
        cases.append({"name": name, "group": "initialiser", "dtype": dtype, "call": call,
                      **(driver if driver is not None else options)})


def list_layers():
    for bias in (True, False):
        layer("Linear", (5, 33), 33, in_features=33, out_features=7, bias=bias)
    layer("Linear", (2, 3, 9), 9, in_features=9, out_features=4)
    for options in ({"padding": (1, 1)}, {"stride": (2, 1), "padding": (0, 2), "bias": False},
                    {"groups": 4, "padding": (1, 1)}, {"dilation": (2, 1)},
                    {"groups": 16, "stride": (2, 2)}):
        layer("Conv2d", (3, 16, 9, 8), 3 * 72 + 144, in_channels=16, out_channels=32,
              kernel_size=(3, 3), **options)
    layer("Conv2d", (2, 3, 7, 7), 2 * 49, in_channels=3, out_channels=5, kernel_size=(1, 1))
    layer("Conv2d", (2, 1, 12, 12), 2 * 144, in_channels=1, out_channels=6, kernel_size=(5, 3))
    for options in ({"stride": (2, 2)}, {"stride": (2, 2), "bias": False},
                    {"stride": (2, 3), "padding": (1, 1), "output_padding": (1, 2)},
                    {"groups": 4, "padding": (1, 2)}, {"dilation": (2, 1), "stride": (1, 2)},
                    {"dilation": (3, 2), "stride": (1, 2), "padding": (1, 1),
                     "output_padding": (2, 1)}, {"groups": 16, "stride": (2, 2)}):
        for kernel in ((2, 2), (3, 3)):
            layer("ConvTranspose2d", (3, 16, 5, 4), 3 * 200 + 16 * 9, in_channels=16,
                  out_channels=32, kernel_size=kernel, **options)
    layer("ConvTranspose2d", (2, 3, 7, 7), 2 * 225, in_channels=3, out_channels=5,
          kernel_size=(2, 2), stride=(2, 2))
    for options in ({}, {"momentum": 0.3, "eps": 1e-3}, {"affine": False},
                    {"track_running_stats": False}):
        layer("BatchNorm2d", (4, 19, 5, 6), 4 * 30, num_features=19, **options)
    layer("BatchNorm2d", (4, 19, 5, 6), 4 * 30, training=False, num_features=19)
    for groups, channels in ((1, 6), (3, 6), (6, 6), (4, 20), (2, 32)):
        for shape in ((3, channels, 5, 4), (2, channels), (2, channels, 7)):
            if len(shape) > 2 or groups < channels:  # one value a group has no variance
                layer("GroupNorm", shape, 20 * channels, num_groups=groups, num_channels=channels)
    layer("GroupNorm", (3, 8, 5, 4), 160, num_groups=2, num_channels=8, affine=False, eps=1e-3)
    for shape, last in (((5, 7), 1), ((3, 4, 96), 1), ((2, 3, 5, 33), 2), ((2, 40, 3, 8), 1),
                        ((4, 300), 1), ((2, 3, 4), 3)):
        for options in ({}, {"bias": False}, {"elementwise_affine": False, "eps": 1e-3}):
            layer("LayerNorm", shape, 4 * math.prod(shape), normalized_shape=shape[-last:],
                  **options)
    edge = [0.0, 3.0, -3.0, 6.0, -0.0, 1e-4, -1e-4, 20.0, -20.0, 5.5, 0.5, -0.5, 2.999, -2.999]
    for call, options in (("ReLU", {}), ("ReLU6", {}), ("LeakyReLU", {}), ("SiLU", {}),
                          ("LeakyReLU", {"negative_slope": 0.2}), ("Hardswish", {}),
                          ("Hardsigmoid", {}),
                          ("Sigmoid", {}), ("Tanh", {}), ("GELU", {}), ("Mish", {}),
                          ("ELU", {}), ("ELU", {"alpha": 0.5}), ("Softplus", {}), ("PReLU", {}),
                          ("Softplus", {"beta": 2.0, "threshold": 3.0}),
                          ("GELU", {"approximate": "tanh"})):
        layer(call, (2, 19, 5, 3), **options)
        layer(call, (7,), **options)
        layer(call, None, values=edge, **options)
    for options in ({"stride": (2, 2)}, {"stride": (1, 2), "padding": (1, 1)},
                    {"stride": (2, 2), "ceil_mode": True}):
        layer("MaxPool2d", (2, 9, 8, 7), kernel_size=(3, 3), **options)
        layer("AvgPool2d", (2, 9, 8, 7), kernel_size=(3, 3), **options)
    layer("MaxPool2d", (2, 9, 8, 7), kernel_size=(2, 3), stride=(1, 1), dilation=(2, 1))
    layer("AvgPool2d", (2, 9, 8, 7), kernel_size=(3, 3), stride=(2, 2), padding=(1, 1),
          count_include_pad=False)
    for size in ((1, 1), (3, 2), (8, 7), (9, 5)):
        layer("AdaptiveAvgPool2d", (2, 9, 8, 7), output_size=size)
    for channels, groups in ((12, 3), (116, 2), (20, 20)):
        layer("ChannelShuffle", (2, channels, 3, 4), groups=groups)
    for dim in (0, 1, -1):
        layer("Softmax", (3, 10, 4), dim=dim)
    for shape in ((2, 19, 5, 3), (4, 19), (2, 19, 7)):
        layer("PReLU", shape, 2 * 64, num_parameters=19)
    layer("Dropout", (3, 10), training=False, p=0.3)
    layer("AlphaDropout", (3, 10), training=False, p=0.3)
    for call in ("Dropout", "AlphaDropout"):
        layer(call, (3, 10), p=1.0)
    layer("Flatten", (3, 4, 2, 5))
    layer("Identity", (3, 4))


def list_losses_of_large_logits():
    """Where log(sum of exp) would lose its digits beside the largest logit; means over labels whose
    weights sum to 0."""
    def given(values):
        return lambda dtype: torch.tensor(values, dtype=torch.float32).to(DTYPES[dtype])

    def labels(values):
        return lambda _: torch.tensor(values)

    near = [[a, a + 1, a - 2, a + 0.5] for a in (0.0, 1e2, 1e4, 1e6)]
    far = [[1e30, 1e30, 0.0], [3e38, 3e38, 3e38], [-3e38, -3e38, -3e38], [1e38, -1e38, 0.0]]
    for rows, label in ((near, 1), (far, 0)):
        y, w = labels([label] * 4), given([0.5, 2.0, 1.0, 4.0][:len(rows[0])])
        for i, reduction in enumerate(REDUCTIONS):
            loss("cross_entropy", [given(rows), y],
                 lambda a, y, r=reduction: F.cross_entropy(a, y, reduction=r), reduction=i)
            loss("cross_entropy", [given(rows[:3]), labels([label] * 3), w],
                 lambda a, y, w, r=reduction: F.cross_entropy(a, y, w, reduction=r), reduction=i,
                 weighted=1)
        loss("cross_entropy", [given(near), y, given([0.5, 2.0, 1.0, 4.0])],
             lambda a, y, w: F.cross_entropy(a, y, w, label_smoothing=0.1), weighted=1,
             label_smoothing=0.1)
        for call in ("softmax", "log_softmax"):
            loss(call, [given(rows)], lambda a, c=call: getattr(F, c)(a, 1), dim=1)
    for s in (0.0, 0.1, 1.0):
        for y in ([0, 0], [0, -100]):
            loss("cross_entropy", [given([[1, 2, 3], [1, 2, 4]]), labels(y), given([0, 1, 2])],
                 lambda a, y, w, s=s: F.cross_entropy(a, y, w, label_smoothing=s), weighted=1,
                 label_smoothing=s)


def list_losses():
    def x(*shape):
        return lambda dtype: randn(shape, dtype, 2.0)

    def unit(*shape):
        return lambda dtype: torch.rand(shape, generator=generator).to(DTYPES[dtype])

    def labels(n, k, ignored=()):
        def make(_):
            y = torch.randint(0, k, (n,), generator=generator)
            for i in ignored:
                y[i] = -100
            return y
        return make

    for i, reduction in enumerate(REDUCTIONS):
        how = {"reduction": i}
        for call in ("mse_loss", "l1_loss"):
            loss(call, [x(6, 5), x(6, 5)],
                 lambda a, b, c=call, r=reduction: getattr(F, c)(a, b, reduction=r), (0, 1), **how)
        bce = F.binary_cross_entropy_with_logits
        name = "binary_cross_entropy_with_logits"
        loss(name, [x(6, 5), unit(6, 5)],
             lambda a, b, r=reduction: bce(a, b, reduction=r), (0, 1), **how)
        loss(name, [x(6, 5), unit(6, 5), unit(5)],
             lambda a, b, w, r=reduction: bce(a, b, weight=w, reduction=r), weighted=1, **how)
        loss(name, [x(6, 5), unit(6, 5), unit(6, 1), x(5)],
             lambda a, b, w, q, r=reduction: bce(a, b, weight=w, pos_weight=q, reduction=r),
             weighted=1, pos_weighted=1, **how)
        for n, k in ((6, 5), (300, 100)):
            ce = F.cross_entropy
            options = {"length": 4 * n if reduction == "sum" else 64, **how}
            loss("nll_loss", [x(n, k), labels(n, k)],
                 lambda a, y, r=reduction: F.nll_loss(a, y, reduction=r), **options)
            loss("nll_loss", [x(n, k), labels(n, k, (1, 4)), unit(k)],
                 lambda a, y, w, r=reduction: F.nll_loss(a, y, w, reduction=r), weighted=1,
                 **options)
            loss("nll_loss", [x(n, k), labels(n, k), unit(k)],
                 lambda a, y, w, r=reduction: F.nll_loss(a, y, w, ignore_index=2, reduction=r),
                 weighted=1, ignore_index=2, **options)
            for s in (0.0, 0.1, 1.0):
                loss("cross_entropy", [x(n, k), labels(n, k)],
                     lambda a, y, r=reduction, s=s: ce(a, y, label_smoothing=s, reduction=r),
                     label_smoothing=s, **options)
                loss("cross_entropy", [x(n, k), labels(n, k, (0, 3)), unit(k)],
                     lambda a, y, w, r=reduction, s=s: ce(a, y, w, label_smoothing=s, reduction=r),
                     label_smoothing=s, weighted=1, **options)
                loss("cross_entropy", [x(n, k), labels(n, k)],
                     lambda a, y, r=reduction, s=s: ce(a, y, label_smoothing=s, ignore_index=1,
                                                       reduction=r),
                     label_smoothing=s, ignore_index=1, has_ignore_index=1, **options)
                loss("cross_entropy", [x(n, k), unit(n, k), unit(k)],
                     lambda a, y, w, r=reduction, s=s: ce(a, y, w, label_smoothing=s, reduction=r),
                     (0, 1), label_smoothing=s, weighted=1,
                     **{**options, "length": 8 * n + k})
                loss("cross_entropy", [x(n, k), unit(n, k)],
                     lambda a, y, r=reduction, s=s: ce(a, y, label_smoothing=s, reduction=r),
                     (0, 1), label_smoothing=s, **{**options, "length": 8 * n + k})
        loss("cross_entropy", [x(3, 4), labels(3, 4, (0, 1, 2))],
             lambda a, y, r=reduction: F.cross_entropy(a, y, reduction=r), **how)
    list_losses_of_large_logits()
    loss("abs", [x(9)], torch.abs)
    loss("mul", [x(3, 21, 5, 4), x(3, 21, 1, 1)], torch.mul, (0, 1))
    loss("softplus", [x(9)], F.softplus)
    loss("log_softmax", [x(5, 7)], lambda a: F.log_softmax(a, 1), dim=1)


def list_optimizers():
    for call, options in optimizer_cases.CASES:
        optimizer(call, options)


def list_initialisers():
    shape = (40, 25, 3, 3)
    leaky, relu, linear = 0, 1, 2  # weft_gain
    initialiser("uniform_", shape, (-0.5, 2.0), a=-0.5, b=2.0)
    initialiser("normal_", shape, driver={"a": 1.0, "b": 0.5}, mean=1.0, std=0.5)
    initialiser("constant_", shape, driver={"a": 0.75}, val=0.75)
    for a, b, mean, std in ((-2, 2, 0, 1), (-0.04, 0.04, 0, 0.02), (0.5, 3, -1, 2)):
        initialiser("trunc_normal_", shape, (a, b), mean=mean, std=std, a=a, b=b)
    for mode in ("fan_in", "fan_out"):
        for name, gain, of in (("leaky_relu", math.sqrt(2 / 1.04), leaky),
                               ("relu", math.sqrt(2), relu), ("linear", 1.0, linear)):
            fan = 225 if mode == "fan_in" else 360
            driver = {"a": 0.2, "fan_out": mode == "fan_out", "nonlinearity": of}
            limit = gain * math.sqrt(3 / fan)
            initialiser("kaiming_uniform_", shape, (-limit, limit), driver=driver, a=0.2, mode=mode,
                        nonlinearity=name)
            initialiser("kaiming_normal_", shape, driver=driver, a=0.2, mode=mode,
                        nonlinearity=name)
    limit = 1.5 * math.sqrt(6 / 585)
    initialiser("xavier_uniform_", shape, (-limit, limit), gain=1.5)
    initialiser("xavier_normal_", shape, gain=1.5)


def compare(case, got, want):
    """Yields (what, error, bound) of a layer, loss or optimizer."""
    f32 = case["dtype"] == "f32"
    for what, w in want.items():
        g = got.pop(f"{case['name']}/{what}", None)
        if g is None or g.shape != w.shape:
            yield what + (" is missing" if g is None else f" is {tuple(g.shape)}"), math.inf, 0.0
            continue
        size = w.abs().double()
        size = size[size.isfinite()]
        size = max(1.0, size.max().item() if size.numel() else 0.0)
        # f32: so many roundings of the largest value; f64: far below what any wrong formula gives
        bound = bounds[case["name"]] * 2.0 ** -24 if f32 else 1e-10
        same = (g.double() == w.double()) | (g.isnan() & w.isnan())
        error = torch.where(same, 0.0, (g.double() - w.double()).abs())
        error = error.max().item() if error.numel() else 0.0
        yield what, math.inf if math.isnan(error) else error / size, bound


def ks_distance(a, b):
    """The largest distance of two empirical distributions."""
    both = torch.cat([a, b]).sort().values
    cdf = [torch.searchsorted(s.sort().values, both, right=True).double() / s.numel()
           for s in (a, b)]
    return (cdf[0] - cdf[1]).abs().max().item()


def compare_samples(case, got):
    """Yields (what, error, bound) of an initialiser: moments, distribution, limits."""
    want, limits = samples[case["name"]]
    g = got.pop(f"{case['name']}/y").double().flatten()
    n, std = want.numel(), want.std().item()
    # two samples: standard errors std sqrt(2/n) of the mean, at most std/sqrt(n) of the deviation
    yield "mean", abs(g.mean().item() - want.mean().item()), 5 * std * math.sqrt(2 / n)
    yield "deviation", abs(g.std().item() - std), 5 * std / math.sqrt(n)
    # Kolmogorov and Smirnov: exceeded with a chance of 2 exp(-2 c^2), c = 2.2: 1.3e-4
    yield "distribution", ks_distance(g, want) if std > 0 else 0.0, 2.2 * math.sqrt(2 / n)
    if limits:
        low, high = limits
        out = max(low - g.min().item(), g.max().item() - high, 0.0)
        yield "limits", out, 1e-6 * max(abs(low), abs(high))
        yield "reach", max(g.min().item() - low, high - g.max().item()), 0.02 * (high - low)


def main():
    driver, folder = sys.argv[1:]
    torch.manual_seed(5)
    torch.set_num_threads(1)
    for make in (list_layers, list_losses, list_optimizers, list_initialisers):
        make()
    paths = [os.path.join(folder, f) for f in ("cases.json", "in.safetensors", "out.safetensors")]
    with open(paths[0], "w", encoding="utf-8") as f:
        json.dump(cases, f)
    save_file(tensors, paths[1])
    subprocess.run([driver, *paths], check=True, timeout=400)
    with safe_open(paths[2], "pt") as f:
        got = {key: f.get_tensor(key) for key in f.keys()}
        printed = f.metadata() or {}
    results = []
    for case in cases:
        name = case["name"]
        group = f"{case['group']} {case['dtype']}"
        options = {k: v for k, v in case.items() if k not in ("name", "group", "dtype", "grad")}
        label = f"{name} {json.dumps(options)}"
        pairs = compare_samples(case, got) if name in samples else compare(case, got,
                                                                           expected[name])
        results += [{"group": group, "case": label, "what": what, "error": error, "bound": bound}
                    for what, error, bound in pairs]
        if texts.get(name):
            same = printed.get(name) == texts[name]
            results.append({"group": "text", "case": label, "what": f"{printed.get(name)} for "
                            f"{texts[name]}", "error": 0.0 if same else 1.0, "bound": 0.5})
    for key in got:
        results.append({"group": "layer f64", "case": key, "what": "was not asked for",
                        "error": math.inf, "bound": 0.0})
    print(json.dumps(results))


main()
