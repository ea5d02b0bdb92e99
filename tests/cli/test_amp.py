#!/usr/bin/env python3
"""`weft train|eval|predict|explain --amp`: what is recorded, what stays f32, whose bits are equal.

    tests/cli/test_amp.py WEFT
"""

import json
import os
import re
import struct
import sys

import weft_command
from weft_command import SMALL, done, read_tensors, refused, tensors_bytes, write

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


def test_auto_is_what_is_expected_to_be_faster(tmp):
    for isa in ("avx2", "avx512", "amx"):
        env = {**os.environ, "WEFT_MAX_ISA": isa}
        out, config, _ = train(os.path.join(tmp, isa), "--amp", "auto", env=env)
        ms = []
        for amp in ("off", "bf16"):
            text = done("explain", "--model", "cifar_resnet20", "-b", "32", "--input-size", "3x16x16",
                        "--num-classes", "4", "--amp", amp, "--threads", "1", env=env)
            ms.append(float(re.search(r"expected: .* memory, ([\d.]+) ms", text).group(1)))
        chosen = config["environment"]["amp"]
        if not 0.93 < ms[1] / ms[0] < 0.97: # explain's step reads no bytes, so it is a little different
            assert chosen == ("bf16" if ms[1] < 0.95 * ms[0] else "off"), (isa, ms, config)
        assert ("images stored as bf16" in out) == (chosen == "bf16"), out
    env = {**os.environ, "WEFT_MAX_ISA": "avx2"}
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


def rounded(raw):
    """The bf16, to nearest even, of the f32 in `raw`, which are finite."""
    bits = struct.unpack(f"<{len(raw) // 4}I", raw)
    return struct.pack(f"<{len(bits)}H", *((b + 0x7fff + (b >> 16 & 1)) >> 16 for b in bits))


def test_weights_of_bf16_give_the_predictions_of_their_rounding(tmp):
    """--amp bf16 rounds the parameters, and leaves BatchNorm's statistics as they are."""
    train(os.path.join(tmp, "run"))
    path, low = (os.path.join(tmp, *p) for p in (("run", "weights.safetensors"), ("low",)))
    meta, tensors = read_tensors(path)
    write(low, tensors_bytes({n: ("BF16", shape, rounded(raw)) if dtype == "F32" and "running" not in n
                        else (dtype, shape, raw) for n, (dtype, shape, raw) in tensors.items()}, meta))
    logits = {}
    for name, amp in ((path, "bf16"), (low, "bf16"), (path, "off"), (low, "off")):
        out = os.path.join(tmp, "out.safetensors")
        done("predict", "--weights", name, "--input", "synthetic:3x16x16:4:128", "--amp", amp,
             "--output", out)
        logits[name, amp] = read_tensors(out)[1]
    assert logits[path, "bf16"] == logits[low, "bf16"]
    assert logits[path, "off"] != logits[low, "off"]


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
    line = re.search(r"types: (\d+) buffers of bf16, [\d.]+ MiB; conversions: \d+ tasks, [\d.]+ MB, "
                     r"[\d.]+ ms; inside (\d+) convolutions, [\d.]+ ms", low)
    assert line and int(line.group(1)) > 60, low[:2000]
    assert "types:" not in plain
    assert (int(line.group(2)) > 0) == ("(conversions " in low)
    arena = [float(re.search(r"arena (\d+\.\d+) MiB", text).group(1)) for text in (plain, low)]
    assert arena[1] < 0.75 * arena[0], arena


def test_other_types_are_refused(tmp):
    refused(2, "--amp: 'fp16' is none of: off bf16 auto", "train", *SMALL, "--amp", "fp16")
    refused(2, "--amp needs a value", "train", *SMALL, "--amp")


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
