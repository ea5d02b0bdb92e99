#!/usr/bin/env python3
"""The examples print what their PyTorch originals print.

    test_examples.py EXECUTABLE...
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
        "weight_custom [5, 3] [5, 3]\n"
        "fc1.weight [20, 10] [20, 10]\n"
        "fc1.bias [20] [20]\n"
        "fc2.weight [5, 20] [5, 20]\n"
        "fc2.bias [5] [5]\n"
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
}
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

    def test_every_example_is_checked(self):
        self.assertEqual(sorted(EXECUTABLES), sorted(EXPECTED))


if __name__ == "__main__":
    del sys.argv[1:]
    counted.main()
