#!/usr/bin/env python3
"""A run that dies and goes on: `weft train`, again and again, is one run to the bit.

    test_resume.py WEFT [--kills N] [NAME...]

--kills: how many SIGKILLs at random instants (default 8; tests/run.py --long: 100). The library gets
hundreds by tests/train/test_checkpoint_kills.c.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

import weft_command
from weft_command import done, refused, weft

# A network with BatchNorm and dropout is in tests/train/test_checkpoint.c; here is the command.
DATA = ["--data-path", "synthetic:1x12x12:4:160", "--batch-size", "16", "--threads", "2"]
TINY = ["train", *DATA, "--model", "lenet", "--epochs", "4", "--hflip", "0.5", "--lr", "0.02"]
KILLS = 8


def read(path):
    with open(path, "rb") as f:
        return f.read()


def without_times(run):
    """All that a run has come to, but for clocks."""
    found = {n: read(f"{run}/{n}") for n in ("weights.safetensors", "weights_best.safetensors")}
    log = [json.loads(line) for line in read(f"{run}/log.jsonl").splitlines()]
    for line in log:
        for key in ("img_per_s", "seconds"):
            line.pop(key, None)
    found["log"] = log
    found["summary"] = [line.split(",")[:6] for line in read(f"{run}/summary.csv").decode().splitlines()]
    result = json.loads(read(f"{run}/result.json"))
    for key in ("img_per_s", "seconds"):
        result.pop(key)
    found["result"] = result
    evaluation = json.loads(read(f"{run}/evaluation.json"))
    evaluation.pop("seconds", None)
    evaluation.pop("img_per_s", None)
    found["confusion"] = evaluation.get("confusion")
    return found


def assert_same(a, b):
    for key in a:
        assert a[key] == b[key], (key, a[key] if key not in ("weights.safetensors", "weights_best.safetensors")
                                  else "bytes", b[key] if isinstance(b[key], list) else "")


def start(*args, env=None):
    return subprocess.Popen([weft_command.WEFT, *map(str, args)], stdin=subprocess.DEVNULL, env=env,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def checkpoints(run):
    folder = f"{run}/checkpoints"
    return sorted(n for n in os.listdir(folder) if n.startswith("step-")) if os.path.isdir(folder) else []


def wait_for(condition, p):
    until = time.monotonic() + 100
    while not condition():
        assert p.poll() is None and time.monotonic() < until, p.stderr.read()
        time.sleep(0.002)


# ---- kills ---------------------------------------------------------------------------------------


def test_a_run_killed_at_random_instants_is_the_uninterrupted_one(tmp):
    began = time.monotonic()
    done(*TINY, "--output-dir", f"{tmp}/whole", "--checkpoint-freq", 5)
    seconds = time.monotonic() - began
    whole = without_times(f"{tmp}/whole")
    rng = random.Random(int(os.environ.get("WEFT_TEST_SEED", "1")))
    kills = runs = resumed = 0
    longest = 0
    while kills < KILLS:
        run = f"{tmp}/{runs}"
        in_this = 0
        while True:
            began = time.monotonic()
            p = start(*TINY, "--output-dir", run, "--checkpoint-freq", rng.choice([1, 2, 3, 5, "1epoch"]))
            # Some live long enough to get ahead, or the run would never end.
            try:
                _, err = p.communicate(timeout=rng.uniform(0.02, 1.3) * seconds)
            except subprocess.TimeoutExpired:
                p.kill()
                p.communicate()
                kills += 1
                in_this += 1
                continue
            assert p.returncode == 0, err
            break
        if in_this == 0:  # the machine may have been busy before: else runs end before they are killed
            seconds = min(seconds, time.monotonic() - began)
        longest = max(longest, in_this)
        if os.path.exists(f"{run}/resumed.jsonl"):
            resumed += len(read(f"{run}/resumed.jsonl").splitlines())
        assert_same(whole, without_times(run))
        assert not [n for n in os.listdir(f"{run}/checkpoints") if n.startswith(".")], run
        assert len(checkpoints(run)) <= 5, checkpoints(run)
        shutil.rmtree(run)
        runs += 1
        if runs > 20 * KILLS:
            raise AssertionError("runs end before they are killed")
    assert resumed > KILLS // 8 or KILLS < 24, resumed  # else nothing was tested
    print(f"{kills} kills over {runs} runs, at most {longest} in one; {resumed} times resumed")


# ---- going on ------------------------------------------------------------------------------------


def stop_after(tmp_run, steps, number, *more):
    """Starts TINY and stops it once it has a checkpoint of so many steps."""
    p = start(*TINY, "--output-dir", tmp_run, "--checkpoint-freq", 1, *more)
    wait_for(lambda: checkpoints(tmp_run) and int(checkpoints(tmp_run)[-1][5:15]) >= steps, p)
    p.send_signal(number)
    _, err = p.communicate(timeout=100)
    return p.returncode, err


def slow(tmp_run, number, *more):
    """The same on a run that does not end by itself."""
    args = [a if a != "4" else "100000" for a in TINY]
    p = start(*args, "--output-dir", tmp_run, "--checkpoint-freq", "3,1epoch", *more)
    wait_for(lambda: len(checkpoints(tmp_run)) >= 2, p)
    p.send_signal(number)
    return args, p


def test_stops_say_whether_to_start_again(tmp):
    for number, status in ((signal.SIGUSR1, 75), (signal.SIGUSR2, 75), (signal.SIGXCPU, 75),
                           (signal.SIGHUP, 75), (signal.SIGTERM, 143), (signal.SIGINT, 130)):
        run = f"{tmp}/{number.name}"
        args, p = slow(run, number)
        for _ in range(3 if number != signal.SIGINT else 0):  # any number of times
            time.sleep(0.005)
            if p.poll() is None:
                p.send_signal(number)
        _, err = p.communicate(timeout=100)
        assert p.returncode == status, (number, p.returncode, err)
        assert len(err.splitlines()) == 1 and "the same command goes on from" in err, err
        last = err.strip().rsplit(" ", 1)[1]
        log = [json.loads(line) for line in read(f"{run}/log.jsonl").splitlines()]
        assert log[-1]["status"] == "interrupted", log[-1]
        manifest = json.loads(read(f"{last}/manifest.json"))
        assert os.path.basename(last) == checkpoints(run)[-1], (last, checkpoints(run))
        # The checkpoint is of the step where it stopped, not an older one.
        assert manifest["steps_done"] >= max(e["total_steps"] for e in log if "total_steps" in e)
        # No checkpoints, no promise.
    run = f"{tmp}/without"
    args = [a if a != "4" else "100000" for a in TINY]
    p = start(*args, "--output-dir", run, "--checkpoint-freq", "never")
    wait_for(lambda: os.path.exists(f"{run}/weights.safetensors"), p)
    p.send_signal(signal.SIGUSR1)
    _, err = p.communicate(timeout=100)
    assert p.returncode == 128 + signal.SIGUSR1, (p.returncode, err)
    assert not checkpoints(run)


def test_a_second_sigint_leaves_at_once(tmp):
    args, p = slow(f"{tmp}/run", signal.SIGINT)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=100)
    assert p.returncode in (-signal.SIGINT, 130), (p.returncode, err)
    r = weft(*args[:-2], "--output-dir", f"{tmp}/run", "--max-steps", 1)  # another option
    assert r.returncode == 2, r.stderr
    short = [a if a != "100000" else "100001" for a in args]
    q = start(*short, "--output-dir", f"{tmp}/run")
    wait_for(lambda: os.path.exists(f"{tmp}/run/resumed.jsonl"), q)
    q.kill()
    q.communicate()


def test_a_stop_and_the_same_command_are_one_run(tmp):
    done(*TINY, "--output-dir", f"{tmp}/whole")
    whole = without_times(f"{tmp}/whole")
    run = f"{tmp}/run"
    status, err = stop_after(run, 13, signal.SIGUSR1)
    if status == 75:
        text = done(*TINY, "--output-dir", run, "--threads", 1)
        assert re.search(r"note  resumed from .*/checkpoints/step-0+\d+: epoch \d of 4", text), text
        page = read(f"{run}/report.html").decode()
        assert "resumed" in page
    assert_same(whole, without_times(run))
    text = done(*TINY, "--output-dir", run)
    assert "is finished" in text and len(text.splitlines()) == 1, text
    assert_same(whole, without_times(run))


def test_longer_epochs_go_on_with_a_finished_run(tmp):
    run = f"{tmp}/run"
    constant = [*TINY, "--lr-scheduler", "constant", "--lr-warmup-epochs", "0"]
    more = [a if a != "4" else "6" for a in constant]
    done(*constant, "--output-dir", run)
    text = done(*more, "--output-dir", run)
    assert "note  resumed from" in text and "epoch 5 of 6" in text, text
    done(*more, "--output-dir", f"{tmp}/whole")
    assert_same({k: v for k, v in without_times(f"{tmp}/whole").items() if k != "log"}, without_times(run))
    refused(2, "--epochs was 6 and is 4", *constant, "--output-dir", run)


def test_other_options_are_listed(tmp):
    run = f"{tmp}/run"
    done(*TINY, "--output-dir", run)
    r = weft(*TINY, "--output-dir", run, "--seed", 3, "--momentum", 0.5)
    assert r.returncode == 2 and len(r.stderr.splitlines()) == 1, r.stderr
    assert "--seed was 0 and is 3" in r.stderr and "--momentum was 0.9 and is 0.5" in r.stderr, r.stderr
    refused(1, "already holds a run", *TINY, "--output-dir", run, "--resume", "never")
    for text in ("0x", "-1", "1eon", "", "1epoch,", "99999999999"):
        r = weft(*TINY, "--output-dir", run, "--checkpoint-freq", text)
        assert r.returncode == 2 and len(r.stderr.splitlines()) == 1, (text, r.stderr)


def test_a_damaged_checkpoint_is_skipped_with_a_line(tmp):
    done(*TINY, "--output-dir", f"{tmp}/whole")
    run = f"{tmp}/run"
    status, err = stop_after(run, 8, signal.SIGTERM)
    names = checkpoints(run)
    if status == 0 or len(names) < 2:
        return
    path = f"{run}/checkpoints/{names[-1]}/model.safetensors"
    bytes_ = bytearray(read(path))
    bytes_[len(bytes_) // 2] ^= 1
    with open(path, "wb") as f:
        f.write(bytes_)
    text = done(*TINY, "--output-dir", run)
    assert f"skips a damaged checkpoint: {path}: its checksum does not fit" in text, text
    assert f"resumed from {run}/checkpoints/{names[-2]}" in text, text
    assert_same(without_times(f"{tmp}/whole"), without_times(run))
    # All of them: the run begins again.
    for name in checkpoints(run):
        with open(f"{run}/checkpoints/{name}/manifest.json", "a") as f:
            f.write(" ")
    os.remove(f"{run}/result.json")
    text = done(*TINY, "--output-dir", run)
    assert text.count("skips a damaged checkpoint") >= 3 and "epoch 1/4" in text, text
    assert_same(without_times(f"{tmp}/whole"), without_times(run))


def test_resume_names_a_checkpoint_of_another_run(tmp):
    done(*TINY, "--output-dir", f"{tmp}/whole", "--checkpoint-freq", 7, "--keep", 100)
    whole = without_times(f"{tmp}/whole")
    there = checkpoints(f"{tmp}/whole")  # one is left out where the one before was still being written
    second = there[1] if len(there) > 2 else there[0]
    for i, name in enumerate((f"checkpoints/{there[0]}", f"checkpoints/{second}/manifest.json", "")):
        text = done(*TINY, "--output-dir", f"{tmp}/{i}", "--resume", f"{tmp}/whole/{name}")
        assert "note  resumed from" in text, text
        assert os.path.exists(f"{tmp}/{i}/weights.safetensors"), name
        got = without_times(f"{tmp}/{i}") if name else None
        if got:
            assert_same({k: v for k, v in whole.items() if k in ("weights.safetensors", "log", "summary")}, got)
    refused(1, "is neither a checkpoint", *TINY, "--output-dir", f"{tmp}/new", "--resume", f"{tmp}/none")
    assert not os.path.exists(f"{tmp}/new")
    refused(1, "optimizer", *TINY, "--opt", "adamw", "--output-dir", f"{tmp}/new", "--resume",
            f"{tmp}/whole/checkpoints/{there[0]}")


def test_a_run_in_another_directory_has_the_best_weights_so_far(tmp):
    # A learning rate that falls to nothing: the last epoch is hardly ever the best.
    args = [*TINY, "--lr-scheduler", "exponential", "--lr-gamma", "0.001", "--lr", "0.05"]
    source = f"{tmp}/whole"
    done(*args, "--output-dir", source)
    whole = json.loads(read(f"{source}/result.json"))
    assert whole["best_epoch"] < 4, whole  # else nothing is tested
    best = f"{source}/checkpoints/step-{whole['best_epoch'] * 10:010}"
    for i, what in enumerate(("a checkpoint", "the run's", "nothing")):
        if what == "the run's":
            shutil.rmtree(best)
        if what == "nothing":
            os.remove(f"{source}/weights_best.safetensors")
        run = f"{tmp}/{i}"
        text = done(*args, "--output-dir", run, "--resume",
                    f"{source}/checkpoints/{checkpoints(source)[-1]}")
        result = json.loads(read(f"{run}/result.json"))
        if what == "nothing":
            assert (f"note  the weights of epoch {whole['best_epoch']}, the best one so far, are not "
                    "beside" in text), text
            assert result["best_epoch"] is None and not os.path.exists(f"{run}/weights_best.safetensors"), result
            continue
        assert "not beside" not in text, text
        for name in ("weights.safetensors", "weights_best.safetensors"):
            where = source if i == 0 or "best" not in name else f"{tmp}/0"
            assert read(f"{run}/{name}") == read(f"{where}/{name}"), name
        assert result["best_epoch"] == whole["best_epoch"], result


def test_a_job_that_names_its_beginning_goes_on_with_its_own(tmp):
    """--resume OTHER in a job script that is started again: it is for the first start only."""
    done(*TINY, "--output-dir", f"{tmp}/old", "--checkpoint-freq", 5, "--keep", 100)
    begin = f"{tmp}/old/checkpoints/{checkpoints(f'{tmp}/old')[0]}"
    run = f"{tmp}/run"
    status, err = stop_after(run, 30, signal.SIGUSR1, "--resume", begin)
    if status != 75:
        return
    last = err.strip().rsplit(" ", 1)[1]
    text = done(*TINY, "--output-dir", run, "--resume", begin)
    assert f"note  resumed from {last}:" in text, (text, last)
    assert_same({k: v for k, v in without_times(f"{tmp}/old").items() if k == "weights.safetensors"},
                without_times(run))
    # Without a checkpoint that is not damaged it begins where it began.
    for name in checkpoints(run):
        with open(f"{run}/checkpoints/{name}/manifest.json", "a") as f:
            f.write(" ")
    os.remove(f"{run}/result.json")
    text = done(*TINY, "--output-dir", run, "--resume", begin)
    assert f"note  resumed from {begin}:" in text, text


def test_a_folder_for_checkpoints_may_be_there(tmp):
    """Made before the run, or a link to another disk."""
    os.makedirs(f"{tmp}/disk")
    os.makedirs(f"{tmp}/run")
    os.symlink("../disk", f"{tmp}/run/checkpoints")
    done(*TINY, "--output-dir", f"{tmp}/run")
    assert os.path.islink(f"{tmp}/run/checkpoints") and os.listdir(f"{tmp}/disk")
    # Killed between its first files.
    os.makedirs(f"{tmp}/killed/checkpoints")
    for name in ("log.jsonl", "summary.csv"):
        open(f"{tmp}/killed/{name}", "w").close()
    done(*TINY, "--output-dir", f"{tmp}/killed")
    # Files that are of no run stay alone.
    os.makedirs(f"{tmp}/other")
    open(f"{tmp}/other/report.html", "w").close()
    refused(1, "holds report.html, but nothing that a run could go on from", *TINY, "--output-dir", f"{tmp}/other")
    assert os.listdir(f"{tmp}/other") == ["report.html"]


def test_a_pipe_among_the_files_of_a_run_is_an_error(tmp):
    run = f"{tmp}/run"
    if stop_after(run, 3, signal.SIGUSR1)[0] == 75:
        os.mkfifo(f"{run}/resumed.jsonl")
        refused(1, "cannot write .*/resumed.jsonl", *TINY, "--output-dir", run)


def test_other_instruction_sets_go_on_and_say_so(tmp):
    run = f"{tmp}/run"
    status, err = stop_after(run, 5, signal.SIGUSR1)
    if status != 75:
        return
    r = weft(*TINY, "--output-dir", run, env={"WEFT_MAX_ISA": "scalar"})
    assert r.returncode == 0, r.stderr
    isa = json.loads(read(f"{run}/checkpoints/{checkpoints(run)[0]}/manifest.json"))["environment"]["isa"]
    if isa != "scalar":
        assert re.search(r"note  bits will differ .* instruction set \(.*, now scalar\)", r.stdout), r.stdout


# ---- trouble -------------------------------------------------------------------------------------


def put_in_the_way(folder):
    """A file where the folder was; the run may make the folder anew in between."""
    for i in range(1000):
        try:
            os.rename(folder, f"{folder}-{i}")
            with open(folder, "x"):
                return
        except OSError:
            pass


def test_a_run_goes_on_where_no_checkpoint_can_be_written(tmp):
    run = f"{tmp}/run"
    args, p = slow(run, signal.SIGCONT)
    put_in_the_way(f"{run}/checkpoints")
    time.sleep(0.3)
    assert p.poll() is None
    p.send_signal(signal.SIGUSR1)
    _, err = p.communicate(timeout=100)
    lines = err.splitlines()
    assert p.returncode == 1, (p.returncode, err)  # nothing to go on from
    assert "no checkpoint was written" in lines[-1], lines[-1]
    assert all("warning: no checkpoint of step" in line for line in lines[:-1]) and len(lines) > 1, err


def test_a_directory_that_is_removed_is_one_error(tmp):
    run = f"{tmp}/run"
    args, p = slow(run, signal.SIGCONT)
    for i in range(1000):
        shutil.rmtree(run, ignore_errors=True)
        if not os.path.exists(run):
            break
    _, err = p.communicate(timeout=100)
    assert p.returncode == 1, (p.returncode, err)
    assert not [line for line in err.splitlines()[:-1] if "warning" not in line], err


def test_a_clock_that_jumps_changes_nothing(tmp):
    build = os.path.dirname(os.path.dirname(weft_command.WEFT))
    shim = f"{build}/tests/libclock_jumps.so"
    if not os.path.exists(shim):
        raise unittest.SkipTest("no tests/libclock_jumps.so beside the command")
    done(*TINY, "--output-dir", f"{tmp}/whole")
    env = {**os.environ, "LD_PRELOAD": shim}
    run = f"{tmp}/run"
    args = [*TINY, "--output-dir", run, "--checkpoint-freq", "1", "--time-limit", "1:00:00"]
    p = start(*args, env=env)
    wait_for(lambda: checkpoints(run) or p.poll() is not None, p)
    p.kill()
    p.communicate()
    # The end of the job is an hour away, and stays there; seconds and rates are real ones.
    done(*args, env=env)
    assert_same(without_times(f"{tmp}/whole"), without_times(run))
    result = json.loads(read(f"{run}/result.json"))
    assert 0 < result["seconds"] < 600 and result["img_per_s"] > 0, result
    written = {json.loads(read(f"{run}/checkpoints/{name}/manifest.json"))["written"][:13]
               for name in checkpoints(run)}
    assert len(written) > 1, written  # hours apart: the clock did jump


def test_a_read_only_directory_is_one_error(tmp):
    disk = f"{tmp}/disk"
    if os.geteuid() != 0 or not mounted(disk, "4m"):
        raise unittest.SkipTest("needs root, to mount a tmpfs")
    try:
        p = start(*[a if a != "4" else "100000" for a in TINY], "--output-dir", f"{disk}/run",
                  "--checkpoint-freq", "3")
        wait_for(lambda: checkpoints(f"{disk}/run"), p)
        p.kill()
        p.communicate()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        args = [a if a != "4" else "100000" for a in TINY]
        for where in ("new", "run"):
            r = weft(*args, "--output-dir", f"{disk}/{where}", "--checkpoint-freq", "3")
            lines = r.stderr.splitlines()
            assert r.returncode == 1 and len(lines) == 1 and "Read-only file system" in lines[0], r.stderr
        # What is there can be gone on with elsewhere.
        short = [a if a != "4" else "100001" for a in TINY]
        q = start(*short, "--resume", f"{disk}/run", "--output-dir", f"{tmp}/else")
        wait_for(lambda: checkpoints(f"{tmp}/else"), q)
        q.kill()
        q.communicate()
    finally:
        subprocess.run(["umount", disk], check=False)


def test_two_jobs_on_one_directory(tmp):
    run = f"{tmp}/run"
    args, p = slow(run, signal.SIGCONT)
    r = weft(*args, "--output-dir", run)
    assert r.returncode == 1 and f"in use by a run that is still going (process {p.pid} on " in r.stderr, r.stderr
    p.kill()
    p.communicate()
    q = start(*args, "--output-dir", run)  # the lock went with the process
    wait_for(lambda: os.path.exists(f"{run}/resumed.jsonl"), q)
    q.kill()
    q.communicate()


def mounted(path, size):
    os.makedirs(path)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "weft-test", path],
                          capture_output=True).returncode == 0


def fill(path, leave):
    """Fills the disk up to `leave` bytes."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(fd, b"x" * 4096):
            pass
    except OSError:
        pass
    os.ftruncate(fd, max(0, os.fstat(fd).st_size - leave))
    os.close(fd)


def test_a_full_disk_is_told_and_what_is_there_goes_on(tmp):
    disk = f"{tmp}/disk"
    if os.geteuid() != 0 or not mounted(disk, "4m"):
        raise unittest.SkipTest("needs root, to mount a tmpfs")
    try:
        longer = [[a if a != "4" else n for a in TINY] for n in ("4", "8", "9")]
        run = f"{disk}/run"
        done(*longer[0], "--output-dir", run)
        for leave in (0, 20, 60, 100, 140):  # KiB; a checkpoint has 170, weights have 85
            fill(f"{disk}/filler", leave << 10)
            r = weft(*longer[1], "--output-dir", run)
            # Without room for lines and weights the run ends with one error; else it goes on.
            lines = r.stderr.splitlines()
            assert r.returncode in (0, 1) and lines, (leave, r.stderr)
            assert all("No space left" in line for line in lines), r.stderr
            assert all("warning: no checkpoint" in line for line in lines[:len(lines) - r.returncode]), r.stderr
            os.remove(f"{disk}/filler")
            assert checkpoints(run)
            if r.returncode == 0:
                break
        text = done(*longer[2], "--output-dir", run)
        assert "skips" not in text and "note  resumed from" in text, text
        assert not [n for n in os.listdir(f"{run}/checkpoints") if n.startswith(".")]
        # --epochs was made longer on the way, and so the schedule: only the lines are compared.
        log = [json.loads(line) for line in read(f"{run}/log.jsonl").splitlines()]
        epochs = [line["epoch"] for line in log if line["event"] == "epoch"]
        assert epochs == list(range(1, 10)), epochs
    finally:
        subprocess.run(["umount", disk], check=False)


if __name__ == "__main__":
    arguments = sys.argv
    if "--kills" in arguments:
        at = arguments.index("--kills")
        KILLS = int(arguments[at + 1])
        del arguments[at:at + 2]
    sys.exit(weft_command.main(arguments, globals()))
