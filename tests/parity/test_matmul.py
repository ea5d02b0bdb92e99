#!/usr/bin/env python3
"""Matrix products of every rank, and their gradients, against PyTorch, in a random sweep.

    test_matmul.py MATMUL_DRIVER

Needs a Python with PyTorch, named by WEFT_TORCH_PYTHON (`./dev torch-python` prints one); without
it every test is skipped. PyTorch's half is `matmul_torch.py`, which makes the cases, has the driver
run them and prints how far the results are apart, 1 being the bound.
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

DRIVER = sys.argv.pop(1)
TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class Matmul(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            out = subprocess.run([TORCH_PYTHON, os.path.join(HERE, "matmul_torch.py"), DRIVER,
                                  folder], text=True, capture_output=True, timeout=500)
        if out.returncode != 0:
            raise AssertionError(out.stdout + out.stderr)
        cls.sweep = json.loads(out.stdout.splitlines()[-1])

    def check(self, dtype):
        for what in ("y", "gradient of a", "gradient of b"):
            r = self.sweep["results"][f"{dtype} {what}"]
            print(f"{dtype} {what}: {r['cases']} cases, {r['strange']} with NaN or infinity; "
                  f"largest error {r['worst']:.2f} of its bound: {r['case']}")
            with self.subTest(what=what):
                self.assertGreater(r["cases"], 1000)
                self.assertGreater(r["strange"], 100)
                self.assertLessEqual(r["worst"], 1.0)

    def test_there_are_thousands_of_cases(self):
        self.assertGreaterEqual(self.sweep["cases"], 2000)

    def test_products_and_gradients_in_double(self):
        self.check("f64")

    def test_products_and_gradients_in_float(self):
        self.check("f32")


if __name__ == "__main__":
    counted.main()
