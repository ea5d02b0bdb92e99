#!/usr/bin/env python3
"""Fits a class of machine's column of kernels/costs.def to measured layers.

    ./dev bench --layers all --batch 16 --json layers.json
    bench/fit_costs.py layers.json              prints the constants, and what choosing by them loses
    bench/fit_costs.py layers.json --write      writes them into kernels/costs.def, too, and into the
                                                class's line there when, where and to what they were fitted

Run it on a machine that has the class's instructions (WEFT_MACHINE names the class where the machine
is of another). Several files, CSV as well, are taken together; where one measures what another has, the
last counts. Only the expected costs are asked of the machine: `weft-bench --costs`, the same code
that chooses.

A constant is moved as long as that lowers the sum of, over all layers and passes, what the choice
loses to the fastest kernel (its logarithm, squares added so that a large loss counts more), plus a
little of how far expected costs are from measured times, which decides where the choice does not. It
stays within a factor of 3 of where it was. What no row depends on stays.
"""

import argparse
import collections
import csv
import datetime
import json
import math
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(ROOT, "build", "release", "bench", "weft-bench")
TABLE = os.path.join(ROOT, "kernels", "costs.def")
COST = re.compile(r"^WF_COST\((\w+), (.*)\)$", re.M)

LARGE_LOSSES = 2.0  # weight of squared losses beside losses
RESIDUALS = 0.02  # weight of a row's squared distance between expected and measured logarithms
MOST = math.log(3)  # that a constant may move
STEPS = (0.25, 0.1, 0.04, 0.016)  # of logarithms, largest first


def fail(text):
    sys.exit(f"fit_costs.py: {text}")


def read_rows(path):
    """{(network, layer, pass, implementation): (ms, vector multiply-adds' worth of time)}, without
    oneDNN's best. The latter: what the machine's peak would have done meanwhile."""
    try:
        with open(path, encoding="utf-8", newline="") as f:
            rows = list(csv.DictReader(f)) if path.endswith(".csv") else json.load(f)["rows"]
        return {(r["network"], r["layer"], r["pass"], r["implementation"]):
                (float(r["ms"]), 5e7 * float(r["ms"]) * float(r["gflops"]) / float(r["peak_percent"]))
                for r in rows if r["implementation"] not in ("onednn-best", "onednn-without-winograd")}
    except (OSError, ValueError, KeyError, TypeError) as e:
        fail(f"{path}: not what weft-bench --layers --json or --csv writes ({e!r})")


class Model:
    """weft-bench --costs as a child: costs of all its rows under given constants."""

    def __init__(self, bench, networks, batch):
        self.child = subprocess.Popen(
            [bench, "--costs", ",".join(networks), "--batch", str(batch)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        first = self.child.stdout.readline()
        if not first:
            fail("weft-bench --costs failed")
        first = json.loads(first)
        self.name, self.constants = first["class"], first["constants"]
        self.peak = first["peak"]  # multiply-adds a cycle
        self.rows = [tuple(r) for r in first["rows"]]

    def costs(self, constants):
        self.child.stdin.write(json.dumps(constants) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            fail("weft-bench --costs stopped")
        return json.loads(line)

    def close(self):
        self.child.stdin.close()
        self.child.stdout.close()
        self.child.wait()


class Problem:
    """One pass of one layer: its rows in the model, and their measured times and cycles."""

    def __init__(self):
        self.rows, self.ms, self.cycles = [], [], []

    def loss(self, costs):
        """The chosen kernel's time by the fastest's."""
        chosen = min(range(len(self.rows)), key=lambda i: costs[self.rows[i]])
        return self.ms[chosen] / min(self.ms)

    def term(self, costs):
        """The problem's part of the objective."""
        loss = math.log(self.loss(costs))
        best = min(self.ms)
        # A kernel that is far behind is never chosen, however badly its cost is known.
        return loss + LARGE_LOSSES * loss * loss + RESIDUALS * sum(
            (best / ms * math.log(costs[i] / cycles)) ** 2
            for i, ms, cycles in zip(self.rows, self.ms, self.cycles))


def problems_of(model, measured):
    grouped = collections.defaultdict(Problem)
    for i, key in enumerate(model.rows):
        if key in measured:
            p = grouped[key[:3]]
            p.rows.append(i)
            p.ms.append(measured[key][0])
            p.cycles.append(measured[key][1] / model.peak)
    return dict(grouped)


class Objective:
    """What is to be low, of given costs. A constant matters to few problems, so only those whose costs differ
    from the last accepted ones are computed anew."""

    def __init__(self, problems, costs):
        self.problems = list(problems.values())
        self.of_row = {row: n for n, p in enumerate(self.problems) for row in p.rows}
        self.costs, self.terms = costs, [p.term(costs) for p in self.problems]
        self.total = sum(self.terms)

    def changed(self, costs):
        """The problems whose costs differ."""
        return {self.of_row[i] for i, (a, b) in enumerate(zip(costs, self.costs)) if a != b and i in self.of_row}

    def value(self, costs):
        return (self.total + sum(self.problems[n].term(costs) - self.terms[n] for n in self.changed(costs))
                ) / len(self.problems)

    def accept(self, costs):
        for n in self.changed(costs):
            self.terms[n] = self.problems[n].term(costs)
        self.costs, self.total = costs, sum(self.terms)


def rounded(x):
    return float(f"{x:.3g}")


def fit(model, problems):
    start = dict(model.constants)
    now = dict(start)
    target = Objective(problems, model.costs(now))
    best = target.value(target.costs)
    names = [n for n in start if target.changed(model.costs(dict(now, **{n: now[n] * 1.25})))]
    for step in STEPS:
        for _ in range(6):
            before = best
            for name in names:
                for sign in (1, -1):
                    moved = True
                    while moved:
                        x = rounded(now[name] * math.exp(sign * step))
                        if abs(math.log(x / start[name])) > MOST or x == now[name]:
                            break
                        costs = model.costs(dict(now, **{name: x}))
                        value = target.value(costs)
                        moved = value < best - 1e-9
                        if moved:
                            target.accept(costs)
                            now[name], best = x, value
            print(f"steps of {step:g}: {best:.5f}", file=sys.stderr)
            if before - best < 1e-6:
                break
    return now, names


def summary(problems, costs):
    losses = sorted(((p.loss(costs), key) for key, p in problems.items()), reverse=True)
    geomean = math.exp(sum(math.log(x) for x, _ in losses) / len(losses))
    return geomean, losses


def tell(title, problems, costs):
    geomean, losses = summary(problems, costs)
    worst, (_, layer, name) = losses[0]
    above = sum(x > 1.05 for x, _ in losses)
    print(f"{title}: the untuned choice is behind the fastest by {100 * (geomean - 1):.2f} % (geomean), "
          f"{100 * (worst - 1):.0f} % at worst ({layer} {name}); {above} of {len(losses)} by more than 5 %")


def tell_losses(problems, costs):
    print("largest losses after:")
    for loss, (_, layer, name) in summary(problems, costs)[1][:10]:
        if loss > 1.05:
            print(f"  {100 * (loss - 1):3.0f} % {layer} {name}")


def tell_networks(problems, before, after):
    networks = collections.defaultdict(dict)
    for key, p in problems.items():
        networks[key[0]][key] = p
    for name, part in networks.items():
        row = [name]
        for costs in (before, after):
            geomean, losses = summary(part, costs)
            row += [100 * (geomean - 1), 100 * (losses[0][0] - 1)]
        print("  {:26} {:5.1f} %, {:3.0f} %  ->  {:5.1f} %, {:3.0f} %".format(*row))


def columns(text):
    """The classes of the table's columns, by name."""
    for line in text.splitlines():
        names = line.strip(" *").split(", ")
        if all(re.fullmatch(r"[a-z0-9]+-l2-\w+", n) for n in names):
            return names
    fail(f"{TABLE} does not say what its columns are")


def rewritten(text, name, constants):
    at = columns(text)
    if name not in at:
        fail(f"{TABLE} has no column for {name}, only {', '.join(at)}")

    def line(match):
        values = match[2].split(", ")
        if match[1] in constants:
            values[at.index(name)] = f"{constants[match[1]]:g}"
        return f"WF_COST({match[1]}, {', '.join(values)})"

    return COST.sub(line, text)


def machine_here():
    """The model of CPU, as /proc/cpuinfo has it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return re.search(r"^model name\s*: (.*)$", f.read(), re.M)[1].strip()
    except (OSError, TypeError):
        return "machine not known"


def commit_here():
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.strip() or "no commit"


def told(text, name, where, networks, passes):
    """The table with the class's line that says where its column was measured."""
    line = (f" *     {name}  {datetime.date.today()} at {commit_here()}, fitted: {where}, "
            f"{networks} networks, {passes} passes")
    changed, n = re.subn(rf"^ \*     {re.escape(name)}  .*$", lambda m: line, text, flags=re.M)
    if n != 1:
        fail(f"{TABLE} has no line that says where {name} was measured")
    return changed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", help="of weft-bench --layers: --json, or --csv (*.csv)")
    parser.add_argument("--batch", type=int, default=16, help="that was measured (%(default)s)")
    parser.add_argument("--bench", default=BENCH, help="weft-bench (the release build's)")
    parser.add_argument("--table", default=TABLE, help="the table (kernels/costs.def)")
    parser.add_argument("--check", action="store_true", help="only say what the present constants lose")
    parser.add_argument("--write", action="store_true", help="write the column into the table")
    parser.add_argument("--machine", default=machine_here(),
                        help="where it was measured, for the table (%(default)s)")
    options = parser.parse_args()
    measured = {}
    for path in options.files:
        measured.update(read_rows(path))
    networks = list(dict.fromkeys(key[0] for key in measured))
    model = Model(options.bench, networks, options.batch)
    problems = problems_of(model, measured)
    if not problems:
        fail("nothing that was measured is known to weft-bench --costs")
    found = sum(len(p.rows) for p in problems.values())
    print(f"class {model.name}: {found} of {len(measured)} measured rows, {len(problems)} problems")
    before = model.costs({})
    tell("before", problems, before)
    if not options.check:
        constants, names = fit(model, problems)
        after = model.costs(constants)
        tell("after", problems, after)
        tell_networks(problems, before, after)
        tell_losses(problems, after)
        for name in names:
            was, now = model.constants[name], constants[name]
            print(f"  {name:32} {was:<8g} {'' if was == now else f'-> {now:g}'}".rstrip())
        if options.write:
            with open(options.table, encoding="utf-8") as f:
                text = f.read()
            changed = rewritten(text, model.name, {n: constants[n] for n in names})
            changed = told(changed, model.name, options.machine, len(networks), len(problems))
            with open(options.table, "w", encoding="utf-8") as f:
                f.write(changed)
            print(f"written to {os.path.relpath(options.table)}: build, run the tests, commit")
    model.close()


if __name__ == "__main__":
    main()
