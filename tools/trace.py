#!/usr/bin/env python3
"""Where the time of a training step goes: a table from a timeline.

    ./dev bench --step MODEL --threads 1 --trace FILE
    tools/trace.py FILE

A line is an op at a module. Its time is the sum over its tiles of each tile's median over the
steps, so that a machine that does other things meanwhile changes little.
"""

import collections
import json
import statistics
import sys


def read(path):
    """The slices, in order of their start."""
    with open(path, encoding="utf-8") as f:
        events = json.load(f)["traceEvents"]
    return sorted((e for e in events if e.get("ph") == "X"), key=lambda e: e["ts"])


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


def main(argv):
    if len(argv) != 1 or argv[0].startswith("-"):
        sys.exit(__doc__)
    try:
        slices = read(argv[0])
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"trace.py: {argv[0]}: {error}")
    if not slices:
        sys.exit(f"trace.py: {argv[0]}: no slices")
    rows = table(slices)
    total = sum(row[0] for row in rows)
    print(f"{'ms':>8} {'share':>6} {'slices':>7}  op, module")
    for ms, count, op, module in rows:
        print(f"{ms:8.3f} {ms / total:6.1%} {count:7.0f}  {op} {module}")
    print(f"{total:8.3f} {1:6.1%} {sum(row[1] for row in rows):7.0f}  all, of {steps_of(slices)} steps")


if __name__ == "__main__":
    main(sys.argv[1:])
