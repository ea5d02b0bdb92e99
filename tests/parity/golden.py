#!/usr/bin/env python3
"""Prints the losses and logits that tests/parity/test_training.c expects, computed by PyTorch in double.

Weights, images and labels are made from integer formulas, the same here and in the C test, so no
file is needed. Run with a Python that has PyTorch:

    python3 tests/parity/golden.py
"""

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


def run(title, model, optimizer):
    model = model.double()
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
    model.eval()
    logits = model(x)[0, :3].tolist()
    print(title)
    print("  {" + ", ".join(f"{v:.15g}" for v in losses) + "}")
    print("  {" + ", ".join(f"{v:.15g}" for v in logits) + "}")


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
