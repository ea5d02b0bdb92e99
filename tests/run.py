#!/usr/bin/env python3
"""Runs the tests of a meson build folder, once for each instruction set the machine has.

    tests/run.py BUILD_DIR [NAME...]

The list of tests is meson's own, so a test is registered in one place. WEFT_MAX_ISA tells the
library which kernels it may use; tests in meson's suite `once` do not depend on it and run a
single time. Those in the suite `bf16` run on the levels of bf16 arithmetic, too; for the others
these levels change nothing. If WEFT_MAX_ISA is set already, tests run on that set only. Those in meson's suite `long`
count as skipped unless --long is there or a NAME is the whole name.

What an executable reports is counted by test function:
- cmocka writes XML, to a file, so that what tests print cannot disturb it (its TAP goes to stdout
  and breaks when a test prints half a line);
- a script may end with a line 'N passed, N failed, N skipped';
- anything else counts as one test, by its exit status, 77 meaning skipped as in meson.
A crash, a timeout or a bad exit status without a reported failure counts as one failure.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

EXIT_SKIPPED = 77
ISAS = ("scalar", "avx2", "avx512", "avx512_bf16", "amx")
BF16_ISAS = ("avx512_bf16", "amx")
# What the kernels are compiled for, in /proc/cpuinfo's words.
ISA_FLAGS = {
    "scalar": (),
    "avx2": ("avx2", "fma"),
    "avx512": ("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
}
ISA_FLAGS["avx512_bf16"] = ISA_FLAGS["avx512"] + ("avx512_bf16",)
ISA_FLAGS["amx"] = ISA_FLAGS["avx512_bf16"] + ("amx_bf16", "amx_tile", "amx_int8")

Result = collections.namedtuple("Result", "passed failed skipped messages output note seconds")


def machine_isas():
    """The instruction sets to test, lowest first."""
    forced = os.environ.get("WEFT_MAX_ISA")
    if forced:
        return [forced]
    flags = set()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            for line in f:
                if line.startswith("flags"):
                    flags.update(line.split(":", 1)[1].split())
                    break
    except OSError:
        pass
    return [isa for isa in ISAS if flags.issuperset(ISA_FLAGS[isa])]


def listed_tests(build_dir):
    """Meson's tests; it prints paths as this machine sees them."""
    text = subprocess.run(
        ["meson", "introspect", "--tests", build_dir], check=True, stdout=subprocess.PIPE
    ).stdout
    return json.loads(text)


def in_suite(test, name):
    return any(suite.split(":")[-1] == name for suite in test["suite"])


def isas_of(test, isas):
    """Those of the machine's instruction sets that make a difference to a test."""
    if in_suite(test, "once"):
        return [None]
    # A set that was asked for by name is the only one.
    return [isa for isa in isas if in_suite(test, "bf16") or isa not in BF16_ISAS or len(isas) == 1]


def too_long(test, args):
    return in_suite(test, "long") and not args.long and test["name"] not in args.names


def selected(tests, names):
    return [t for t in tests if not names or any(name in t["name"] for name in names)]


def count_cmocka(xml):
    """(passed, failed, skipped, messages) of cmocka's XML.

    cmocka writes one document after another for several groups, does not escape its CDATA, and
    counts a failed group fixture only in an attribute, so this reads it by pattern.
    """
    passed = failed = skipped = 0
    messages = []
    for group in re.finditer(r"<testsuite name=\"(.*?)\"(.*?)>(.*?)</testsuite>", xml, re.S):
        group_name, attributes, body = group.groups()
        errors = 0
        for case in re.finditer(r"<testcase name=\"(.*?)\".*?>(.*?)</testcase>", body, re.S):
            name, what = case.groups()
            if "<failure" in what or "<error" in what:
                failed += 1
                errors += "<error" in what
                text = re.sub(r"</?(failure|error)[^>]*>|<!\[CDATA\[", "", what)
                text = re.sub(r"\]\]>\s*$", "", text)
                messages.append(f"{name}: {text.strip()}")
            elif "<skipped" in what:
                skipped += 1
            else:
                passed += 1
        counted = re.search(r"errors=\"(\d+)\"", attributes)
        lost = int(counted.group(1)) - errors if counted else 0
        if lost > 0:
            failed += lost
            messages.append(f"{group_name}: the group's setup or teardown failed")
    return passed, failed, skipped, messages


def count_lines(output):
    """The counts of a script's last line, or None."""
    lines = output.strip().splitlines()
    match = re.fullmatch(
        r"(\d+) passed, (\d+) failed, (\d+) skipped", lines[-1].strip() if lines else ""
    )
    return tuple(map(int, match.groups())) if match else None


def time_limit(test, factor):
    """Seconds, or None: meson's 0 and below mean no limit."""
    limit = test.get("timeout") or 0
    return limit * factor if limit > 0 else None


def execute(test, isa, xml_path, timeout):
    """Runs the executable. Returns its exit status (None after a timeout) and its output."""
    env = dict(os.environ)
    env.update(test.get("env") or {})
    # Several tests share the cores: threads that spin at a region's end would take them from each other.
    env.setdefault("OMP_WAIT_POLICY", "passive")
    env["WEFT_WISDOM"] = "none"  # what someone tuned on this machine must not change a test
    env["CMOCKA_MESSAGE_OUTPUT"] = "XML"
    env["CMOCKA_XML_FILE"] = xml_path
    if isa:
        env["WEFT_MAX_ISA"] = isa
    else:
        env.pop("WEFT_MAX_ISA", None)
    with subprocess.Popen(
        test["cmd"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=test.get("workdir") or None,
        env=env,
        start_new_session=True,
    ) as process:
        try:
            output = process.communicate(timeout=timeout)[0]
            status = process.returncode
        except subprocess.TimeoutExpired:
            # The whole group: a test may have started processes of its own.
            os.killpg(process.pid, signal.SIGKILL)
            output, status = process.communicate()[0], None
    return status, output.decode("utf-8", "replace")


def exit_problem(status, timeout):
    """What is wrong with an exit status, or "" if a test may end so."""
    if status is None:
        return f"timed out after {timeout:g} s"
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit status {status}" if status else ""


def run_test(test, isa, timeout):
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weft-test-") as scratch:
        xml_path = os.path.join(scratch, "cmocka.xml")
        try:
            status, output = execute(test, isa, xml_path, timeout)
        except OSError as error:
            return Result(0, 1, 0, [], "", f"cannot run: {error}", 0.0)
        xml = ""
        if os.path.exists(xml_path):
            with open(xml_path, encoding="utf-8", errors="replace") as f:
                xml = f.read()
    seconds = time.monotonic() - start
    problem = exit_problem(status, timeout)
    counts, messages = count_lines(output), []
    if "<testsuite " in xml:
        *counts, messages = count_cmocka(xml)
    if counts is None:
        if status == EXIT_SKIPPED:
            counts, problem = (0, 0, 1), ""
        else:
            counts = (0, 0, 0) if problem else (1, 0, 0)
    passed, failed, skipped = counts
    # cmocka's exit status is its number of failures, so only a signal, a timeout or an exit status
    # that no counted failure explains is news.
    if problem and (failed == 0 or status is None or status < 0):
        failed += 1
    elif failed:
        problem = ""
    return Result(passed, failed, skipped, messages, output, problem, seconds)


def print_result(name, isa, result):
    verdict = "FAIL" if result.failed else "ok" if result.passed else "skip"
    counts = [f"{result.passed} passed"]
    if result.failed:
        counts.append(f"{result.failed} failed")
    if result.skipped:
        counts.append(f"{result.skipped} skipped")
    note = f"  ({result.note})" if result.note else ""
    print(f"{verdict:4} {name:36} {isa or '-':11} {result.seconds:6.1f}s  {', '.join(counts)}{note}")
    if result.failed:
        for message in result.messages:
            print("     " + message.replace("\n", "\n     "))
        if result.output.strip():
            print("     -- output --")
            print("     " + result.output.rstrip().replace("\n", "\n     "))
    sys.stdout.flush()


def parse_args(argv):
    p = argparse.ArgumentParser(prog="tests/run.py", description=__doc__.splitlines()[0])
    p.add_argument("build_dir")
    p.add_argument("names", nargs="*", metavar="NAME", help="only tests whose name contains one")
    p.add_argument(
        "-j", "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="tests at a time"
    )
    p.add_argument("--long", action="store_true", help="also the tests that take many minutes")
    p.add_argument(
        "--slow", type=float, default=1.0, metavar="FACTOR", help="multiplies every time limit"
    )
    return p.parse_intermixed_args(argv)


def main(argv):
    args = parse_args(argv)
    # A shell starts what runs in the background with SIGINT ignored, and the command leaves ignored
    # signals ignored: its tests of SIGINT want the usual state.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    tests = selected(listed_tests(args.build_dir), args.names)
    if not tests:
        print(f"no test's name contains {' or '.join(map(shlex.quote, args.names))}"
              if args.names else "the build has no tests", file=sys.stderr)
        print("0 passed, 0 failed, 0 skipped")
        return 1
    isas = machine_isas()
    print("instruction sets:", " ".join(isas))
    # Tests that meson may not run beside others come last, one at a time.
    together = [t for t in tests if t.get("is_parallel", True)]
    alone = [t for t in tests if not t.get("is_parallel", True)]
    total = [0, 0, 0]
    for test in tests:
        if too_long(test, args):
            print_result(test["name"], None, Result(0, 0, 1, [], "", "only with --long", 0.0))
            total[2] += 1
    for group, jobs in ((together, max(1, args.jobs)), (alone, 1)):
        work = [(t, isa) for t in group if not too_long(t, args)
                for isa in isas_of(t, isas)]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            futures = [
                pool.submit(run_test, t, isa, time_limit(t, args.slow))
                for t, isa in work
            ]
            for (test, isa), future in zip(work, futures):
                result = future.result()
                print_result(test["name"], isa, result)
                total = [a + b for a, b in zip(total, result[:3])]
    print("{} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"tests/run.py: cannot list the tests: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
