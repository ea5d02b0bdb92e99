"""A Slurm of one node in a folder: munged, slurmctld and slurmd of its own, on ports of its own.

Needs root, and Debian's packages slurmctld, slurmd, slurm-client and munge. Nothing outside the folder is
read or written, except that the daemons find each other by the host's name.
"""

import os
import shutil
import socket
import subprocess
import time
import unittest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "srun", "scancel")

CONF = """\
ClusterName=weft
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={port1}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def free_ports():
    """Two ports that nobody listens on, one after the other."""
    for port in range(17817, 27817, 2):
        try:
            for p in (port, port + 1):
                with socket.socket() as s:
                    s.bind(("", p))
            return port
        except OSError:
            continue
    raise unittest.SkipTest("no free ports")


class Node:
    def __init__(self, folder, cpus):
        missing = [p for p in PROGRAMS if not program(p)]
        if missing:
            raise unittest.SkipTest(f"Slurm is not installed: no {', '.join(missing)}")
        if os.geteuid() != 0:
            raise unittest.SkipTest("Slurm's daemons are started by root only")
        self.folder = folder
        self.pids = []
        host = socket.gethostname().split(".")[0]
        for name in ("state", "spool", "munge"):
            os.makedirs(f"{folder}/{name}", mode=0o700)
        with open(f"{folder}/munge/key", "wb", opener=lambda p, f: os.open(p, f, 0o400)) as f:
            f.write(os.urandom(1024))
        port = free_ports()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
        self.conf = f"{folder}/slurm.conf"
        with open(self.conf, "w") as f:
            f.write(CONF.format(host=host, folder=folder, cpus=cpus, port=port, port1=port + 1, memory=memory))
        os.environ["SLURM_CONF"] = self.conf
        munge = f"{folder}/munge"
        try:
            self.start("munged", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket",
                       f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
                       pid=f"{munge}/pid")
            self.start("slurmctld", "-f", self.conf, pid=f"{folder}/slurmctld.pid")
            self.start("slurmd", "-f", self.conf, "-N", host, pid=f"{folder}/slurmd.pid")
            self.wait(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T", check=False), 30,
                      "the node is not idle")
        except BaseException:
            self.done()
            raise

    def start(self, name, *args, pid):
        subprocess.run([program(name), *args], check=True, stdout=subprocess.DEVNULL)
        self.wait(lambda: os.path.exists(pid) and os.path.getsize(pid) > 0, 20, f"{name} has not started")
        with open(pid) as f:
            self.pids.append(int(f.read()))

    def run(self, *args, check=True, **kwargs):
        r = subprocess.run([program(args[0]) or args[0], *args[1:]], text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **kwargs)
        assert not check or r.returncode == 0, f"{args}: {r.stdout}"
        return r.stdout

    @staticmethod
    def wait(condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what} after {seconds} s"
            time.sleep(0.3)

    def job(self, number):
        """What scontrol shows of a job, as a dict."""
        text = self.run("scontrol", "--oneliner", "show", "job", str(number))
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def state(self, number):
        return self.job(number)["JobState"]

    def submit(self, *args, cwd, env):
        """Submits a script; the job's number."""
        out = self.run("sbatch", "--parsable", *map(str, args), cwd=cwd, env={**os.environ, **env})
        return int(out.split(";")[0])

    def logs(self):
        text = ""
        for name in ("slurmctld.log", "slurmd.log"):
            if os.path.exists(f"{self.folder}/{name}"):
                with open(f"{self.folder}/{name}", errors="replace") as f:
                    text += f"--- {name}\n" + "".join(f.readlines()[-30:])
        return text

    def done(self):
        """Ends the jobs, then the daemons that were started here, by their numbers."""
        if len(self.pids) > 1:
            self.run("scancel", "--user=root", check=False)
            time.sleep(2)
        for pid in reversed(self.pids):
            try:
                os.kill(pid, 15)
                self.wait(lambda p=pid: not os.path.exists(f"/proc/{p}"), 20, f"process {pid} lives")
            except ProcessLookupError:
                pass
            except AssertionError:
                os.kill(pid, 9)
        self.pids = []
