#!/usr/bin/env python3
"""The programs of docs/getting-started.md and docs/debugging.md compile without a warning and print what the page says.

    test_getting_started.py BUILD_DIR CC      CC may hold several words: "ccache gcc"

A block of C begins with the name of its file, /* first.c: ... */. Blocks of sh are run in the order
of their page, against an installation in a folder; a block of text behind one is what it prints.
Numbers with a point may differ by 0.1: they depend on the machine class.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

BUILD_DIR, CC = sys.argv.pop(1), sys.argv.pop(1)
NUMBER = re.compile(r"\d+\.\d+")


def blocks(page):
    """(language, text) of a page's fenced blocks, in order."""
    with open(os.path.join(ROOT, "docs", page), encoding="utf-8") as f:
        return re.findall(r"^```(\w+)\n(.*?)^```", f.read(), re.S | re.M)


class GettingStarted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        options = {o["name"]: o["value"] for o in json.loads(subprocess.run(
            ["meson", "introspect", "--buildoptions", BUILD_DIR], stdout=subprocess.PIPE,
            check=True).stdout)}
        if options.get("b_sanitize", "none") not in ("none", []):
            raise unittest.SkipTest("a program without the sanitizer cannot load a library with it")
        cls.folder = tempfile.mkdtemp(prefix="weft-start-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        subprocess.run(["meson", "install", "-C", BUILD_DIR, "--no-rebuild", "--destdir",
                        os.path.join(cls.folder, "dest")], stdout=subprocess.PIPE, check=True)
        prefix = os.path.join(cls.folder, "dest" + options["prefix"])
        libdir = os.path.join(prefix, options["libdir"])
        programs = os.path.join(cls.folder, "bin")
        os.mkdir(programs)
        # By path: the cc of this folder must not find itself.
        compiler = [shutil.which(word) or word for word in shlex.split(CC)]
        for name, line in (
                ("cc", f'exec {shlex.join(compiler)} -Wall -Wextra -Wpedantic -Werror "$@"'),
                ("pkg-config", f'exec {shlex.quote(shutil.which("pkg-config"))} '
                               f'--define-variable=prefix={shlex.quote(prefix)} "$@"')):
            with open(os.path.join(programs, name), "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\n{line}\n")
            os.chmod(f.name, 0o755)
        cls.env = dict(os.environ, PATH=programs + ":" + os.environ["PATH"],
                       PKG_CONFIG_PATH=os.path.join(libdir, "pkgconfig"), LD_LIBRARY_PATH=libdir)
        cls.env.pop("WEFT_MAX_ISA", None)

    def alike(self, printed, expected):
        self.assertEqual(NUMBER.sub("0.0", printed), NUMBER.sub("0.0", expected))
        for a, b in zip(NUMBER.findall(printed), NUMBER.findall(expected)):
            self.assertLess(abs(float(a) - float(b)), 0.1, printed)

    def run_page(self, page):
        """Returns how many programs, commands and outputs there are."""
        printed, files, runs, compared = "", 0, 0, 0
        for language, text in blocks(page):
            with self.subTest(text=text.split("\n")[0]):
                if language == "c":
                    files += 1
                    name = re.match(r"/\* (\w+\.c): ", text)[1]
                    with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f:
                        f.write(text)
                elif language == "sh":
                    runs += 1
                    done = subprocess.run(["sh", "-e", "-c", text], cwd=self.folder, env=self.env,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                          text=True, timeout=120)
                    printed = done.stdout
                    self.assertEqual(done.returncode, 0, printed)
                elif language == "text":
                    compared += 1
                    self.alike(printed, text)
        return files, runs, compared

    def test_getting_started(self):
        self.assertEqual(self.run_page("getting-started.md"), (4, 4, 3))

    def test_debugging(self):
        self.assertEqual(self.run_page("debugging.md"), (1, 1, 1))

    def test_programs_are_formatted(self):
        """As the rest of the tree's C, so that a reader sees one style."""
        if not shutil.which("clang-format"):
            self.skipTest("clang-format is not installed")
        for language, text in blocks("getting-started.md") + blocks("debugging.md"):
            if language == "c":
                done = subprocess.run(["clang-format", "--style=file", "--assume-filename=x.c"],
                                      input=text, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                                      check=True)
                self.assertEqual(done.stdout, text)


if __name__ == "__main__":
    counted.main()
