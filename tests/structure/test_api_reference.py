#!/usr/bin/env python3
"""The API reference: every public name is in it with a text, and doxygen has no complaint.

    test_api_reference.py LIBWEFT

Skipped where doxygen is not installed; what tools/doxygen_filter.py makes of a header is tested
anyway.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import counted  # noqa: E402
import doxygen_filter  # noqa: E402

LIBWEFT = sys.argv.pop(1)
FILTER = os.path.join(ROOT, "tools", "doxygen_filter.py")


def filtered(header):
    return doxygen_filter.filtered(header, "x.h")


def doxygen(folder, *settings):
    """Runs the tree's configuration with other settings behind it. Returns the warnings."""
    with open(os.path.join(ROOT, "docs", "api", "Doxyfile"), encoding="utf-8") as f:
        lines = [f.read(), f"OUTPUT_DIRECTORY = {folder}", f"WARN_LOGFILE = {folder}/warnings.txt",
                 f"GENERATE_TAGFILE = {folder}/weft.tag", *settings]
    subprocess.run(["doxygen", "-"], input="\n".join(lines), text=True, cwd=ROOT, timeout=240,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    with open(os.path.join(folder, "warnings.txt"), encoding="utf-8") as f:
        return f.read().splitlines()


class Filter(unittest.TestCase):
    """The rules by which plain comments document what is near them."""

    def documented(self, header):
        """The declarations of a header and the text before each, "" where there is none."""
        text = filtered("/* x. */\n" + header)
        pairs = re.findall(r"(?:/\*\* ((?:(?!\*/).)*?) \*/\n)?([^/\n][^\n]*)", text.split("*/", 1)[1], re.S)
        return [(code.strip(), about) for about, code in pairs if code.strip()]

    def test_a_comment_is_about_what_follows(self):
        self.assertEqual(self.documented("/* A. */\nint a(void);\nint b(void);\n\nint c(void);\n"),
                         [("int a(void);", "A."), ("int b(void);", "A."), ("int c(void);", "")])

    def test_a_comment_behind_is_about_that_alone(self):
        self.assertEqual(self.documented("/* A. */\nint a(void);\nint b(void); /* B. */\nint c(void);\n"),
                         [("int a(void);", "A."), ("int b(void);", "B."), ("int c(void);", "")])

    def test_members_and_enumerators(self):
        self.assertEqual(
            self.documented("/* S. */\ntypedef struct s {\n    int a, *b; /* both */\n    int c;\n} s;\n"),
            [("typedef struct s {", "S."), ("int a;", "both"), ("int *b;", "both"), ("int c;", ""),
             ("} s;", "")])
        self.assertEqual(self.documented("typedef enum e { A, B /* b */ } e;\n"),
                         [("typedef enum e {", ""), ("A,", ""), ("B", "b"), ("} e;", "")])

    def test_markup_is_escaped(self):
        self.assertIn("a \\<b\\> \\@c \\\\n \\#d", filtered("/* a <b> @c \\n #d */\nint x;\n"))

    def test_examples_and_lists(self):
        text = filtered("/* E:\n *\n *     f(x);\n *\n * L:\n *   one\n *     and more\n *   two */\nint x;\n")
        self.assertIn(" * @code\n *     f(x);\n * @endcode", text)
        self.assertIn(" *   - one\n *     and more\n *   - two", text)


class Reference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("doxygen"):
            raise unittest.SkipTest("doxygen is not installed")
        folder = tempfile.mkdtemp(prefix="weft-docs-")
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.warnings = doxygen(folder)
        tags = ElementTree.parse(os.path.join(folder, "weft.tag")).getroot()
        cls.names = {member.findtext("name") for member in tags.iter("member")}
        cls.html = os.listdir(os.path.join(folder, "html"))

    def test_doxygen_has_no_complaint(self):
        self.assertEqual(self.warnings, [])
        self.assertIn("index.html", self.html)

    def test_every_exported_function_is_there(self):
        symbols = subprocess.run(["nm", "-D", "--defined-only", LIBWEFT], stdout=subprocess.PIPE,
                                 text=True, check=True).stdout
        exported = set(re.findall(r" T (weft_\w+)", symbols))
        self.assertGreater(len(exported), 200)
        self.assertEqual(sorted(exported - self.names), [])

    def test_every_macro_is_there(self):
        for header in os.listdir(os.path.join(ROOT, "include", "weft")):
            with open(os.path.join(ROOT, "include", "weft", header), encoding="utf-8") as f:
                for name in re.findall(r"^#define (WEFT_\w+)", f.read(), re.M):
                    if not name.endswith("_H"):
                        self.assertIn(name, self.names)

    def test_what_is_not_documented_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "out"))
            os.mkdir(os.path.join(folder, "weft"))
            header = os.path.join(folder, "weft", "bad.h")
            with open(header, "w", encoding="utf-8") as f:
                f.write("/* Bad. */\n/* Told. */\nint good(void);\n\nint bad(void);\n")
            warnings = doxygen(os.path.join(folder, "out"), f"INPUT = {header}",
                               f"FILTER_PATTERNS = *.h=\"{sys.executable} {FILTER}\"")
            self.assertEqual([w for w in warnings if "good" in w], [])
            self.assertEqual(len([w for w in warnings if "bad(void)" in w]), 1, warnings)


if __name__ == "__main__":
    counted.main()
