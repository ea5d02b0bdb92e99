#!/usr/bin/env python3
"""Random cases of every op, forward and both gradients, against PyTorch.

    test_sweep.py SWEEP_DRIVER

Needs a Python with PyTorch, named by WEFT_TORCH_PYTHON (`./dev torch-python` prints one); without
it every test is skipped. PyTorch's half is sweep_torch.py: one process makes the cases and compares;
sweep_case.py says by what rules, the sweep_<family>.py what each op may be off by and why. In f64 a
result may be off by 1e-12 of its magnitude, in f32 by as many roundings as its formula has. f32 runs
on every instruction set of this machine.

To see one case again: sweep_torch.py SWEEP_DRIVER FOLDER ISA --family NAME --number N
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
sys.path.insert(0, os.path.join(HERE, ".."))
import counted  # noqa: E402
from run import machine_isas  # noqa: E402

DRIVER = sys.argv.pop(1)
TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")
CASES = 2000  # a family
# avx512_bf16 has avx512's kernels for f32.
ISAS = [isa for isa in machine_isas() if isa != "avx512_bf16"] or ["avx512"]


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class Sweep(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            out = subprocess.run(
                [TORCH_PYTHON, os.path.join(HERE, "sweep_torch.py"), DRIVER, folder,
                 ",".join(reversed(ISAS)), "--cases", str(CASES)],
                text=True, capture_output=True, timeout=500)
        if out.returncode != 0:
            raise AssertionError(out.stdout + out.stderr)
        cls.report = json.loads(out.stdout.splitlines()[-1])

    def check(self, family):
        r = self.report[family]
        print(f"{family}: {r['cases']} cases, {r['results']} results; closest to its bound "
              f"{r['worst'][0]:.2f} of it in f32, {r['worst'][1]:.2g} in f64")
        self.assertEqual(r["cases"], CASES)
        self.assertEqual(r["wrong"][:20], [], f"{len(r['wrong'])} results are wrong")

    def test_unary(self):
        self.check("unary")

    def test_binary(self):
        self.check("binary")

    def test_reduce(self):
        self.check("reduce")

    def test_shapes(self):
        self.check("shapes")

    def test_images(self):
        self.check("images")

    def test_norms(self):
        self.check("norms")

    def test_losses(self):
        self.check("losses")

    def test_empty(self):
        self.check("empty")


if __name__ == "__main__":
    counted.main()
