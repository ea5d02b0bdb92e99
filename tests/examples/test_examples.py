#!/usr/bin/env python3
"""The examples print what their PyTorch originals print.

    test_examples.py EXECUTABLE...

Originals in a file of their own are run, too, where WEFT_TORCH_PYTHON names a Python with PyTorch.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted

EXPECTED = {
    "example_linear": "[1, 5]\n",
    "example_custom": "[1, 5]\n",
    "example_sequential": "[1, 5]\n",
    "example_custom_layer": (
        "Sequential(\n"
        "  (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))\n"
        "  (1): LayerScale(8)\n"
        ")\n"
        "[8, 1, 1]\n"
    ),
    "example_custom_loss": "loss 0.8029, of the first logit 0.0982\n",
    "example_unet": "[2, 2, 8, 8]\nloss 0.8277\nloss 0.7300\n",
    "example_custom_op": "3 12 27\ngradcheck: ok\n",
    "example_weight_sharing": (
        "y 2.0, gradient 2.0\n"
        "parameters first.weight\n"
        "state first.weight second.weight\n"
    ),
    "example_fine_tuning": (
        "0.weight [8, 4] frozen\n"
        "0.bias [8] frozen\n"
        "2.weight [3, 8] trained\n"
        "2.bias [3] trained\n"
    ),
    "example_hooks": (
        "Flatten [2, 4] 1.00\n"
        "Linear [2, 3] 1.50\n"
        "ReLU [2, 3] 1.50\n"
    ),
}
TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")
ORIGINALS = ["linear", "custom", "sequential", "custom_layer", "custom_loss", "unet",
             "weight_sharing", "fine_tuning", "hooks"]
MOST_LINES = {"linear": 20, "custom": 32, "custom_layer": 36, "custom_loss": 22}
EXECUTABLES = {os.path.basename(path): path for path in sys.argv[1:]}


class Examples(unittest.TestCase):
    def check(self, name):
        run = subprocess.run([EXECUTABLES[name]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             universal_newlines=True, timeout=60)
        self.assertEqual((run.stdout, run.returncode), (EXPECTED[name], 0))

    def test_a_linear_layer(self):
        self.check("example_linear")

    def test_a_custom_module(self):
        self.check("example_custom")

    def test_a_sequential(self):
        self.check("example_sequential")

    def test_a_custom_layer(self):
        self.check("example_custom_layer")

    def test_a_custom_loss(self):
        self.check("example_custom_loss")

    def test_a_custom_op(self):
        self.check("example_custom_op")

    def test_a_unet(self):
        self.check("example_unet")

    def test_a_shared_weight(self):
        self.check("example_weight_sharing")

    def test_fine_tuning_with_frozen_layers(self):
        self.check("example_fine_tuning")

    def test_hooks_that_log_activations(self):
        self.check("example_hooks")

    def test_a_training_that_is_resumed_ends_as_one_that_was_not(self):
        def run(folder, *steps):
            done = subprocess.run([EXECUTABLES["example_train_resume"], folder, *steps],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  universal_newlines=True, timeout=60)
            return done.returncode, done.stdout.splitlines()
        with tempfile.TemporaryDirectory() as tmp:
            status, lines = run(f"{tmp}/whole")
            self.assertEqual(status, 0, lines)
            left = [run(f"{tmp}/parts", "13") for _ in range(2)]
            self.assertEqual([status for status, _ in left], [75, 75], left)
            status, rest = run(f"{tmp}/parts")
            self.assertEqual((status, rest[-1]), (0, lines[-1]), rest)
            self.assertRegex(rest[-1], r"^done: 32 steps, loss ")
            self.assertRegex("\n".join(rest), "resumed from .*: epoch 2 of 2, 10 of 16 steps done")
            weights = []
            for name in ("whole", "parts"):
                with open(f"{tmp}/{name}/weights.safetensors", "rb") as f:
                    weights.append(f.read())
            self.assertEqual(*weights)

    @unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
    def test_the_pytorch_originals_print_the_same(self):
        for name in ORIGINALS:
            with self.subTest(name):
                run = subprocess.run([TORCH_PYTHON, os.path.join(ROOT, "examples", name + ".py")],
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     universal_newlines=True, timeout=120)
                self.assertEqual((run.stdout, run.returncode), (EXPECTED["example_" + name], 0))

    def test_a_layer_is_short_to_write(self):
        """Lines with code, as many as the plan allows."""
        for name, most in MOST_LINES.items():
            with self.subTest(name), open(os.path.join(ROOT, "examples", name + ".c")) as f:
                code = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
                lines = [line for line in code.splitlines() if line.strip()]
                self.assertLessEqual(len(lines), most)

    def test_every_example_is_checked(self):
        self.assertEqual(sorted(EXECUTABLES), sorted([*EXPECTED, "example_train_resume"]))


if __name__ == "__main__":
    del sys.argv[1:]
    counted.main()
