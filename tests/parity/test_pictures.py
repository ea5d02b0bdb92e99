#!/usr/bin/env python3
"""Decoded pictures against PIL, to the bit.

    test_pictures.py PICTURE_DRIVER

Needs a Python with PIL and numpy, named by WEFT_TORCH_PYTHON (`./dev torch-python` prints one); without
it every test is skipped. PIL's half is `picture_pil.py`.
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
PYTHON = os.environ.get("WEFT_TORCH_PYTHON")
HAS_PIL = PYTHON and subprocess.run([PYTHON, "-c", "import PIL, numpy"], capture_output=True).returncode == 0


@unittest.skipUnless(HAS_PIL, "WEFT_TORCH_PYTHON names no Python with PIL")
class Pictures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            out = subprocess.run([PYTHON, os.path.join(HERE, "picture_pil.py"), DRIVER, folder],
                                 text=True, capture_output=True, timeout=500)
        if out.returncode != 0:
            raise AssertionError(out.stdout + out.stderr)
        answer = json.loads(out.stdout.splitlines()[-1])
        cls.groups, cls.versions = answer["groups"], answer["versions"]

    def test_pixels_are_equal(self):
        print(f"against {self.versions}")
        for name, r in self.groups.items():
            print(f"{name}: {r['equal']} of {r['files']} files equal, {r['refused']} of them refused")
            with self.subTest(group=name):
                self.assertEqual(r["equal"], r["files"], "\n".join(r["examples"][:20]))

    def test_there_are_hundreds_of_files(self):
        self.assertGreaterEqual(sum(r["files"] for r in self.groups.values()), 300)


if __name__ == "__main__":
    counted.main()
