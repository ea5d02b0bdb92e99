"""Runs a module's unittest cases and ends with the line that tests/run.py counts by."""

import sys
import unittest


def main():
    result = unittest.main(exit=False, verbosity=1).result
    bad = [test for test, _ in result.failures + result.errors] + result.unexpectedSuccesses
    # A test with several subtests that fail is one test that fails.
    failed = len({getattr(test, "test_case", test).id() for test in bad})
    skipped = len(result.skipped)
    sys.stderr.flush()
    print(f"{max(0, result.testsRun - failed - skipped)} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)
