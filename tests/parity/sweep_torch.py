#!/usr/bin/env python3
"""PyTorch's half of test_sweep.py: makes the cases, has the driver run them, and compares.

    sweep_torch.py SWEEP_DRIVER FOLDER ISA,... [--cases N] [--seed N] [--family NAME] [--number N]

f32 runs on each instruction set named, f64 (the reference kernels) on the first one. Prints, as the last line, a
JSON object: family: {cases, results, worst (share of the allowed error), wrong: [text, ...]}.
"""

import argparse
import json
import os
import subprocess

import torch

import sweep_binary
import sweep_empty
import sweep_images
import sweep_losses
import sweep_norms
import sweep_reduce
import sweep_shapes
import sweep_unary
from sweep_case import F32, F64, Random, Sweep

FAMILIES = [("unary", sweep_unary), ("binary", sweep_binary), ("reduce", sweep_reduce),
            ("shapes", sweep_shapes), ("images", sweep_images), ("norms", sweep_norms),
            ("losses", sweep_losses), ("empty", sweep_empty)]


def run_driver(driver, paths, isa):
    env = {**os.environ, "WEFT_MAX_ISA": isa}
    out = subprocess.run([driver, *paths], env=env, text=True, capture_output=True, timeout=300)
    if out.returncode != 0:
        raise RuntimeError(f"the driver ({isa}) ended with {out.returncode}: {out.stderr}")
    with open(paths[1], "rb") as f:
        return f.read()


def sweep(args, index, module, dtype, isas):
    """(results, worst, wrong) of one family in one type."""
    paths = [os.path.join(args.folder, f"{name}.bin") for name in ("in", "out")]
    numbers = range(args.cases) if args.number is None else [args.number]
    with open(paths[0], "wb") as f:
        s = Sweep(dtype, f)
        for number in numbers:
            random = Random(index, args.seed, number)
            case = module.make(random)
            case.number = number
            s.add(case, random)
    worst, wrong = 0.0, []
    for isa in isas:
        bad, closest = s.compare(run_driver(args.driver, paths, isa))
        worst = max(worst, closest)
        kind = "f32" if dtype == F32 else "f64"
        wrong += [f"case {case.number}, {kind}, {isa}: {case}: {text}" for case, text in bad]
    return len(s.parts) * len(isas), worst, wrong


def main():
    p = argparse.ArgumentParser()
    p.add_argument("driver")
    p.add_argument("folder")
    p.add_argument("isas")
    p.add_argument("--cases", type=int, default=2000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--family")
    p.add_argument("--number", type=int)
    args = p.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    isas = args.isas.split(",")
    report = {}
    for index, (name, module) in enumerate(FAMILIES):
        if args.family not in (None, name):
            continue
        parts = [sweep(args, index, module, F32, isas), sweep(args, index, module, F64, isas[:1])]
        report[name] = {"cases": args.cases, "results": sum(p[0] for p in parts),
                        "worst": [p[1] for p in parts], "wrong": parts[0][2] + parts[1][2]}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
