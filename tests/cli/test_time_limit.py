#!/usr/bin/env python3
"""Jobs with an end: `weft train` checkpoints and leaves with 75 in time, and goes on in the next job.

    test_time_limit.py WEFT [NAME...]

The policy has its own tests with a clock of theirs (tests/train/test_wall_time.c); here is the command.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

import weft_command
from weft_command import done, refused, weft, weights_hash, write_long_test

REQUEUE = 75
# About a tenth of a second an epoch, without end; checkpoints are quick.
ENDLESS = ["--data-path", "synthetic:1x12x12:4:512", "--batch-size", "32", "--threads", "2",
           "--epochs", "100000", "--lr-warmup-epochs", "0", "--lr-scheduler", "constant",
           "--eval-freq", "50"]


def without_jobs():
    return {k: v for k, v in os.environ.items() if not re.match("(SLURM|PBS|LSB)_", k)}


def leaves(run, *flags, seconds, **env):
    """Runs until the command leaves by itself, which must be before `seconds`; its output."""
    started = time.monotonic()
    r = weft("train", *ENDLESS, "--output-dir", run, *flags, env={**without_jobs(), **env}, timeout=60)
    took = time.monotonic() - started
    assert r.returncode == REQUEUE, r
    assert took < seconds, (took, r)
    assert "the same command goes on from" in r.stderr and len(r.stderr.splitlines()) == 1, r
    assert os.listdir(f"{run}/checkpoints"), r
    return r.stdout, took


def last_step(run):
    manifests = sorted(os.listdir(f"{run}/checkpoints"))
    return int(manifests[-1].split("-")[1])


def test_a_limit_is_kept_and_the_next_job_goes_on(tmp):
    run = f"{tmp}/run"
    # Before a write is measured, 7.2 s are kept free: the others are for a slow start.
    text, took = leaves(run, "--time-limit", "0:12", seconds=12)
    assert took > 1, text
    assert re.search(r"^time  0:\d\d to the job's end \(--time-limit\)$", text, re.M), text
    assert re.search(r"^time  0:0\d left \(--time-limit\), 0:0\d of them to be kept free: too short for "
                     "(another step|an evaluation)$", text, re.M), text
    first = last_step(run)
    assert first > 10, first
    text, _ = leaves(run, "--time-limit", "0:10", "--time-margin", "0:07", seconds=10)
    assert last_step(run) > first, text


def test_the_batch_system_tells_the_end(tmp):
    now = int(time.time())  # up to a second less than the time
    text, _ = leaves(f"{tmp}/slurm", "--time-margin", "0:05", seconds=9, SLURM_JOB_ID="1",
                     SLURM_JOB_END_TIME=str(now + 9))
    assert "(SLURM_JOB_END_TIME)" in text, text
    # PBS counts from the start of the session: a new one here.
    r = subprocess.run([weft_command.WEFT, "train", *ENDLESS, "--output-dir", f"{tmp}/pbs",
                        "--time-margin", "0:05"],
                       env={**without_jobs(), "PBS_JOBID": "1.head", "PBS_WALLTIME": "00:00:08"},
                       start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=60)
    assert r.returncode == REQUEUE and "(PBS_WALLTIME)" in r.stdout, r
    # The flag wins.
    text = done("train", *ENDLESS, "--max-steps", 3, "--time-limit", 30, "--output-dir", f"{tmp}/flag",
                env={**without_jobs(), "SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": str(now + 1)})
    assert "(--time-limit)" in text, text


def test_an_ended_training_is_the_same_as_one_without_limits(tmp):
    """Left twice and gone on: the same weights as in one piece."""
    args = ["--data-path", "synthetic:1x12x12:4:512", "--batch-size", "32", "--threads", "2",
            "--epochs", "3"]
    done("train", *args, "--output-dir", f"{tmp}/whole")
    # With such a margin there is time for the first steps of each job only.
    for job in range(200):
        r = weft("train", *args, "--output-dir", f"{tmp}/parts", "--time-limit", "0:20", "--time-margin",
                 "0:19", env=without_jobs())
        assert r.returncode in (0, REQUEUE), r
        if r.returncode == 0:
            break
    assert r.returncode == 0 and weights_hash(f"{tmp}/whole") == weights_hash(f"{tmp}/parts")
    with open(f"{tmp}/whole/summary.csv") as a, open(f"{tmp}/parts/summary.csv") as b:
        rows = [[line.split(",")[:6] for line in f] for f in (a, b)]
    assert rows[0] == rows[1], rows


def test_what_no_job_has_the_time_for_is_an_error(tmp):
    """Else the job would be started again for ever."""
    r = weft("train", *ENDLESS, "--output-dir", f"{tmp}/run", "--time-limit", "0:05", "--time-margin",
             "0:06", env=without_jobs())
    assert r.returncode == 1 and len(r.stderr.splitlines()) == 1, r
    assert "a job of 5 s (--time-limit) is too short for another step" in r.stderr, r


def test_an_evaluation_that_no_job_can_end_is_an_error(tmp):
    """One that begins with the job is cut off in each job alike."""
    args = ["train", "--data-path", write_long_test(f"{tmp}/data"), "--batch-size", "16", "--threads", "1",
            "--model", "fmnist_cnn", "--epochs", "1", "--output-dir", f"{tmp}/run"]
    p = subprocess.Popen([weft_command.WEFT, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         env=without_jobs())
    while not os.path.exists(f"{tmp}/run/weights.safetensors"):
        assert p.poll() is None
        time.sleep(0.01)
    p.send_signal(signal.SIGUSR1)
    p.communicate()
    assert p.returncode == REQUEUE
    refused(1, r"a job of 8 s \(--time-limit\) is too short for the evaluation's end, 0:07 kept free", *args,
            "--time-limit", "0:08", "--time-margin", "0:07", env=without_jobs())


def test_bad_limits_are_refused(tmp):
    for text in ("0", "-1", "soon", "1:2:3:4", "1.5", ""):
        r = weft("train", *ENDLESS, f"--time-limit={text}")
        assert r.returncode == 2 and len(r.stderr.splitlines()) == 1, r
    refused(2, "--time-margin: 'x' is no time limit", "train", *ENDLESS, "--time-margin", "x")


def test_a_job_that_has_ended_trains_nothing(tmp):
    ended = {**without_jobs(), "SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": "1000000"}
    args = ["train", *ENDLESS, "--max-steps", "2", "--output-dir", f"{tmp}/run"]
    refused(1, "the job has ended already, says SLURM_JOB_END_TIME", *args, env=ended)
    assert not os.path.exists(f"{tmp}/run")
    done(*args)
    before = sorted(os.listdir(f"{tmp}/run"))
    refused(1, "the job has ended already, says SLURM_JOB_END_TIME", *args, "--overwrite", env=ended)
    assert sorted(os.listdir(f"{tmp}/run")) == before
    assert "is finished" in done(*args, env=ended)


def test_the_record_has_the_limit(tmp):
    done("train", *ENDLESS, "--max-steps", 2, "--time-limit", "1-0", "--output-dir", f"{tmp}/run")
    with open(f"{tmp}/run/config.json") as f:
        assert json.load(f)["options"]["time-limit"] == "1-0"


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
