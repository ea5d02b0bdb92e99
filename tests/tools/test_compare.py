"""bench/compare.py, with scripts in place of weft-bench and PyTorch: arithmetic and bad input."""

import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest

import counted

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMPARE = os.path.join(ROOT, "bench", "compare.py")

# Both sides count their calls in a file, so that each round gets another speed.
COUNT = """#!/usr/bin/env python3
import json, os, sys
def calls(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    with open(path, "a") as f:
        f.write("x")
    return os.path.getsize(path)
"""
WEFT = COUNT + """
if "--machine" in sys.argv:
    peak = (100.0, 150.0)[calls("machine") - 1]
    print(json.dumps({"peak_gflops": peak, "peak_bf16_gflops": None, "triad_gb_per_s": 20.0,
                      "threads": int(os.environ.get("OMP_NUM_THREADS", 3))}))
elif "fmnist_cnn" not in sys.argv:
    sys.exit("weft-bench: unknown model")
else:
    speed = (300.0, 100.0, 200.0)[calls("step") - 1]
    print(json.dumps({"img_per_s": speed, "median_step_s": 1, "rss_mb": 40, "isa": "avx2",
                      "threads": 3}))
"""
TORCH = COUNT + """
if sys.argv[1] != "-c":
    mode = sys.argv[sys.argv.index("--mode") + 1]
    speed = {"eager": 50.0, "channels_last": 100.0}[mode]
    speed *= 2 if sys.argv[sys.argv.index("--dtype") + 1] == "bf16" else 1
    print("a greeting")
    print(json.dumps({"img_per_s": speed, "rss_mb": 500, "torch": "2", "mode": mode,
                      "threads": sys.argv[sys.argv.index("--threads") + 1]}))
"""


class Compare(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name
        self.weft = self.script("weft-bench", WEFT)
        self.torch = self.script("python", TORCH)
        self.json = os.path.join(self.folder, "out.json")

    def script(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, stat.S_IRWXU)
        return path

    def compare(self, *args, weft=None, torch=None):
        env = dict(os.environ, WEFT_TORCH_PYTHON=self.torch if torch is None else torch)
        env.pop("OMP_NUM_THREADS", None)
        return subprocess.run(
            [sys.executable, COMPARE, "--weft-bench", weft or self.weft, *args],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self, *args):
        done = self.compare("fmnist_cnn", "64", "28", "--modes", "eager,channels_last",
                            "--json", self.json, *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.json, encoding="utf-8") as f:
            return json.load(f), done.stdout

    def test_medians_of_rounds_against_the_best_mode(self):
        result, text = self.result("--rounds", "3")
        self.assertEqual(result["torch_mode"], "channels_last")
        self.assertEqual(result["weft_img_per_s"], 200.0)
        self.assertEqual(result["torch_img_per_s"], 100.0)
        self.assertEqual(result["ratio"], 2.0)
        self.assertEqual([r["ratio"] for r in result["rounds"]], [3.0, 1.0, 2.0])
        self.assertEqual((result["weft_rss_mb"], result["torch_rss_mb"]), (40, 500))
        self.assertEqual((result["model"], result["batch"], result["size"], result["dtype"]),
                         ("fmnist_cnn", 64, 28, "f32"))
        self.assertEqual((result["peak_gflops"], result["triad_gb_per_s"]), (125.0, 20.0))
        self.assertIn("ratio to the best PyTorch setting (channels_last): 2.00", text)
        self.assertIn("100.0 GFLOP/s before, 150.0 after", text)
        self.assertEqual(text.count("was not quiet"), 1)

    def test_two_types_make_one_table(self):
        result, text = self.result("--rounds", "1", "--dtype", "f32,bf16")
        self.assertEqual(sorted(result["dtypes"]), ["bf16", "f32"])
        self.assertEqual(result["dtypes"]["f32"]["weft_img_per_s"], 300.0)
        self.assertEqual(result["dtypes"]["bf16"]["weft_img_per_s"], 100.0)
        self.assertEqual(result["ratios"], {"f32": {"f32": 3.0, "bf16": 1.5},
                                            "bf16": {"f32": 1.0, "bf16": 0.5}})
        for row in ("Weft f32 ", "Weft bf16 ", "PyTorch eager f32 ", "PyTorch channels_last bf16 "):
            self.assertEqual(text.count(row), 2 if row.startswith("Weft") else 1, text)
        self.assertRegex(text, r"Weft bf16 +1\.00 +0\.50")

    def test_threads_reach_both_sides(self):
        result, _ = self.result("--rounds", "1")
        self.assertEqual((result["threads"], result["rounds"][0]["torch"]["eager"]["threads"]),
                         (3, "3"))
        os.unlink(os.path.join(self.folder, "machine"))
        os.unlink(os.path.join(self.folder, "step"))
        result, _ = self.result("--rounds", "1", "--threads", "2")
        self.assertEqual((result["threads"], result["rounds"][0]["torch"]["eager"]["threads"]),
                         (2, "2"))
        self.assertEqual(result["machine_before"]["threads"], 2)

    def assert_one_error(self, done, words):
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")
        errors = [line for line in done.stderr.splitlines() if line.startswith("compare: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertIn(words, errors[0])
        self.assertNotIn("Traceback", done.stderr)
        self.assertFalse(os.path.exists(self.json))

    def test_bad_input_is_one_error(self):
        cases = [
            (("fmnist_cnn", "64"), "size"),
            (("fmnist_cnn", "0", "28"), "positive"),
            (("fmnist_cnn", "x", "28"), "positive"),
            (("fmnist_cnn", "64", "28", "--modes", "eager,fast"), "unknown mode 'fast'"),
            (("fmnist_cnn", "64", "28", "--modes", ""), "unknown mode"),
            (("fmnist_cnn", "64", "28", "--dtype", "f16"), "f16"),
            (("fmnist_cnn", "64", "28", "--dtype", "f32,"), "unknown type"),
            (("fmnist_cnn", "64", "28", "--rounds", "-1"), "positive"),
            (("fmnist_cnn", "64", "28", "--frobnicate"), "frobnicate"),
            (("fmnist_cnn", "64", "28", "--json", self.folder), "cannot write"),
            (("fmnist_cnn", "64", "28", "--json", "/nonexistent/x"), "cannot write"),
            (("resnet1", "64", "28"), "unknown model"),
        ]
        for args, words in cases:
            with self.subTest(args=args):
                self.assert_one_error(self.compare(*args), words)

    def test_missing_programs_are_one_error(self):
        ask = ("fmnist_cnn", "64", "28")
        self.assert_one_error(self.compare(*ask, weft="/nonexistent/weft-bench"), "no weft-bench")
        self.assert_one_error(self.compare(*ask, torch="/nonexistent/python"), "cannot import")
        self.assert_one_error(self.compare(*ask, torch=""), "WEFT_TORCH_PYTHON")

    def test_nonsense_from_a_measurement_is_one_error(self):
        for text in ("print(1)", "print('{\"img_per_s\": 0}')", "pass", "import os; os.abort()"):
            with self.subTest(text=text):
                broken = self.script("broken", "#!/usr/bin/env python3\n" + text + "\n")
                self.assert_one_error(self.compare("fmnist_cnn", "64", "28", weft=broken),
                                      "weft-bench --machine")


if __name__ == "__main__":
    counted.main()
