#!/usr/bin/env python3
"""Whole networks against PyTorch, from the same weights on the same images.

    test_parity.py WEFT

Needs a Python with PyTorch, named by WEFT_TORCH_PYTHON (`./dev torch-python` prints one); without
it every test is skipped. PyTorch's half of each test is `torch_side.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
import counted  # noqa: E402

WEFT = sys.argv.pop(1)
TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")

# The plain recipe, and everything PyTorch's SGD has. Learning rates at which the loss falls: where
# it climbs, rounding grows by orders of magnitude in a few steps, in PyTorch too.
RECIPES = {
    "plain": {"opt": "sgd", "lr": 0.05, "momentum": 0, "wd": 0, "smoothing": 0},
    "momentum": {"opt": "sgd", "lr": 0.02, "momentum": 0.9, "wd": 5e-4, "smoothing": 0.1},
    "nesterov": {"opt": "sgd_nesterov", "lr": 0.005, "momentum": 0.9, "wd": 5e-4, "smoothing": 0},
    "adamw": {"opt": "adamw", "lr": 0.001, "momentum": 0.9, "wd": 0.01, "smoothing": 0},
    # What torchvision's training script does to a step, and two batches a step.
    "torchvision": {"opt": "sgd", "lr": 0.02, "momentum": 0.9, "wd": 5e-3, "smoothing": 0.1,
                    "norm_wd": 0, "clip": 0.5, "ema": 0.75, "accumulate": 2},
}
STEPS = 5
# What may differ is the order of each layer's sums. The errors seen are below 3e-7.
LOSS_RTOL = 1e-5


def more_flags(recipe):
    flags = []
    for key, name in (("norm_wd", "--norm-weight-decay"), ("clip", "--clip-grad-norm"),
                      ("accumulate", "--accumulate")):
        flags += [name, recipe[key]] if key in recipe else []
    if "ema" in recipe:  # as many epochs as images a step: the decay is what it says
        flags += ["--model-ema", "--model-ema-steps", 1, "--model-ema-decay", recipe["ema"],
                  "--epochs", 64 * recipe.get("accumulate", 1)]
    return flags


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class Parity(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def torch(self, *args):
        out = subprocess.run([TORCH_PYTHON, os.path.join(HERE, "torch_side.py"), *map(str, args)],
                             text=True, capture_output=True, timeout=300)
        self.assertEqual(out.returncode, 0, out.stderr)
        return json.loads(out.stdout.splitlines()[-1])

    def weft(self, *args):
        out = subprocess.run([WEFT, *map(str, args)], text=True, capture_output=True, timeout=300)
        self.assertEqual(out.returncode, 0, out.stderr)
        return out.stdout

    def train(self, recipe):
        r = RECIPES[recipe]
        want = self.torch("train", "--model", "fmnist_cnn", "--dir", self.dir.name, "--steps",
                          STEPS, "--recipe", json.dumps(r))
        run = self.path("run")
        self.weft("train", "--model", "fmnist_cnn", "--weights", self.path("init.safetensors"),
                  "--data-path", self.path("data.safetensors"), "--no-shuffle", "--no-augment",
                  "--max-steps", STEPS, "--opt", r["opt"], "--lr", r["lr"], "--momentum",
                  r["momentum"], "--wd", r["wd"], "--label-smoothing", r["smoothing"],
                  "--lr-scheduler", "constant", "--lr-warmup-epochs", 0, "--batch-size", 64,
                  *more_flags(r), "--output-dir", run)
        with open(os.path.join(run, "log.jsonl"), encoding="utf-8") as log:
            steps = [e for e in map(json.loads, log) if e.get("event") == "step"]
        got = [e["loss"] for e in steps]
        self.assertEqual(len(got), STEPS)
        return got, want, run

    def compare(self, recipe):
        got, want, run = self.train(recipe)
        errors = [abs(a - b) / abs(b) for a, b in zip(got, want["losses"])]
        print(f"{recipe}: relative errors", *(f"{e:.1e}" for e in errors))
        for step, error in enumerate(errors):
            self.assertLessEqual(error, LOSS_RTOL, f"step {step}: loss {got[step]}, PyTorch "
                                 f"{want['losses'][step]}")
        return run

    def test_five_sgd_steps_have_pytorchs_losses(self):
        self.compare("plain")

    def test_momentum_decay_and_label_smoothing_agree(self):
        self.compare("momentum")

    def test_nesterov_agrees(self):
        self.compare("nesterov")

    def test_adamw_agrees(self):
        self.compare("adamw")

    def test_groups_accumulation_clipping_and_averages_agree_with_torchvisions(self):
        run = self.compare("torchvision")
        r = self.torch("averages", "--model", "fmnist_cnn", "--dir", self.dir.name, "--weights",
                       os.path.join(run, "weights_ema.safetensors"))
        # the weights' own differences: STEPS sums in another order, of losses that agree to 1e-5
        self.assertLessEqual(r["max_error"], LOSS_RTOL, r)
        self.assertTrue(r["same_names"])

    def test_pytorch_loads_the_trained_weights_strictly_and_gets_the_same_logits(self):
        _, _, run = self.train("momentum")
        self.weft("predict", "--weights", os.path.join(run, "weights.safetensors"), "--input",
                  self.path("data.safetensors"), "--output", self.path("logits.safetensors"))
        r = self.torch("logits", "--model", "fmnist_cnn", "--dir", self.dir.name, "--weights",
                       os.path.join(run, "weights.safetensors"))
        self.assertLessEqual(r["max_error"], 1e-4 * r["max_logit"], r)


if __name__ == "__main__":
    counted.main()
