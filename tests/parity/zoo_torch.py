#!/usr/bin/env python3
"""PyTorch's half of test_zoo.py: networks of bench/torch_models against Weft's.

    zoo_torch.py DRIVER CASES_JSON

A case: "model", "size", "batch", "steps", "double" (compare in f64 too), "seed" (of
the images). For each, makes weights
and images, has the driver load and train them, does the same in PyTorch, and prints one line of
JSON with how far they are apart. The truth is PyTorch in double; PyTorch's own f32 error stands
beside Weft's, as the measure of what f32 can do on the network. The first line lists the
families with their models' image sizes.
"""

import copy
import inspect
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from importlib import import_module

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench"))
from torch_models import FAMILIES, MODELS  # noqa: E402
from zoo_weights import make_images, make_weights, nearest  # noqa: E402

MOMENTUM = 0.9
# By how much all steps together would lower the loss if the gradient stayed what it is. From the
# second step on units come near corners (see Note [Corners]), and f32's gradients differ by up to
# a hundredth of themselves; the losses then differ by this part of the loss's fall.
FALL = 0.1
# Depth without shortcuts amplifies: with betas around 0 Inception's logits in training mode have
# f32 errors of 1e-4, PyTorch's as Weft's. Betas above 0 leave more units on.
SHIFT = {"googlenet": 1.0, "inception_v3": 1.0}
# A gradient whose norm is below this part of the whole gradient's in double is zero by
# construction, such as that of a bias whose sum BatchNorm subtracts again: rounding alone, which is
# compared on the scale of the whole gradient, like that of a dead unit.
ZERO = 1e-12


class Failed(Exception):
    """Weft's half did not get through."""


def options_of(model, size):
    """The model's own: dropout and stochastic depth off; auxiliary classifiers on, where images are
    large enough for them."""
    names = inspect.signature(model.build).parameters
    options = {name: 0.0 for name in names if "drop" in name or "stochastic" in name}
    if "aux_logits" in names and size >= getattr(model.build, "aux_smallest", 1):
        options["aux_logits"] = True
    return options


# ---- the two sides -------------------------------------------------------------------------------


class Hardsigmoid(nn.Module):
    """By its formula: PyTorch's gradient has 1/6 rounded to f32, in double as well."""

    def forward(self, x):
        return F.relu6(x + 3) / 6


def in_double(net):
    truth = copy.deepcopy(net).double()
    for module in list(truth.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Hardsigmoid):
                setattr(module, name, Hardsigmoid())
    return truth


def training_loss(net, x, y):
    """Logits and loss; a network with auxiliary classifiers gives theirs behind its own."""
    out = net(x)
    if not isinstance(out, tuple):
        return out, F.cross_entropy(out, y)
    losses = [F.cross_entropy(logits, y) for logits in out]
    return out[0], losses[0] + net.aux_loss_weight * sum(losses[1:])


def run_torch(net, images, labels, lr):
    """What zoo_driver.c computes, in the network's type."""
    dtype = next(net.parameters()).dtype
    batches = images.to(dtype).split(labels.shape[1])
    net.eval()
    with torch.no_grad():
        result = {"eval": net(batches[0])}
    net.train()
    sgd = torch.optim.SGD(net.parameters(), lr=lr, momentum=MOMENTUM)
    losses = []
    for step, (x, y) in enumerate(zip(batches, labels)):
        sgd.zero_grad()
        logits, loss = training_loss(net, x, y)
        loss.backward()
        if step == 0:
            result["train"] = logits.detach()
            result.update({"d/" + name: p.grad.clone() for name, p in net.named_parameters()
                           if p.grad is not None})
        sgd.step()
        losses.append(loss.item())
    result["losses"] = torch.tensor(losses, dtype=torch.float64)
    result.update({"b/" + name: b for name, b in net.named_buffers()})
    return result


def learning_rate(net, x, y, steps):
    """At which all steps together, were the gradient always the first one, lowered the loss by
    FALL of it. So networks with steep and with flat losses are asked the same."""
    net = copy.deepcopy(net).train()
    loss = training_loss(net, x, y)[1]
    loss.backward()
    slope = sum(norm(p.grad) ** 2 for p in net.parameters() if p.grad is not None)
    path = sum((1 - MOMENTUM ** (t + 1)) / (1 - MOMENTUM) for t in range(steps))
    return float(f"{FALL * loss.item() / (path * slope):.3g}")


def run_weft(driver, folder, model, dtype, classes, lr, options):
    """The driver's results, and the network's state after training with its keys in their order."""
    command = [driver, folder, model, dtype, str(classes), repr(lr), str(MOMENTUM),
               *(f"{key}={str(value).lower()}" for key, value in options.items())]
    # In double through the reference kernels.
    env = dict(os.environ, **({"WEFT_MAX_ISA": "scalar"} if dtype == "f64" else {}))
    out = subprocess.run(command, text=True, capture_output=True, env=env)
    if out.returncode != 0:
        raise Failed(out.stderr.strip() or f"exit status {out.returncode}")
    path = os.path.join(folder, f"weft_{dtype}")
    result = load_file(path + ".safetensors")
    state = load_file(path + "_weights.safetensors")
    result.update({"b/" + name: value for name, value in state.items()})
    with open(path + "_weights.safetensors", "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    return result, state, [key for key in header if key != "__metadata__"]


# ---- how far they are apart ----------------------------------------------------------------------


def norm(t):
    return t.double().norm().item()


def logits_error(got, want):
    """Largest difference in units of the largest logit."""
    return ((got.double() - want).abs().max() / want.abs().max()).item()


def worst(errors):
    """The largest of {name: error} as (error, name)."""
    name = max(errors, key=errors.get)
    return errors[name], name


def gradient_errors(got, want):
    """{name: norm of the difference / norm}, and the names of those that are zero."""
    names = [key for key in want if key.startswith("d/")]
    whole = sum(norm(want[key]) ** 2 for key in names) ** 0.5
    zeros = {key for key in names if norm(want[key]) < ZERO * whole}
    return {key: norm(got[key].double() - want[key]) / (whole if key in zeros else norm(want[key]))
            for key in names}, zeros


def statistics_errors(got, want):
    """As for gradients; a mean is measured by the spread it is the mean of, if that is larger."""
    errors = {}
    for key in want:
        if key.startswith("b/") and want[key].is_floating_point():
            scale = norm(want[key])
            if key.endswith("running_mean"):
                scale = max(scale, norm(want[key.replace("mean", "var")].sqrt()))
            errors[key] = norm(got[key].double() - want[key]) / scale
    return errors


def errors_of(got, want):
    losses = (got["losses"] / want["losses"] - 1).abs()
    statistics = statistics_errors(got, want)
    gradients = worst(gradient_errors(got, want)[0])
    return {
        "eval": logits_error(got["eval"], want["eval"]),
        "train": logits_error(got["train"], want["train"]),
        "gradients": gradients[0],
        "losses": losses.max().item(),
        "statistics": worst(statistics)[0] if statistics else 0.0,
        "where": {"gradients": gradients[1][2:], "losses": f"step {losses.argmax().item()}",
                  "statistics": worst(statistics)[1][2:] if statistics else ""},
    }


def differences(net, result, state, keys, want):
    """What is not a matter of rounding, in words."""
    wrong = []
    if keys != list(net.state_dict()):
        wrong.append("the order of keys differs")
    missing = {k for k in want if k.startswith("d/")} ^ {k for k in result if k.startswith("d/")}
    if missing:
        wrong.append(f"gradients of one side only: {', '.join(sorted(missing))}")
    wrong += [f"{key} is {result[key]}, PyTorch's {want[key]}" for key in want
              if key.startswith("b/") and not want[key].is_floating_point() and
              not torch.equal(result[key], want[key])]
    try:
        net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        wrong.append(str(error))
    return wrong


def compare(driver, case, folder):
    model = MODELS[case["model"]]
    options = options_of(model, case["size"])
    torch.manual_seed(1)
    net = model.create(size=case["size"], **options)
    shape = (model.channels, case["size"], case["size"])
    images, labels = make_images(case["steps"], case["batch"], shape, model.classes,
                                 case["seed"])
    first = images[:case["batch"]].double()
    make_weights(net.double(), first, SHIFT.get(case["model"], 0.0))
    net.float()
    save_file({k: v.contiguous() for k, v in net.state_dict().items()},
              os.path.join(folder, "init.safetensors"))
    save_file({"images": images, "labels": labels}, os.path.join(folder, "data.safetensors"))
    truth = in_double(net)
    corner, tie = nearest(truth, first)
    lr = learning_rate(truth, first, labels[0], case["steps"])
    want = run_torch(truth, images, labels, lr)
    figures = {"torch_f32": errors_of(run_torch(net, images, labels, lr), want)}
    wrong = []
    for dtype, twin in [("f32", net), ("f64", truth)][:1 + case["double"]]:
        result, state, keys = run_weft(driver, folder, case["model"], dtype, model.classes, lr,
                                       options)
        figures["weft_" + dtype] = errors_of(result, want)
        wrong += [f"{dtype}: {text}" for text in differences(twin, result, state, keys, want)]
    return {
        **case,
        **figures,
        "aux": "aux_logits" in options,
        "lr": lr,
        "loss": [want["losses"][0].item(), want["losses"][-1].item()],
        "corner": corner,
        "tie": tie,
        "zeros": sorted(key[2:] for key in gradient_errors(want, want)[1]),
        "wrong": wrong,
    }


def main():
    driver, cases = sys.argv[1], json.loads(sys.argv[2])
    sizes = {family: {name: model.default_size for name, model in
                      import_module(f"torch_models.{family}").MODELS.items()}
             for family in FAMILIES}
    print(json.dumps(sizes), flush=True)
    for case in cases:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="weft-zoo-") as folder:
            try:
                result = compare(driver, case, folder)
            except Failed as error:
                result = {**case, "wrong": [str(error)]}
        print(json.dumps({**result, "seconds": time.monotonic() - start}), flush=True)


if __name__ == "__main__":
    main()
