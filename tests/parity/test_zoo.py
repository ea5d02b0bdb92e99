#!/usr/bin/env python3
"""The model zoo against PyTorch: same weights, same images; logits, gradients, 20 steps of SGD.

    test_zoo.py ZOO_DRIVER            a small member of each family on small images, in f32 and f64
    test_zoo.py ZOO_DRIVER --all      that, and every model in f32: 20 steps on small images, and one
                                      on images of its own size
    test_zoo.py ZOO_DRIVER NAME...    the same for these models

Needs a Python with PyTorch, named by WEFT_TORCH_PYTHON (`./dev torch-python` prints one); without
it every test is skipped. PyTorch's half is zoo_torch.py, Weft's zoo_driver.c. zoo_table.py makes
docs/parity.md's tables of what --json writes.
"""

import argparse
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
import counted  # noqa: E402

TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")
STEPS = 20

# What the default run has, at least one of each family: image size, batch, steps. Sizes at which
# BatchNorm's last averages are over 16 values at least: over 4, f32 itself loses digits.
SMALL = {
    "lenet": (28, 8, STEPS),
    "fmnist_cnn": (28, 8, STEPS),
    "cifar_resnet20": (32, 4, STEPS),
    "squeezenet1_1": (32, 4, STEPS),
    "shufflenet_v2_x1_0": (64, 4, 5),
    "mobilenet_v2": (64, 4, 5),
    "mobilenet_v3_small": (64, 4, 5),
    "efficientnet_b0": (64, 4, 5),
    "densenet121": (64, 4, 3),
    "googlenet": (64, 4, 3),
    "inception_v3": (107, 4, 2),
    "alexnet": (63, 4, 2),
    "vgg11": (32, 4, 2),
}
# Of the images, where max pooling is everywhere: such that no pixels tie, see Note [Corners].
SEED = {"googlenet": 19}
# Compared in double with --all only: minutes with the reference kernels.
SLOW_IN_DOUBLE = ("inception_v3", "vgg11")
# --all: steps on images of this size, or larger where the network needs it, and one step on images
# of the model's own size.
SMALL_SIZE, SMALL_BATCH = 64, 8
SIZES = {"inception_v3": 107}
OWN_BATCH = 2

# Of the largest logit; of a gradient's norm; of the loss; of a statistic's norm. In double, all:
# 1e-10.
BOUNDS = {"eval": 1e-4, "train": 1e-4, "gradients": 1e-3, "losses": 1e-3, "statistics": 1e-3}
DOUBLE_BOUND = 1e-10
# Of a channel's spread; the largest f32 errors of units are some 1e-5.
CORNER = 1e-4


def case(model, size, batch, steps, double=False):
    return {"model": model, "size": size, "batch": batch, "steps": steps, "double": double,
            "seed": 7}


def which(c):
    return c["model"], c["size"], c["batch"], c["steps"]


def default_cases():
    return [dict(case(model, *small, ARGS.all or model not in SLOW_IN_DOUBLE),
                 seed=SEED.get(model, 7)) for model, small in SMALL.items()]


def full_cases(sizes):
    cases = []
    for model, own in sizes.items():
        small = min(own, SIZES.get(model, SMALL_SIZE))
        cases.append(case(model, small, SMALL_BATCH, STEPS))
        if small != own:
            cases.append(case(model, own, OWN_BATCH, 1))
    return cases


def run(driver, cases):
    """zoo_torch.py's objects, one a line, the first being the families."""
    command = [TORCH_PYTHON, os.path.join(HERE, "zoo_torch.py"), driver, json.dumps(cases)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode != 0:
        raise RuntimeError(f"zoo_torch.py: exit status {process.returncode}")


def line_of(result):
    """A result in one line."""
    text = "{model}, {batch}x{size}x{size}, {steps} steps, {seconds:.0f} s:".format(**result)
    for side in ("weft_f32", "torch_f32", "weft_f64"):
        if side in result:
            text += f" {side} " + " ".join(f"{result[side][what]:.1e}" for what in BOUNDS) + ";"
    return text


def keep(path, results):
    """Adds to the file's results, or replaces those of the same case."""
    kept = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            kept = json.load(f)
    kept = {which(r): r for r in kept + results}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(list(kept.values()), f, indent=1)


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class Zoo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # {family: {model: image size}}
        cls.families = next(run(ARGS.driver, []))
        sizes = {model: size for family in cls.families.values() for model, size in family.items()}
        cases = [] if ARGS.models else default_cases()
        done = {which(c) for c in cases}
        chosen = ARGS.models or (sizes if ARGS.all else ())
        cases += [c for c in full_cases({m: sizes[m] for m in chosen})
                  if which(c) not in done]
        cls.results = []
        print("errors:", ", ".join(BOUNDS))
        for result in run(ARGS.driver, cases):
            if "model" not in result:
                continue
            cls.results.append(result)
            print(line_of(result), flush=True)
            if ARGS.json:
                keep(ARGS.json, [result])

    def within(self, what, bound, dtype="f32"):
        wrong = []
        for r in self.results:
            errors = r.get("weft_" + dtype)
            # Where units with equal inputs meet in a pooling, f32's gradients can be off by more
            # than the bound, in PyTorch too: then Weft's may be as far off as PyTorch's, not more.
            limit = bound
            if ARGS.all or ARGS.models:
                limit = max(bound, r.get("torch_f32", {}).get(what, 0) if dtype == "f32" else 0)
            if errors and not errors[what] <= limit:
                wrong.append(f"{r['model']}, {r['size']}x{r['size']}: {what} {errors[what]:.2e} in "
                             f"{dtype}, PyTorch's own f32 {r['torch_f32'][what]:.2e} "
                             f"({errors['where'].get(what, '')})")
        self.assertEqual(wrong, [])

    def test_logits_in_evaluation_mode(self):
        self.within("eval", BOUNDS["eval"])

    def test_logits_in_training_mode(self):
        self.within("train", BOUNDS["train"])

    def test_gradients_of_all_parameters(self):
        self.within("gradients", BOUNDS["gradients"])

    def test_losses_of_the_steps(self):
        self.within("losses", BOUNDS["losses"])

    def test_running_statistics_after_the_steps(self):
        self.within("statistics", BOUNDS["statistics"])

    def test_all_of_it_in_double(self):
        if not ARGS.models:
            self.assertTrue([r for r in self.results if "weft_f64" in r])
        for what in BOUNDS:
            self.within(what, DOUBLE_BOUND, "f64")

    def test_pytorch_loads_what_weft_writes_strictly_and_in_the_same_order(self):
        self.assertEqual([f"{r['model']}: {text}" for r in self.results for text in r["wrong"]], [])

    def test_units_were_kept_from_corners(self):
        near = [f"{r['model']}: {r['corner']:.1e}" for r in self.results
                if "corner" in r and not r["corner"] >= CORNER]
        self.assertEqual(near, [])

    def test_every_family_has_a_small_member_here(self):
        self.assertEqual([family for family, models in self.families.items()
                          if not set(models) & set(SMALL)], [])

    def test_every_model_has_a_twin(self):
        out = subprocess.run([ARGS.driver, "models"], text=True, capture_output=True, check=True)
        twins = {model for models in self.families.values() for model in models}
        self.assertEqual(set(out.stdout.split()), twins)


def parse_args():
    p = argparse.ArgumentParser(prog="test_zoo.py", description=__doc__.splitlines()[0])
    p.add_argument("driver")
    p.add_argument("models", nargs="*")
    p.add_argument("--all", action="store_true")
    p.add_argument("--json", metavar="FILE", help="add the figures to those in this file")
    return p.parse_args()


if __name__ == "__main__":
    ARGS = parse_args()
    sys.argv[1:] = []
    counted.main()
