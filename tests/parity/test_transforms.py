#!/usr/bin/env python3
"""Transforms against PIL and torchvision's definitions.

    test_transforms.py TRANSFORM_DRIVER

Needs a Python with PIL, numpy and PyTorch, named by WEFT_TORCH_PYTHON (`./dev torch-python` prints
one); without it every test is skipped. PIL's half of each test is transforms_pil.py.
"""

import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
import counted  # noqa: E402

DRIVER = sys.argv.pop(1)
TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")


# Each case of transforms_pil.py, and how many inputs it makes.
CASES = {"resize": 2000, "magnitudes": 135, "ops": 1488, "adjustments": 400, "every_hue": 128,
         "blur": 60, "evaluation": 120, "training": 150}


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class Transforms(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        out = subprocess.run([TORCH_PYTHON, os.path.join(HERE, "transforms_pil.py"), DRIVER,
                              *CASES], text=True, capture_output=True, timeout=300)
        if out.returncode:
            raise AssertionError(out.stderr)
        cls.results = json.loads(out.stdout.splitlines()[-1])
        if "skip" in cls.results:
            raise unittest.SkipTest(cls.results["skip"])

    def check(self, case):
        result = self.results[case]
        self.assertEqual(result["wrong"], [],
                         f"{case}: {result['bad']} of {result['cases']} differ")
        self.assertEqual(result["cases"], CASES[case])

    def test_resize_equals_pil_to_the_bit(self):
        self.check("resize")

    def test_magnitudes_are_torchvisions(self):
        self.check("magnitudes")

    def test_every_op_over_its_range_equals_pil_to_the_bit(self):
        self.check("ops")

    def test_adjustments_equal_pil_to_the_bit(self):
        self.check("adjustments")

    def test_every_hue_equals_pil_to_the_bit(self):
        self.check("every_hue")

    def test_blur_is_within_its_bound(self):
        self.check("blur")

    def test_evaluation_equals_pil_to_the_bit(self):
        self.check("evaluation")

    def test_training_equals_pil_to_the_bit(self):
        self.check("training")


if __name__ == "__main__":
    counted.main()
