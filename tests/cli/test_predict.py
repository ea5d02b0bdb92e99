#!/usr/bin/env python3
"""`weft predict`: it agrees with `weft eval`, and bad input writes nothing.

    test_predict.py WEFT [NAME...]
"""

import array
import os
import sys

import weft_command
from weft_command import SMALL, done, read_tensors, refused, tensors_bytes, weft, write


def test_prediction_agrees_with_evaluation(tmp):
    n, size = 70, 12  # not a multiple of the batch
    pixels = bytes((i * 31 + (i // 144) * 57) % 256 for i in range(n * size * size))
    labels = array.array("q", [i % 4 for i in range(n)])
    data = write(f"{tmp}/data.safetensors", tensors_bytes({
        "images": ("U8", [n, 1, size, size], pixels),
        "labels": ("I64", [n], labels.tobytes()),
    }))
    run = f"{tmp}/run"
    done("train", "--data-path", data, "-b", 16, "--threads", 2, "--epochs", 2, "--output-dir",
         run)
    weights = f"{run}/weights.safetensors"
    only_images = write(f"{tmp}/images.safetensors",
                        tensors_bytes({"images": ("U8", [n, 1, size, size], pixels)}))
    logits = {}
    for batch in (70, 32, 1):
        out = f"{tmp}/logits{batch}.safetensors"
        done("predict", "--weights", weights, "--input", only_images, "--output", out, "-b", batch,
             "--threads", 2)
        _, tensors = read_tensors(out)
        assert list(tensors) == ["logits"]
        dtype, shape, raw = tensors["logits"]
        assert (dtype, shape) == ("F32", [n, 4]), (dtype, shape)
        logits[batch] = array.array("f", raw)
    none = write(f"{tmp}/none.safetensors", tensors_bytes({
        "images": ("U8", [n, 1, size, size], pixels),
        "labels": ("I64", [n], array.array("q", [-1] * n).tobytes()),
    }))
    done("predict", "--weights", weights, "--input", none, "--output", f"{tmp}/none.out", "-b", 70,
         "--threads", 2)
    with open(f"{tmp}/none.out", "rb") as a, open(f"{tmp}/logits70.safetensors", "rb") as b:
        assert a.read() == b.read(), "labels of -1 are no labels"
    refused(1, "every label of \"labels\" is -1", "eval", "--weights", weights, "--data-path", none)
    # Each image is computed on its own, whatever batch it is in.
    for batch in (32, 1):
        worst = max(abs(a - b) for a, b in zip(logits[70], logits[batch]))
        assert worst <= 1e-4, (batch, worst)
    rows = [logits[70][4 * i:4 * i + 4] for i in range(n)]
    right = sum(max(range(4), key=lambda k: row[k]) == labels[i] for i, row in enumerate(rows))
    text = done("eval", "--weights", weights, "--data-path", data, "-b", 32, "--threads", 2)
    assert f"top-1 {100 * right / n:.2f}%" in text, (right, text)


def test_bad_prediction_input_is_one_error_and_writes_nothing(tmp):
    run = f"{tmp}/run"
    done("train", *SMALL, "--max-steps", 1, "--output-dir", run)
    weights = f"{run}/weights.safetensors"
    good = write(f"{tmp}/good.safetensors",
                 tensors_bytes({"images": ("F32", [2, 1, 12, 12], b"\0" * 1152)}))
    bad = {
        "none": tensors_bytes({"pictures": ("F32", [1], b"\0" * 4)}),
        "flat": tensors_bytes({"images": ("F32", [2, 144], b"\0" * 1152)}),
        "wide": tensors_bytes({"images": ("F32", [1, 1, 64, 64], b"\0" * 4 * 4096)}),
        "deep": tensors_bytes({"images": ("F32", [1, 3, 12, 12], b"\0" * 4 * 432)}),
        "type": tensors_bytes({"images": ("I64", [1, 1, 12, 12], b"\0" * 8 * 144)}),
        "cut": tensors_bytes({"images": ("F32", [2, 1, 12, 12], b"\0" * 1152)})[:-7],
    }
    out = f"{tmp}/out.safetensors"
    for name, data in bad.items():
        path = write(f"{tmp}/{name}.safetensors", data)
        r = weft("predict", "--weights", weights, "--input", path, "--output", out)
        assert r.returncode == 1 and r.stderr.startswith("weft predict: "), (name, r)
        assert not os.path.exists(out), name
    refused(1, "nowhere", "predict", "--weights", weights, "--input", good, "--output",
            f"{tmp}/nowhere/out")
    refused(1, "nothing", "predict", "--weights", f"{tmp}/nothing", "--input", good, "--output",
            out)
    done("predict", "--weights", weights, "--input", good, "--output", out)

def test_a_pipe_is_refused_wherever_a_file_is_read(tmp):
    """As the shell's <(command) makes one."""
    run = f"{tmp}/run"
    done("train", *SMALL, "--max-steps", 1, "--output-dir", run)
    weights, pipe, out = f"{run}/weights.safetensors", f"{tmp}/pipe", f"{tmp}/out"
    os.mkfifo(pipe)
    refused(1, f"{pipe}: is not a regular file", "predict", "--weights", pipe, "--input", weights,
            "--output", out)
    refused(1, f"{pipe}: is not a regular file", "predict", "--weights", weights, "--input", pipe,
            "--output", out)
    refused(1, f"{pipe}: is not a regular file", "eval", "--weights", weights, "--data-path", pipe)
    assert not os.path.exists(out)



if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
