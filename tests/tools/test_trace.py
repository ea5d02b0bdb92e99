"""tools/trace.py: what it says of a timeline whose figures are known."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import counted

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "tools", "trace.py")
sys.path.insert(0, os.path.join(ROOT, "tools"))
import trace as timeline


def group(tiles, next_, task, kind="work"):
    tasks = [] if kind == "barrier" else [
        {"task": task, "op": f"op{task}", "module": f"m{task}", "kernel": "k", "flops": 0,
         "dram": 0, "seconds": 0}]
    return {"tiles": tiles, "kind": kind, "next": next_, "priority": 0, "tasks": tasks}


# Two workers. Group 0 has two tiles of which one is longer (10 and 14); then group 1 is one tile on
# worker 0 while worker 1 idles; group 2 is begun 3 late; then the commit, one tile.
PLAN = {"plan": 1, "threads": 2, "arena": 0, "groups": [
    group(2, [1, 2], 0), group(1, [3], 1), group(1, [3], 2), group(0, [4], None, "barrier"),
    group(1, [], 3, "commit")]}
SLICES = [  # task, tile, worker, start, end
    (0, 0, 0, 0, 10), (0, 1, 1, 0, 14),  # worker 0 idles 4: imbalance
    (1, 0, 0, 14, 24), (2, 0, 1, 17, 20),  # worker 1 idles 3: finding work; then 4: barrier
    (3, 0, 0, 24, 30)]  # worker 1 idles 6: the end


def file_of(slices, plans, runs):
    events = [{"name": "thread_name", "ph": "M", "pid": 1, "tid": w, "args": {"name": f"worker {w}"}}
              for w in range(2)]
    for run, (task, tile, worker, start, end) in slices:
        events.append({"name": f"op{task}", "ph": "X", "pid": 1, "tid": worker, "ts": start,
                       "dur": end - start,
                       "args": {"module": f"m{task}", "tile": tile, "task": task, "run": run}})
    return {"traceEvents": events, "weft": {"plans": plans, "runs": runs}}


def run_of(slices, plan=PLAN):
    file = file_of([(0, s) for s in slices], [plan], [{"plan": 1, "start": 0, "end": 30}])
    return timeline.runs_of(file["traceEvents"][2:], file["weft"])[0]


class Summary(unittest.TestCase):
    def test_idle_time_by_cause(self):
        run = run_of(SLICES)
        why = timeline.idle(run, timeline.tiles_of(run))
        self.assertEqual(why, {"imbalance": 4, "finding work": 3, "barrier": 4 + 6,
                               "no ready work": 0})
        busy = sum(s[4] - s[3] for s in SLICES)
        self.assertEqual(sum(why.values()) + busy, 2 * 30)

    def test_a_group_of_one_tile_leaves_no_ready_work(self):
        plan = dict(PLAN, groups=[group(1, [1], 0), group(2, [], 1)])
        run = run_of([(0, 0, 0, 0, 20), (1, 0, 0, 20, 30), (1, 1, 1, 20, 30)], plan)
        why = timeline.idle(run, timeline.tiles_of(run))
        self.assertEqual(why["no ready work"], 20)
        self.assertEqual(sum(why.values()), 20)

    def test_the_critical_path_takes_each_group_s_longest_tile(self):
        run = run_of(SLICES)
        length, path = timeline.critical_path(run, timeline.tiles_of(run))
        self.assertEqual((length, path), (14 + 10 + 6, [0, 1, 3, 4]))

    def test_time_side_by_side(self):
        run = run_of(SLICES)
        self.assertEqual(timeline.side_by_side(timeline.tiles_of(run)), 3)

    def test_a_run_that_the_trace_cut_off_is_left_out(self):
        runs = [{"plan": 1, "start": 0, "end": 30}, {"plan": 1, "start": 30, "end": 60}]
        file = file_of([(0, s) for s in SLICES] + [(1, SLICES[0])], [PLAN], runs)
        self.assertEqual(len(timeline.runs_of(file["traceEvents"][2:], file["weft"])), 1)


class Command(unittest.TestCase):
    def trace(self, text, *args):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "t.json")
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            return subprocess.run([sys.executable, SCRIPT, path, *args], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)

    def test_both_parts(self):
        file = json.dumps(file_of([(0, s) for s in SLICES], [PLAN],
                                  [{"plan": 1, "start": 0, "end": 30}]))
        done = self.trace(file)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("critical path: 0.030 ms, 100.0% of the step, 4 groups", done.stdout)
        self.assertIn("op0 m0", done.stdout)
        self.assertNotIn("critical path", self.trace(file, "--ops").stdout)
        self.assertNotIn("slices", self.trace(file, "--steps").stdout)

    def test_what_it_cannot_read_is_one_line(self):
        for text in ("", "{}", "[]", '{"traceEvents": []}', '{"traceEvents": 3}'):
            with self.subTest(text=text):
                done = self.trace(text)
                self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)


if __name__ == "__main__":
    counted.main()
