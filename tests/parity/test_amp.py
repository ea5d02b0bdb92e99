#!/usr/bin/env python3
"""Mixed precision beside PyTorch's autocast to bfloat16.

    test_amp.py WEFT PARITY_DRIVER [Layers|Training]

Rounding to bf16 makes errors of its own, so the measure is the distance that PyTorch's bf16 keeps from
full precision: Weft's may not be larger. Needs a Python with PyTorch, named by WEFT_TORCH_PYTHON
(`./dev torch-python` prints one); without it every test is skipped. PyTorch's half is
`amp_cases.py` and `torch_side.py`.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
import counted  # noqa: E402

WEFT, DRIVER = sys.argv.pop(1), sys.argv.pop(1)
TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")

# What one rounding may cost: half a unit in the last of bf16's 8 digits, 2^-8 of the largest value.
ROUNDING = 2.0 ** -8
STEPS = 20
# A rate at which the difference between two orders of summing, Weft's f32 and PyTorch's, stays well below
# what bf16 makes: at larger ones chaos is all that is measured.
RECIPE = {"opt": "sgd", "lr": 0.001, "momentum": 0.9, "wd": 5e-4, "smoothing": 0}


def rms(values):
    return math.sqrt(sum(v * v for v in values) / len(values))


class BesideTorch(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def torch(self, script, *args):
        out = subprocess.run([TORCH_PYTHON, os.path.join(HERE, script), *map(str, args)],
                             text=True, capture_output=True, timeout=500)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        return json.loads(out.stdout.splitlines()[-1])


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class Layers(BesideTorch):
    def test_layers_are_as_near_to_double_as_autocasts(self):
        results = self.torch("amp_cases.py", DRIVER, self.dir.name)
        self.assertGreater(len(results), 80)
        wrong = [r for r in results if not r["weft"] <= r["torch"] + ROUNDING]
        largest = [max(r[side] for r in results) for side in ("weft", "torch")]
        print(f"{len(results)} results; largest distance to double: Weft {largest[0]:.1e}, "
              f"PyTorch {largest[1]:.1e}")
        self.assertEqual(wrong, [])


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class Training(BesideTorch):
    def losses(self, amp, batch):
        run = os.path.join(self.dir.name, amp)
        out = subprocess.run(
            [WEFT, "train", "--model", "resnet18", "--weights",
             os.path.join(self.dir.name, "init.safetensors"), "--data-path",
             os.path.join(self.dir.name, "data.safetensors"), "--no-shuffle", "--no-augment",
             "--max-steps", str(STEPS), "--opt", RECIPE["opt"], "--lr", str(RECIPE["lr"]),
             "--momentum", str(RECIPE["momentum"]), "--wd", str(RECIPE["wd"]), "--label-smoothing",
             "0", "--lr-scheduler", "constant", "--lr-warmup-epochs", "0", "--batch-size",
             str(batch), "--amp", amp, "--output-dir", run],
            text=True, capture_output=True, timeout=500)
        self.assertEqual(out.returncode, 0, out.stderr)
        with open(os.path.join(run, "log.jsonl"), encoding="utf-8") as log:
            steps = [e["loss"] for e in map(json.loads, log) if e.get("event") == "step"]
        self.assertEqual(len(steps), STEPS)
        return steps

    def test_twenty_steps_of_resnet18_keep_pytorchs_distance(self):
        batch = 16
        want = self.torch("torch_side.py", "train", "--model", "resnet18", "--dir", self.dir.name,
                          "--steps", STEPS, "--recipe", json.dumps(RECIPE), "--batch", batch,
                          "--shape", "3,64,64", "--both")
        f32, bf16 = self.losses("off", batch), self.losses("bf16", batch)
        ours = rms([a - b for a, b in zip(bf16, f32)])
        theirs = rms([a - b for a, b in zip(want["bf16_losses"], want["losses"])])
        print(f"distance of the losses in bf16 from those in f32: Weft {ours:.2e}, "
              f"PyTorch {theirs:.2e}; Weft's f32 from PyTorch's "
              f"{rms([a - b for a, b in zip(f32, want['losses'])]):.2e}")
        print("losses: Weft", " ".join(f"{x:.4f}" for x in bf16))
        print("     PyTorch", " ".join(f"{x:.4f}" for x in want["bf16_losses"]))
        # Both are distances of a chaotic process: of one size, not one below the other each time.
        self.assertLessEqual(ours, 2 * theirs)


if __name__ == "__main__":
    counted.main()
