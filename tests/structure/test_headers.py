#!/usr/bin/env python3
"""Each public header compiles alone, twice over, as C17 and as C++17, without a warning.

    test_headers.py CC CXX      each may hold several words: "ccache gcc"
"""

import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted

INCLUDE = os.path.join(ROOT, "include")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def public_headers():
    return sorted(os.path.basename(p) for p in glob.glob(os.path.join(INCLUDE, "weft", "*.h")))


def compile_text(compiler, language, text):
    """What the compiler complains about, "" if nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "one.c" if language == "c" else "one.cc")
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
        command = shlex.split(compiler) + [
            "-std=c17" if language == "c" else "-std=c++17", *WARNINGS, "-fsyntax-only",
            "-I", INCLUDE, source]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, check=False)
    return "" if done.returncode == 0 else done.stdout or f"exit status {done.returncode}"


class Headers(unittest.TestCase):
    cc = "cc"
    cxx = "c++"

    def compile_each(self, compiler, language):
        for header in public_headers():
            with self.subTest(header=header):
                line = f'#include "weft/{header}"\n'
                self.assertEqual(compile_text(compiler, language, line + line), "")

    def test_each_compiles_as_c(self):
        self.compile_each(self.cc, "c")

    def test_each_compiles_as_cxx(self):
        self.compile_each(self.cxx, "c++")

    def test_a_bad_header_would_be_noticed(self):
        self.assertNotEqual(compile_text(self.cc, "c", "static int unused(int x) {}\n"), "")
        self.assertNotEqual(compile_text(self.cxx, "c++", "int *p = (void *)0;\n"), "")
        self.assertNotEqual(compile_text(self.cc, "c", '#include "weft/no_such.h"\n'), "")

    def test_all_are_installed(self):
        with open(os.path.join(INCLUDE, "meson.build"), encoding="utf-8") as f:
            self.assertEqual(sorted(re.findall(r"'weft/(\w+\.h)'", f.read())), public_headers())

    def test_weft_h_includes_all(self):
        with open(os.path.join(INCLUDE, "weft", "weft.h"), encoding="utf-8") as f:
            included = re.findall(r'#include "weft/(\w+\.h)"', f.read())
        self.assertEqual(sorted(included + ["weft.h"]), public_headers())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    Headers.cc = sys.argv.pop(1)
    Headers.cxx = sys.argv.pop(1)
    counted.main()
