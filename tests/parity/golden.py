#!/usr/bin/env python3
"""Prints the losses and logits that tests/parity/test_training.c expects, computed by PyTorch in double.

Weights, images and labels are made from integer formulas, the same here and in the C test, so no
file is needed. Run with a Python that has PyTorch:

    python3 tests/parity/golden.py
"""

import copy
import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
import torch_models

STEPS = 5
BATCH = 8


def values(stream, shape, bound):
    """Reproducible values in [-bound, bound), exact in float: multiples of bound / 2**12."""
    i = np.arange(math.prod(shape), dtype=np.uint64)
    x = (i * 2654435761 + stream * 40503 + 12345) % (1 << 32)
    x = ((x ^ (x >> 15)) * 2246822519) % (1 << 32)
    u = (x >> 19).astype(np.float64) / 4096 - 1
    return torch.from_numpy((u * bound).astype(np.float32).astype(np.float64).reshape(shape))


def rounded(t, terms):
    """t with an error of the size of float's where each element is a sum of so many terms: typically
    sqrt(terms) roundings of what the elements of t[i] are like, i being the image or the output
    channel. An element that is exactly 0 is a unit that ReLU keeps off, and 0 in float as well."""
    like = t.detach().flatten(1).square().mean(1).sqrt() if t.dim() > 1 else t.detach().abs()
    error = math.sqrt(terms) * 2.0**-24 * like.view(-1, *[1] * (t.dim() - 1))
    return t + (t != 0) * error * torch.randn_like(t)


def round_sums(model):
    """Has every convolution and linear layer round its output, and the gradients of its input and
    parameters."""

    def forward(module, inputs, y):
        per_output = module.weight[0].numel()
        for p in module.parameters(recurse=False):
            p.terms = y.numel() // y.shape[1]
        if inputs[0].requires_grad:
            inputs[0].register_hook(lambda g: rounded(g, per_output))
        return rounded(y, per_output)

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(forward)
            for p in module.parameters(recurse=False):
                p.register_hook(lambda g, p=p: rounded(g, p.terms))


def train(model, optimizer):
    """Losses of the steps, then the logits in evaluation mode."""
    model = model.double().train()
    with torch.no_grad():
        for k, p in enumerate(model.parameters()):
            if p.dim() > 1:
                p.copy_(values(k, p.shape, 2.0 ** math.floor(math.log2(2 / math.sqrt(p[0].numel())))))
    x = values(1000, (BATCH, 1, 28, 28), 1.0)
    y = torch.tensor([(i * 7 + 3) % 10 for i in range(BATCH)])
    opt = optimizer(model.parameters())
    losses = []
    for _ in range(STEPS):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), model.eval()(x).detach()


TRIALS = 16


def run(title, model, optimizer):
    losses, logits = train(copy.deepcopy(model), optimizer)
    # What such rounding makes of them: four times the largest seen in some trials. It matters for
    # AdamW, whose step is lr times the sign of a gradient wherever that is larger than 1e-8: rounding
    # decides which way a weight with almost no gradient goes.
    loss_error, logit_error = 0, 0
    for _ in range(TRIALS):
        trial = copy.deepcopy(model)
        round_sums(trial)
        near_losses, near_logits = train(trial, optimizer)
        loss_error = max(loss_error, (near_losses / losses - 1).abs().max().item())
        logit_error = max(logit_error, (near_logits - logits).abs().max().item())
    print(title)
    print("  {" + ", ".join(f"{v:.15g}" for v in losses) + "}")
    print("  {" + ", ".join(f"{v:.15g}" for v in logits[0, :3]) + "}")
    print(f"  in float: losses {4 * loss_error:.1e} relative, logits {4 * logit_error:.1e}")


torch.manual_seed(0)
SGD = lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
ADAMW = lambda p: torch.optim.AdamW(p, lr=0.001)
for name, optimizer in (("sgd", SGD), ("adamw", ADAMW)):
    model = torch_models.MODELS["fmnist_cnn"].create()
    nn.init.zeros_(model.fc.bias)
    run("fmnist_cnn " + name, model, optimizer)
for name, optimizer in (("sgd", SGD), ("adamw", ADAMW)):
    model = torch_models.MODELS["lenet"].create()
    for p in model.parameters():
        if p.dim() == 1:
            nn.init.zeros_(p)
    run("lenet " + name, model, optimizer)
