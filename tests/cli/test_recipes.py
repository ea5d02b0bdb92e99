#!/usr/bin/env python3
"""`weft train` with recipes as people know them: optimizers, schedules, configurations.

    test_recipes.py WEFT [NAME...]
"""

import csv
import json
import math
import os
import re
import sys

import weft_command
from weft_command import SMALL, SYNTHETIC, done, refused, weights_hash, write

# One thread, so that few cores do not spin, and no checkpoints.
FAST = [*SMALL, "--threads", 1, "--checkpoint-freq", "never"]
QUICK = [*FAST, "--max-steps", 6, "--crop-padding", 0]  # 16 steps an epoch


def log_of(run, event="step"):
    with open(f"{run}/log.jsonl", encoding="utf-8") as f:
        return [e for e in map(json.loads, f) if e["event"] == event]


def options_of(run):
    with open(f"{run}/config.json", encoding="utf-8") as f:
        return json.load(f)["options"]


def test_every_optimizer_learns(tmp):
    rates = {"sgd": 0.05, "adam": 1e-3, "rmsprop": 1e-3, "rmsproptf": 1e-3, "adagrad": 0.02,
             "lamb": 0.01, "lars": 5.0, "lion": 3e-4}
    for opt, lr in rates.items():
        run = f"{tmp}/{opt}"
        done("train", *FAST, "--epochs", 1, "--opt", opt, "--lr", lr, "--output-dir", run)
        first, last = log_of(run)[0]["loss"], log_of(run)[-1]["loss"]
        assert last < 0.9 * first, (opt, first, last)


def rates_of(tmp, *flags, steps=32):
    run = f"{tmp}/{len(os.listdir(tmp))}"
    done("train", *FAST, "--lr", 0.1, "--epochs", 4, "--max-steps", steps, "--crop-padding", 0,
         *flags, "--output-dir", run)
    return [e["lr"] for e in log_of(run)], options_of(run)


def test_schedules_have_torchvisions_names(tmp):
    lr, options = rates_of(tmp, "--lr-scheduler", "exponentiallr", "--lr-gamma", 0.5, "--lr-per",
                           "epoch", "--lr-warmup-epochs", 1, "--lr-warmup-method", "constant",
                           "--lr-warmup-decay", 0.1)
    assert lr == [0.01] * 16 + [0.1] * 16, lr
    assert options["lr-scheduler"] == "exponential" and options["lr-min"] is None
    lr, _ = rates_of(tmp, "--lr-scheduler", "multisteplr", "--lr-steps", "1,1.5", "--lr-gamma", 0.5,
                     "--lr-warmup-steps", 0)
    assert lr == [0.1] * 16 + [0.05] * 8 + [0.025] * 8, lr
    lr, _ = rates_of(tmp, "--lr-scheduler", "poly", "--lr-power", 2, "--lr-warmup-steps", 2)
    assert all(math.isclose(lr[i], 0.1 * (1 - (i - 2) / 30) ** 2, rel_tol=1e-8) for i in range(2, 32)), lr
    lr, _ = rates_of(tmp, "--lr-scheduler", "cosineannealingwarmrestarts", "--lr-period", 0.5,
                     "--lr-period-mult", 2, "--lr-warmup-epochs", 0)
    assert [i for i in range(32) if lr[i] == 0.1] == [0, 8, 24], lr


def test_schedules_that_cannot_be_are_refused(tmp):
    for pattern, args in (
        ("multistep needs --lr-steps", ["--lr-scheduler", "multistep"]),
        ("--lr-steps: '3x' is no epoch", ["--lr-scheduler", "multistep", "--lr-steps", "3x"]),
        ("--lr-steps: 2 is not after", ["--lr-scheduler", "multistep", "--lr-steps", "3,2"]),
        ("--lr-warmup-epochs and --lr-warmup-steps", ["--lr-warmup-epochs", 1, "--lr-warmup-steps", 1]),
        ("--momentum means nothing with --opt adagrad", ["--opt", "adagrad", "--momentum", 0.5]),
        ("--opt-alpha goes with --opt rmsprop or rmsprop_tf", ["--opt-alpha", 0.5]),
        ("--opt-eps means nothing with --opt lion", ["--opt", "lion", "--opt-eps", 0.5]),
        ("--opt-amsgrad goes with --opt adam or adamw", ["--opt", "lamb", "--opt-amsgrad"]),
        ("--model-ema-decay goes with --model-ema", ["--model-ema-decay", 0.5]),
        ("--monitor ema_loss goes with --model-ema", ["--monitor", "ema_loss"]),
        ("--min-delta goes with --patience", ["--min-delta", 0.5]),
        ("x.yaml: No such file", ["--config", "x.yaml"]),
    ):
        refused(2, pattern, "train", *FAST, *args, cwd=tmp)
    assert os.listdir(tmp) == []


def test_averages_are_evaluated_logged_and_saved(tmp):
    run = f"{tmp}/run"
    text = done("train", *FAST, "--epochs", 3, "--model-ema", "--model-ema-steps", 2,
                "--model-ema-decay", 0.999, "--lr-warmup-epochs", 1, "--output-dir", run)
    epochs = log_of(run, "epoch")
    assert all(0 < e["ema_loss"] and 0 <= e["ema_acc1"] <= 100 for e in epochs), epochs
    # The averages' file has the figures that were logged.
    json_path = f"{tmp}/figures.json"
    done("eval", "--weights", f"{run}/weights_ema.safetensors", *SMALL, "--json", json_path)
    with open(json_path, encoding="utf-8") as f:
        assert math.isclose(json.load(f)["evaluation"]["loss"], epochs[-1]["ema_loss"], rel_tol=1e-6)
    assert f"averages {epochs[-1]['ema_acc1']:.2f}%" in text, text
    # The summary has them behind its other columns, the report as lines, rows and a tile.
    with open(f"{run}/summary.csv", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert list(rows[0])[-2:] == ["ema_loss", "ema_acc1"]
    for row, epoch in zip(rows, epochs, strict=True):
        assert math.isclose(float(row["ema_loss"]), epoch["ema_loss"], rel_tol=1e-5), row
        assert math.isclose(float(row["ema_acc1"]), epoch["ema_acc1"], rel_tol=1e-5), row
    with open(f"{run}/report.html", encoding="utf-8") as f:
        page = f.read()
    for text in ('class="line averages"', ">averages<", "Averages top-1", "averages' loss</th>",
                 f"loss of the averages {epochs[-1]['ema_loss']:.4g}"):
        assert text in page, text
    # They are no part of the training.
    done("train", *FAST, "--epochs", 3, "--lr-warmup-epochs", 1, "--output-dir", f"{tmp}/without")
    assert weights_hash(run) == weights_hash(f"{tmp}/without")
    assert not os.path.exists(f"{tmp}/without/weights_ema.safetensors")
    with open(f"{run}/result.json", encoding="utf-8") as f:
        assert json.load(f)["ema_acc1"] == epochs[-1]["ema_acc1"]
    # They are files of the run, which a new one in its place replaces.
    done("train", *FAST, "--epochs", 1, "--output-dir", run, "--overwrite")
    assert not os.path.exists(f"{run}/weights_ema.safetensors")
    assert "ema_loss" not in log_of(f"{tmp}/without", "epoch")[0]
    with open(f"{tmp}/without/report.html", encoding="utf-8") as f:
        page = f.read()
    assert 'class="line averages"' not in page and "Averages top-1" not in page and "averages' loss" not in page


def test_training_stops_early_and_a_plateau_falls(tmp):
    still = ["--lr-scheduler", "constant", "--lr", 0, "--monitor", "acc1", "--freeze-bn"]
    text = done("train", *FAST, "--epochs", 9, *still, "--patience", 2, "--output-dir", f"{tmp}/a")
    assert len(log_of(f"{tmp}/a", "epoch")) == 3, text
    assert "stopped early: acc1 was not better in 2 evaluations" in text, text
    assert "after 3 epochs" in text, text
    with open(f"{tmp}/a/result.json", encoding="utf-8") as f:
        assert json.load(f)["epochs"] == 3
    # What is better by less than --min-delta is not better.
    done("train", *FAST, "--epochs", 9, "--patience", 2, "--min-delta", 1e6, "--output-dir", f"{tmp}/b")
    assert len(log_of(f"{tmp}/b", "epoch")) == 3
    lr, options = rates_of(tmp, "--lr-scheduler", "reducelronplateau", "--lr-patience", 0,
                           "--lr-gamma", 0.5, "--lr-warmup-epochs", 0, "--freeze", "*weight", steps=48)
    assert options["monitor"] == "loss" and lr[0] == 0.1, lr


def test_accumulation_counts_steps_and_clipping_changes_them(tmp):
    args = ["train", *FAST, "--epochs", 2, "--lr-warmup-steps", 0]
    done(*args, "--accumulate", 5, "--output-dir", f"{tmp}/five")
    steps = log_of(f"{tmp}/five")
    assert steps[-1]["total_steps"] == 8, steps[-1]  # 16 batches: 5 + 5 + 5 + 1
    done(*args, "--accumulate", 5, "--clip-grad-norm", 0.1, "--output-dir", f"{tmp}/norm")
    done(*args, "--accumulate", 5, "--clip-grad-norm", 1e9, "--output-dir", f"{tmp}/any")
    assert weights_hash(f"{tmp}/norm") != weights_hash(f"{tmp}/five")
    assert weights_hash(f"{tmp}/any") == weights_hash(f"{tmp}/five")
    done(*args, "--clip-grad-value", 1e-3, "--output-dir", f"{tmp}/value")


# As torchvision's references/classification/README.md has it, behind "torchrun ... train.py".
RESNET50 = """--model resnet50 --batch-size 128 --lr 0.5
--lr-scheduler cosineannealinglr --lr-warmup-epochs 5 --lr-warmup-method linear
--auto-augment ta_wide --epochs 600 --random-erase 0.1 --weight-decay 0.00002
--norm-weight-decay 0.0 --label-smoothing 0.1 --mixup-alpha 0.2 --cutmix-alpha 1.0
--train-crop-size 176 --model-ema --val-resize-size 232 --ra-sampler --ra-reps 4""".split()


def write_pictures(folder, width=48, height=40):
    """Class folders of PPM files, as torchvision's ImageFolder reads them."""
    for split, n in (("train", 8), ("val", 2)):
        for k, name in enumerate(("cat", "dog")):
            os.makedirs(f"{folder}/{split}/{name}")
            for i in range(n):
                pixels = bytes((x * (3 + k) + i * 31 + x // 7) % 256 for x in range(3 * width * height))
                write(f"{folder}/{split}/{name}/{i}.ppm", b"P6 %d %d 255\n" % (width, height) + pixels)
    return folder


def test_torchvisions_resnet50_command_runs_as_it_stands(tmp):
    run = f"{tmp}/run"
    text = done("train", *RESNET50, "--checkpoint-freq", "never",
                "--data-path", write_pictures(f"{tmp}/data"), "--batch-size", 4,
                "--max-steps", 2, "--threads", 2, "--output-dir", run, timeout=300)
    o = options_of(run)
    want = {"model": "resnet50", "lr": 0.5, "lr-scheduler": "cosine", "lr-warmup-epochs": 5,
            "lr-warmup-method": "linear", "auto-augment": "ta_wide", "epochs": 600,
            "random-erase": 0.1, "wd": 2e-5, "norm-weight-decay": 0, "label-smoothing": 0.1,
            "mixup-alpha": 0.2, "cutmix-alpha": 1.0, "train-crop-size": 176, "model-ema": True,
            "val-resize-size": 232, "ra-sampler": True, "ra-reps": 4}
    assert {k: o[k] for k in want} == want, o
    assert len(want) == len([w for w in RESNET50 if w.startswith("--")]) - 1  # the batch size
    steps = log_of(run)
    assert steps[-1]["total_steps"] == 2 and all(math.isfinite(e["loss"]) for e in steps), steps
    epoch = log_of(run, "epoch")[-1]
    assert math.isfinite(epoch["test_loss"]) and math.isfinite(epoch["ema_loss"]), epoch
    assert "averages" in text and os.path.exists(f"{run}/weights_ema.safetensors")


def test_the_commands_in_the_documentation_are_understood(tmp):
    """Up to the data, which are not there."""
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "recipes.md")
    with open(page, encoding="utf-8") as f:
        text = f.read().replace("\\\n", " ")
    commands = re.findall(r"^    weft train (--data-path IMAGENET .*)$", text, re.M)
    assert len(commands) >= 5, commands
    for command in commands:
        refused(1, "IMAGENET", "train", *command.split(), cwd=tmp)
    block = re.search(r"```yaml\n(.*?)```", text, re.S).group(1)
    path = write(f"{tmp}/recipe.yaml", block.encode())
    refused(1, "IMAGENET", "train", "--config", path, "--data-path", "IMAGENET", cwd=tmp)


def test_a_configuration_is_its_flags_and_a_record_repeats_its_run(tmp):
    path = write(f"{tmp}/a.yaml", f"""
data-path: {SYNTHETIC}
batch-size: 32
threads: 1
checkpoint-freq: never
max-steps: 6
opt: adamw
lr: 0.001
crop-padding: 0
norm-weight-decay: 0
""".encode())
    done("train", "--config", path, "--output-dir", f"{tmp}/file")
    done("train", *QUICK, "--opt", "adamw", "--lr", 0.001, "--norm-weight-decay", 0, "--output-dir",
         f"{tmp}/flags")
    assert weights_hash(f"{tmp}/file") == weights_hash(f"{tmp}/flags")
    done("train", "--config", f"{tmp}/file/config.json", "--output-dir", f"{tmp}/again")
    assert weights_hash(f"{tmp}/again") == weights_hash(f"{tmp}/file")
    assert options_of(f"{tmp}/again")["norm-weight-decay"] == 0
    assert options_of(f"{tmp}/again")["bias-weight-decay"] is None
    done("train", "--config", path, "--norm-weight-decay", 0.5, "--output-dir", f"{tmp}/other")
    assert weights_hash(f"{tmp}/other") != weights_hash(f"{tmp}/file")


if __name__ == "__main__":
    weft_command.main(sys.argv, globals())
