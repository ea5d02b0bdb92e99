#!/usr/bin/env python3
"""Times a model's training step in Weft and in PyTorch, side by side.

    ./dev compare MODEL BATCH SIZE [--dtype f32|bf16|f32,bf16] [--modes LIST] [--threads N]
                  [--rounds N] [--json FILE]

A round measures Weft and each PyTorch mode once, each in a process of its own, in an order that
turns from round to round, so that a machine that slows down or warms up does so for all of them.
The best PyTorch mode is the one with the highest median over the rounds; the ratio is the median
of each round's Weft / that mode. With two types each is measured in every round, and a table has
Weft in both against PyTorch's best in both. The machine's peak is measured before and after, because a
ratio taken on a machine that changed meanwhile is worth little.

Needs only the standard library; PyTorch runs under the Python that WEFT_TORCH_PYTHON names.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

MODES = ("eager", "channels_last", "compile", "compile_channels_last")
DTYPES = ("f32", "bf16")
# A machine whose peak moved by more than this between before and after was not quiet.
QUIET = 0.10
# Nor is one where other processes took more than this many cores during a measurement: an OpenMP
# program that is denied one of its cores can lose most of its speed.
OTHERS = 0.10
HERE = os.path.dirname(os.path.abspath(__file__))


class Problem(Exception):
    """Something the user can act on, told in one line."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"compare: {message}\n")


def positive(kind):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not (value > 0 and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"not a positive number: {text!r}")
        return value

    return parse


def list_of(what, known):
    def parse(text):
        words = text.split(",")
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(
                    f"unknown {what} {word!r}; known: {', '.join(known)}")
        return list(dict.fromkeys(words))

    return parse


def parse_args(argv):
    p = Parser(prog="compare", description=__doc__.splitlines()[0])
    p.add_argument("model")
    p.add_argument("batch", type=positive(int))
    p.add_argument("size", type=positive(int), help="edge of the square image")
    p.add_argument("--dtype", type=list_of("type", DTYPES), default=["f32"], metavar="LIST", dest="dtypes",
                   help="f32, bf16, or both, comma-separated")
    p.add_argument("--modes", type=list_of("mode", MODES), default=list(MODES), metavar="LIST",
                   help="PyTorch settings, comma-separated: " + ", ".join(MODES))
    p.add_argument("--threads", type=positive(int), help="default: what weft-bench chooses")
    p.add_argument("--rounds", type=positive(int), default=3)
    p.add_argument("--seconds", type=positive(float), default=5.0,
                   help="time of each measurement, without its warm-up")
    p.add_argument("--json", metavar="FILE", help="also write everything there; - is stdout")
    p.add_argument("--weft-bench", metavar="PATH", help=argparse.SUPPRESS,
                   default=os.path.join(HERE, "..", "build", "release", "bench", "weft-bench"))
    return p.parse_args(argv)


def run_json(what, command, env, limit):
    """Runs a measurement and returns the JSON object it prints."""
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=limit, text=True, errors="replace")
    except OSError as error:
        raise Problem(f"{what}: cannot run {command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Problem(f"{what}: no result after {limit:g} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        how = (f"exit status {done.returncode}" if done.returncode > 0
               else f"killed by signal {-done.returncode}")
        message = said[-1].removeprefix(f"{what}: ") if said else how
        raise Problem(f"{what}: {message}")
    try:
        # The last line: a library may greet on stdout before it.
        result = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        result = None
    if not isinstance(result, dict):
        raise Problem(f"{what}: did not print a JSON object")
    return result


def field(what, result, name):
    """A number that must be there and be sound."""
    value = result.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise Problem(f"{what}: printed {name} = {value!r}")
    return value


def cpu_seconds():
    """CPU time spent so far, (by the whole machine, by the processes measured here); the first is
    None where the system does not tell."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with open("/proc/stat", encoding="ascii") as f:
            user, nice, system = map(int, f.readline().split()[1:4])
    except (OSError, ValueError):
        return None, 0
    return (user + nice + system) / os.sysconf("SC_CLK_TCK"), used.ru_utime + used.ru_stime


def watched(measure, *args):
    """measure(*args), with "other_cpu" added: the cores that other processes took meanwhile."""
    machine, own, clock = *cpu_seconds(), time.monotonic()
    result = measure(*args)
    machine_after, own_after, seconds = *cpu_seconds(), time.monotonic() - clock
    if machine is not None and machine_after is not None:
        others = (machine_after - machine - (own_after - own)) / seconds
        result["other_cpu"] = round(max(0.0, others), 2)
    return result


class Measurements:
    """Knows the commands; each method is one process and returns its JSON object."""

    def __init__(self, args, torch_python):
        self.args = args
        self.torch_python = torch_python
        self.env = dict(os.environ)
        if args.threads:
            # What an OpenMP program is told; both sides, and the machine's peak, go by it.
            self.env["OMP_NUM_THREADS"] = str(args.threads)
        self.limit = 900 + 10 * args.seconds

    def machine(self):
        result = run_json("weft-bench --machine",
                          [self.args.weft_bench, "--machine", "--json", "-"], self.env, self.limit)
        for name in ("peak_gflops", "triad_gb_per_s", "threads"):
            field("weft-bench --machine", result, name)
        return result

    def step_options(self, dtype, threads):
        a = self.args
        return ["--batch", str(a.batch), "--size", str(a.size), "--threads", str(threads),
                "--dtype", dtype, "--seconds", str(a.seconds), "--json", "-"]

    def weft(self, dtype, threads):
        command = [self.args.weft_bench, "--step", self.args.model,
                   *self.step_options(dtype, threads)]
        result = run_json("weft-bench", command, self.env, self.limit)
        for name in ("img_per_s", "rss_mb"):
            field("weft-bench", result, name)
        return result

    def torch(self, mode, dtype, threads):
        what = f"PyTorch {mode}"
        command = [self.torch_python, os.path.join(HERE, "torch_step.py"), "--model",
                   self.args.model, "--mode", mode, *self.step_options(dtype, threads)]
        result = run_json(what, command, self.env, self.limit)
        for name in ("img_per_s", "rss_mb"):
            field(what, result, name)
        return result


def measure_round(measurements, dtypes, modes, threads, number, note):
    """One round: {dtype: {"weft": object, "torch": {mode: object}}}."""
    sides = [(dtype, mode) for dtype in dtypes for mode in (None, *modes)]
    turn = number % len(sides)
    result = {dtype: {"weft": None, "torch": {}} for dtype in dtypes}
    for dtype, mode in sides[turn:] + sides[:turn]:
        note(f"round {number + 1}: {'Weft' if mode is None else 'PyTorch ' + mode}, {dtype}")
        if mode is None:
            result[dtype]["weft"] = watched(measurements.weft, dtype, threads)
        else:
            result[dtype]["torch"][mode] = watched(measurements.torch, mode, dtype, threads)
    return result


def summarise(args, dtype, threads, rounds, before, after):
    speeds = {mode: statistics.median(r["torch"][mode]["img_per_s"] for r in rounds)
              for mode in args.modes}
    best = max(speeds, key=speeds.get)
    for r in rounds:
        r["ratio"] = r["weft"]["img_per_s"] / r["torch"][best]["img_per_s"]
    machines = (before, after)
    return {
        "model": args.model,
        "batch": args.batch,
        "size": args.size,
        "dtype": dtype,
        "threads": threads,
        "weft_img_per_s": statistics.median(r["weft"]["img_per_s"] for r in rounds),
        "torch_img_per_s": speeds[best],
        "torch_mode": best,
        "ratio": statistics.median(r["ratio"] for r in rounds),
        "weft_rss_mb": max(r["weft"]["rss_mb"] for r in rounds),
        "torch_rss_mb": max(r["torch"][best]["rss_mb"] for r in rounds),
        "peak_gflops": statistics.mean(m["peak_gflops"] for m in machines),
        "triad_gb_per_s": statistics.mean(m["triad_gb_per_s"] for m in machines),
        "isa": rounds[0]["weft"].get("isa"),
        "torch": rounds[0]["torch"][best].get("torch"),
        "torch_img_per_s_by_mode": speeds,
        "machine_before": before,
        "machine_after": after,
        "rounds": rounds,
    }


def ratios_of(summaries):
    """{Weft's dtype: {PyTorch's dtype: median over the rounds of Weft / PyTorch's best}}."""
    return {dtype: {other: statistics.median(
        r["weft"]["img_per_s"] / s["torch"][theirs["torch_mode"]]["img_per_s"]
        for r, s in zip(ours["rounds"], theirs["rounds"]))
        for other, theirs in summaries.items()} for dtype, ours in summaries.items()}


def moved(before, after, name):
    return abs(after[name] / before[name] - 1) > QUIET


def report(summaries):
    """The lines to print, as one string."""
    results = list(summaries.values())
    first, several = results[0], len(results) > 1
    before, after = first["machine_before"], first["machine_after"]
    lines = ["{model}, batch {batch}, {size}x{size}, ".format(**first) + ", ".join(summaries) +
             f", {first['threads']} threads",
             "", f"{'img/s':32} {'median':>9} {'lowest':>9} {'highest':>9} {'RSS MB':>8}"]

    def row(name, measured):
        speeds = [m["img_per_s"] for m in measured]
        rss = max(m["rss_mb"] for m in measured)
        lines.append(f"{name:32} {statistics.median(speeds):9.1f} {min(speeds):9.1f} "
                     f"{max(speeds):9.1f} {rss:8.0f}")

    for dtype, result in summaries.items():
        tag = f" {dtype}" if several else ""
        row("Weft" + tag, [r["weft"] for r in result["rounds"]])
        for mode in result["torch_img_per_s_by_mode"]:
            row(f"PyTorch {mode}{tag}", [r["torch"][mode] for r in result["rounds"]])
    lines.append("")
    if several:
        lines.append(f"{'ratio to the best PyTorch setting':34}" +
                     "".join(f"{d + ' ' + r['torch_mode']:>28}" for d, r in summaries.items()))
        for dtype, ratios in ratios_of(summaries).items():
            lines.append(f"{'Weft ' + dtype:34}" + "".join(f"{x:28.2f}" for x in ratios.values()))
    else:
        ratios = ", ".join(f"{r['ratio']:.2f}" for r in first["rounds"])
        lines.append(f"ratio to the best PyTorch setting ({first['torch_mode']}): "
                     f"{first['ratio']:.2f}  (rounds: {ratios})")
    for name, title, unit in (("peak_gflops", "FMA peak", "GFLOP/s"),
                              ("triad_gb_per_s", "STREAM triad", "GB/s")):
        lines.append(f"{title}: {before[name]:.1f} {unit} before, {after[name]:.1f} after")
        if moved(before, after, name):
            lines.append(f"warning: it moved by more than {QUIET:.0%}: the machine was not quiet")
    others = max(m.get("other_cpu", 0) for result in results for r in result["rounds"]
                 for m in [r["weft"], *r["torch"].values()])
    if others > OTHERS:
        lines.append(f"warning: other processes took up to {others:.2f} cores while measuring")
    return "\n".join(lines)


def write_whole(path, text):
    """Writes beside the file and renames: a reader sees the old file or the new one."""
    folder = os.path.dirname(os.path.abspath(path))
    handle, scratch = tempfile.mkstemp(prefix=".compare-", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as f:
            f.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(scratch, 0o666 & ~umask)
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


def check(args, torch_python):
    """What can be wrong is found before minutes are spent on measuring."""
    if not os.access(args.weft_bench, os.X_OK) or os.path.isdir(args.weft_bench):
        raise Problem(f"no weft-bench at {os.path.normpath(args.weft_bench)}: run ./dev build")
    if not torch_python:
        raise Problem("WEFT_TORCH_PYTHON is not set: run this through ./dev compare")
    if args.json and args.json != "-":
        folder = os.path.dirname(os.path.abspath(args.json))
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK) or os.path.isdir(args.json):
            raise Problem(f"cannot write {args.json}")
    try:
        subprocess.run([torch_python, "-c", "import torch"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise Problem(f"{torch_python} cannot import torch") from None


def main(argv):
    args = parse_args(argv)
    torch_python = os.environ.get("WEFT_TORCH_PYTHON")
    check(args, torch_python)
    quiet = not sys.stderr.isatty()

    def note(text):
        print(("" if quiet else "\r\033[K") + text, end="\n" if quiet else "", file=sys.stderr,
              flush=True)

    measurements = Measurements(args, torch_python)
    note("machine, before")
    before = measurements.machine()
    threads = args.threads or int(before["threads"])
    rounds = [measure_round(measurements, args.dtypes, args.modes, threads, i, note)
              for i in range(args.rounds)]
    note("machine, after")
    after = measurements.machine()
    if not quiet:
        note("")
    summaries = {dtype: summarise(args, dtype, threads, [r[dtype] for r in rounds], before, after)
                 for dtype in args.dtypes}
    # One type: its summary. Several: all summaries, and the ratios of each to each.
    result = (summaries[args.dtypes[0]] if len(summaries) == 1 else
              {"model": args.model, "batch": args.batch, "size": args.size,
               "dtypes": summaries, "ratios": ratios_of(summaries)})
    text = json.dumps(result, indent=1) + "\n"
    # With the JSON on stdout the table goes to stderr, so that stdout is JSON alone.
    print(report(summaries), file=sys.stderr if args.json == "-" else sys.stdout)
    if args.json == "-":
        sys.stdout.write(text)
    elif args.json:
        write_whole(args.json, text)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Problem, OSError) as error:
        print(f"compare: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
