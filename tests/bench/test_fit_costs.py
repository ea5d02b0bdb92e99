"""bench/fit_costs.py: constants that gave measured times are found again, and only their column is
written.

    test_fit_costs.py WEFT_BENCH
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
sys.path.insert(0, os.path.join(ROOT, "bench"))
import counted
import fit_costs

BENCH = sys.argv.pop(1) if len(sys.argv) > 1 else "weft-bench"
SCRIPT = os.path.join(ROOT, "bench", "fit_costs.py")


def run(*args):
    return subprocess.run([sys.executable, SCRIPT, "--bench", BENCH, *args], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Fit(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name
        self.table = os.path.join(self.folder, "costs.def")
        shutil.copy(fit_costs.TABLE, self.table)

    def measured(self, name, gemm=1.0):
        """A file of rows that took what they cost if gemm were faster by a factor; and the class."""
        model = fit_costs.Model(BENCH, ["resnet18"], 16)
        costs = model.costs({k: x * gemm for k, x in model.constants.items()
                             if k.startswith(("gemm_forward", "gemm_data", "gemm_weights"))
                             and "strided" not in k})
        rows = [dict(zip(("network", "layer", "pass", "implementation"), row), ms=cost * 1e-6,
                     gflops=2 * model.peak, peak_percent=100)
                for row, cost in zip(model.rows, costs) if row[3] != "ref"]
        # Of oneDNN's best nothing is to be learned.
        rows += [dict(r, implementation="onednn-best", ms=1e-9) for r in rows[:1]]
        model.close()
        if not rows:
            self.skipTest("one kernel, nothing to choose")
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"rows": rows}, f)
        return path, model.name

    def losses(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        found = re.findall(r"^(before|after): .* by (\S+) % \(geomean\)", done.stdout, re.M)
        return {name: float(loss) for name, loss in found}

    def values(self):
        with open(self.table, encoding="utf-8") as f:
            return {name: values.split(", ") for name, values in fit_costs.COST.findall(f.read())}

    def test_the_present_constants_lose_nothing_where_they_are_right(self):
        path, _ = self.measured("right.json")
        done = run(path, "--check")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("behind the fastest by 0.00 % (geomean), 0 % at worst", done.stdout)

    def test_what_choosing_loses_falls_and_one_column_is_written(self):
        # Whatever is chosen today: either that is gemm, or something else is.
        files = [self.measured(f"{gemm}.json", gemm) for gemm in (2.5, 0.4)]
        machine = files[0][1]
        path = max((p for p, _ in files), key=lambda p: self.losses(run(p, "--check"))["before"])
        before = self.values()
        done = run(path, "--table", self.table, "--write", "--machine", "Zen 9")
        loss = self.losses(done)
        self.assertGreater(loss["before"], 1)
        self.assertLess(loss["after"], loss["before"] / 4)
        with open(self.table, encoding="utf-8") as f:
            text = f.read()
        column = fit_costs.columns(text).index(machine)
        self.assertRegex(text, rf"(?m)^ \*     {machine}  \d+-\d+-\d+ at .*: Zen 9, 1 networks, \d+ passes$")
        after = self.values()
        self.assertEqual(list(before), list(after))
        changed = {(name, i) for name in before for i, (a, b) in enumerate(zip(before[name], after[name]))
                   if a != b}
        self.assertTrue(changed)
        self.assertEqual({i for _, i in changed}, {column})
        self.assertFalse(any(name.startswith("matmul") for name, _ in changed))

    def test_the_table_is_written_as_it_is_read(self):
        with open(fit_costs.TABLE, encoding="utf-8") as f:
            text = f.read()
        for i, name in enumerate(fit_costs.columns(text)):
            same = {k: float(v.split(", ")[i]) for k, v in fit_costs.COST.findall(text)}
            self.assertEqual(fit_costs.rewritten(text, name, same), text)

    def test_bad_files_are_one_error(self):
        empty = os.path.join(self.folder, "empty.json")
        with open(empty, "w", encoding="utf-8") as f:
            f.write("{}")
        for path in (empty, os.path.join(self.folder, "none.csv")):
            done = run(path)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertIn(path, done.stderr)


class Costs(unittest.TestCase):
    def ask(self, *lines):
        return subprocess.run([BENCH, "--costs", "resnet18"], input="\n".join(lines) + "\n", text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_each_line_is_answered_by_the_cycles_of_each_row(self):
        done = self.ask("{}", '{"traffic_bytes": 1}', "{}")
        first, *answers = map(json.loads, done.stdout.splitlines())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({len(a) for a in answers}, {len(first["rows"])})
        self.assertEqual(answers[0], answers[2])
        self.assertTrue(all(a < b for a, b in zip(answers[0], answers[1])))

    def test_a_bad_line_is_one_error(self):
        for line, words in (("[]", "not an object"), ("{", "not an object"), ('{"x": 1}', "not there"),
                            ('{"traffic_bytes": 0}', "not a positive number")):
            done = self.ask(line)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    counted.main()
