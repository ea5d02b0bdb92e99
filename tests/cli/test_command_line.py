#!/usr/bin/env python3
"""The `weft` command as a user meets it: help, tables, mistakes, input that is no good.

    test_command_line.py WEFT [NAME...]
"""

import json
import os
import re
import struct
import subprocess
import sys
import time
import xml.etree.ElementTree

import weft_command
from weft_command import (
    SMALL, SYNTHETIC, done, refused, tensors_bytes, weft, write, write_idx_folder)


# ---- the command line ----------------------------------------------------------------------------


def test_mistakes_on_the_command_line_exit_2(tmp):
    cases = [
        ("unknown command 'trian'; did you mean train", ["trian"]),
        ("unknown flag --epoch; did you mean --epochs", ["train", "--epoch", "3"]),
        ("--epochs: '3x' is not a whole number", ["train", "--epochs", "3x"]),
        ("--lr: 'fast' is not a number", ["train", "--lr=fast"]),
        ("--epochs needs a value", ["train", "--epochs"]),
        ("'sgdx' is none of", ["train", "--opt", "sgdx"]),
        ("--amp needs a value", ["train", "--amp"]),
        ("unknown model 'fmnist_cn'; did you mean fmnist_cnn",
         ["train", "--data-path", SYNTHETIC, "--model", "fmnist_cn"]),
        ("unknown model 'zzzzzzzz'", ["summary", "--model", "zzzzzzzz"]),
        ("unknown model 'zzzzzzzz'", ["explain", "--model", "zzzzzzzz"]),
        ("--num-classes 3: the data have 4 classes, expected at least as many", ["train", *SMALL, "--num-classes", 3]),
        ("--data-path is needed", ["train"]),
        ("--weights is needed", ["eval", "--data-path", SYNTHETIC]),
        ("--model-arg: 'aux' is not of the form key=value",
         ["summary", "--model-arg", "aux", "--model", "lenet"]),
        ("--model-arg: lenet has no option 'aux'; its options: none",
         ["train", *SMALL, "--model-arg", "aux=1", "--model", "lenet"]),
        ("not of the form CxHxW", ["summary", "--input-size", "3x4"]),
        ("unexpected argument 'x'", ["info", "x"]),
        ("--momentum: 1 is not at least 0 and below 1", ["train", "--momentum", 1]),
        ("--momentum 0: Nesterov's momentum must be above 0; --opt sgd", ["train", "--momentum", 0]),
        ("--lr-gamma goes with --lr-scheduler step, multistep, exponential or plateau; here it is cosine",
         ["train", "--lr-gamma", 0]),
        ("--lr-step-size goes with --lr-scheduler step; here it is onecycle",
         ["train", "--lr-scheduler", "onecycle", "--lr-step-size", 3]),
        ("--lr-min goes with --lr-scheduler cosine, cosine_restarts, polynomial or plateau",
         ["train", "--lr-scheduler=step", "--lr-min=0"]),
        ("--allow-nan goes with --weights", ["eval", "--allow-nan"]),
        ("--reset-head goes with --weights", ["train", "--reset-head"]),
        ("--tune-seconds goes with --tune", ["train", "--tune-seconds", 1]),
        ("--overwrite goes with --output-dir", ["train", "--overwrite"]),
        ("--crop-padding means nothing with --no-augment",
         ["train", "--no-augment", "--crop-padding", 2]),
        ("unexpected argument 'y'", ["models", "x", "y"]),
    ]
    for pattern, args in cases:
        refused(2, pattern, *args, cwd=tmp)
    assert os.listdir(tmp) == []


def test_environment_variables_that_mean_nothing_are_errors(tmp):
    cases = [
        ("WEFT_MAX_ISA", "avx3",
         "WEFT_MAX_ISA=avx3 in the environment: it can be scalar, avx2, avx512, avx512_bf16 or amx"),
        ("WEFT_MACHINE", "zen9", "WEFT_MACHINE=zen9 in the environment: it can be scalar, avx2-l2-512k, "
                                 "avx512-l2-1m or avx512-l2-2m"),
        ("WEFT_LINT", "wibble", "WEFT_LINT=wibble in the environment: it can be off, warn or error"),
        ("WEFT_VERBOSE", "select,all", "WEFT_VERBOSE in the environment: 'all' is not \"select\""),
        ("WEFT_AVOID", "gemm, winograd", "WEFT_AVOID in the environment: ' winograd' is not how a "
                                         "convolution kernel's name begins"),
    ]
    for name, value, text in cases:
        r = weft("info", env=dict(os.environ, **{name: value}))
        assert r.returncode == 1 and r.stdout == "", (name, r.stdout)
        assert r.stderr.startswith(f"weft info: {text}"), r.stderr
        assert len(r.stderr.splitlines()) == 1
    for name, value in (("WEFT_MAX_ISA", "SCALAR"), ("WEFT_MAX_ISA", ""), ("WEFT_MAX_ISA", "AMX"),
                        ("WEFT_MAX_ISA", "avx512_bf16"), ("WEFT_LINT", "Error"),
                        ("WEFT_LINT", ""), ("WEFT_AVOID", "winograd,gemm:avx512,"),
                        ("WEFT_VERBOSE", "select"), ("WEFT_MACHINE", ""), ("WEFT_MACHINE", "Scalar")):
        text = done("info", env=dict(os.environ, **{name: value}))
        if value.lower() == "scalar":
            assert re.search(r"instructions +scalar", text), text
            assert re.search(r"bf16 +storage only", text), text
            assert re.search(r"machine class +scalar: ", text), text
    r = weft("info", env=dict(os.environ, WEFT_MAX_ISA="scalar", WEFT_MACHINE="avx2-l2-512k"))
    assert r.returncode == 1 and "its kernels need avx2, but scalar is what " in r.stderr, r.stderr


def test_a_run_whose_name_begins_with_a_dash_can_be_named(tmp):
    refused(1, "-run: no run there", "report", "--", "-run", cwd=tmp)
    done("train", *SMALL, "--model", "lenet", "--max-steps", 1, "--output-dir=-run", cwd=tmp)
    assert done("report", "--", "-run", cwd=tmp).startswith("-run/report.html\n")


def test_no_command_prints_the_usage(tmp):
    r = weft()
    assert r.returncode == 2 and "usage: weft" in r.stderr and r.stdout == ""


def test_help_names_every_flag_and_exits_0(tmp):
    text = done("help")
    commands = re.findall(r"^  (\w+) ", text, re.M)
    assert {"train", "eval", "predict", "info", "summary", "explain"} <= set(commands), commands
    for command in commands:
        text = done(command, "--help")
        assert f"usage: weft {command}" in text
        assert max(map(len, text.splitlines())) <= 100, text
    assert done("report", "--help").startswith("usage: weft report [flags] RUN_DIR\n")
    assert done("models", "--help").startswith("usage: weft models [flags] [PATTERN]\n")
    assert "synthetic:CxHxW:classes[:count]" in done("eval", "--help")
    text = done("train", "--help")
    for flag in ("--model", "--data-path", "-b, --batch-size", "-j, --workers", "--epochs",
                 "--max-steps", "--lr", "--momentum", "--wd, --weight-decay", "--opt",
                 "--lr-scheduler", "--output-dir", "--seed", "--threads", "--weights",
                 "--no-augment", "--no-shuffle"):
        assert flag + " " in text, flag
    assert done("help", "train") == text


def test_info_summary_explain_models_version(tmp):
    assert re.fullmatch(r"weft \d+\.\d+\.\d+\n", done("version"))
    assert done("--version") == done("version")
    assert "fmnist_cnn" in done("models")
    assert len(done("info").splitlines()) > 3
    assert "conv1" in done("summary", "--model", "fmnist_cnn")
    text = done("explain", "--model", "fmnist_cnn", "-b", 4)
    assert "conv" in text and len(text.splitlines()) > 10


def test_explain_in_other_forms(tmp):
    lenet = ("--model", "lenet", "-b", 4, "--threads", 2)
    plan = json.loads(done("explain", *lenet, "--as", "json"))
    edges = sum(len(g["next"]) for g in plan["groups"])
    assert edges > len(plan["groups"]) / 2 and plan["threads"] == 2
    assert sum(g["kind"] == "barrier" for g in plan["groups"]) == 1
    assert all(t["seconds"] > 0 for g in plan["groups"] for t in g["tasks"])
    dot = done("explain", *lenet, "--as", "dot")
    assert dot.startswith("digraph plan {") and dot.rstrip().endswith("}")
    assert dot.count(" -> ") == edges
    assert dot.count("label=") == len(plan["groups"])
    svg = done("explain", *lenet, "--as", "memory")
    assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
    xml.etree.ElementTree.fromstring(svg)
    assert "from and to memory" in done("explain", *lenet)


def test_explain_beside_what_was_measured(tmp):
    trace = f"{tmp}/t.json"
    data = ("--data-path", "synthetic:1x28x28:10:16", "--no-augment")
    done("train", *data, "--model", "lenet", "-b", 4, "--max-steps", 4, "--threads", 1, "--trace", trace,
         "--output-dir", f"{tmp}/run")
    text = done("explain", "--model", "lenet", "-b", 4, "--measured", trace)
    assert re.match(r"measured: [\d.]+ ms of all workers, expected [\d.]+ ms, [\d.]+x", text), text
    assert re.search(r"ms +[\d.]+x [* ] .* conv2d conv1 ", text), text
    assert re.search(r"\d+ of \d+ tasks are off by more than 2x\n$", text), text
    refused(1, "no plan of these", "explain", "--model", "lenet", "-b", 8, "--measured", trace)
    refused(1, "cannot be read as a timeline", "explain", "--model", "lenet", "--measured", f"{tmp}/no")
    write(f"{tmp}/bad", b'{"weft": {"plans": [3, {"groups": [{"tasks": [1]}]}], "runs": 7}}')
    refused(1, "no plan of these", "explain", "--model", "lenet", "--measured", f"{tmp}/bad")
    refused(1, "as text only", "explain", "--model", "lenet", "--as", "dot", "--measured", trace)


def test_models_are_a_table_or_json(tmp):
    started = time.monotonic()
    child = subprocess.Popen([weft_command.WEFT, "models"], stdout=subprocess.PIPE)
    lines = child.stdout.read().decode().splitlines()
    _, status, used = os.wait4(child.pid, 0)
    assert status == 0
    # None of the networks, of up to 143 million parameters, is filled.
    assert time.monotonic() - started < 30 and used.ru_maxrss < 400 << 10, used
    about = lines[0].index("about")
    names = [line.split()[0] for line in lines[1:]]
    assert names[:3] == ["fmnist_cnn", "lenet", "resnet18"], names
    row = lines[1 + names.index("resnet50")]
    assert re.match(r"resnet50 +25,557,032 +4\.09 +3x224x224 +1000 +- +ResNet", row), row
    for line in lines[1:]:  # columns: texts begin, and numbers end, below their titles
        assert line[about - 2:about] == "  " and line[about] != " ", line
        assert line[lines[0].index("parameters") + 10] == " ", line
    listed = json.loads(done("models", "--json"))
    assert [m["name"] for m in listed] == names
    resnet = listed[names.index("resnet50")]
    assert resnet["parameters"] == 25557032 and resnet["macs"] == 4089184256, resnet
    assert resnet["input"] == [3, 224, 224] and resnet["classes"] == 1000, resnet
    some = [m["name"] for m in json.loads(done("models", "--json", "*resnet?0"))]
    assert some == [n for n in names if re.fullmatch(r".*resnet.0", n)] and len(some) > 1, some
    assert done("models", "resnet18").splitlines()[1].startswith("resnet18 ")
    refused(2, r"no model matches 'resnet\?'; `weft models` lists all", "models", "resnet?")


def test_summary_folds_by_depth_and_multiplies_by_batch(tmp):
    text = done("summary", "--model", "resnet50")
    for part in ("Total params: 25,557,032\n", "Total mult-adds (G): 4.09\n",
                 "Forward/backward pass size (MB): 177.83\n", "(conv3): 3-", "[1, 1000]"):
        assert part in text, (part, text)
    assert max(map(len, text.splitlines())) == len(text.splitlines()[0])  # the rule is the widest
    one = done("summary", "--model", "resnet50", "--depth", 1, "-b", 2)
    assert "[2, 1000]" in one and "2-1" not in one and "(layer4): 1-8" in one, one
    assert "Total mult-adds (G): 8.18\n" in one and "Params size (MB): 102.23\n" in one, one
    small = done("summary", "--model", "cifar_resnet20", "--input-size", "1x28x28",
                 "--num-classes", 7, "--freeze", "layer*")
    assert "[1, 1, 28, 28]" in small and "[1, 7]" in small, small
    assert "Trainable params: 631\n" in small, small  # conv1: 144, bn1: 32, fc: 455


def test_a_full_disk_fails_the_command(tmp):
    with open("/dev/full", "w") as full:
        r = subprocess.run([weft_command.WEFT, "models"], stdout=full, stderr=subprocess.PIPE,
                           text=True)
    assert r.returncode == 1 and "standard output" in r.stderr, r


# ---- bad input -----------------------------------------------------------------------------------


def test_bad_data_is_one_error_and_leaves_nothing(tmp):
    out = f"{tmp}/run"
    os.mkdir(f"{tmp}/label")
    write(f"{tmp}/label/classes.txt", b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")
    cases = [
        ("nowhere", f"{tmp}/nowhere"),
        ("cut", write_idx_folder(f"{tmp}/cut", cut=100)),
        ("magic", write_idx_folder(f"{tmp}/magic", magic=b"\1\2\3\4")),
        ("label 200 of sample 5", write_idx_folder(f"{tmp}/label", label=200)),
        ("synthetic", "synthetic:1x12"),
        ("text.safetensors", write(f"{tmp}/text.safetensors", b"no tensors here, only text")),
    ]
    for pattern, path in cases:
        refused(1, pattern, "train", "--data-path", path, "--output-dir", out)
        assert not os.path.exists(out), pattern


def test_a_batch_larger_than_the_data_set_is_an_error(tmp):
    refused(2, "-b 513 is more than the 512 training images", "train", "--data-path", SYNTHETIC, "-b", 513,
            "--output-dir", f"{tmp}/run")
    assert os.listdir(tmp) == []


def test_a_model_that_does_not_fit_the_images_is_an_error(tmp):
    refused(1, "too small", "train", "--data-path", "synthetic:1x4x4:4", "--output-dir",
            f"{tmp}/run")
    assert os.listdir(tmp) == []


def test_an_output_that_cannot_be_written_is_found_before_training(tmp):
    write(f"{tmp}/file", b"")
    started = time.monotonic()
    refused(1, f"{tmp}/file/run", "train", *SMALL, "--epochs", 100000, "--output-dir",
            f"{tmp}/file/run")
    assert time.monotonic() - started < 60
    assert os.listdir(tmp) == ["file"]


def test_an_output_that_is_no_file_is_found_before_the_work(tmp):
    run = f"{tmp}/run"
    refused(1, "regular file", "train", *SMALL, "--trace", tmp, "--output-dir", run)
    assert os.listdir(tmp) == []
    done("train", *SMALL, "--max-steps", 1, "--output-dir", run)
    weights = ["--weights", f"{run}/weights.safetensors"]
    for flag in ("--json", "--report"):
        for path in (tmp, "/dev/full"):
            r = weft("eval", *weights, *SMALL, flag, path)
            assert r.returncode == 1 and "regular file" in r.stderr and r.stdout == "", r
    for path in (tmp, "/dev/full"):
        refused(1, "regular file", "predict", *weights, "--input", SMALL[1], "--output", path)


def test_a_trace_that_cannot_be_written_is_found_before_training(tmp):
    refused(1, "nowhere/trace.json", "train", *SMALL, "--trace", f"{tmp}/nowhere/trace.json",
            "--output-dir", f"{tmp}/run")
    assert os.listdir(tmp) == []
    done("train", *SMALL, "--max-steps", 1, "--trace", f"{tmp}/trace.json", "--output-dir",
         f"{tmp}/run")
    with open(f"{tmp}/trace.json") as f:
        assert json.load(f)


def test_bad_weights_are_one_error_and_leave_nothing(tmp):
    other = tensors_bytes({"conv1.weight": ("F32", [1], b"\0" * 4)})
    overlap = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                          "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}).encode()
    for name, data in (("cut", other[:20]), ("huge", struct.pack("<Q", 1 << 60) + b"{}"),
                       ("other", other),
                       ("overlap", struct.pack("<Q", len(overlap)) + overlap + b"\0" * 12)):
        path = write(f"{tmp}/{name}", data)
        for command in (["train", "--output-dir", f"{tmp}/run"], ["eval"]):
            r = weft(*command[:1], "--model", "fmnist_cnn", *SMALL, "--weights", path,
                     *command[1:])
            assert r.returncode == 1 and r.stderr.startswith("weft"), (name, r)
        assert not os.path.exists(f"{tmp}/run")


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
