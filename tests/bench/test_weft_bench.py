"""weft-bench as a command: what it refuses, and that what it prints can be read by machines.

    test_weft_bench.py WEFT_BENCH
"""

import csv
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools"))
import counted

BENCH = sys.argv.pop(1) if len(sys.argv) > 1 else "weft-bench"
TRACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "trace.py")
PASSES = ("forward", "backward-data", "backward-weights")


def bench(*args, **env):
    return subprocess.run([BENCH, *args], env=dict(os.environ, **env), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Bench(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def output(self, *args, **env):
        done = bench(*args, **env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def suite(self, *args):
        """{name: result} of a short run."""
        text = self.output("--benchmark_format=json", "--benchmark_min_time=0.001", *args)
        return {b["name"]: b for b in json.loads(text)["benchmarks"]}

    def assert_one_error(self, done, words, status=2):
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(words, done.stderr)

    def test_errors_of_the_kernels_are_a_table(self):
        """By channels and pass: Winograd's rounding is at most four times that of the plain sums."""
        rows = [line.strip("| ").split(" | ") for line in self.output("--errors").splitlines()[2:]]
        rms = {tuple(row[:3]): float(row[3]) for row in rows}
        self.assertIn(("512", "backward-weights", "ref"), rms)
        for (channels, step, kernel), error in rms.items():
            with self.subTest(channels=channels, step=step, kernel=kernel):
                self.assertLess(error, 4 * rms[channels, step, "ref"])
                self.assertGreater(error, 0)

    def test_a_loader_is_timed(self):
        self.assert_one_error(bench("--load", "/nonexistent"), "/nonexistent: No such file", status=1)
        for name in ("cats", "dogs"):
            os.makedirs(os.path.join(self.folder, name))
            for i in range(3):
                with open(os.path.join(self.folder, name, f"{i}.ppm"), "wb") as f:
                    f.write(b"P6 40 30 255\n" + bytes((i, 7, 9)) * 1200)
        for workers in ("0", "2"):
            found = json.loads(self.output("--load", self.folder, "-j", workers, "--size", "16",
                                           "--batch", "4", "--seconds", "0.01", "--json", "-"))
            self.assertEqual((found["workers"], found["size"]), (int(workers), 16))
            self.assertGreater(found["img_per_s"], 0)
            self.assertGreaterEqual(found["images"], 512)

    def test_bad_use_is_one_error(self):
        cases = [
            (("--frobnicate",), "unknown flag --frobnicate"),
            (("stray",), "unexpected argument 'stray'"),
            (("--steps", "fmnist_cnn"), "unknown flag --steps; did you mean --step?"),
            (("--benchmark_frobnicate=1",), "--benchmark_frobnicate"),
            (("--shapes",), "--shapes needs a value"),
            (("--shapes", "/nonexistent"), "/nonexistent"),
            (("--machine", "--step", "fmnist_cnn"), "exclude"),
            (("--load", "x", "--threads", "2"), "--threads does not go with --load"),
            (("--machine", "--batch", "3"), "--batch does not go with --machine"),
            (("--csv", "-"), "--csv does not go with benchmarks"),
            (("--layers", "vgg16", "--against", "oneDN"), "--against: 'oneDN' is none of: oneDNN "),
            (("--layers", "vgg16", "--against", ""), "--against: ''"),
            (("--machine", "--against", "oneDNN"), "--against does not go with --machine"),
            (("--layers", "vgg16", "--step", "fmnist_cnn"), "exclude"),
            (("--layers", "vgg16", "--size", "3"), "--size does not go with --layers"),
            (("--machine", "--benchmark_filter=x"), "--benchmark_filter=x does not go with --machine"),
            (("--machine=yes",), "takes no value"),
            (("--json", "-"), "--json"),
            (("--step", "fmnist_cnn", "--batch", "0"), "--batch: 0 is not between 1 and "),
            (("--step", "fmnist_cnn", "--batch", "-4"), "--batch: -4 is not between 1 and "),
            (("--step", "fmnist_cnn", "--batch", "1e3"), "--batch: '1e3'"),
            (("--step", "fmnist_cnn", "--batch", "99999999999"), "--batch: 99999999999 is not between 1 and "),
            (("--step", "fmnist_cnn", "--size=x"), "--size: 'x'"),
            (("--step", "lenet", "--model-arg", "width"), "'width' is not of the form key=value"),
            (("--step", "lenet", "--model-arg", "width=2"), "has no option 'width'"),
            (("--machine", "--model-arg", "width=2"), "--model-arg does not go with --machine"),
            (("--step", "fmnist_cnn", "--threads", ""), "--threads: ''"),
            (("--machine", "--trace", "x"), "--trace does not go with --machine"),
            (("--step", "fmnist_cnn", "--seconds", "0"), "--seconds: 0 is not between"),
            (("--step", "fmnist_cnn", "--seconds", "nan"), "--seconds: 'nan'"),
            (("--step", "fmnist_cnn", "--seconds", "inf"), "--seconds: 'inf'"),
            (("--step", "fmnist_cnn", "--dtype", "f16"), "'f16' is none of: f32 bf16"),
            (("--step", "fmnist_cnn", "--opt", "lion"), "'lion' is none of: sgd"),
        ]
        for args, words in cases:
            with self.subTest(args=args):
                self.assert_one_error(bench(*args), words)

    def layers(self, *args):
        path = os.path.join(self.folder, "out.json")
        self.output("--layers", *args, "--seconds", "0.002", "--json", path)
        with open(path, encoding="utf-8") as f:
            return json.load(f)

    def test_layers_are_measured_pass_by_pass_beside_onednn(self):
        shapes = self.file("net", 'mb2_ic16ih8oc16kh3ph1n"a, first"\n'
                                  'mb2_ic3ih9oc16kh3sh2ph1n"stem*3"\n')
        csv_path = os.path.join(self.folder, "out.csv")
        found = self.layers(shapes, "--cold", "--scaling", "--csv", csv_path)
        rows = found["rows"]
        passes = {"a, first": set(PASSES), "stem": {"forward", "backward-weights"}}
        for layer, expected in passes.items():
            self.assertEqual({r["pass"] for r in rows if r["layer"] == layer}, expected)
            for name in expected:
                here = [r for r in rows if r["layer"] == layer and r["pass"] == name]
                chosen = [r for r in here if r["chosen"]]
                best = [r for r in here if r["implementation"] == "onednn-best"]
                self.assertEqual((len(chosen), len(best)), (1, 1), here)
                self.assertGreater(chosen[0]["expected_percent"], 0)
                self.assertGreater(chosen[0]["one_thread_ms"], 0)
                self.assertIsNone(best[0]["expected_percent"])
                for r in here:
                    self.assertAlmostEqual(r["ratio_to_onednn_best"], best[0]["ms"] / r["ms"], places=5)
                    self.assertAlmostEqual(r["gflops"] / found["machine"]["peak_gflops"],
                                           r["peak_percent"] / 100, places=5)
        with open(csv_path, encoding="utf-8", newline="") as f:
            table = list(csv.DictReader(f))
        self.assertEqual([(t["layer"], t["pass"], t["implementation"]) for t in table],
                         [(r["layer"], r["pass"], r["implementation"]) for r in rows])
        self.assertAlmostEqual(float(table[0]["ms"]), rows[0]["ms"], places=5)
        self.assertEqual({(r["layer"], r["count"]) for r in rows}, {("a, first", 1), ("stem", 3)})
        step = sum(r["count"] * r["ms"] for r in rows if r["chosen"])
        for r, t in zip(rows, table):
            self.assertAlmostEqual(r["step_percent"], 100 * r["count"] * r["ms"] / step, places=5)
            self.assertAlmostEqual(float(t["step_percent"]), r["step_percent"], places=3)
        self.check_summary(found, "net")

    def check_summary(self, found, network):
        for s in found["summary"]:
            chosen = [r for r in found["rows"] if r["chosen"] and s["pass"] in (r["pass"], "all")]
            ratios = [r["ratio_to_onednn_best"] for r in chosen]
            self.assertEqual((s["network"], s["layers"]), (network, len(chosen)))
            self.assertAlmostEqual(s["geomean"], math.prod(ratios) ** (1 / len(ratios)), places=5)
            ours = sum(r["count"] * r["ms"] for r in chosen)
            theirs = sum(r["count"] * r["ms"] * r["ratio_to_onednn_best"] for r in chosen)
            self.assertAlmostEqual(s["by_time"], theirs / ours, places=5)
            self.assertAlmostEqual(s["step_percent"], sum(r["step_percent"] for r in chosen), places=5)
            self.assertAlmostEqual(s["lowest"], min(ratios), places=5)
            self.assertEqual(s["below_0.95"], sum(x < 0.95 for x in ratios))
            behind = [r["ms"] / min(o["ms"] for o in found["rows"]
                                    if (o["layer"], o["pass"]) == (r["layer"], r["pass"])
                                    and o["implementation"] != "onednn-best") for r in chosen]
            self.assertAlmostEqual(s["untuned_behind_geomean"],
                                   math.prod(behind) ** (1 / len(behind)), places=5)
            self.assertAlmostEqual(s["untuned_behind_worst"], max(behind), places=5)
        self.assertEqual(found["summary"][-1]["pass"], "all")

    def test_layers_may_be_compared_with_onednn_without_its_winograd(self):
        """And a step's shares, with the networks' counts, are told as text, too."""
        shapes = self.file("net", 'mb2_ic64ih14oc64kh3ph1n"a*2"\nmb2_ic16ih8oc16kh1n"b"\n')
        found = self.layers(shapes, "--against", "oneDNN-without-winograd")
        theirs = [r for r in found["rows"] if r["implementation"] == "onednn-without-winograd"]
        self.assertEqual(found["against"], "oneDNN without Winograd")
        self.assertEqual(len(theirs), 6)
        for r in theirs:
            self.assertNotIn("wino", r["kernel"])
        self.assertEqual(self.layers(shapes)["against"], "oneDNN's best")
        text = self.output("--layers", shapes, "--seconds", "0.002")
        table = [line.split() for line in text.splitlines()]
        table = {words[0]: words for words in table if len(words) == 7 and words[0] in ("a", "b")}
        self.assertEqual((table["a"][1], table["b"][1]), ("2", "1"), text)
        self.assertAlmostEqual(float(table["a"][5]) + float(table["b"][5]), 100, delta=0.02)

    def test_layers_may_be_few_and_of_another_batch(self):
        found = self.layers("vgg16", "--only", "features.24", "--batch", "1", "--threads", "1")
        self.assertEqual({r["network"] for r in found["rows"]}, {"vgg16"})
        self.assertTrue(all("features.24" in r["layer"] for r in found["rows"]))
        self.assert_one_error_of_layers(("--layers", "vgg16", "--only", "nothing"), "no layer")

    def assert_one_error_of_layers(self, args, words):
        done = bench(*args)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertIn(words, done.stderr)

    def test_a_bad_shape_is_one_error_with_its_line(self):
        path = self.file("shapes", "mb1_ic8ih4oc8kh3ph1\n\nmb1_ic8ih4oc8kh9\n")
        self.assert_one_error(bench("--shapes", path), f"{path}:3: ")

    def test_machine_is_one_json_object(self):
        machine = json.loads(self.output("--machine", "--threads", "1", "--json", "-"))
        self.assertEqual(set(machine), {"peak_gflops", "peak_bf16_gflops", "triad_gb_per_s",
                                        "round_trip_ns", "threads", "isa", "class", "cores"})
        self.assertEqual(machine["threads"], 1)
        self.assertGreater(machine["peak_gflops"], 0)
        self.assertGreater(machine["triad_gb_per_s"], 0)
        self.assertIsNone(machine["round_trip_ns"])
        path = os.path.join(self.folder, "machine.json")
        self.assertEqual(self.output("--machine", "--json", path, WEFT_MAX_ISA="scalar"), "")
        with open(path, encoding="utf-8") as f:
            self.assertEqual(json.load(f)["isa"], "scalar")

    def test_unwritable_json_is_one_error(self):
        self.assert_one_error(bench("--machine", "--json", "/nonexistent/x"), "/nonexistent/x", 1)

    def test_each_shape_gives_each_pass_by_the_reference_at_least(self):
        shapes = self.file("shapes", "# two\nmb2_ic8ih6oc16kh3ph1n\"a layer/1\"\ng2mb1_ic4ih5oc6kh1\n")
        for more in ((), ("--cold",), ("--threads", "3")):
            with self.subTest(more=more):
                results = self.suite("--shapes", shapes, "--benchmark_filter=conv2d", *more)
                for shape in ("a_layer_1", "g2mb1_ic4ih5iw5_oc6oh5ow5_kh1kw1sh1sw1dh0dw0ph0pw0"):
                    for name in PASSES:
                        result = results[f"conv2d/{shape}/{name}/ref/real_time"]
                        self.assertGreater(result["GFLOP/s"], 0)
                        self.assertGreater(result["%peak"], 0)
                        self.assertNotIn("error_occurred", result)
                self.assertEqual(sum("(selected)" in r["label"] for r in results.values()), 6)

    def test_linear_layers_are_there_beside_onednn(self):
        results = self.suite("--benchmark_filter=linear/resnet50.fc/b1/.*/(onednn|ref)")
        self.assertEqual(len(results), 2 * len(PASSES))
        for result in results.values():
            self.assertGreater(result["GB/s"], 0)
            self.assertNotIn("error_occurred", result)

    def test_memory_bound_kernels_are_there_for_both_types(self):
        results = self.suite("--benchmark_filter=images/(norm_apply_relu|add)/.*/cached")
        self.assertEqual(len(results), 4)
        for result in results.values():
            self.assertGreater(result["GB/s"], 0)
            self.assertNotIn("error_occurred", result)

    def test_a_benchmark_that_cannot_run_fails_the_run(self):
        shapes = self.file("shapes", "mb1000000_ic64ih1000oc64kh1n\"huge\"\n")
        done = bench("--shapes", shapes, "--benchmark_filter=huge/forward/ref",
                     "--benchmark_format=json")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("out of memory", json.loads(done.stdout)["benchmarks"][0]["error_message"])

    def test_listing_measures_nothing(self):
        done = bench("--benchmark_list_tests=true")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("conv2d/fmnist_cnn.conv2/forward/", done.stdout)
        self.assertIn("linear/vgg16.classifier.0/b64/backward-weights/onednn", done.stdout)

    def test_peaks_are_told_before_and_after_a_run(self):
        shapes = self.file("shapes", "mb1_ic8ih4oc8kh1n\"x\"\n")
        done = bench("--shapes", shapes, "--benchmark_filter=x/forward", "--benchmark_min_time=0.001")
        self.assertEqual(done.returncode, 0, done.stderr)
        # Not by lines: newer versions of the benchmark library leave notes without an end of line.
        lines = re.findall(r"(before|after): [^\n]*STREAM triad", done.stderr)
        self.assertEqual(lines, ["before", "after"])


class Step(unittest.TestCase):
    def test_a_step_is_one_json_object(self):
        done = bench("--step", "fmnist_cnn", "--batch", "4", "--size", "16", "--threads", "1",
                     "--dtype", "f32", "--seconds", "0.01", "--json", "-")
        self.assertEqual(done.returncode, 0, done.stderr)
        step = json.loads(done.stdout)
        self.assertEqual((step["batch"], step["size"], step["threads"]), (4, 16, 1))
        self.assertAlmostEqual(step["img_per_s"] * step["median_step_s"], 4, places=4)
        self.assertGreater(step["rss_mb"], 0)
        self.assertGreaterEqual(step["steps"], 5)
        self.assertIn(step["isa"], ("scalar", "avx2", "avx512"))

    def test_a_timeline_sums_up_to_a_table(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.json")
            done = bench("--step", "fmnist_cnn", "--batch", "4", "--seconds", "0.01", "--trace", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            table = subprocess.run([sys.executable, TRACE, path, "--ops"], stdout=subprocess.PIPE, text=True)
        self.assertEqual(table.returncode, 0)
        rows = [line.split() for line in table.stdout.splitlines()[1:]]
        self.assertIn(["conv2d", "conv2"], [row[3:] for row in rows])
        self.assertEqual(rows[-1][3:5], ["all,", "of"])
        self.assertAlmostEqual(sum(float(row[0]) for row in rows[:-1]), float(rows[-1][0]), delta=0.1)
        self.assertGreaterEqual(int(rows[-1][5]), 5)

    def test_the_same_plan_in_sequence_takes_turns(self):
        done = bench("--step", "fmnist_cnn", "--batch", "2", "--seconds", "0.01", "--branches",
                     "--threads", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^fmnist_cnn, batch 2, 2 threads: [\d.]+ ms side by side, "
                                      r"[\d.]+ ms in sequence, [\d.]+x, medians of \d+\n$")
        done = bench("--step", "fmnist_cnn", "--branches", "--sequence")
        self.assertEqual((done.returncode, done.stdout), (2, ""))

    def test_what_the_engine_costs(self):
        done = bench("--engine", "lenet", "--threads", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"a task group of 1 empty tile, 1 thread: [\d.]+ us")
        self.assertRegex(done.stdout, r"lenet recorded and found again: [\d.]+ us")
        self.assertRegex(done.stdout, r"plans compiled in the first step, 0 later")

    def test_everything_may_be_kept(self):
        memory = []
        for what in ("auto", "off"):
            done = bench("--step", "mobilenet_v2", "--size", "96", "--batch", "16", "--seconds", "0.01",
                         "--recompute", what, "--json", "-")
            self.assertEqual(done.returncode, 0, done.stderr)
            memory.append(json.loads(done.stdout)["rss_mb"])
        self.assertLess(memory[0], memory[1])

    def test_bad_models_are_one_error(self):
        for args, words in ((("resnet1",), "resnet1"), (("fmnist_cnn", "--size", "4"), ""),
                            (("lenet", "--recompute", "nothing"), "no module of lenet matches 'nothing'")):
            with self.subTest(args=args):
                done = bench("--step", *args)
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                self.assertIn(words, done.stderr)


if __name__ == "__main__":
    counted.main()
