#!/usr/bin/env python3
"""The ABI of libweft.so is the recorded one, but for what was added to it, until the soname changes.

    test_abi.py LIBRARY CC             CC may hold several words: "ccache gcc"
    test_abi.py --record LIBRARY CC    writes tests/structure/libweft.abi.gz anew

The record is what abidw makes of the public headers: every function with the types of its parameters,
every public struct, enum and typedef. A release library has no types in it, so they are read from a
library of stubs, one for each declaration, whose names are compared with those that LIBRARY exports.
A failure says what users' programs would trip over. Then either the change is undone, or the version
in meson.build (which the soname follows), the node in weft.map and the record change with it. Before
the first release recording anew is enough. Skipped without abigail-tools.
"""

import gzip
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
sys.path.insert(0, os.path.join(ROOT, "tests", "structure"))
import counted
from test_symbols import dynamic_symbols

RECORD = os.path.join(ROOT, "tests", "structure", "libweft.abi.gz")
DECLARATION = re.compile(
    r"((?:^|\n)(?:[\w ]+[ *\n]+)?weft_\w+\s*\((?:[^()]|\([^()]*\))*\))\s*;")
# FILE is libc's affair.
SUPPRESSED = "[suppress_type]\n  name_regexp = ^_IO_\n"


def run(command, ok=(0,), **kwargs):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, check=False, **kwargs)
    if done.returncode not in ok:
        raise AssertionError(f"{shlex.join(command)}: exit status {done.returncode}\n{done.stdout}")
    return done.returncode, done.stdout


def soname_of(library):
    _, text = run(["readelf", "-d", library])
    return re.search(r"SONAME.*\[(.*)\]", text).group(1)


def declarations(cc):
    """The public headers and what they include, as the compiler sees them."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "all.c")
        with open(source, "w", encoding="utf-8") as f:
            f.write("#include <weft/weft.h>\n")
        return run([*shlex.split(cc), "-E", "-P", "-I", os.path.join(ROOT, "include"), source])[1]


def abi_of(text, soname, cc):
    """abidw's XML of a library of these declarations, and the functions' names."""
    stubs = DECLARATION.sub(r"\1 { __builtin_trap(); }", text)
    with tempfile.TemporaryDirectory() as folder:
        source, library = os.path.join(folder, "stubs.c"), os.path.join(folder, "libstubs.so")
        with open(source, "w", encoding="utf-8") as f:
            f.write(stubs)
        run([*shlex.split(cc), "-g", "-O0", "-w", "-std=gnu17", "-shared", "-fPIC", "-o", library,
             f"-Wl,-soname,{soname}", source])
        _, xml = run(["abidw", "--no-show-locs", "--no-corpus-path", "--no-comp-dir-path",
                      "--no-architecture", "--no-elf-needed", library])
        return xml, dynamic_symbols(library, "--defined-only")


def difference(old, new):
    """abidiff's exit status and text: of what was removed or changed."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("old.abi", "new.abi", "suppressed")]
        for path, text in zip(paths, (old, new, SUPPRESSED)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        # The status is a sum: 1 and 2 are errors, 4 and 8 changes.
        return run(["abidiff", "--no-added-syms", "--suppressions", paths[2], *paths[:2]],
                   ok=(0, 4, 8, 12))


@unittest.skipUnless(shutil.which("abidw") and shutil.which("abidiff"),
                     "abigail-tools are not installed")
class Abi(unittest.TestCase):
    library = None
    cc = None

    @classmethod
    def setUpClass(cls):
        cls.soname = soname_of(cls.library)
        cls.text = declarations(cls.cc)
        cls.now, cls.names = abi_of(cls.text, cls.soname, cls.cc)

    def test_stubs_are_what_the_library_exports(self):
        self.assertEqual(sorted(self.names), sorted(dynamic_symbols(self.library, "--defined-only")))

    def test_nothing_was_removed_or_changed(self):
        with gzip.open(RECORD, "rt", encoding="utf-8") as f:
            recorded = f.read()
        then = re.search(r"soname='([^']*)'", recorded).group(1)
        again = "record it anew: tests/structure/test_abi.py --record LIBRARY CC"
        self.assertEqual(then, self.soname, f"the record is of another soname: {again}")
        status, text = difference(recorded, self.now)
        self.assertEqual(status, 0, f"{text}\nIf the soname is to stay, undo this. Else change the "
                         f"version and {again}")

    def changed(self, old, new):
        self.assertIn(old, self.text)
        return difference(self.now, abi_of(self.text.replace(old, new, 1), self.soname, self.cc)[0])[0]

    def test_changes_are_noticed_and_additions_are_not(self):
        self.assertEqual(self.changed("typedef struct weft_shape {", "int weft_new_one(int x);\n"
                                      "typedef struct weft_shape {"), 0)
        self.assertNotEqual(self.changed("weft_tensor *weft_abs(", "weft_tensor *weft_absolute("), 0)
        self.assertNotEqual(self.changed("typedef struct weft_shape {",
                                         "typedef struct weft_shape { int more;"), 0)
        self.assertNotEqual(self.changed("int weft_threads(const weft_context *ctx);",
                                         "long weft_threads(const weft_context *ctx);"), 0)


def main():
    record = "--record" in sys.argv
    if record:
        sys.argv.remove("--record")
    Abi.library, Abi.cc = sys.argv[1:3]
    del sys.argv[1:3]
    if record:
        xml, _ = abi_of(declarations(Abi.cc), soname_of(Abi.library), Abi.cc)
        with open(RECORD, "wb") as f:
            f.write(gzip.compress(xml.encode(), mtime=0))
        return
    counted.main()


if __name__ == "__main__":
    main()
