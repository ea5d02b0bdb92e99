#!/usr/bin/env python3
"""Signals to `weft`: what stops a run and when, what it survives, what its parent ignored.

    test_signals.py WEFT [NAME...]
"""

import array
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import weft_command
from weft_command import SMALL, done, read_tensors, refused, tensors_bytes, weft, write

STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU]
# A person sends the first two; the others mean: the time is up, start this again.
STATUS = {n: 128 + n if n in (signal.SIGINT, signal.SIGTERM) else 75 for n in STOPS}
LENET = ["train", *SMALL, "--model", "lenet", "--epochs", "100000"]


def start(*args, ignore=(), **kwargs):
    def child():
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN if number in ignore else signal.SIG_DFL)

    return subprocess.Popen([weft_command.WEFT, *map(str, args)], stdin=subprocess.DEVNULL,
                            stdout=kwargs.pop("stdout", subprocess.DEVNULL), stderr=subprocess.PIPE,
                            text=True, preexec_fn=child, **kwargs)


def wait_for(path, p):
    until = time.monotonic() + 100
    while not os.path.exists(path):
        assert p.poll() is None and time.monotonic() < until, (path, p.stderr.read())
        time.sleep(0.01)


def end(p):
    _, err = p.communicate(timeout=100)
    return p.returncode, err


def stopped_well(run):
    """The directory of a run that was stopped after a step."""
    read_tensors(f"{run}/weights.safetensors")
    with open(f"{run}/log.jsonl") as f:
        log = [json.loads(line) for line in f]
    assert log[-1]["event"] == "end" and log[-1]["status"] == "interrupted", log[-1]
    assert not [n for n in os.listdir(run) if ".tmp-" in n or n.startswith(".weft")], os.listdir(run)


def test_every_signal_of_a_batch_system_is_a_stop(tmp):
    for number in STOPS:
        run = f"{tmp}/{number.name}"
        p = start(*LENET, "--output-dir", run)
        wait_for(f"{run}/weights.safetensors", p)
        p.send_signal(number)
        status, err = end(p)
        assert status == STATUS[number], (number, status, err)
        assert "interrupted" in err and len(err.splitlines()) == 1, err
        stopped_well(run)


def test_data_that_are_cut_off_end_a_run_that_keeps_its_weights(tmp):
    images = bytes(range(256)) * 256
    labels = b"".join(i.to_bytes(8, "little") for i in [0, 1] * 32)
    data = f"{tmp}/data.safetensors"
    write(data, tensors_bytes({"images": ("U8", [64, 1, 32, 32], images),
                               "labels": ("I64", [64], labels)}))
    p = start("train", "--data-path", data, "--model", "lenet", "-b", 16, "--epochs", 100000,
              "--output-dir", f"{tmp}/run")
    wait_for(f"{tmp}/run/weights.safetensors", p)
    os.truncate(data, 0)
    status, err = end(p)
    assert status == 1, err
    assert err == f"weft train: {data}: was truncated while it was in use\n", err
    read_tensors(f"{tmp}/run/weights.safetensors")


def test_a_bus_error_is_a_death_with_a_message(tmp):
    p = start(*LENET, "--output-dir", f"{tmp}/run")
    wait_for(f"{tmp}/run/weights.safetensors", p)
    p.send_signal(signal.SIGBUS)
    status, err = end(p)
    assert status == -signal.SIGBUS, (status, err)
    assert len(err.splitlines()) == 1 and "was cut off" in err, err


def test_more_signals_do_not_lose_what_is_being_saved(tmp):
    for i, delay in enumerate((0, 0.001, 0.002, 0.005, 0.005, 0.01, 0.02)):
        run = f"{tmp}/{i}"
        p = start(*LENET, "--output-dir", run)
        wait_for(f"{run}/weights.safetensors", p)
        p.send_signal(signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            time.sleep(delay)
            if p.poll() is None:
                p.send_signal(number)
        status, err = end(p)
        # Of signals that arrive together the kernel may deliver another one first.
        assert status in (143, 75, 130), (delay, status, err)
        stopped_well(run)


def test_a_stop_at_any_moment_of_the_start_leaves_no_run_without_a_step(tmp):
    plain = ["train", *SMALL, "--model", "lenet", "--max-steps", 1]
    began = time.monotonic()
    done(*plain, "--output-dir", f"{tmp}/whole")
    whole = time.monotonic() - began
    for i in range(25):
        run = f"{tmp}/{i}"
        p = start(*LENET, "--output-dir", run)
        time.sleep(whole * i / 20)
        p.send_signal(signal.SIGTERM)
        status, err = end(p)
        assert status in (143, -signal.SIGTERM), (i, status, err)
        if os.path.exists(run):
            stopped_well(run)


def test_what_the_parent_ignored_stays_ignored(tmp):
    run = f"{tmp}/run"
    p = start(*LENET, "--output-dir", run, ignore=STOPS[1:])
    wait_for(f"{run}/weights.safetensors", p)
    for number in STOPS[1:]:
        p.send_signal(number)
    time.sleep(0.2)
    assert p.poll() is None
    p.send_signal(signal.SIGINT)
    assert end(p)[0] == 130
    stopped_well(run)


def test_blocked_signals_are_taken(tmp):
    """The mask of a parent that waits for them with sigwait goes on to its children."""
    run = f"{tmp}/run"
    p = subprocess.Popen([weft_command.WEFT, *map(str, LENET), "--output-dir", run], stderr=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, text=True,
                         preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, STOPS))
    wait_for(f"{run}/weights.safetensors", p)
    p.send_signal(signal.SIGTERM)
    assert end(p)[0] == 143


def test_children_that_are_not_waited_for(tmp):
    """-b auto plans in processes of its own; where SIGCHLD is ignored nobody can wait for those."""
    p = subprocess.Popen([weft_command.WEFT, "plan", *map(str, LENET[1:]), "-b", "auto"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                         preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert end(p) == (0, "")


def first_line_only(p):
    line = p.stdout.readline()
    p.stdout.close()
    return line


def test_a_run_goes_on_when_nobody_reads_any_more(tmp):
    p = start("train", *SMALL, "--model", "lenet", "--epochs", 3, "--output-dir", f"{tmp}/run",
              stdout=subprocess.PIPE)
    assert first_line_only(p).startswith("model lenet")
    status, err = end(p)
    assert (status, err) == (0, ""), (status, err)
    with open(f"{tmp}/run/result.json") as f:
        assert json.load(f)["epochs"] == 3
    # A command that only prints ends as others do.
    p = start("models", stdout=subprocess.PIPE)
    first_line_only(p)
    status, err = end(p)
    assert status in (0, -signal.SIGPIPE) and err == "", (status, err)


def digests(run):
    found = {}
    for folder, _, names in sorted(os.walk(run)):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, run)] = hashlib.sha256(f.read()).hexdigest()
    return found


def test_a_kill_while_overwriting_leaves_one_run_or_the_other(tmp):
    run = f"{tmp}/run"
    short = ["train", *SMALL, "--model", "lenet", "--output-dir", run]
    done(*short, "--epochs", 1)
    old, replaced = digests(run), 0
    began = time.monotonic()
    done("train", *SMALL, "--model", "lenet", "--epochs", 2, "--output-dir", f"{tmp}/timed")
    whole = time.monotonic() - began
    for i in range(20):
        p = start(*short, "--epochs", 2, "--seed", i + 7, "--overwrite")
        time.sleep(whole * i / 16)
        p.kill()
        end(p)
        refused(1, "already holds a run", *short, "--resume", "never")
        now = digests(run)
        if now["config.json"] == old["config.json"]:
            assert now == old, (old, now)
        else:  # the new run's, with weights and without anything of the old one
            replaced += 1
            assert now.get("result.json", "none") != old.get("result.json"), now
            assert now.get("weights.safetensors", "none") != old.get("weights.safetensors")
            assert "weights.safetensors" in now or any(n.endswith("manifest.json") for n in now), now
            assert now["log.jsonl"] != old["log.jsonl"]
            with open(f"{run}/summary.csv") as f:  # of two that were killed early, only the header
                assert len(f.readlines()) == 1 or now["summary.csv"] != old["summary.csv"]
            old = now
    assert replaced < 20


def test_a_run_that_fails_or_stops_early_keeps_the_old_one(tmp):
    run = f"{tmp}/run"
    done("train", *SMALL, "--model", "lenet", "--max-steps", 3, "--output-dir", run)
    old = digests(run)
    r = weft("train", "--data-path", "synthetic:3x1x1:4:64", "--model", "cifar_resnet20", "-b", 1,
             "--output-dir", run, "--overwrite")
    assert r.returncode == 1, r.stderr
    assert digests(run) == old
    # A NaN in the first batch.
    n = 16
    data = write(f"{tmp}/data.safetensors", tensors_bytes({
        "images": ("F32", [n, 1, 12, 12], array.array("f", [float("nan")] * (n * 144)).tobytes()),
        "labels": ("I64", [n], array.array("q", [i % 4 for i in range(n)]).tobytes())}))
    refused(1, "epoch 1, step 1: the loss is not finite", "train", "--data-path", data, "--model",
            "lenet", "-b", 8, "--no-augment", "--output-dir", run, "--overwrite")
    assert digests(run) == old


def test_a_live_run_is_not_touched_by_another(tmp):
    run = f"{tmp}/run"
    p = start(*LENET, "--output-dir", run)
    wait_for(f"{run}/weights.safetensors", p)
    for more in ([], ["--overwrite"]):
        r = weft(*LENET, "--output-dir", run, *more)
        assert r.returncode == 1 and len(r.stderr.splitlines()) == 1, r.stderr
        assert f"{run} is in use by a run that is still going (process {p.pid} on " in r.stderr
    p.send_signal(signal.SIGTERM)
    assert end(p)[0] == 143
    stopped_well(run)
    done("train", *SMALL, "--model", "lenet", "--max-steps", 1, "--output-dir", run, "--overwrite")


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
