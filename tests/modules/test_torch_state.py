#!/usr/bin/env python3
"""Files of Weft's load into PyTorch, and the other way round, by the real safetensors package.

    test_torch_state.py STATE_TOOL

Needs a Python with PyTorch and safetensors, named by WEFT_TORCH_PYTHON; without it every test is
skipped. PyTorch's half is torch_state.py, Weft's state_tool.c: the same network, every element
numbered.
"""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
import counted  # noqa: E402

TOOL = sys.argv.pop(1)
TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class TorchState(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.path = os.path.join(self.dir.name, "state.safetensors")

    def run_one(self, *command):
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             universal_newlines=True, timeout=300)
        self.assertEqual(run.returncode, 0, run.stdout)

    def torch(self, what):
        self.run_one(TORCH_PYTHON, os.path.join(HERE, "torch_state.py"), what, self.path)

    def weft(self, what):
        self.run_one(TOOL, what, self.path)

    def test_pytorch_loads_a_file_of_wefts_strictly_with_the_versions_of_its_modules(self):
        self.weft("save")
        self.torch("check")

    def test_a_network_prints_as_its_pytorch_twin(self):
        self.weft("print")
        self.torch("print")

    def test_weft_loads_a_file_of_pytorchs_strictly(self):
        self.torch("save")
        self.weft("check")

    def test_weft_loads_a_file_in_which_a_shared_tensor_has_one_name(self):
        self.torch("model")
        self.weft("check")


if __name__ == "__main__":
    counted.main()
