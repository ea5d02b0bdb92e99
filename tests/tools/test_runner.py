"""The test runner counts what happened: a failure that it missed would hide every other one."""

import os
import stat
import sys
import tempfile
import unittest

import counted

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import run

GROUP = """<?xml version="1.0" encoding="UTF-8" ?>
<testsuites>
  <testsuite name="first" time="0.000" tests="4" failures="2" errors="0" skipped="1" >
    <testcase name="good" time="0.000" >
    </testcase>
    <testcase name="bad" time="0.000" >
      <failure><![CDATA[0x1 != 0x2]]></failure>
    </testcase>
    <testcase name="not here" time="0.000" >
      <skipped/>
    </testcase>
    <testcase name="bad too" time="0.000" >
      <failure><![CDATA["a<b>]]>" != "x"]]></failure>
    </testcase>
  </testsuite>
</testsuites>
"""
FAILED_SETUP = """<testsuites>
  <testsuite name="second" time="0.000" tests="0" failures="0" errors="1" skipped="0" >
  </testsuite>
</testsuites>
"""


class Counting(unittest.TestCase):
    def test_cmocka_counts_each_function(self):
        passed, failed, skipped, messages = run.count_cmocka(GROUP)
        self.assertEqual((passed, failed, skipped), (1, 2, 1))
        self.assertEqual(messages, ["bad: 0x1 != 0x2", 'bad too: "a<b>]]>" != "x"'])

    def test_cmocka_counts_a_failed_group_setup(self):
        passed, failed, skipped, messages = run.count_cmocka(GROUP + FAILED_SETUP)
        self.assertEqual((passed, failed, skipped), (1, 3, 1))
        self.assertIn("second", messages[-1])

    def test_only_a_last_line_of_counts_is_read(self):
        self.assertEqual(run.count_lines("x\n3 passed, 0 failed, 2 skipped\n"), (3, 0, 2))
        self.assertIsNone(run.count_lines("3 passed, 0 failed, 2 skipped\nmore"))
        self.assertIsNone(run.count_lines(""))

    def test_selection_is_by_part_of_the_name(self):
        tests = [{"name": "kernels_conv2d"}, {"name": "ops_conv2d"}, {"name": "ops_pool"}]
        self.assertEqual(len(run.selected(tests, [])), 3)
        self.assertEqual(run.selected(tests, ["conv2d"]), tests[:2])
        self.assertEqual(run.selected(tests, ["nothing"]), [])

    def test_long_tests_run_only_when_asked_for(self):
        long = {"name": "cli_convergence", "suite": ["weft:once", "weft:long"]}
        short = {"name": "cli_train", "suite": ["weft:once"]}

        def left_out(test, *argv):
            return run.too_long(test, run.parse_args(["build", *argv]))

        self.assertTrue(left_out(long))
        self.assertTrue(left_out(long, "cli"))
        self.assertFalse(left_out(long, "--long"))
        self.assertFalse(left_out(long, "cli_convergence"))
        self.assertFalse(left_out(short))

    def test_levels_of_bf16_are_for_those_that_depend_on_them(self):
        isas = ["scalar", "avx512", "avx512_bf16", "amx"]
        self.assertEqual(run.isas_of({"suite": ["weft:isa"]}, isas), isas[:2])
        self.assertEqual(run.isas_of({"suite": ["weft:isa", "weft:bf16"]}, isas), isas)
        self.assertEqual(run.isas_of({"suite": ["weft:once"]}, isas), [None])
        self.assertEqual(run.isas_of({"suite": ["weft:isa"]}, ["amx"]), ["amx"])


class Executing(unittest.TestCase):
    def result_of(self, script, isa=None, timeout=20):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "test")
            with open(path, "w", encoding="utf-8") as f:
                f.write("#!/bin/sh\n" + script)
            os.chmod(path, stat.S_IRWXU)
            return run.run_test({"cmd": [path], "env": {}}, isa, timeout)

    def test_exit_status_alone(self):
        self.assertEqual(self.result_of("exit 0")[:3], (1, 0, 0))
        self.assertEqual(self.result_of("exit 3")[:3], (0, 1, 0))
        self.assertEqual(self.result_of("exit 77")[:3], (0, 0, 1))

    def test_crash_is_a_failure(self):
        result = self.result_of("kill -SEGV $$")
        self.assertEqual(result[:3], (0, 1, 0))
        self.assertIn("SIGSEGV", result.note)

    def test_crash_after_good_counts_is_a_failure(self):
        result = self.result_of("echo '4 passed, 0 failed, 0 skipped'; kill -ABRT $$")
        self.assertEqual(result[:3], (4, 1, 0))

    def test_bad_exit_after_good_counts_is_a_failure(self):
        result = self.result_of("echo '4 passed, 0 failed, 0 skipped'; exit 1")
        self.assertEqual(result[:3], (4, 1, 0))

    def test_timeout_is_a_failure_and_its_output_is_kept(self):
        result = self.result_of("echo started; sleep 30", timeout=0.5)
        self.assertEqual(result[:3], (0, 1, 0))
        self.assertIn("started", result.output)

    def test_isa_reaches_the_test(self):
        self.assertIn("is avx2", self.result_of("echo is $WEFT_MAX_ISA", isa="avx2").output)
        self.assertIn("is none", self.result_of("echo is ${WEFT_MAX_ISA-none}").output)

    def test_missing_executable_is_a_failure(self):
        result = run.run_test({"cmd": ["/nonexistent/test"], "env": {}}, None, 5)
        self.assertEqual(result[:3], (0, 1, 0))


if __name__ == "__main__":
    counted.main()
