#!/usr/bin/env python3
"""`weft train|eval|predict|explain --amp`: what is recorded, what stays f32, whose bits are equal.

    tests/cli/test_amp.py WEFT
"""

import json
import os
import re
import sys

import weft_command
from weft_command import SMALL, done, read_tensors, refused

MODEL = ["--model", "cifar_resnet20", "--data-path", "synthetic:3x16x16:4:128", "--batch-size", "32",
         "--epochs", "2", "--lr", "0.05"]


def train(run, *args, **kwargs):
    out = done("train", *MODEL, "--output-dir", run, *args, **kwargs)
    with open(os.path.join(run, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    return out, config, read_tensors(os.path.join(run, "weights.safetensors"))[1]


def test_weights_are_f32_and_the_run_is_told(tmp):
    out, config, tensors = train(os.path.join(tmp, "a"), "--amp", "bf16")
    assert "images stored as bf16" in out, out
    assert config["options"]["amp"] == "bf16" and config["environment"]["amp"] == "bf16", config
    assert {t[0] for t in tensors.values()} <= {"F32", "I64"}, {t[0] for t in tensors.values()}
    out, config, plain = train(os.path.join(tmp, "b"))
    assert "bf16" not in out and config["environment"]["amp"] == "off"
    assert plain.keys() == tensors.keys() and plain != tensors


def test_bits_do_not_depend_on_threads(tmp):
    runs = [train(os.path.join(tmp, str(n)), "--amp", "bf16", "--threads", n)[2] for n in (1, 2, 3)]
    assert runs[0] == runs[1] == runs[2]


def test_auto_is_bf16_where_there_is_bf16_arithmetic(tmp):
    info = done("info")
    has = "avx512_bf16" in info.split("bf16 ", 1)[1].splitlines()[0] or "amx" in info
    _, config, _ = train(os.path.join(tmp, "a"), "--amp", "auto")
    assert config["environment"]["amp"] == ("bf16" if has else "off"), (info, config)
    env = {**os.environ, "WEFT_MAX_ISA": "avx2"}
    _, config, _ = train(os.path.join(tmp, "b"), "--amp", "auto", env=env)
    assert config["environment"]["amp"] == "off", config
    _, config, _ = train(os.path.join(tmp, "c"), "--amp", "bf16", env=env)
    assert config["environment"]["amp"] == "bf16", config


def test_evaluation_and_prediction_take_it(tmp):
    run = os.path.join(tmp, "run")
    train(run, "--amp", "bf16")
    weights = os.path.join(run, "weights.safetensors")
    accuracy = []
    for amp in ("off", "bf16"):
        out = done("eval", "--weights", weights, "--data-path", "synthetic:3x16x16:4:128", "--amp", amp)
        accuracy.append(float(re.search(r"(\d+\.\d+) ?%", out).group(1)))
    assert abs(accuracy[0] - accuracy[1]) <= 5, accuracy


def test_frozen_parts_stay(tmp):
    run = os.path.join(tmp, "run")
    train(run)
    before = read_tensors(os.path.join(run, "weights.safetensors"))[1]
    _, _, after = train(os.path.join(tmp, "tuned"), "--amp", "bf16", "--weights",
                        os.path.join(run, "weights.safetensors"), "--freeze", "conv1")
    assert after["conv1.weight"] == before["conv1.weight"]
    assert after["fc.weight"] != before["fc.weight"]


def test_explain_shows_what_is_stored_how(tmp):
    plain = done("explain", "--model", "resnet18", "-b", "4")
    low = done("explain", "--model", "resnet18", "-b", "4", "--amp", "bf16")
    assert " bf16 " not in plain
    assert re.search(r"bf16 +\[4, 64, 112, 112\]", low), low[-2000:]
    assert re.search(r"f32 +\[64, 3, 7, 7\]", low)
    arena = [float(re.search(r"arena (\d+\.\d+) MiB", text).group(1)) for text in (plain, low)]
    assert arena[1] < 0.75 * arena[0], arena


def test_other_types_are_refused(tmp):
    refused(2, "--amp: 'fp16' is none of: off bf16 auto", "train", *SMALL, "--amp", "fp16")
    refused(2, "--amp needs a value", "train", *SMALL, "--amp")


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
