#!/usr/bin/env python3
"""docs/environment.md lists the variables that the source reads, all of them and no others.

A variable is read where its name is a literal in getenv(), os.environ or a function that ends in one
of them, or in a list of names that such a function is given; ./dev reads those it expands. The
tables of "Read by libraries" hold what no source of ours reads.
"""

import os
import re
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

ROOMS = ("bench", "cli", "comm", "data", "engine", "examples", "kernels", "modules", "tests", "tools",
         "train")
NAME = r"[A-Z][A-Z0-9_]{2,}"
# Functions of ours that are given a name, and hand it on to getenv().
READERS = ("getenv", "secure_getenv", "env", "check_word", "check_list")
C_READ = re.compile(rf"\b(?:{'|'.join(READERS)})\((?:\w+, )?\"({NAME})\"")
# Lists of names: families of which every member is a variable.
C_FAMILY = re.compile(r"\"((?:OMP|GOMP|KMP|SLURM|PMI|PBS|LSB|LS)_[A-Z_]+|NCPUS)\"")
PY_READ = re.compile(rf"os\.(?:environ(?:\.get\(|\.pop\(|\.setdefault\(|\[)|getenv\()\"({NAME})\"(?!\]\s*=[^=])")
DEV_READ = re.compile(rf"\$\{{({NAME}):-|^\s+({NAME})=\$\{{\2", re.M)
LIBRARIES = "Read by libraries"
# What tests set and read of others: not read by Weft.
OF_TESTS = {"tests/engine/test_topology.c": {"HWLOC_SYNTHETIC"},
            "tests/jobs/slurm_node.py": {"PATH"},
            "tests/structure/test_getting_started.py": {"PATH"}}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def reads(path, text):
    """The variables that a source reads."""
    if path.endswith((".c", ".h", ".cc")):
        names = set(C_READ.findall(text))
        if not path.startswith("tests/"):  # tests make up environments
            names |= set(C_FAMILY.findall(text))
        return names - OF_TESTS.get(path, set())
    if path == "dev":
        return {name for pair in DEV_READ.findall(text) for name in pair if name}
    return set(PY_READ.findall(text)) - OF_TESTS.get(path, set())


def sources():
    yield "dev", read("dev")
    for room in ROOMS:
        for folder, _, names in os.walk(os.path.join(ROOT, room)):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), ROOT)
                if name.endswith((".c", ".h", ".cc", ".py")) and name != "test_environment.py":
                    yield path, read(path)


def table_names(section):
    """The variables in the first column of a section's table."""
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.M)
    return {name for cell in cells for name in re.findall(rf"`({NAME})`", cell)}


class Environment(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        page = read("docs/environment.md")
        sections = re.split(r"^## ", page, flags=re.M)[1:]
        cls.ours = set().union(*(table_names(s) for s in sections if not s.startswith(LIBRARIES)))
        cls.others = set().union(*(table_names(s) for s in sections if s.startswith(LIBRARIES)))
        cls.read = {}
        for path, text in sources():
            for name in reads(path, text):
                cls.read.setdefault(name, path)

    def test_what_is_read_is_listed(self):
        for name, path in sorted(self.read.items()):
            self.assertIn(name, self.ours, f"{path} reads {name}, which docs/environment.md lacks")

    def test_what_is_listed_is_read(self):
        for name in sorted(self.ours):
            self.assertIn(name, self.read, "docs/environment.md lists what nothing reads")

    def test_what_libraries_read_is_not_ours(self):
        self.assertGreater(len(self.others), 5)
        self.assertEqual(sorted(self.others & set(self.read)), [])

    def test_every_getenv_is_understood(self):
        """One of a name that is no literal is in a function of READERS: elsewhere this test would be
        blind."""
        blind = []
        for path, text in sources():
            if path.endswith((".c", ".cc")):
                for line in text.splitlines():
                    if re.search(r"\bgetenv\((?!\")", line):
                        blind.append(f"{path}: {line.strip()}")
        allowed = ("getenv(variable)", "getenv(name)")
        self.assertEqual([b for b in blind if not any(a in b for a in allowed)], [])
        self.assertEqual(len(blind), 5, blind)

    def test_the_patterns_find_what_they_should(self):
        for path, text, names in (
            ("engine/x.c", 'const char *a = getenv("WEFT_X"), *b = env(b, "OMP_Y");', {"WEFT_X", "OMP_Y"}),
            ("engine/x.c", 'static const char *const n[] = {"KMP_A", "GOMP_B"};', {"KMP_A", "GOMP_B"}),
            ("bench/x.py", 'os.environ.get("AAA"), os.environ["BBB"]', {"AAA", "BBB"}),
            ("bench/x.py", 'os.environ["CCC"] = "1"', set()),
            ("dev", '    if [ -n "${AAA_B:-}" ]; then', {"AAA_B"}),
        ):
            with self.subTest(text=text):
                self.assertEqual(reads(path, text), names)


if __name__ == "__main__":
    counted.main()
