#!/usr/bin/env python3
"""Writes schedules_of_torch.def: what PyTorch's schedulers give at every step of short trainings, from
the first step to the last, with warm-up by LinearLR in a SequentialLR. Run it with a Python that has
PyTorch:

    python tests/train/schedules_of_torch.py > tests/train/schedules_of_torch.def
"""
import itertools
import warnings

import torch
from torch.optim import lr_scheduler as sched

LR, START = 0.1, 0.01


def steps(make, total, warmup=0):
    """Learning rate and momentum of each step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9)
    if warmup:
        first = sched.LinearLR(optimizer, start_factor=START, total_iters=warmup)
        schedule = sched.SequentialLR(optimizer, [first, make(optimizer)], [warmup])
    else:
        schedule = make(optimizer)
    lr, momentum = [], []
    for i in range(total):
        group = optimizer.param_groups[0]
        lr.append(group["lr"])
        momentum.append(group["momentum"])
        optimizer.step()
        if i + 1 < total:
            schedule.step()
    return lr, momentum


def numbers(values):
    return "{" + ", ".join(repr(float(v)) for v in values) + "}"


def show(kind, fields, total, lr, momentum=None):
    fields = {"div_factor": 25.0, "final_div_factor": 1e4} | fields
    text = "".join(f", .{k} = {v}" for k, v in fields.items())
    print(f"{{{{.kind = WEFT_SCHEDULE_{kind}, .lr = {LR}, .total_steps = {total}{text}}},")
    print(f" {numbers(lr)}, {numbers(momentum or [0])}}},")


def warm_up(warmup):
    return {"warmup_steps": warmup, "warmup_start": START}


def main():
    warnings.simplefilter("ignore")
    print("/* Made by schedules_of_torch.py with PyTorch " + torch.__version__.split("+")[0] + ". */")
    for total, warmup in ((1, 0), (1, 1), (4, 2), (4, 4), (3, 5)):
        lr, _ = steps(lambda o: sched.ConstantLR(o, factor=1.0), total, warmup)
        show("CONSTANT", warm_up(warmup), total, lr)
    for size, gamma, warmup in itertools.product((1, 3), (0.0, 0.1, 1.0), (0, 2)):
        lr, _ = steps(lambda o: sched.StepLR(o, size, gamma), 8, warmup)
        show("STEP", {"step_size": size, "gamma": gamma} | warm_up(warmup), 8, lr)
    for total, low, warmup in itertools.product((1, 2, 7), (0.0, 0.02), (0, 1, 3, 6, 7, 9)):
        length = max(total - warmup, 1)  # never reached where all is warm-up
        lr, _ = steps(lambda o: sched.CosineAnnealingLR(o, length, low), total, warmup)
        show("COSINE", {"min_lr": low} | warm_up(warmup), total, lr)
    for total, pct, (div, final) in itertools.product((1, 2, 5, 9), (0.0, 0.125, 0.3, 0.5, 1.0),
                                                      ((25.0, 1e4), (4.0, 10.0))):
        try:
            lr, momentum = steps(lambda o: sched.OneCycleLR(
                o, LR, total_steps=total, pct_start=pct, div_factor=div,
                final_div_factor=final), total)
        except ZeroDivisionError:  # a rise of one step
            continue
        show("ONE_CYCLE", {"pct_start": pct, "div_factor": div, "final_div_factor": final,
                           "cycle_momentum": "true",
                           "base_momentum": 0.85, "max_momentum": 0.95}, total, lr, momentum)


if __name__ == "__main__":
    main()
