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


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class Transforms(unittest.TestCase):
    def check(self, case, *args):
        """Runs a case of transforms_pil.py, which prints what differs."""
        out = subprocess.run([TORCH_PYTHON, os.path.join(HERE, "transforms_pil.py"), DRIVER, case,
                              *map(str, args)], text=True, capture_output=True, timeout=300)
        self.assertEqual(out.returncode, 0, out.stderr)
        result = json.loads(out.stdout.splitlines()[-1])
        if result.get("skip"):
            self.skipTest(result["skip"])
        self.assertEqual(result["wrong"], [], f"{case}: {len(result['wrong'])} of "
                         f"{result['cases']} differ")
        print(f"{case}: {result['cases']} cases")
        return result

    def test_resize_equals_pil_to_the_bit(self):
        result = self.check("resize", 2000)
        self.assertEqual(result["cases"], 2000)


if __name__ == "__main__":
    counted.main()
