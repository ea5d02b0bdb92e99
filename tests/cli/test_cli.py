#!/usr/bin/env python3
"""The `weft` command as a user meets it: errors, files, signals, the progress display.

    test_cli.py WEFT [NAME...]

Uses the standard library only. A test is a function whose name starts with test_; it gets the path
of a fresh folder.
"""

import array
import gzip
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

WEFT = ""
# Small enough for the slowest ISA, and learnt within a few dozen steps.
SYNTHETIC = "synthetic:1x12x12:4:512"
SMALL = ["--data-path", SYNTHETIC, "--batch-size", "32", "--threads", "2"]


# ---- helpers -------------------------------------------------------------------------------------


def weft(*args, cwd=None, env=None, timeout=120):
    return subprocess.run(
        [WEFT, *map(str, args)], cwd=cwd, env=env, timeout=timeout, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def done(*args, **kwargs):
    """Runs weft and expects success; its standard output."""
    r = weft(*args, **kwargs)
    assert r.returncode == 0, f"{args}: exit {r.returncode}: {r.stderr}"
    return r.stdout


def refused(status, pattern, *args, **kwargs):
    """Expects one line on stderr that matches, and the exit status."""
    r = weft(*args, **kwargs)
    assert r.returncode == status, f"{args}: exit {r.returncode}, not {status}: {r.stderr}"
    lines = r.stderr.splitlines()
    assert len(lines) == 1, f"{args}: not one line: {r.stderr!r}"
    assert re.search(pattern, lines[0]), f"{args}: {lines[0]!r} does not match {pattern!r}"
    assert lines[0].startswith("weft"), lines[0]


def tensors_bytes(tensors, meta=None):
    """A safetensors file of {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    if meta:
        header["__metadata__"] = meta
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def read_tensors(path):
    with open(path, "rb") as f:
        raw = f.read()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    meta = header.pop("__metadata__", {})
    return meta, {
        name: (e["dtype"], e["shape"], raw[8 + size + e["data_offsets"][0]:
                                           8 + size + e["data_offsets"][1]])
        for name, e in header.items()
    }


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def weights_hash(run):
    """Of the tensors only, not of the metadata."""
    _, tensors = read_tensors(os.path.join(run, "weights.safetensors"))
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name][2])
    return digest.hexdigest()


def idx(dims, data):
    return struct.pack(">BBBB", 0, 0, 8, len(dims)) + struct.pack(">%dI" % len(dims), *dims) + data


def write_idx_folder(folder, count=64, size=12, cut=0, label=None, magic=None):
    """A small MNIST-like folder; `cut` bytes are missing from the training images."""
    os.makedirs(folder, exist_ok=True)
    for name, n in (("train", count), ("t10k", count // 4)):
        pixels = bytes((i * 37 + i // 100) % 256 for i in range(n * size * size))
        labels = bytearray(i % 10 for i in range(n))
        if label is not None and name == "train":
            labels[5] = label
        images = idx([n, size, size], pixels)
        if name == "train":
            images = images[:len(images) - cut]
            if magic:
                images = magic + images[4:]
        write(f"{folder}/{name}-images-idx3-ubyte", images)
        with gzip.open(f"{folder}/{name}-labels-idx1-ubyte.gz", "wb") as f:
            f.write(idx([n], bytes(labels)))
    return folder


# ---- the command line ----------------------------------------------------------------------------


def test_mistakes_on_the_command_line_exit_2(tmp):
    cases = [
        ("unknown command 'trian'; did you mean train", ["trian"]),
        ("unknown flag --epoch; did you mean --epochs", ["train", "--epoch", "3"]),
        ("--epochs: '3x' is not a whole number", ["train", "--epochs", "3x"]),
        ("--lr: 'fast' is not a number", ["train", "--lr=fast"]),
        ("--epochs needs a value", ["train", "--epochs"]),
        ("'sgdx' is none of", ["train", "--opt", "sgdx"]),
        ("--amp: .*not there yet", ["train", "--amp"]),
        ("unknown model 'fmnist_cn'; did you mean fmnist_cnn",
         ["train", "--data-path", SYNTHETIC, "--model", "fmnist_cn"]),
        ("unknown model 'zzzzzzzz'", ["summary", "--model", "zzzzzzzz"]),
        ("unknown model 'zzzzzzzz'", ["explain", "--model", "zzzzzzzz"]),
        ("--num-classes: the data have 4", ["train", *SMALL, "--num-classes", 3]),
        ("--data-path is needed", ["train"]),
        ("--weights is needed", ["eval", "--data-path", SYNTHETIC]),
        ("--model-arg: 'aux' is not of the form key=value",
         ["summary", "--model-arg", "aux", "--model", "lenet"]),
        ("--model-arg: lenet has no option 'aux'; its options: none",
         ["train", *SMALL, "--model-arg", "aux=1", "--model", "lenet"]),
        ("not of the form CxHxW", ["summary", "--input-size", "3x4"]),
        ("unexpected argument 'x'", ["info", "x"]),
        ("unexpected argument 'y'", ["models", "x", "y"]),
    ]
    for pattern, args in cases:
        refused(2, pattern, *args, cwd=tmp)
    assert os.listdir(tmp) == []


def test_no_command_prints_the_usage(tmp):
    r = weft()
    assert r.returncode == 2 and "usage: weft" in r.stderr and r.stdout == ""


def test_help_names_every_flag_and_exits_0(tmp):
    text = done("help")
    commands = re.findall(r"^  (\w+) ", text, re.M)
    assert {"train", "eval", "predict", "info", "summary", "explain"} <= set(commands), commands
    for command in commands:
        assert f"usage: weft {command}" in done(command, "--help")
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


def test_models_are_a_table_or_json(tmp):
    started, child = time.monotonic(), subprocess.Popen([WEFT, "models"], stdout=subprocess.PIPE)
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
        r = subprocess.run([WEFT, "models"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert r.returncode == 1 and "standard output" in r.stderr, r


# ---- bad input -----------------------------------------------------------------------------------


def test_bad_data_is_one_error_and_leaves_nothing(tmp):
    out = f"{tmp}/run"
    cases = [
        ("nowhere", f"{tmp}/nowhere"),
        ("cut", write_idx_folder(f"{tmp}/cut", cut=100)),
        ("magic", write_idx_folder(f"{tmp}/magic", magic=b"\1\2\3\4")),
        ("label", write_idx_folder(f"{tmp}/label", label=200)),
        ("synthetic", "synthetic:1x12"),
        ("text.safetensors", write(f"{tmp}/text.safetensors", b"no tensors here, only text")),
    ]
    for pattern, path in cases:
        refused(1, pattern, "train", "--data-path", path, "--output-dir", out)
        assert not os.path.exists(out), pattern


def test_a_batch_larger_than_the_data_set_is_an_error(tmp):
    refused(1, "batch.*513|513.*batch", "train", "--data-path", SYNTHETIC, "-b", 513,
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


# ---- training ------------------------------------------------------------------------------------


def check_run(run, epochs):
    with open(f"{run}/config.json") as f:
        config = json.load(f)
    assert config["options"]["data-path"] == SYNTHETIC
    assert config["options"]["epochs"] == epochs
    assert config["options"]["output-dir"] == run
    assert config["environment"]["threads"] == 2
    assert config["environment"]["isa"] in ("scalar", "avx2", "avx512")
    with open(f"{run}/log.jsonl") as f:
        log = [json.loads(line) for line in f]
    assert [e["epoch"] for e in log if e["event"] == "epoch"] == list(range(1, epochs + 1))
    assert log[-1] == {"event": "end", "status": "finished", "message": None}
    with open(f"{run}/summary.csv") as f:
        rows = [line.rstrip("\n").split(",") for line in f]
    assert rows[0] == ["epoch", "train_loss", "train_acc1", "test_loss", "test_acc1", "lr",
                       "img_per_s", "seconds"]
    assert len(rows) == epochs + 1 and all(len(row) == 8 for row in rows)
    with open(f"{run}/result.json") as f:
        result = json.load(f)
    assert result["epochs"] == epochs and result["seconds"] > 0 and result["img_per_s"] > 0
    return result


def test_a_short_run_learns_and_its_files_agree(tmp):
    run = f"{tmp}/run"
    text = done("train", *SMALL, "--epochs", 3, "--output-dir", run)
    result = check_run(run, 3)
    assert result["test_acc1"] >= 90, result  # guessing: 25
    assert f"test accuracy {result['test_acc1']:.2f}%" in text, text
    assert sorted(os.listdir(run)) == [
        "config.json", "curve.svg", "evaluation.json", "log.jsonl", "report.html", "result.json",
        "summary.csv", "weights.safetensors", "weights_best.safetensors"]
    assert result["best_test_acc1"] >= result["test_acc1"] and 1 <= result["best_epoch"] <= 3
    text_best = done("eval", "--weights", f"{run}/weights_best.safetensors", *SMALL)
    assert f"top-1 {result['best_test_acc1']:.2f}%" in text_best, text_best
    # eval finds the model's name and normalisation in the weights file.
    text = done("eval", "--weights", f"{run}/weights.safetensors", *SMALL)
    assert f"top-1 {result['test_acc1']:.2f}%" in text, text
    assert "top-5" not in text, text  # of four classes all images would count
    # Going on from good weights with no learning rate keeps what was learnt.
    done("train", *SMALL, "--max-steps", 1, "--lr", 0, "--wd", 0, "--weights",
         f"{run}/weights.safetensors", "--output-dir", f"{tmp}/more")
    with open(f"{tmp}/more/result.json") as f:
        assert json.load(f)["test_acc1"] >= 80


def test_off_a_terminal_there_are_whole_lines_only(tmp):
    text = done("train", *SMALL, "--epochs", 2, "--output-dir", f"{tmp}/run")
    assert "\r" not in text and "\033" not in text
    assert len(re.findall(r"^epoch [12]/2 ", text, re.M)) == 2, text


def with_cache(folder):
    """The environment of a user whose wisdom is in `folder`."""
    env = dict(os.environ, XDG_CACHE_HOME=folder)
    env.pop("WEFT_WISDOM", None)
    return env


def test_tuned_choices_are_kept_and_used(tmp):
    env, step = with_cache(tmp), ["--model", "fmnist_cnn", "--batch-size", 2, "--threads", 2]
    quick = ["--tune-seconds", 0.001]
    file = f"{tmp}/weft/wisdom.json"
    assert f"none in {file}" in done("info", env=env)
    first = done("tune", *step, *quick, env=env)
    n, known, measured = map(int, re.search(
        r"^tune  (\d+) problems, (\d+) known, (\d+) measured", first).groups())
    assert known == 0 and measured == n > 0 and first.rstrip().endswith(f"kept in {file}"), first
    assert f"{n} problems, {n} known, 0 measured" in done("tune", *step, *quick, env=env)
    assert f"{n} problems, 0 known, {n} measured" in done("tune", *step, *quick, "--again", env=env)
    assert re.search(rf"wisdom +{n} choices for this machine in {file}", done("info", env=env))
    explained = done("explain", *step, env=env)
    assert f"{n} choices in {file}" in explained and " % of peak by wisdom" in explained
    assert "by wisdom " not in done("explain", *step, "--wisdom", "none", env=env).split("units,")[1]
    assert "wisdom          off" in done("info", "--wisdom", "none", env=env)
    assert "wisdom          off" in done("info", env=dict(env, WEFT_WISDOM="none"))


def test_a_run_names_and_keeps_its_wisdom(tmp):
    env, run, again = with_cache(f"{tmp}/cache"), f"{tmp}/run", f"{tmp}/again"
    more = [*SMALL, "--max-steps", 2, "--model", "lenet"]
    text = done("train", *more, "--tune", "--tune-seconds", 0.001, "--output-dir", run, env=env)
    digest = re.search(r"choices? of kernels by wisdom, hash (\w{16})", text).group(1)
    with open(f"{run}/config.json") as f:
        assert json.load(f)["environment"]["wisdom"] == digest
    assert read_tensors(f"{run}/weights.safetensors")[0]["weft.wisdom"] == digest
    assert os.path.exists(f"{run}/wisdom.json")
    done("train", *more, "--wisdom", f"{run}/wisdom.json", "--output-dir", again)
    with open(f"{again}/config.json") as f:
        assert json.load(f)["environment"]["wisdom"] == digest
    assert weights_hash(run) == weights_hash(again)
    done("train", *more, "--output-dir", again, "--overwrite", "--wisdom", "none", env=env)
    with open(f"{again}/config.json") as f:
        assert json.load(f)["environment"]["wisdom"] == "none"
    assert not os.path.exists(f"{again}/wisdom.json")


def test_bad_wisdom_is_a_warning_and_an_unwritable_place_too(tmp):
    bad = write(f"{tmp}/bad.json", b"{")
    r = weft("info", "--wisdom", bad)
    assert r.returncode == 0 and len(r.stderr.splitlines()) == 1, r.stderr
    assert re.search(r"weft info: warning: .*bad.json: is damaged.*going on without", r.stderr)
    nowhere = with_cache(bad)
    r = weft("train", *SMALL, "--max-steps", 1, "--model", "lenet", "--tune", "--tune-seconds", 0.001,
             "--output-dir", f"{tmp}/run", env=nowhere)
    assert r.returncode == 0 and "warning: what was measured is not kept" in r.stderr, r.stderr
    assert os.path.exists(f"{tmp}/run/wisdom.json")
    r = weft("tune", "--model", "lenet", "-b", 1, "--tune-seconds", 0.001, env=nowhere)
    assert r.returncode == 1 and "is not kept" in r.stderr, r.stderr


def test_on_a_terminal_there_is_a_bar(tmp):
    try:
        pid, fd = pty.fork()
    except OSError as error:  # a chroot without /dev/pts
        raise unittest.SkipTest(f"no terminal to be had: {error}")
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(WEFT, [WEFT, "train", *SMALL, "--epochs", "2", "--output-dir", f"{tmp}/run"])
    text, until = b"", time.monotonic() + 100
    while time.monotonic() < until:
        if select.select([fd], [], [], 1)[0]:
            try:
                chunk = os.read(fd, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            text += chunk
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 0, text
    text = text.decode()
    bars = re.findall(r"\r(epoch 1/2[^\r]*)\033\[K", text)
    assert bars and re.search(r" +\d+/16  loss \d\.\d+  acc +[\d.]+%  +\d+ img/s  .* left", bars[0]), text
    # What remains on the screen: whatever was drawn is erased before the next line.
    lines = [re.sub(r".*\033\[K", "", line) for line in text.replace("\r\n", "\n").split("\n")]
    assert not any("left" in line for line in lines), lines


def test_the_same_seed_gives_the_same_weights_with_any_threads(tmp):
    hashes = {}
    for threads in (1, 2, 3, 7):
        run = f"{tmp}/t{threads}"
        done("train", "--data-path", SYNTHETIC, "-b", 32, "--threads", threads, "--max-steps", 50,
             "-j", threads % 3, "--seed", 5, "--output-dir", run)
        hashes[threads] = weights_hash(run)
    assert len(set(hashes.values())) == 1, hashes
    done("train", "--data-path", SYNTHETIC, "-b", 32, "--threads", 2, "--max-steps", 50, "--seed",
         6, "--output-dir", f"{tmp}/other")
    assert weights_hash(f"{tmp}/other") != hashes[1]


def test_a_directory_with_a_run_is_not_overwritten_unless_asked(tmp):
    run = f"{tmp}/run"
    short = ["train", *SMALL, "--max-steps", 2, "--output-dir", run]
    done(*short)
    before = weights_hash(run)
    refused(1, "already holds a run", *short, "--seed", 9)
    assert weights_hash(run) == before
    done(*short, "--seed", 9, "--overwrite")
    assert weights_hash(run) != before


def test_without_an_output_directory_a_run_gets_one(tmp):
    done("train", *SMALL, "--max-steps", 1, cwd=tmp)
    done("train", *SMALL, "--max-steps", 1, cwd=tmp)
    runs = os.listdir(f"{tmp}/runs")
    assert len(runs) == 2 and all(r.startswith("fmnist_cnn-") for r in runs), runs


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_good_weights(tmp):
    n = 64
    pixels = array.array("f", [((i * 31 + (i // 144) * 57) % 256) / 255 for i in range(n * 144)])
    pixels[45 * 144] = float("nan")
    labels = array.array("q", [i % 4 for i in range(n)])
    data = write(f"{tmp}/data.safetensors", tensors_bytes({
        "images": ("F32", [n, 1, 12, 12], pixels.tobytes()),
        "labels": ("I64", [n], labels.tobytes()),
    }))
    plain = ["train", "--data-path", data, "-b", 8, "--no-shuffle", "--no-augment", "--threads", 2,
             "--lr-scheduler", "constant", "--lr-warmup-epochs", 0]
    refused(1, "epoch 1, step 6: the loss is not finite", *plain, "--output-dir", f"{tmp}/run")
    assert not os.path.exists(f"{tmp}/run/result.json")
    with open(f"{tmp}/run/log.jsonl") as f:
        assert json.loads(f.readlines()[-1])["status"] == "failed"
    # What is left are the weights of step 5.
    done(*plain, "--max-steps", 5, "--output-dir", f"{tmp}/five")
    assert weights_hash(f"{tmp}/run") == weights_hash(f"{tmp}/five")


def test_a_run_that_diverges_is_one_error(tmp):
    refused(1, r"epoch \d+, step \d+: the (loss is|weights are) not finite", "train", *SMALL,
            "--epochs", 50, "--lr", 1e5, "--lr-warmup-epochs", 0, "--momentum", 0.99,
            "--output-dir", f"{tmp}/run")
    assert not os.path.exists(f"{tmp}/run/result.json")
    if os.path.exists(f"{tmp}/run/weights.safetensors"):
        _, tensors = read_tensors(f"{tmp}/run/weights.safetensors")
        for name, (dtype, _, raw) in tensors.items():
            if dtype == "F32":
                assert all(v - v == 0 for v in array.array("f", raw)), name


def interrupt(tmp, number):
    run = f"{tmp}/run{number}"
    p = subprocess.Popen([WEFT, "train", *SMALL, "--epochs", "100000", "--output-dir", run],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and not os.path.exists(f"{run}/weights.safetensors"):
        time.sleep(0.05)
    p.send_signal(number)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 128 + number, (p.returncode, err)
    assert "interrupted" in err and len(err.splitlines()) == 1, err
    read_tensors(f"{run}/weights.safetensors")
    assert not os.path.exists(f"{run}/result.json")
    with open(f"{run}/log.jsonl") as f:
        assert json.loads(f.readlines()[-1])["status"] == "interrupted"


def test_sigint_ends_a_run_cleanly(tmp):
    interrupt(tmp, signal.SIGINT)


def test_sigterm_ends_a_run_cleanly(tmp):
    interrupt(tmp, signal.SIGTERM)


# ---- prediction ----------------------------------------------------------------------------------


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


# ---- running -------------------------------------------------------------------------------------


def main(argv, functions):
    """Runs the test functions among `functions`, a module's globals()."""
    global WEFT
    if len(argv) < 2:
        sys.exit(functions["__doc__"])
    WEFT = os.path.abspath(argv[1])
    tests = [(name, fn) for name, fn in functions.items()
             if name.startswith("test_") and callable(fn)
             and (not argv[2:] or any(w in name for w in argv[2:]))]
    passed = failed = skipped = 0
    for name, fn in tests:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="weft-cli-") as tmp:
            try:
                fn(tmp)
                passed += 1
                verdict = "ok"
            except unittest.SkipTest as why:
                skipped += 1
                verdict = f"skipped ({why})"
            except Exception:  # a test that breaks is a test that fails
                failed += 1
                verdict = "FAILED"
                traceback.print_exc(file=sys.stdout)
        print(f"{verdict:6} {name} ({time.monotonic() - started:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv, globals()))
