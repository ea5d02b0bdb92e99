#!/usr/bin/env python3
"""Every layer, loss, optimizer and initialiser against PyTorch.

    test_layers.py PARITY_DRIVER

Needs a Python with PyTorch, named by WEFT_TORCH_PYTHON (`./dev torch-python` prints one); without
it every test is skipped. PyTorch's half is `layer_cases.py`, which lists the cases, has the driver
run them and prints how far the results are apart.
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
class Layers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            out = subprocess.run([TORCH_PYTHON, os.path.join(HERE, "layer_cases.py"), DRIVER,
                                  folder], text=True, capture_output=True, timeout=500)
        if out.returncode != 0:
            raise AssertionError(out.stdout + out.stderr)
        cls.results = json.loads(out.stdout.splitlines()[-1])

    def check(self, group):
        """Each result: case, what, error, bound."""
        results = [r for r in self.results if r["group"] == group]
        self.assertTrue(results)
        worst = max(results, key=lambda r: r["error"] / r["bound"] if r["bound"] else r["error"])
        print(f"{group}: {len(results)} results of {len({r['case'] for r in results})} cases; "
              f"largest error {max(r['error'] for r in results):.1e}; closest to its bound: "
              f"{worst['case']} {worst['what']}, {worst['error']:.1e} of {worst['bound']:.1e}")
        wrong = [f"{r['case']} {r['what']}: {r['error']:.3g}, allowed {r['bound']:.3g}"
                 for r in results if not r["error"] <= r["bound"]]
        self.assertEqual(wrong, [])

    def test_layers_in_double(self):
        self.check("layer f64")

    def test_layers_in_float(self):
        self.check("layer f32")

    def test_losses_in_double(self):
        self.check("loss f64")

    def test_losses_in_float(self):
        self.check("loss f32")

    def test_optimizers(self):
        self.check("optimizer f64")
        self.check("optimizer f32")

    def test_initialisers_have_the_same_distribution(self):
        self.check("initialiser f64")
        self.check("initialiser f32")

    def test_layers_print_as_pytorchs(self):
        self.check("text")


if __name__ == "__main__":
    counted.main()
