#!/usr/bin/env python3
"""The job scripts of examples/jobs without their schedulers: qsub, bjobs, srun and scontrol are stand-ins
that note how they were called. test_slurm.py tries those of Slurm on a real one.

    test_scripts.py WEFT
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

SCRIPTS = os.path.join(ROOT, "examples", "jobs")
FLAGS = "--data-path synthetic:1x12x12:4:64 --batch-size 32 --threads 1 --epochs 60"
# In place of a batch system: the first run is told to leave, by USR1, once its first epoch is over.
TOLD = '''#!/bin/sh
"$REAL_WEFT" "$@" &
if [ ! -e "$NOTES.told" ]; then
    touch "$NOTES.told"
    while kill -0 $! && [ ! -s "$3/log.jsonl" ]; do sleep 0.02; done
    kill -USR1 $!
fi
wait $!
'''
NOTE = '#!/bin/sh\nprintf "%s\\n" "$0" "$@" "" >> "$NOTES"\n'


class Scripts(unittest.TestCase):
    weft = None

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="weft-jobs-")
        self.addCleanup(scratch.cleanup)
        self.work = scratch.name
        os.mkdir(f"{self.work}/bin")
        with open(f"{self.work}/bin/weft", "w", opener=lambda p, f: os.open(p, f, 0o755)) as f:
            f.write(TOLD)
        self.stand_in("qsub")
        self.stand_in("scontrol")
        self.stand_in("bjobs", 'echo "4:00 L"\n')
        self.stand_in("srun", 'case $1 in --cpus-per-task=*) shift ;; esac\nexec "$@"\n')
        self.stand_in("squeue", "date --date 'now + 4 hours' +%Y-%m-%dT%H:%M:%S\n")

    def stand_in(self, name, more=""):
        with open(f"{self.work}/bin/{name}", "w", opener=lambda p, f: os.open(p, f, 0o755)) as f:
            f.write(NOTE + more)

    def calls(self):
        if not os.path.exists(f"{self.work}/notes"):
            return []
        with open(f"{self.work}/notes") as f:
            text = f.read()
        os.remove(f"{self.work}/notes")
        calls = [c.split("\n") for c in text.split("\n\n") if c.strip()]
        return [[os.path.basename(c[0])] + c[1:] for c in calls]

    def run_script(self, name, *args, **env):
        keep = {k: v for k, v in os.environ.items() if not re.match("(SLURM|PBS|LSB|LS)_", k)}
        keep["PATH"] = f"{self.work}/bin:{keep['PATH']}"
        return subprocess.run(["bash", f"{SCRIPTS}/{name}", *args], cwd=self.work, text=True,
                              env={**keep, "REAL_WEFT": self.weft, "NOTES": f"{self.work}/notes", **env},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def until_done(self, script, *args, **env):
        """Starts the script again as long as it says 75; how often it was started, and its last run's
        output."""
        for started in range(1, 5):
            r = self.run_script(script, *args, **env)
            if r.returncode != 75:
                self.assertEqual(r.returncode, 0, r.stdout)
                return started, r.stdout
            self.check_again(r.stdout)
        self.fail("no end")

    def test_pbs(self):
        env = {"PBS_JOBID": "7.head", "PBS_JOBNAME": "weft", "PBS_O_WORKDIR": self.work, "FLAGS": FLAGS,
               "RUN": "runs/first"}
        def again(text):
            self.assertIn("(PBS_WALLTIME)", text)
            self.assertEqual(self.calls(), [["qsub", "-W", "depend=afterany:7.head", "-v",
                                             f"RUN=runs/first,FLAGS={FLAGS}", "train.pbs"]])
        self.check_again = again
        started, text = self.until_done("train.pbs", **env)
        self.assertEqual(started, 2)
        self.assertIn("test accuracy", text)
        self.assertEqual(self.calls(), [])
        with open(f"{self.work}/runs/first/config.json") as f:
            self.assertEqual(json.load(f)["environment"]["job"]["id"], "7.head")

    def test_lsf(self):
        def again(text):
            self.assertIn("(--time-limit)", text)
            self.assertEqual(self.calls(), [["bjobs", "-noheader", "-o", "time_left", "99"]])
        self.check_again = again
        env = {"LSB_JOBID": "99", "LSB_JOBINDEX": "0", "LSB_JOBNAME": "weft", "FLAGS": FLAGS}
        started, _ = self.until_done("train.lsf", **env)
        self.assertEqual(started, 2)
        with open(f"{self.work}/runs/weft-99/config.json") as f:
            config = json.load(f)
        self.assertEqual(config["options"]["time-limit"], "4:00:00")  # of "4:00 L"
        self.stand_in("bjobs", "exit 255\n")
        self.assertIn("finished", self.run_script("train.lsf", **env).stdout)

    def test_slurm(self):
        def again(text):
            self.assertIn("(SLURM_JOB_END_TIME)", text)
            self.assertEqual([c for c in self.calls() if c[0] == "scontrol"], [["scontrol", "requeue", "5"]])
        self.check_again = again
        started, _ = self.until_done("train.sbatch", *FLAGS.split(), SLURM_JOB_ID="5", SLURM_JOB_NAME="weft",
                                     SLURM_CPUS_PER_TASK="1")
        self.assertEqual(started, 2)
        self.assertTrue(os.path.exists(f"{self.work}/runs/weft-5/result.json"))

    def test_their_syntax(self):
        for name in sorted(os.listdir(SCRIPTS)):
            if name.endswith(".md"):
                continue
            with self.subTest(name=name):
                subprocess.run(["bash", "-n", f"{SCRIPTS}/{name}"], check=True)
                if shutil.which("shellcheck"):
                    r = subprocess.run(["shellcheck", "-s", "bash", f"{SCRIPTS}/{name}"], text=True,
                                       stdout=subprocess.PIPE)
                    self.assertEqual((r.returncode, r.stdout), (0, ""))

    def test_limits_are_what_the_header_says(self):
        """PBS_WALLTIME in the script is the walltime of its header; LSF's is the -W."""
        for name, header, text in (("train.pbs", r"^#PBS -l walltime=(\S+)$", r"PBS_WALLTIME:-([\d:]+)"),
                                   ("train.lsf", r"^#BSUB -W (\S+)$", r"--time-limit (\d:\d\d):00\)")):
            with open(f"{SCRIPTS}/{name}") as f:
                script = f.read()
            self.assertEqual(re.search(header, script, re.M)[1], re.search(text, script)[1], name)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    Scripts.weft = os.path.abspath(sys.argv.pop(1))
    counted.main()
