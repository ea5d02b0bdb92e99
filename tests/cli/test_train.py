#!/usr/bin/env python3
"""`weft train` and `weft tune`: files, the progress display, seeds, wisdom, signals, how runs end.

    test_train.py WEFT [NAME...]
"""

import array
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import unittest

import weft_command
from weft_command import (
    SMALL, SYNTHETIC, done, read_tensors, refused, tensors_bytes, weft, weights_hash, write)


def check_run(run, epochs):
    with open(f"{run}/config.json") as f:
        config = json.load(f)
    assert config["options"]["data-path"] == SYNTHETIC
    assert config["options"]["epochs"] == epochs
    assert config["options"]["output-dir"] == run
    assert config["environment"]["threads"] == 2
    assert config["environment"]["isa"] in ("scalar", "avx2", "avx512")
    assert config["environment"]["machine"].startswith(config["environment"]["isa"])
    meta = read_tensors(f"{run}/weights.safetensors")[0]
    assert meta["weft.machine"] == config["environment"]["machine"]
    with open(f"{run}/log.jsonl") as f:
        log = [json.loads(line) for line in f]
    assert [e["epoch"] for e in log if e["event"] == "epoch"] == list(range(1, epochs + 1))
    assert log[-1] == {"event": "end", "status": "finished", "message": None}
    with open(f"{run}/summary.csv") as f:
        rows = [line.rstrip("\n").split(",") for line in f]
    assert rows[0] == ["epoch", "train_loss", "train_acc1", "test_loss", "test_acc1", "lr",
                       "img_per_s", "seconds", "ema_loss", "ema_acc1"]
    assert len(rows) == epochs + 1 and all(len(row) == 10 for row in rows)
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
        "checkpoints", "config.json", "curve.svg", "evaluation.json", "log.jsonl", "report.html", "result.json",
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
    assert "by wisdom " not in done("explain", *step, "--wisdom", "none", env=env).split("groups,")[1]
    assert "wisdom          off" in done("info", "--wisdom", "none", env=env)
    assert "wisdom          off" in done("info", env=dict(env, WEFT_WISDOM="none"))


def test_a_run_is_repeated_for_the_class_of_machine_it_names(tmp):
    """WEFT_MACHINE caps the instruction set, too, and the number of threads is none of its business."""
    hashes = {}
    for name in ("scalar", re.search(r"machine class +(\S+):", done("info")).group(1)):
        runs = []
        for threads in (1, 2):
            run = f"{tmp}/{name}-{threads}"
            done("train", *SMALL, "--model", "lenet", "--max-steps", 2, "--threads", threads,
                 "--output-dir", run, env=dict(os.environ, WEFT_MACHINE=name))
            with open(f"{run}/config.json") as f:
                environment = json.load(f)["environment"]
            assert environment["machine"] == name and name.startswith(environment["isa"])
            runs.append(weights_hash(run))
        assert runs[0] == runs[1]
        hashes[name] = runs[0]
    done("train", *SMALL, "--model", "lenet", "--max-steps", 2, "--output-dir", f"{tmp}/free")
    assert weights_hash(f"{tmp}/free") == hashes[name]


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
    assert r.returncode == 0 and "warning: what is measured will not be kept" in r.stderr, r.stderr
    assert os.path.exists(f"{tmp}/run/wisdom.json")
    r = weft("tune", "--model", "lenet", "-b", 1, "--tune-seconds", 0.001, env=nowhere)
    # Told before anything is measured.
    assert r.returncode == 1 and r.stdout == "", r.stdout
    assert "what is measured cannot be kept" in r.stderr.splitlines()[1], r.stderr
    assert len(r.stderr.splitlines()) == 2, r.stderr
    r = weft("tune", "--model", "lenet", "-b", 1, "--wisdom", "none")
    assert r.returncode == 1 and "wisdom is off" in r.stderr and r.stdout == "", r.stderr


def test_the_first_tuning_does_not_warn_about_the_file_it_makes(tmp):
    file = f"{tmp}/new/wisdom.json"
    r = weft("tune", "--model", "lenet", "-b", 1, "--tune-seconds", 0.001, "--wisdom", file)
    assert r.returncode == 0 and "warning" not in r.stderr, r.stderr
    assert os.path.exists(file)


def logged(run, key):
    with open(f"{run}/log.jsonl") as f:
        return [e[key] for e in map(json.loads, f) if e["event"] == "step"]


def options(run):
    with open(f"{run}/config.json") as f:
        return json.load(f)["options"]


def test_a_zero_that_is_given_is_used(tmp):
    two = ["train", *SMALL, "--max-steps", 2, "--model", "lenet"]
    adamw = [*two, "--opt", "adamw", "--lr", 0.001, "--lr-warmup-epochs", 0]
    runs = {"default": [], "momentum": ["--momentum", 0], "wd": ["--wd", 0]}
    for name, flags in runs.items():
        done(*adamw, *flags, "--output-dir", f"{tmp}/{name}")
    assert options(f"{tmp}/momentum")["momentum"] == 0 and options(f"{tmp}/wd")["wd"] == 0
    assert len({weights_hash(f"{tmp}/{name}") for name in runs}) == 3
    done(*two, "--lr", 0, "--wd", 0, "--output-dir", f"{tmp}/lr")
    assert set(logged(f"{tmp}/lr", "lr")) == {0}
    done("train", *SMALL, "--model", "lenet", "--epochs", 2, "--lr-scheduler", "step",
         "--lr-step-size", 1, "--lr-gamma", 0, "--lr-warmup-epochs", 0, "--output-dir", f"{tmp}/gamma")
    lr = logged(f"{tmp}/gamma", "lr")
    assert set(lr[:16]) == {0.05} and set(lr[16:]) == {0}, lr
    done("train", *SMALL, "--model", "lenet", "--epochs", 1, "--lr-scheduler", "onecycle",
         "--lr-warmup-epochs", 0, "--output-dir", f"{tmp}/cycle")
    lr = logged(f"{tmp}/cycle", "lr")
    assert lr == sorted(lr, reverse=True) and lr[0] > 0.04, lr  # it never rises
    done(*two, "--seed", 0, "--workers", 0, "--crop-padding", 0, "--label-smoothing", 0, "--lr-min", 0,
         "--max-steps", 0, "--epochs", 1, "--num-classes", 0, "--output-dir", f"{tmp}/zeros")
    assert len(logged(f"{tmp}/zeros", "lr")) == 16  # no limit


def test_a_warm_up_as_long_as_the_training_is_told(tmp):
    one = ["train", *SMALL, "--model", "lenet", "--epochs", 1, "--lr", 0.04]
    text = done(*one, "--output-dir", f"{tmp}/cosine")
    assert re.search(r"^note  .* default warm-up of 1 epoch, .* half of it: 8 steps$", text, re.M), text
    lr = logged(f"{tmp}/cosine", "lr")
    assert max(lr) == lr[8] == 0.04 and lr[-1] < 0.01 and options(f"{tmp}/cosine")[
        "lr-warmup-epochs"] == 0.5, lr
    text = done(*one, "--lr-warmup-epochs", 2, "--output-dir", f"{tmp}/asked")
    assert re.search(r"^note  --lr-warmup-epochs 2 is the whole training: .* --lr 0.04$", text, re.M), text
    assert options(f"{tmp}/asked")["lr-warmup-epochs"] == 2 and max(logged(f"{tmp}/asked", "lr")) < 0.02
    text = done(*one, "--lr-scheduler", "onecycle", "--lr-warmup-epochs", 1, "--output-dir",
                f"{tmp}/cycle")
    assert re.search(r"^note  --lr-warmup-epochs 1 is the whole training: the learning rate rises", text,
                     re.M), text
    lr = logged(f"{tmp}/cycle", "lr")
    assert lr == sorted(lr) and abs(lr[-1] - 0.04) < 1e-12, lr
    text = done("train", *SMALL, "--model", "lenet", "--epochs", 2, "--output-dir", f"{tmp}/two")
    assert "warm-up" not in text, text


def test_a_trace_may_lie_in_the_run_that_it_is_of(tmp):
    done("train", *SMALL, "--model", "lenet", "--max-steps", 1, "--output-dir", f"{tmp}/run/",
         "--trace", f"{tmp}/run/t.json")
    with open(f"{tmp}/run/t.json") as f:
        assert json.load(f)


def test_on_a_terminal_there_is_a_bar(tmp):
    try:
        pid, fd = pty.fork()
    except OSError as error:  # a chroot without /dev/pts
        raise unittest.SkipTest(f"no terminal to be had: {error}")
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(weft_command.WEFT, [weft_command.WEFT, "train", *SMALL, "--epochs", "2",
                                     "--output-dir", f"{tmp}/run"])
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


def test_images_are_mirrored_only_when_asked_for(tmp):
    """Digits and letters are not what they were in a mirror."""
    hashes = {}
    for name, args in (("default", []), ("none", ["--hflip", 0]), ("half", ["--hflip", 0.5])):
        run = f"{tmp}/{name}"
        done("train", *SMALL, "--max-steps", 3, *args, "--output-dir", run)
        hashes[name] = weights_hash(run)
        with open(f"{run}/config.json") as f:
            assert json.load(f)["options"]["hflip"] == (0.5 if name == "half" else 0)
    assert hashes["default"] == hashes["none"] != hashes["half"], hashes
    assert re.search(r"--hflip P .*mirror images", done("train", "--help"))
    refused(2, "--no-augment and --hflip exclude each other", "train", *SMALL, "--no-augment",
            "--hflip", 0.5)


def test_a_directory_with_a_run_is_not_overwritten_unless_asked(tmp):
    run = f"{tmp}/run"
    short = ["train", *SMALL, "--max-steps", 2, "--output-dir", run]
    done(*short)
    before = weights_hash(run)
    refused(1, "already holds a run", *short, "--seed", 9, "--resume", "never")
    refused(2, "holds a run with other options: --seed was 0 and is 9", *short, "--seed", 9)
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
    refused(1, r"epoch 1, step 5: the test loss is not finite .*; the outputs of 1 of 64 images are NaN",
            *plain, "--max-steps", 5, "--output-dir", f"{tmp}/five")
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


def test_an_evaluation_without_numbers_is_an_error(tmp):
    refused(1, r"epoch 1, step 1: the test loss is not finite \(learning rate 1e\+06\)",
            "train", *SMALL, "--max-steps", 1, "--lr", 1e6, "--lr-warmup-epochs", 0,
            "--output-dir", f"{tmp}/run")
    assert not os.path.exists(f"{tmp}/run/result.json")


def interrupt(tmp, number):
    run = f"{tmp}/run{number}"
    p = subprocess.Popen([weft_command.WEFT, "train", *SMALL, "--epochs", "100000", "--output-dir",
                          run], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
