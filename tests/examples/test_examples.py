#!/usr/bin/env python3
"""The examples print what their PyTorch originals print.

    test_examples.py EXECUTABLE...

Originals in a file of their own are run, too, where WEFT_TORCH_PYTHON names a Python with PyTorch.
"""

import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted

EXPECTED = {
    "example_linear": "[1, 5]\n",
    "example_custom": (
        "weight_custom [5, 3]\n"
        "fc1.weight [20, 10]\n"
        "fc1.bias [20]\n"
        "fc2.weight [5, 20]\n"
        "fc2.bias [5]\n"
        "[2, 3]\n"
    ),
    "example_sequential": (
        "Sequential(\n"
        "  (0): Linear(in_features=10, out_features=20, bias=True)\n"
        "  (1): ReLU()\n"
        "  (2): Linear(in_features=20, out_features=5, bias=True)\n"
        ")\n"
        "loss is finite: True\n"
    ),
    "example_custom_layer": (
        "Sequential(\n"
        "  (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))\n"
        "  (1): LayerScale(8)\n"
        ")\n"
        "0.weight [8, 3, 3, 3]\n"
        "0.bias [8]\n"
        "1.gain [8, 1, 1]\n"
    ),
    "example_custom_loss": (
        "loss 0.7856\n"
        "0.0783 0.1890 -0.0674\n"
        "-0.2301 0.1536 0.0765\n"
    ),
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
ORIGINALS = ["custom_layer", "custom_loss", "weight_sharing", "fine_tuning", "hooks"]
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

    def test_a_shared_weight(self):
        self.check("example_weight_sharing")

    def test_fine_tuning_with_frozen_layers(self):
        self.check("example_fine_tuning")

    def test_hooks_that_log_activations(self):
        self.check("example_hooks")

    @unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
    def test_the_pytorch_originals_print_the_same(self):
        for name in ORIGINALS:
            with self.subTest(name):
                run = subprocess.run([TORCH_PYTHON, os.path.join(ROOT, "examples", name + ".py")],
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     universal_newlines=True, timeout=120)
                self.assertEqual((run.stdout, run.returncode), (EXPECTED["example_" + name], 0))

    def test_every_example_is_checked(self):
        self.assertEqual(sorted(EXECUTABLES), sorted(EXPECTED))


if __name__ == "__main__":
    del sys.argv[1:]
    counted.main()
