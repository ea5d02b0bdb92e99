#!/usr/bin/env python3
"""The shared library exports the functions that the public headers declare, and nothing else.

    test_symbols.py LIBRARY
"""

import glob
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted

HEADERS = os.path.join(ROOT, "include", "weft")


def declared_functions(text):
    """The functions that a header declares and does not define."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.M)
    text = re.sub(r'extern\s+"C"\s*\{', "", text)
    while re.search(r"\{[^{}]*\}", text):  # bodies, innermost first
        text = re.sub(r"\{[^{}]*\}", "@", text)
    text = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", text, flags=re.S)
    functions = set()
    for statement in re.split(r";|@(?!\s*\w+\s*;)", text):
        name = re.search(r"\b(\w+)\s*\(", statement)
        if name and not re.match(r"\s*(typedef|static)\b", statement) and "@" not in statement:
            functions.add(name.group(1))
    return functions


def dynamic_symbols(library, which):
    out = subprocess.run(["nm", "-D", which, library], check=True, stdout=subprocess.PIPE,
                         universal_newlines=True).stdout
    # Versioned names end in @@VERSION; the version's own name is absolute (A).
    lines = [line.split() for line in out.splitlines()]
    return {fields[-1].split("@")[0] for fields in lines if fields[-2] != "A"}


class Symbols(unittest.TestCase):
    library = None

    @classmethod
    def setUpClass(cls):
        cls.exported = dynamic_symbols(cls.library, "--defined-only")
        cls.undefined = dynamic_symbols(cls.library, "--undefined-only")
        cls.declared = {}
        for path in sorted(glob.glob(os.path.join(HEADERS, "*.h"))):
            with open(path, encoding="utf-8") as f:
                for name in declared_functions(f.read()):
                    cls.declared[name] = os.path.basename(path)

    def test_only_weft_names_are_exported(self):
        self.assertEqual([n for n in sorted(self.exported) if not n.startswith("weft_")], [])

    def test_nothing_of_ours_is_missing(self):
        missing = [n for n in sorted(self.undefined) if re.match(r"(weft|wf)_", n)]
        if missing:
            self.fail("used but not defined:\n  " + "\n  ".join(missing))

    def test_headers_declare_only_weft_names(self):
        self.assertEqual([n for n in sorted(self.declared) if not n.startswith("weft_")], [])

    def test_what_is_declared_is_exported(self):
        missing = [f"{n} ({self.declared[n]})" for n in sorted(set(self.declared) - self.exported)]
        if missing:
            self.fail("declared but not exported:\n  " + "\n  ".join(missing))

    def test_what_is_exported_is_declared(self):
        extra = sorted(self.exported - set(self.declared))
        if extra:
            self.fail("exported but in no public header:\n  " + "\n  ".join(extra))


class Version(unittest.TestCase):
    """While the version is 0.x, each x has a soname and a version node of its own."""

    def test_soname_and_node_are_the_projects(self):
        with open(os.path.join(ROOT, "meson.build"), encoding="utf-8") as f:
            version = re.search(r"version: '(\d+\.\d+)\.\d+'", f.read()).group(1)
        library = Symbols.library
        dynamic = subprocess.run(["readelf", "-dW", library], check=True, stdout=subprocess.PIPE,
                                 universal_newlines=True).stdout
        self.assertIn(f"[libweft.so.{version}]", dynamic)
        names = subprocess.run(["nm", "-D", "--defined-only", library], check=True,
                               stdout=subprocess.PIPE, universal_newlines=True).stdout
        self.assertIn(f"weft_context_create@@WEFT_{version}\n", names)


class Parser(unittest.TestCase):
    def test_declarations_are_found(self):
        text = """
            #define WEFT_MACRO(x) \\
                weft_not_this(x);
            extern "C" {
            typedef int (*weft_callback)(int);
            typedef struct weft_opts { int a; int (*fn)(void); } weft_opts;
            typedef enum weft_kind { WEFT_A, WEFT_B } weft_kind;
            struct weft_other { int b; };
            /* int weft_commented(void); */
            static inline int weft_inline(int x) { if (x) { return weft_called(x); } return 0; }
            weft_status weft_first(weft_opts *o, int (*fn)(void *user),
                                   void *user);
            const char *weft_second(void); // weft_third(void);
            void weft_fourth(const char *format, ...) __attribute__((format(printf, 1, 2)));
            }"""
        self.assertEqual(declared_functions(text), {"weft_first", "weft_second", "weft_fourth"})

    def test_real_headers_declare_much(self):
        with open(os.path.join(HEADERS, "context.h"), encoding="utf-8") as f:
            self.assertLessEqual({"weft_context_create", "weft_version", "weft_info"},
                                 declared_functions(f.read()))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    Symbols.library = sys.argv.pop(1)
    counted.main()
