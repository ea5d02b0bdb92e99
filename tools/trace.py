#!/usr/bin/env python3
"""Where the time of a training step goes: sums up a timeline.

    ./dev bench --step MODEL --trace FILE        or: weft train ... --trace FILE
    tools/trace.py FILE [--ops | --steps]

First the step: its time, what the workers did, why they were idle, and the critical path. Then a
line for each op at a module, whose time is the sum over its tiles of each tile's median over the
steps, so that a machine that does other things meanwhile changes little. --ops prints only these
lines, --steps only the step. A file with several plans, such as that of a training with
evaluations, is summed up for the plan that took the most time.

Why a worker is idle at a moment:
  finding work    a task group has tiles that nobody has begun: the worker is on its way there, or
                  the machine runs something else
  barrier         only the commit phase is left to begin, and it waits for the last tiles; or the
                  step ends
  imbalance       the running groups have no tile left to begin, and one of them had a tile for each
                  worker: some worker runs its last one
  no ready work   the running groups have fewer tiles than there are workers, and all else waits for
                  them
"""

import bisect
import collections
import itertools
import json
import statistics
import sys

CAUSES = ("finding work", "barrier", "imbalance", "no ready work")


def read(path):
    """The slices in order of their start, and the object "weft" (plans and runs; None: an old file)."""
    with open(path, encoding="utf-8") as f:
        file = json.load(f)
    slices = sorted((e for e in file["traceEvents"] if e.get("ph") == "X"), key=lambda e: e["ts"])
    return slices, file.get("weft")


# ---- ops ---------------------------------------------------------------------------------------


def steps_of(slices):
    """How often the commonest slice of the rarest kind was seen: once a step."""
    seen = collections.Counter((e["name"], e["args"]["module"], e["args"]["tile"]) for e in slices)
    return min(seen.values())


def table(slices):
    """[(ms per step, slices per step, op, module)], the longest first."""
    steps = steps_of(slices)
    tiles = collections.defaultdict(list)
    for e in slices:
        tiles[e["name"], e["args"]["module"], e["args"]["tile"]].append(e["dur"])
    time, count = collections.Counter(), collections.Counter()
    for (op, module, _), durations in tiles.items():
        a_step = len(durations) / steps
        # The occurrences in a step differ (packing, then the images): each has its own median.
        places = max(1, round(a_step))
        medians = [statistics.median(durations[i::places]) for i in range(places)]
        time[op, module] += sum(medians) / 1000
        count[op, module] += a_step
    return sorted(((ms, count[key], *key) for key, ms in time.items()), reverse=True)


# ---- steps -------------------------------------------------------------------------------------

Run = collections.namedtuple("Run", "plan start end slices")


def runs_of(slices, weft):
    """The runs whose slices are all there: a full trace cuts off the last ones."""
    plans = {plan["plan"]: plan for plan in weft["plans"]}
    size = {n: sum(g["tiles"] * len(g["tasks"]) for g in p["groups"]) for n, p in plans.items()}
    found = collections.defaultdict(list)
    for e in slices:
        found[e["args"]["run"]].append(e)
    return [Run(plans[r["plan"]], r["start"], r["end"], found[i])
            for i, r in enumerate(weft["runs"]) if len(found[i]) == size[r["plan"]] > 0]


def main_runs(runs):
    """The runs of the plan that took the most time, without its first, which touches fresh memory."""
    time = collections.Counter()
    for run in runs:
        time[run.plan["plan"]] += run.end - run.start
    plan = time.most_common(1)[0][0]
    of_plan = [run for run in runs if run.plan["plan"] == plan]
    return of_plan[1:] or of_plan


def tiles_of(run):
    """{position of a group: {tile: [start, end, worker]}}"""
    group_of = {t["task"]: i for i, g in enumerate(run.plan["groups"]) for t in g["tasks"]}
    tiles = collections.defaultdict(dict)
    for e in run.slices:
        group, tile, end = group_of[e["args"]["task"]], e["args"]["tile"], e["ts"] + e["dur"]
        span = tiles[group].setdefault(tile, [e["ts"], end, e["tid"]])
        span[0], span[1] = min(span[0], e["ts"]), max(span[1], end)
    return tiles


def ready_times(run, tiles):
    """When each group could begin."""
    groups = run.plan["groups"]
    ready = [run.start] * len(groups)
    for i, g in enumerate(groups):
        end = max((t[1] for t in tiles[i].values()), default=ready[i])
        for n in g["next"]:
            ready[n] = max(ready[n], end)
    return ready


def causes(run, tiles):
    """[(start, cause)]: why a worker that is idle from then on is idle."""
    groups = run.plan["groups"]
    workers = run.plan["threads"]
    ready = ready_times(run, tiles)
    change = collections.defaultdict(collections.Counter)

    def span(kind, start, end):
        if start < end:
            change[start][kind] += 1
            change[end][kind] -= 1

    work_begun = max((t[0] for i, g in enumerate(groups) if g["kind"] == "work"
                      for t in tiles[i].values()), default=run.start)
    work_ended = max((t[1] for i, g in enumerate(groups) if g["kind"] == "work"
                      for t in tiles[i].values()), default=run.start)
    last_begun = max((t[0] for of_group in tiles.values() for t in of_group.values()))
    if any(g["kind"] == "barrier" for g in groups):
        span("barrier", work_begun, work_ended)
    span("barrier", last_begun, run.end)
    for i, g in enumerate(groups):
        if tiles[i]:
            begun = max(t[0] for t in tiles[i].values())
            span("finding work", ready[i], begun)
            if g["tiles"] >= workers:
                span("imbalance", begun, max(t[1] for t in tiles[i].values()))
    now, result = collections.Counter(), [(run.start, CAUSES[-1])]
    for at in sorted(change):
        now.update(change[at])
        result.append((at, next((c for c in CAUSES if now[c] > 0), CAUSES[-1])))
    return result


def idle(run, tiles):
    """{cause: microseconds of all workers}"""
    when = causes(run, tiles)
    starts = [w[0] for w in when]
    sums = {c: [0] for c in CAUSES}  # by cause: its microseconds up to each start
    for (a, cause), (b, _) in itertools.pairwise(when):
        for c in CAUSES:
            sums[c].append(sums[c][-1] + (b - a if c == cause else 0))

    def up_to(c, at):
        i = bisect.bisect_right(starts, at) - 1
        return sums[c][i] + (at - starts[i] if when[i][1] == c else 0) if i >= 0 else 0

    total = dict.fromkeys(CAUSES, 0)
    rows = collections.defaultdict(list)
    for e in run.slices:
        rows[e["tid"]].append((e["ts"], e["ts"] + e["dur"]))
    for worker in range(run.plan["threads"]):
        at = run.start
        for start, end in sorted(rows[worker]) + [(run.end, run.end)]:
            for c in CAUSES:
                total[c] += max(0, up_to(c, start) - up_to(c, at)) if start > at else 0
            at = max(at, end)
    return total


def critical_path(run, tiles):
    """(microseconds, positions): the longest way through the groups if each had a worker a tile."""
    groups = run.plan["groups"]
    longest, before = [0.0] * len(groups), [-1] * len(groups)
    ends = [0.0] * len(groups)
    for i, g in enumerate(groups):
        ends[i] = longest[i] + max((t[1] - t[0] for t in tiles[i].values()), default=0)
        for n in g["next"]:
            if ends[i] > longest[n]:
                longest[n], before[n] = ends[i], i
    at = max(range(len(groups)), key=ends.__getitem__)
    length, path = ends[at], []
    while at >= 0:
        path.append(at)
        at = before[at]
    return length, path[::-1]


def side_by_side(tiles):
    """Microseconds in which tiles of two or more task groups ran."""
    spans = sorted((edge, kind, i) for i, of_group in tiles.items() for t in of_group.values()
                   for edge, kind in ((t[0], 1), (t[1], 0)))
    running, since, total = collections.Counter(), 0, 0
    for at, begins, group in spans:
        if len(running) > 1:
            total += at - since
        since = at
        running[group] += 1 if begins else -1
        if running[group] <= 0:
            del running[group]
    return total


def print_step(slices, weft):
    runs = runs_of(slices, weft)
    if not runs:
        sys.exit("trace.py: no step is there as a whole: the trace was full before its end")
    runs = main_runs(runs)
    typical = sorted(runs, key=lambda r: r.end - r.start)[(len(runs) - 1) // 2]
    tiles = tiles_of(typical)
    plan, step = typical.plan, typical.end - typical.start
    workers = plan["threads"]
    busy = sum(e["dur"] for e in typical.slices)
    why = idle(typical, tiles)
    length, path = critical_path(typical, tiles)
    print(f"step: {step / 1000:.3f} ms (the median one of {len(runs)}), {workers} workers, "
          f"{len(plan['groups'])} task groups, {sum(len(t) for t in tiles.values())} tiles")
    print(f"  tiles          {busy / workers / step:6.1%} of the workers' time")
    for cause in CAUSES:
        print(f"  {cause:14} {why[cause] / workers / step:6.1%} idle")
    print(f"  side by side   {side_by_side(tiles) / step:6.1%} of the step had tiles of several groups running")
    print(f"critical path: {length / 1000:.3f} ms, {length / step:.1%} of the step, {len(path)} groups; "
          f"all tiles over {workers} workers: {busy / workers / 1000:.3f} ms")
    ops = collections.Counter()
    for i in path:
        if tiles[i]:
            span = max(tiles[i].values(), key=lambda t: t[1] - t[0])
            task = plan["groups"][i]["tasks"][0]
            ops[task["op"], task["module"]] += span[1] - span[0]
    for (op, module), us in ops.most_common(5):
        print(f"  {us / 1000:8.3f} ms  {op} {module}")


def print_ops(slices):
    rows = table(slices)
    total = sum(row[0] for row in rows)
    print(f"{'ms':>8} {'share':>6} {'slices':>7}  op, module")
    for ms, count, op, module in rows:
        print(f"{ms:8.3f} {ms / total:6.1%} {count:7.0f}  {op} {module}")
    print(f"{total:8.3f} {1:6.1%} {sum(row[1] for row in rows):7.0f}  all, of {steps_of(slices)} steps")


def main(argv):
    what = [a for a in argv if a.startswith("-")]
    files = [a for a in argv if not a.startswith("-")]
    if len(files) != 1 or len(what) > 1 or not set(what) <= {"--ops", "--steps"}:
        sys.exit(__doc__)
    try:
        slices, weft = read(files[0])
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"trace.py: {files[0]}: {error}")
    if not slices:
        sys.exit(f"trace.py: {files[0]}: no slices")
    if weft and "--ops" not in what:
        print_step(slices, weft)
    if not what and weft:
        print()
    if "--steps" not in what:
        print_ops(slices)


if __name__ == "__main__":
    main(sys.argv[1:])
