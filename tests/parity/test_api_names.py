#!/usr/bin/env python3
"""docs/api-map.md has every public name of torch.nn, torch.nn.functional, torch.optim and torch.Tensor.

Needs a Python with PyTorch, named by WEFT_TORCH_PYTHON (`./dev torch-python` prints one); without
it every test is skipped. tests/structure/test_api_map.py looks at the other half, Weft's names.
"""

import json
import os
import re
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
import counted  # noqa: E402

TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")
# A list of names for each section of the page. What a module imports for itself (typing, functools) is
# not of PyTorch and left out.
NAMES = """
import inspect, json, torch
import torch.nn.functional as F
from torch.optim import lr_scheduler

def public(of, wanted):
    return [n for n in dir(of) if not n.startswith("_") and wanted(n, getattr(of, n, None))]

def of_torch(value):
    return (getattr(value, "__module__", None) or "torch").startswith("torch")

def a_class(name, value):
    return inspect.isclass(value) and of_torch(value)

def a_function(name, value):
    return callable(value) and not inspect.isclass(value) and of_torch(value)

print(json.dumps({
    "torch.nn": public(torch.nn, a_class),
    "torch.nn.Module": public(torch.nn.Module, lambda name, value: True),
    "torch.nn.functional": public(F, a_function),
    "torch and torch.Tensor": public(torch.Tensor, a_function),
    "torch.nn.init": [n for n in public(torch.nn.init, a_function) if n.endswith("_")],
    "torch.optim": public(torch.optim, a_class) + public(
        lr_scheduler, lambda name, value: a_class(name, value) and issubclass(value, lr_scheduler.LRScheduler)),
}))
"""


def sections(page):
    """{title: the words in code in the left column of its tables}"""
    found = {}
    for part in re.split(r"^## ", page, flags=re.M)[1:]:
        left = " ".join(line.split("|")[1] for line in part.splitlines() if line.startswith("|"))
        words = re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", left)))
        found[part.splitlines()[0]] = set(words)
    return found


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class ApiNames(unittest.TestCase):
    def test_no_name_of_pytorch_is_missing(self):
        done = subprocess.run([TORCH_PYTHON, "-c", NAMES], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(HERE, "..", "..", "docs", "api-map.md"), encoding="utf-8") as f:
            there = sections(f.read())
        for section, names in json.loads(done.stdout).items():
            with self.subTest(section=section):
                self.assertGreater(len(names), 10)
                self.assertEqual([n for n in names if not {n, n.removesuffix("_")} & there[section]], [])


if __name__ == "__main__":
    counted.main()
