#!/usr/bin/env python3
"""How the sources are laid out: clang-format, the length of lines, blanks.

Versions of clang-format lay the same code out differently, so one decides: that of Debian 12. With
another one, or none, that test is skipped and the others are not.
"""

import os
import re
import shutil
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

CLANG_FORMAT = 14  # ./dev has the same number
C = (".c", ".h", ".cc")
# Columns. clang-format keeps C's code at 100; comments and the rest are a person's work.
MOST = {**dict.fromkeys(C + (".py", ".build", "dev"), 120), ".md": 150}


def files():
    """What git knows, and what is new and not ignored; without git, what the folders hold."""
    done = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                          cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if done.returncode == 0:
        names = done.stdout.decode().split("\0")
    else:
        names = [os.path.relpath(os.path.join(folder, name), ROOT)
                 for folder, _, names in os.walk(ROOT) for name in names
                 if not os.path.relpath(folder, ROOT).startswith(("build", "."))]
    return sorted({name for name in names if name and os.path.isfile(os.path.join(ROOT, name))})


def limit(path):
    return next((most for end, most in MOST.items() if path.endswith(end)), None)


def too_long(path, text):
    """The numbers of the lines that are. In Markdown a row of a table cannot be broken, nor an address."""
    most = limit(path)
    return [n for n, line in enumerate(text.splitlines(), 1)
            if len(line) > most and not (path.endswith(".md") and
                                         (line.lstrip().startswith("|") or "://" in line))]


class Format(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = {}
        for path in files():
            if limit(path):
                with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                    cls.text[path] = f.read()

    def test_sources_were_found(self):
        for path in ("dev", "meson.build", "README.md", "engine/plan/plan.h", "tests/run.py"):
            self.assertIn(path, self.text)

    def test_clang_format(self):
        if not shutil.which("clang-format"):
            self.skipTest("clang-format is not installed")
        version = subprocess.run(["clang-format", "--version"], stdout=subprocess.PIPE, text=True,
                                 check=True).stdout
        if int(re.search(r"version (\d+)", version)[1]) != CLANG_FORMAT:
            self.skipTest(f"{version.strip()} lays out otherwise than version {CLANG_FORMAT}")
        sources = [path for path in self.text if path.endswith(C)]
        done = subprocess.run(["clang-format", "--dry-run", *sources], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
        wrong = sorted(set(re.findall(r"^(\S+?):\d+:\d+: warning: code should be", done.stdout, re.M)))
        self.assertEqual(wrong, [], "./dev format lays them out")

    def test_lines_are_not_too_long(self):
        long = [f"{path}:{n}" for path, text in self.text.items() for n in too_long(path, text)]
        self.assertEqual(long, [])

    def test_long_lines_are_found(self):
        for path, text, found in (("x.c", "a\n" + 121 * "x", [2]), ("x.c", 120 * "x", []),
                                  ("dev", 121 * "x", [1]), ("x.md", 151 * "x", [1]),
                                  ("x.md", "| " + 151 * "x" + " |", []),
                                  ("x.md", "http://" + 151 * "x", [])):
            self.assertEqual(too_long(path, text), found)

    def test_no_tabs_nor_blanks_at_the_end(self):
        bad = [f"{path}:{n}" for path, text in self.text.items()
               for n, line in enumerate(text.split("\n"), 1)
               if line != line.rstrip() or "\t" in line]
        self.assertEqual(bad, [])
        self.assertEqual([path for path, text in self.text.items() if text and text[-1] != "\n"], [])

    def test_dev_asks_for_the_same_version(self):
        self.assertIn(f"CLANG_FORMAT={CLANG_FORMAT}\n", self.text["dev"])


if __name__ == "__main__":
    counted.main()
