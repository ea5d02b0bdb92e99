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
LONG = 60


def steps(make, total, warmup=0, constant=False, hold=1):
    """Learning rate and momentum of each step, the scheduler being stepped every `hold` steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9)
    if warmup:
        first = sched.ConstantLR(optimizer, START, warmup) if constant else \
            sched.LinearLR(optimizer, start_factor=START, total_iters=warmup)
        schedule = sched.SequentialLR(optimizer, [first, make(optimizer)], [warmup])
    else:
        schedule = make(optimizer)
    lr, momentum = [], []
    for i in range(total):
        group = optimizer.param_groups[0]
        lr.append(group["lr"])
        momentum.append(group["momentum"])
        optimizer.step()
        if i + 1 < total and (i + 1) % hold == 0:
            schedule.step()
    return lr, momentum


def numbers(values):
    return "{" + ", ".join(repr(float(v)) for v in values) + "}"


def show(kind, fields, total, lr, momentum=None):
    fields = {"div_factor": 25.0, "final_div_factor": 1e4} | fields
    if "milestones" in fields:
        steps_of = fields["milestones"]
        fields |= {"milestones": f"(const int64_t[]){{{', '.join(map(str, steps_of))}}}",
                   "n_milestones": len(steps_of)}
    text = "".join(f", .{k} = {v}" for k, v in fields.items())
    print(f"{{{{.kind = WEFT_SCHEDULE_{kind}, .lr = {LR}, .total_steps = {total}{text}}},")
    print(f" {numbers(lr)}, {numbers(momentum or [0])}}},")


def warm_up(warmup):
    return {"warmup_steps": warmup, "warmup_start": START}


def long_trainings():
    """Each kind over LONG steps, with warm-up of both kinds, stepped at every step and every 5."""
    for warmup, constant, hold in ((0, False, 1), (7, False, 1), (6, True, 1), (10, False, 5)):
        units, w = LONG // hold, warmup // hold  # as the scheduler counts
        kinds = (
            ("CONSTANT", {}, lambda o: sched.ConstantLR(o, 1.0)),
            ("STEP", {"step_size": 3 * hold, "gamma": 0.7}, lambda o: sched.StepLR(o, 3, 0.7)),
            ("MULTISTEP", {"milestones": [2 * hold, 3 * hold, 9 * hold], "gamma": 0.3},
             lambda o: sched.MultiStepLR(o, [2, 3, 9], 0.3)),
            ("EXPONENTIAL", {"step_size": hold, "gamma": 0.95},
             lambda o: sched.ExponentialLR(o, 0.95)),
            ("POLYNOMIAL", {"power": 0.9}, lambda o: sched.PolynomialLR(o, units - w, 0.9)),
            ("COSINE", {"min_lr": 0.003},
             lambda o: sched.CosineAnnealingLR(o, units - w, 0.003)),
            ("COSINE_RESTARTS", {"restart_steps": 4 * hold, "restart_mult": 1, "min_lr": 0.003},
             lambda o: sched.CosineAnnealingWarmRestarts(o, 4, 1, 0.003)),
            ("COSINE_RESTARTS", {"restart_steps": 2 * hold, "restart_mult": 3},
             lambda o: sched.CosineAnnealingWarmRestarts(o, 2, 3)),
        )
        for kind, fields, make in kinds:
            lr, _ = steps(make, LONG, w * hold if hold == 1 else w, constant, hold)
            extra = {"constant_warmup": "true"} if constant else {}
            extra |= {"hold_steps": hold} if hold > 1 else {}
            show(kind, fields | extra | warm_up(warmup), LONG, lr)
    lr, momentum = steps(lambda o: sched.OneCycleLR(o, LR, total_steps=LONG), LONG)
    show("ONE_CYCLE", {"pct_start": 0.3, "cycle_momentum": "true", "base_momentum": 0.85,
                       "max_momentum": 0.95}, LONG, lr, momentum)


def plateaus():
    """Figures and the learning rate after each, of ReduceLROnPlateau."""
    figures = [round(2 / (1 + i % 13) + 0.05 * (i * 7 % 5), 3) for i in range(LONG)]
    for mode, patience, cooldown, low in (("min", 3, 0, 0.0), ("max", 2, 4, 0.02), ("min", 0, 1, 0.0)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
        schedule = sched.ReduceLROnPlateau(optimizer, mode, 0.5, patience, cooldown=cooldown, min_lr=low)
        lr = []
        for figure in figures:
            optimizer.step()
            schedule.step(figure)
            lr.append(optimizer.param_groups[0]["lr"])
        show("PLATEAU", {"gamma": 0.5, "patience": patience, "cooldown": cooldown, "min_lr": low,
                         "threshold": 1e-4, "higher_is_better": str(mode == "max").lower()},
             LONG, lr, figures)


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
    long_trainings()
    plateaus()


if __name__ == "__main__":
    main()
