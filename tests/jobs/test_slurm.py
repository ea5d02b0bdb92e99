#!/usr/bin/env python3
"""The job scripts of examples/jobs on a real Slurm: signal, exit 75, requeue, job array, wall time.

    test_slurm.py WEFT

Takes five minutes (on a busy machine ten), because Slurm counts time limits in minutes. Without Slurm it is skipped.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
sys.path.insert(0, os.path.join(ROOT, "tests", "cli"))
sys.path.insert(0, HERE)
import counted  # noqa: E402
import slurm_node  # noqa: E402
import weft_command  # noqa: E402

SCRIPTS = os.path.join(ROOT, "examples", "jobs")
DATA = ["--data-path", "synthetic:1x12x12:4:512", "--batch-size", "32", "--threads", "1"]
CONSTANT = ["--lr-scheduler", "constant", "--lr-warmup-epochs", "0", "--eval-freq", "50"]
# A job whose limit is two minutes gets USR1 in its second minute: training must take longer than that.
SECONDS = 110


def without_jobs():
    return {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}


def epochs_for(weft, seconds):
    """How many epochs take about so long here."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        subprocess.run([weft, "train", *DATA, *CONSTANT, "--epochs", "100000", "--time-limit", "0:14",
                        "--output-dir", f"{folder}/run"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env=without_jobs())
        took = time.monotonic() - started
        with open(f"{folder}/run/summary.csv") as f:
            return max(2, int((len(f.readlines()) - 1) * seconds / took))


class Slurm(unittest.TestCase):
    weft = None
    node = None

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="weft-slurm-")
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.node = slurm_node.Node(f"{cls.scratch.name}/slurm", cpus=2)
        cls.addClassCleanup(cls.node.done)
        cls.work = f"{cls.scratch.name}/work"
        os.mkdir(cls.work)
        # The folder's name must stay short: munge's socket has at most 107 bytes.

    def submit(self, script, flags, options=()):
        return self.node.submit("--cpus-per-task=1", "--mem=500M", *options, f"{SCRIPTS}/{script}", *flags,
                                cwd=self.work, env={"WEFT": self.weft})

    def log(self, name):
        path = f"{self.work}/{name}"
        if not os.path.exists(path):
            return ""
        with open(path, errors="replace") as f:
            return f.read()

    def wait_for(self, condition, seconds, what):
        try:
            self.node.wait(condition, seconds, what)
        except AssertionError as e:
            logs = "".join(f"--- {n}\n{self.log(n)}" for n in sorted(os.listdir(self.work)) if n.endswith(".log"))
            raise AssertionError(f"{e}\n{logs}{self.node.logs()}")

    def test_signal_requeue_and_wall_time(self):
        """Two jobs at once, a core each. One is told by USR1@60, as its script says; of the other
        Slurm sends no signal, and it leaves by itself before its time is over."""
        epochs = epochs_for(self.weft, SECONDS)
        flags = [*DATA, *CONSTANT, "--epochs", str(epochs)]
        told = self.submit("train.sbatch", flags, ["--time=2", "--job-name=told"])
        alone = self.submit("train.sbatch", [*DATA, *CONSTANT, "--epochs", "1000000"],
                            ["--time=1", "--signal=URG@1", "--job-name=alone"])
        self.check_alone(alone)
        self.check_told(told, flags)

    def check_alone(self, job):
        log = f"alone-{job}.log"
        self.wait_for(lambda: "the same command goes on from" in self.log(log), 90, "job alone has not left")
        text = self.log(log)
        self.assertRegex(text, r"(?m)^time  \d:\d\d to the job's end \(SLURM_JOB_END_TIME\)$")
        self.assertRegex(text, r"(?m)^time  0:\d\d left \(SLURM_JOB_END_TIME\), .* too short for ")
        self.assertNotIn("TIME LIMIT", text)
        self.wait_for(lambda: int(self.node.job(job)["Restarts"]) >= 1, 20, "job alone is not requeued")
        self.wait_for(lambda: text != self.log(log) and self.log(log).count("to the job's end") == 2, 60,
                      "job alone does not go on")
        self.node.run("scancel", str(job))

    def check_told(self, job, flags):
        log = f"told-{job}.log"
        self.wait_for(lambda: self.node.state(job) in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"), 600,
                      "job told has no end")
        text, shown = self.log(log), self.node.job(job)
        self.assertEqual(shown["JobState"], "COMPLETED", text + self.node.logs())
        self.assertGreaterEqual(int(shown["Restarts"]), 1, text)
        self.assertIn("the same command goes on from", text)
        self.assertNotIn("too short for", text)  # it was the signal
        self.assertEqual(len(re.findall(r"(?m)^test accuracy ", text)), 1, text)
        run = f"{self.work}/runs/told-{job}"
        with open(f"{run}/config.json") as f:
            recorded = json.load(f)["environment"]["job"]
        self.assertEqual((recorded["scheduler"], recorded["id"]), ("slurm", str(job)))
        # The same weights as without Slurm, in one piece.
        whole = f"{self.scratch.name}/whole"
        subprocess.run([self.weft, "train", *flags, "--output-dir", whole], check=True,
                       stdout=subprocess.DEVNULL, env=without_jobs())
        self.assertEqual(weft_command.weights_hash(run), weft_command.weights_hash(whole))

    def test_job_array(self):
        job = self.submit("array.sbatch", [*DATA, "--epochs", "2"], ["--array=0-2", "--time=5"])
        def over():
            return not self.node.run("squeue", "--noheader", "--job", str(job), check=False).strip()
        self.wait_for(over, 120, "the array has no end")
        rates = []
        for task in range(3):
            run = f"{self.work}/runs/rates-{job}-{task}"
            self.assertTrue(os.path.exists(f"{run}/result.json"), self.log(f"rates-{job}_{task}.log"))
            with open(f"{run}/config.json") as f:
                config = json.load(f)
            recorded = config["environment"]["job"]
            self.assertEqual((recorded["array_id"], recorded["array_index"]), (str(job), str(task)))
            rates.append(config["options"]["lr"])
            self.assertIn(f"({task} of array {job})", self.log(f"rates-{job}_{task}.log"))
        self.assertEqual(rates, [0.05, 0.1, 0.2])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    Slurm.weft = os.path.abspath(sys.argv.pop(1))
    counted.main()
