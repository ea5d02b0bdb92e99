#!/usr/bin/env python3
"""How a step would scale past the cores that are here: replays a plan on simulated workers.

    weft-bench --step MODEL --batch B --threads 1 --trace T.json       tile times of one core
    weft explain --model MODEL -b N --threads W --as json > P.json     the plan to replay
    bench/simulate.py P.json --trace T.json --gbs 20 [--core-gbs 20] [--workers 1,2,16,64]
                      [--domains 1,2,4,8] [--check SECONDS] [--finer N [OP]]

A tile takes what its task is expected to take, by the factor by which the same task (op, module, kernel)
was off in the trace. Workers take tiles as the scheduler does: the ready group that comes first in the plan's
order. A worker belongs to one of --domains equal NUMA domains, each with a memory of --gbs (STREAM
triad of a domain). A tile that starts while its domain's tiles ask for more than that takes longer in proportion,
as far as it waits for memory; a core alone gets --core-gbs at most. Waking and claiming cost
OVERHEAD_US a tile. Left out: caches shared between cores, clocks that fall under load, pages on
another domain.

What a step lacks of perfect scaling is told by cause: bandwidth (tiles took longer than on one core), width
(idle while the running groups have no tile left to begin), overhead. `path` is the longest way through the
plan with a worker for each tile. --finer asks what finer tiles would gain: it cuts the tiles of groups that
have fewer than N, or only of those whose first op is OP, into equal parts, so that the group has at least N.
"""

import argparse
import collections
import heapq
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import trace as timeline

OVERHEAD_US = 0.5

Group = collections.namedtuple("Group", "tiles seconds dram next")  # seconds and bytes of a tile


def factors(path):
    """{(op, module, kernel): measured / expected} of a one-thread trace, and the factor of all."""
    slices, weft = timeline.read(path)
    runs = timeline.main_runs(timeline.runs_of(slices, weft))
    tasks = {t["task"]: t for g in runs[0].plan["groups"] for t in g["tasks"]}
    took = collections.defaultdict(list)
    for run in runs:
        sums = collections.Counter()
        for e in run.slices:
            sums[e["args"]["task"]] += e["dur"] * 1e-6
        for task, seconds in sums.items():
            took[task].append(seconds)
    measured, expected = collections.Counter(), collections.Counter()
    for number, task in tasks.items():
        key = task["op"], task["module"], task["kernel"]
        measured[key] += statistics.median(took[number])
        expected[key] += task["seconds"]
    overall = sum(measured.values()) / sum(expected.values())
    return {k: measured[k] / expected[k] for k in measured if expected[k] > 0}, overall


def groups_of(plan, factor, overall):
    groups = []
    for g in plan["groups"]:
        tiles = max(g["tiles"], 1)
        seconds = sum(t["seconds"] * factor.get((t["op"], t["module"], t["kernel"]), overall)
                      for t in g["tasks"])
        dram = sum(t["dram"] for t in g["tasks"])
        groups.append(Group(g["tiles"], seconds / tiles, dram / tiles, g["next"]))
    return groups


def finer(groups, plan, least, op=None):
    """The groups as if those with fewer than `least` tiles (and whose first op is `op`) had that many."""
    result = []
    for group, g in zip(groups, plan["groups"]):
        parts = -(-least // group.tiles) if group.tiles else 1
        if parts > 1 and (not op or g["tasks"][0]["op"] == op):
            group = Group(group.tiles * parts, group.seconds / parts, group.dram / parts, group.next)
        result.append(group)
    return result


def longest_path(groups):
    ends = [0.0] * len(groups)
    starts = [0.0] * len(groups)
    for i, g in enumerate(groups):
        ends[i] = starts[i] + g.seconds
        for n in g.next:
            starts[n] = max(starts[n], ends[i])
    return max(ends, default=0)


def simulate(groups, workers, domains, gbs, core_gbs):
    """(seconds of the step, worker seconds by cause)"""
    waits = [0] * len(groups)
    for g in groups:
        for n in g.next:
            waits[n] += 1
    left = [g.tiles for g in groups]
    unbegun = [g.tiles for g in groups]
    ready = [i for i in range(len(groups)) if waits[i] == 0]
    heapq.heapify(ready)
    idle = collections.deque(range(workers))
    demand = [0.0] * domains
    running = []  # (end, worker, group, demand)
    now, lost, work = 0.0, 0.0, 0.0

    def finish(group):
        stack = [group]
        while stack:
            for n in groups[stack.pop()].next:
                waits[n] -= 1
                if waits[n] == 0:
                    if groups[n].tiles == 0:
                        stack.append(n)
                    else:
                        heapq.heappush(ready, n)

    for i in [r for r in ready if groups[r].tiles == 0]:
        ready.remove(i)
        finish(i)
    heapq.heapify(ready)
    while ready or running:
        while ready and idle:
            g = ready[0]
            worker = idle.popleft()
            unbegun[g] -= 1
            if unbegun[g] == 0:
                heapq.heappop(ready)
            group = groups[g]
            domain = worker % domains
            asks = min(group.dram / group.seconds if group.seconds > 0 else 0, core_gbs * 1e9)
            demand[domain] += asks
            # The part of the time that is memory grows with the excess of what is asked.
            slower = max(1.0, demand[domain] / (gbs * 1e9))
            memory = min(1.0, asks / (core_gbs * 1e9))
            takes = group.seconds * (1 - memory + memory * slower)
            lost += takes - group.seconds
            work += group.seconds
            heapq.heappush(running, (now + takes + OVERHEAD_US * 1e-6, worker, g, asks))
        now, worker, g, asks = heapq.heappop(running)
        demand[worker % domains] -= asks
        idle.append(worker)
        left[g] -= 1
        if left[g] == 0:
            finish(g)
    overhead = sum(g.tiles for g in groups) * OVERHEAD_US * 1e-6
    return now, {"work": work, "bandwidth": lost, "overhead": overhead,
                 "width": workers * now - work - lost - overhead}


def numbers(text):
    return [int(n) for n in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("plan", help="weft explain --as json; - is stdin")
    parser.add_argument("--trace", required=True, help="of the same model on one thread")
    parser.add_argument("--gbs", type=float, required=True, help="STREAM triad of a domain, GB/s")
    parser.add_argument("--core-gbs", type=float, default=20, help="of one core alone [20]")
    parser.add_argument("--workers", type=numbers, default=[1, 2, 16, 64, 128])
    parser.add_argument("--domains", type=numbers, default=[1])
    parser.add_argument("--check", type=float, help="measured seconds, for the first line's error")
    parser.add_argument("--finer", nargs="+", metavar=("N", "OP"), help="as if small groups had N tiles")
    args = parser.parse_args()
    try:
        with sys.stdin if args.plan == "-" else open(args.plan, encoding="utf-8") as f:
            plan = json.load(f)
        factor, overall = factors(args.trace)
    except (OSError, ValueError, KeyError, IndexError) as error:
        sys.exit(f"simulate.py: {args.plan}, {args.trace}: {error!r}")
    groups = groups_of(plan, factor, overall)
    if args.finer:
        groups = finer(groups, plan, int(args.finer[0]), *args.finer[1:2])
    path = longest_path(groups)
    one = sum(g.tiles * g.seconds for g in groups)
    print(f"simulated: {len(groups)} groups, {sum(g.tiles for g in groups)} tiles, one core {one:.4f} s, "
          f"path {path:.4f} s; {overall:.2f} times the expected")
    print("workers domains  seconds  speed-up  efficiency   width  bandwidth  overhead")
    for workers in args.workers:
        for domains in args.domains:
            if domains > workers:
                continue
            seconds, why = simulate(groups, workers, domains, args.gbs, args.core_gbs)
            whole = workers * seconds
            print(f"{workers:7} {domains:7} {seconds:8.4f} {one / seconds:8.2f}x {one / whole:10.1%} "
                  f"{why['width'] / whole:8.1%} {why['bandwidth'] / whole:9.1%} {why['overhead'] / whole:9.1%}")
            if args.check:
                print(f"  measured {args.check:.4f} s: the simulation is off by {seconds / args.check - 1:+.1%}")
                args.check = None


if __name__ == "__main__":
    main()
