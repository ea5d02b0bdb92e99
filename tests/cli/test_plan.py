#!/usr/bin/env python3
"""`weft plan`, `weft train --dry-run` and `-b auto`: the memory they tell is the memory that runs take.

    test_plan.py WEFT [NAME...]

A run's peak is what the system counted (ru_maxrss, Linux's VmHWM). The tests of limits make a control
group, and are skipped where they may not.
"""

import os
import re
import subprocess
import sys
import unittest

import weft_command
from weft_command import SMALL, done, refused, write_long_test

UNITS = {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
# Model, data, batch, further flags: nets of one and of many megabytes of weights, images of one and of three
# channels, memory that is mostly activations, mostly weights, mostly plans, mostly data.
CASES = (
    ("fmnist_cnn", "synthetic:1x28x28:10:640", 64, ["--opt", "adamw"]),
    ("fmnist_cnn", "synthetic:1x28x28:10:16384", 256, ["-j", "0"]),
    ("resnet18", "synthetic:3x32x32:10:64", 16, ["--freeze", "layer[12]"]),
    ("mobilenet_v2", "synthetic:3x64x64:10:64", 16, []),
    ("fmnist_cnn", "synthetic:1x28x28:10:640", 16, ["--model-ema", "--accumulate", "2"]),
    ("densenet121", "synthetic:3x32x32:10:32", 4, ["--amp", "bf16"]),
)
SOME_STEPS = ["--max-steps", "2", "--threads", "2"]


def size(text):
    value, unit = text.split()
    return float(value) * UNITS[unit]


def planned(text):
    """The peak and the parts of a plan, in bytes."""
    peak = size(re.search(r"^memory at its peak (\S+ \S+)$", text, re.M)[1])
    rows = re.findall(r"^  (\S.*?) +([\d.]+ [KMG]iB) +([\d.]+) %$", text, re.M)
    return peak, {name: size(value) for name, value, _ in rows}, rows


def run_peak(args):
    """Runs weft; the bytes that it had in memory at most."""
    p = subprocess.Popen([weft_command.WEFT, *map(str, args)], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = p.stdout.read().decode()
    p.stdout.close()
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    assert p.returncode == 0, text
    return usage.ru_maxrss * 1024


def test_the_peak_is_true_within_5_percent(tmp):
    for i, (model, data, batch, more) in enumerate(CASES):
        args = ["--model", model, "--data-path", data, "-b", batch, *SOME_STEPS, *more]
        peak, _, _ = planned(done("plan", *args))
        took = run_peak(["train", *args, "--output-dir", f"{tmp}/{i}"])
        print(f"  {model} {data} -b {batch}: planned {peak / 2**20:.1f} MiB, "
              f"took {took / 2**20:.1f} MiB, {100 * (peak / took - 1):+.1f} %")
        assert abs(peak - took) <= 0.05 * took, (model, data, batch, peak, took)


def test_the_parts_make_up_the_peak(tmp):
    text = done("plan", *SMALL, "--epochs", 3, cwd=tmp)
    peak, parts, rows = planned(text)
    assert list(parts) == [p for p in (
        "program and data", "weights", "optimizer", "gradients", "activations", "scratch", "loader",
        "plans", "checkpoint") if p in parts] and len(parts) >= 8, text
    assert abs(sum(parts.values()) - peak) <= 0.01 * peak, text
    assert abs(sum(float(percent) for _, _, percent in rows) - 100) < 1, text
    assert os.listdir(tmp) == []  # a dry run leaves nothing


def test_time_and_disk_and_headers(tmp):
    text = done("train", "--dry-run", *SMALL, "--epochs", 5, "--eval-freq", 2, "--output-dir",
                f"{tmp}/run")
    assert not os.path.exists(f"{tmp}/run")
    assert re.search(r"^step   0\.\d{3} s \(80 of them\), evaluation about \S+ \(3 of them\)$", text, re.M)
    assert re.search(r"^time   \d+:\d\d to the end$", text, re.M), text
    assert re.search(r"^disk   [\d.]+ [KM]iB", text, re.M), text
    mem = int(re.search(r"^#SBATCH --mem=(\d+)M$", text, re.M)[1])
    peak, _, _ = planned(text)
    assert 1.2 * peak <= mem * 2**20 <= 1.2 * peak + 256 * 2**20, text
    assert f"mem={mem}mb" in text, text
    for line in ("#SBATCH --job-name=fmnist_cnn", "#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=2",
                 "#PBS -N fmnist_cnn", "#PBS -r y"):
        assert re.search(f"^{line}$", text, re.M), (line, text)
    for pattern in (r"#SBATCH --time=\d\d:\d\d:00", r"#PBS -l walltime=\d\d:\d\d:00",
                    r"#SBATCH --signal=USR1@\d+ --requeue --open-mode=append"):
        assert re.search(f"^{pattern}$", text, re.M), (pattern, text)


def test_steps_are_timed_without_evaluations(tmp):
    """Also where an epoch has fewer steps than are timed."""
    text = done("plan", "--data-path", write_long_test(f"{tmp}/data"), "--batch-size", 16, "--threads", 1,
                "--model", "fmnist_cnn", "--epochs", 2, "--lr-scheduler", "plateau", "--patience", 2)
    # An evaluation takes as long as 400 steps, and seconds.
    assert 0 < float(re.search(r"^step   (\S+) s \(8 of them\)", text, re.M)[1]) < 0.4, text


def test_a_plan_takes_the_flags_of_the_training(tmp):
    refused(2, "--data-path is needed", "plan")
    refused(2, "unknown flag --dry-run", "plan", "--dry-run")
    refused(2, "nowhere|is not there|No such", "plan", *SMALL, "--model", "nowhere")
    refused(2, "'many' is not a whole number", "train", *SMALL[:2], "-b", "many")
    refused(2, "'auto' is not a whole number", "eval", *SMALL[:2], "-b", "auto")


def test_auto_takes_at_most_what_there_is(tmp):
    """Memory is plenty here: the images are the limit."""
    for count, batch in ((5, 5), (20, 16), (100, 96)):
        text = done("train", "--data-path", f"synthetic:1x12x12:4:{count}", "-b", "auto",
                    *SOME_STEPS, "--output-dir", f"{tmp}/{count}")
        assert f"batches of {batch} images" in text, (count, text)
        with open(f"{tmp}/{count}/config.json") as f:
            assert f'"batch-size": {batch}' in f.read()
    refused(1, "no such|cannot|not", "train", "--data-path", f"{tmp}/nothing", "-b", "auto")


# ---- --recompute and --memory-limit -------------------------------------------------------------------

DEEP = ["--model", "cifar_resnet20", "--data-path", "synthetic:3x32x32:10:128", "-b", 64, *SOME_STEPS]


def test_a_memory_limit_is_kept(tmp):
    peak, parts, _ = planned(done("plan", *DEEP))
    limit = int(peak - 0.3 * parts["activations"])
    lower, lower_parts, _ = planned(done("plan", *DEEP, "--memory-limit", limit))
    assert lower <= limit and lower_parts["activations"] < parts["activations"], (peak, lower, limit)
    want = None
    for i, more in enumerate(([], ["--memory-limit", limit], ["--recompute", "layer?.?"],
                              ["--recompute", "off"])):
        done("train", *DEEP, *more, "--output-dir", f"{tmp}/{i}")
        with open(f"{tmp}/{i}/weights.safetensors", "rb") as f:
            got = f.read()
        want = want or got
        assert got == want, more


def test_a_limit_that_cannot_be_met_names_the_least(tmp):
    text = refused(1, "needs at least", "plan", *DEEP, "--memory-limit", "1M")
    least = size(re.search(r"needs at least (\S+ \S+?),", text)[1])
    peak, _, _ = planned(done("plan", *DEEP, "--memory-limit", int(least * 1.02)))
    assert peak <= 1.02 * least, (peak, least)
    refused(1, "with --recompute off", "plan", *DEEP, "--memory-limit", "1M", "--recompute", "off")


def test_what_is_wrong_with_these_flags_is_told(tmp):
    refused(2, "no number of bytes", "train", *DEEP, "--memory-limit", "many")
    refused(2, "no number of bytes", "explain", "--memory-limit=-1G")
    refused(2, "does not go with other patterns", "plan", *DEEP, "--recompute", "off", "--recompute",
            "layer1")
    refused(2, "no module of cifar_resnet20 matches 'layer9'; did you mean 'layer", "plan", *DEEP,
            "--recompute", "layer9")


# ---- limits --------------------------------------------------------------------------------------


class MemoryGroup:
    """A control group that allows so many bytes; skips the test where none can be made."""

    def __init__(self, limit):
        with open("/proc/self/cgroup") as f:
            lines = [line.rstrip("\n").split(":", 2) for line in f]
        v1 = [path for _, controllers, path in lines if "memory" in controllers.split(",")]
        v2 = [path for _, controllers, path in lines if controllers == ""]
        if v1:
            self.folder, name = f"/sys/fs/cgroup/memory{v1[0]}", "memory.limit_in_bytes"
        else:
            self.folder, name = f"/sys/fs/cgroup{v2[0] if v2 else ''}", "memory.max"
        self.folder = f"{self.folder.rstrip('/')}/weft-test-{os.getpid()}"
        try:
            os.mkdir(self.folder)
        except OSError as e:
            raise unittest.SkipTest(f"no control group can be made: {e}")
        try:
            with open(f"{self.folder}/{name}", "w") as f:
                f.write(str(int(limit)))
        except OSError as e:
            self.done()
            raise unittest.SkipTest(f"no memory limit can be set: {e}")

    def run(self, *args):
        return subprocess.run(
            ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs; exec "$@"', "sh",
             weft_command.WEFT, *map(str, args)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def done(self):
        os.rmdir(self.folder)


BIG = ["--data-path", "synthetic:1x28x28:10:2048", *SOME_STEPS]


def test_what_does_not_fit_is_refused_with_a_batch_that_does(tmp):
    group = MemoryGroup(128 * 2**20)
    try:
        r = group.run("train", *BIG, "-b", 1024, "--output-dir", f"{tmp}/run")
        assert r.returncode == 1 and len(r.stderr.splitlines()) == 1, r
        said = re.fullmatch(
            r"weft train: a batch of 1024 images needs about (\S+ MiB), and (\S+ MiB) are there "
            r"\(control group .*\): activations (\S+ MiB), program and data \S+ MiB, \S.* \S+ MiB; "
            r"-b (\d+) would fit\n", r.stderr)
        assert said, r.stderr
        assert size(said[1]) > size(said[2]) and size(said[2]) <= 128 * 2**20, r.stderr
        assert not os.path.exists(f"{tmp}/run")
        batch = int(said[4])
        assert 64 <= batch < 1024 and batch % 8 == 0, batch
        # It fits, and one that is a tenth larger does not.
        r = group.run("train", *BIG, "-b", batch, "--output-dir", f"{tmp}/fits")
        assert r.returncode == 0, r
        r = group.run("plan", *BIG, "-b", batch + batch // 10 + 16)
        assert r.returncode == 1 and "would fit" in r.stderr, r
        assert r.stderr.startswith("weft plan: "), r
    finally:
        group.done()


def test_auto_fits_into_a_control_group(tmp):
    group = MemoryGroup(128 * 2**20)
    try:
        r = group.run("train", *BIG, "-b", "auto", "--output-dir", f"{tmp}/run")
        assert r.returncode == 0, r
        batch = int(re.search(r"^note  -b auto: batches of (\d+) images$", r.stdout, re.M)[1])
        assert 64 <= batch < 1024, batch
        r = group.run("plan", *BIG, "-b", batch + batch // 10 + 16)
        assert r.returncode == 1, r
        # A run that goes on keeps its batch, whatever fits on the next node.
        done("train", *BIG, "-b", "24", "--output-dir", f"{tmp}/before")
        r = group.run("train", *BIG, "-b", "auto", "--output-dir", f"{tmp}/before")
        assert r.returncode == 0 and "is finished" in r.stdout, r
        assert "batches of 24 images, as the run in" in r.stdout, r
    finally:
        group.done()


def test_where_nothing_fits_it_is_said(tmp):
    group = MemoryGroup(24 * 2**20)
    try:
        r = group.run("train", "--model", "resnet18", "--data-path", "synthetic:3x32x32:10:64", "-b", "16",
                      "--output-dir", f"{tmp}/run")
        assert r.returncode == 1 and r.stderr.count("\n") == 1, r
        assert "weights 42.7 MiB" in r.stderr and r.stderr.endswith("; no batch size would fit\n"), r
        r = group.run("train", "--model", "resnet18", "--data-path", "synthetic:3x32x32:10:64", "-b",
                      "auto", "--output-dir", f"{tmp}/run")
        assert r.returncode == 1 and r.stderr.count("\n") == 1, r
        assert r.stderr.endswith("; no batch size would fit\n"), r
    finally:
        group.done()


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
