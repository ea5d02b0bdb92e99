#!/usr/bin/env python3
"""What a network learns does not change with the arithmetic: ResNet-20 on Fashion-MNIST, with and without
Winograd, in f32 and with images stored as bf16.

    tests/cli/test_convergence.py WEFT

Takes some two hours on two cores, so `./dev test` runs it only with --long, or by its
whole name, cli_convergence.
"""

import csv
import json
import os
import sys
import unittest

import weft_command
from weft_command import done

DATA = "/usr/share/datasets/fashion-mnist"
RECIPE = ["--data-path", DATA, "--model", "cifar_resnet20", "--batch-size", "128",
          "--epochs", "10", "--lr", "0.1", "--crop-padding", "2", "--hflip", "0.5"]
# Of test top-1, in percent. The two runs differ in last bits from their first step on, so they are two
# samples of the same training: ten thousand test images and 6 % errors make sqrt(2 * 0.06 * 0.94 / 1e4)
# = 0.34 % of independent runs' difference; they share initialisation, order and augmentation.
TOLERANCE = 0.3


def train(run, *args, avoid=""):
    done("train", *RECIPE, "--output-dir", run, *args, env={**os.environ, "WEFT_AVOID": avoid},
         timeout=7200)
    with open(os.path.join(run, "config.json"), encoding="utf-8") as f:
        assert json.load(f)["environment"]["avoid"] == avoid
    with open(os.path.join(run, "summary.csv"), encoding="utf-8") as f:
        last = list(csv.DictReader(f))[-1]
    print(f"WEFT_AVOID={avoid} {' '.join(args)}: test top-1 {last['test_acc1']} %, "
          f"loss {last['test_loss']}", flush=True)
    return float(last["test_acc1"])


def needs_data():
    if not os.path.isdir(DATA):
        raise unittest.SkipTest(f"{DATA}: not installed")


def test_winograd_on_and_off_end_alike(tmp):
    needs_data()
    on = train(os.path.join(tmp, "on"))
    off = train(os.path.join(tmp, "off"), avoid="winograd")
    assert min(on, off) > 92, f"{on} % and {off} %: learns less than it did"
    assert abs(on - off) <= TOLERANCE, f"{on} % with Winograd, {off} % without"


def test_bf16_and_f32_end_alike(tmp):
    """The means of three seeds each."""
    needs_data()
    mean = {}
    for amp in ("off", "bf16"):
        ends = [train(os.path.join(tmp, f"{amp}{seed}"), "--amp", amp, "--seed", str(seed))
                for seed in (1, 2, 3)]
        mean[amp] = sum(ends) / len(ends)
    assert abs(mean["off"] - mean["bf16"]) <= TOLERANCE, mean


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
