#!/usr/bin/env python3
"""What a batch job sees: records of where it ran, `weft info --json`, lines in a log file.

    test_jobs.py WEFT [NAME...]
"""

import json
import os
import platform
import re
import socket
import subprocess
import sys

import weft_command
from weft_command import SMALL, done

SLURM = {"SLURM_JOB_ID": "814", "SLURM_ARRAY_JOB_ID": "812", "SLURM_ARRAY_TASK_ID": "2",
         "SLURM_JOB_NAME": "net\n\x1b[1m", "SLURM_JOB_PARTITION": "long", "SLURM_JWT": "hidden",
         "SLURM_RESTART_COUNT": "1"}


def without_jobs():
    return {k: v for k, v in os.environ.items() if not re.match("(SLURM|PBS|LSB|LS)_", k)}


def info(**env):
    return json.loads(done("info", "--json", env={**without_jobs(), **env}))


def test_info_says_where_it_runs(tmp):
    where = info()
    assert where["host"] == socket.gethostname(), where
    assert platform.release() in where["system"], where
    assert where["job"] is None and where["variables"] == {}, where
    assert where["memory"]["available"] <= where["memory"]["limit"] <= where["memory"]["machine"]
    assert where["libraries"]["onednn"] == where["onednn"] and where["libraries"]["hwloc"]
    cpus = os.sched_getaffinity(0)
    listed = set()
    for part in where["cpus"].split(","):
        first, _, last = part.partition("-")
        listed |= set(range(int(first), int(last or first) + 1))
    assert listed <= cpus and where["cpus_why"], where
    assert sum(n["cpus"] != "none" for n in where["numa"]) >= 1, where


def test_the_commit_is_the_sources(tmp):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    commit = info()["commit"]
    if not os.path.exists(f"{root}/.git"):
        assert commit is None, commit
        return
    assert re.fullmatch(r"[0-9a-f]{12,40}(-dirty)?", commit), commit
    assert f"commit {commit}" in done("info")


def test_info_knows_the_job(tmp):
    job = info(**SLURM)["job"]
    assert job["scheduler"] == "slurm" and job["id"] == "814" and job["array_id"] == "812", job
    assert job["array_index"] == "2" and job["name"] == SLURM["SLURM_JOB_NAME"], job
    assert job["restarts"] == 1 and job["queue"] == "long" and job["end"] is None, job
    assert "job             slurm 814, index 2\n" in done("info", env={**without_jobs(), **SLURM})
    pbs = info(PBS_JOBID="7.head", PBS_WALLTIME="01:00:00")["job"]
    assert pbs["scheduler"] == "pbs" and pbs["end"] > 1.5e9, pbs
    assert info(LSB_JOBID="9", LSB_JOBINDEX="0")["job"]["array_index"] is None


def test_a_run_records_where_it_ran(tmp):
    run = f"{tmp}/run"
    env = {**without_jobs(), **SLURM}
    text = done("train", *SMALL, "--max-steps", 2, "--output-dir", run, env=env)
    with open(f"{run}/config.json") as f:
        raw = f.read()
    assert "hidden" not in raw
    recorded = json.loads(raw)["environment"]
    where = json.loads(done("info", "--json", env=env))
    assert sorted(recorded) == sorted(where), recorded
    for same in ("host", "system", "job", "variables", "commit", "libraries", "hardware"):
        assert recorded[same] == where[same], same
    lines = re.findall(r"^on    (.*)$", text, re.M)
    assert len(lines) == 1 and "\033" not in text, text
    assert lines[0].startswith(f"{where['host']}, slurm job 814 (2 of array 812), restart 1, "), lines
    assert f"cpus {recorded['cpus']} (" in lines[0] and where["system"].split()[1] in lines[0], lines


def test_lines_in_a_file_are_whole_and_as_many_as_asked_for(tmp):
    """They are there while training goes on, not only at its end."""
    out = subprocess.Popen(
        [weft_command.WEFT, "train", *SMALL, "--epochs", "2", "--output-dir", f"{tmp}/run",
         "--print-freq", "4"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
    text = b""
    while b"epoch 1/2  4/16" not in text.replace(b" 4/16", b"  4/16").replace(b"   4/16", b"  4/16"):
        more = os.read(out.stdout.fileno(), 65536)
        assert more and more.endswith(b"\n"), text + more  # whole lines, flushed
        text += more
    assert out.poll() is None or b"test accuracy" not in text, text
    text = (text + out.stdout.read()).decode()
    assert out.wait() == 0 and "\r" not in text and "\033" not in text, text
    steps = re.findall(r"^epoch [12]/2 +(\d+)/16 ", text, re.M)
    assert steps == ["4", "8", "12", "16"] * 2, text
    assert len(re.findall(r"^eval  [12]/2 +4/4 ", text, re.M)) == 2, text


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
