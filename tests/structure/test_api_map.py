#!/usr/bin/env python3
"""docs/api-map.md is true of the headers: what it names is declared, and every op, layer, initialiser
and optimizer that is declared is in it."""

import os
import re
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
sys.path.insert(0, os.path.join(ROOT, "tests", "structure"))
import counted
from test_symbols import declared_functions

HEADERS = os.path.join(ROOT, "include", "weft")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def header(name):
    return read("include", "weft", name)


class ApiMap(unittest.TestCase):
    page = read("docs", "api-map.md")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    names = set(re.findall(r"`((?:weft|WEFT)_\w+)`", page))

    def test_what_it_names_is_there(self):
        text = "".join(header(name) for name in sorted(os.listdir(HEADERS)) if name.endswith(".h"))
        self.assertEqual([n for n in sorted(self.names) if not re.search(rf"\b{n}\b", text)], [])
        self.assertGreater(len(self.names), 100)

    def test_what_is_there_is_named(self):
        ops = declared_functions(header("ops.h"))
        layers = {n for n in declared_functions(header("layers.h")) if n.endswith("_create")}
        inits = declared_functions(header("init.h"))
        optimizers = {n for n in declared_functions(header("optim.h")) if n.endswith("_create")}
        self.assertGreater(min(len(ops), len(layers)), 20)
        self.assertEqual(sorted((ops | layers | inits | optimizers) - self.names), [])

    def test_a_row_has_a_name_or_a_reason(self):
        for row in self.rows:
            right = row.split("|")[2].strip()
            with self.subTest(row=row):
                self.assertTrue(re.search(r"`\w|none|^Weft$|^---|functions|what every step", right))


if __name__ == "__main__":
    counted.main()
