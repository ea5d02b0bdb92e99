#!/usr/bin/env python3
"""The tests that docs/modules.md names for each promise exist, and its C code compiles.

    test_promises.py CC
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

CC = sys.argv.pop(1).split()
with open(os.path.join(ROOT, "docs", "modules.md"), encoding="utf-8") as f:
    PAGE = f.read()


class Promises(unittest.TestCase):
    def test_every_named_test_exists(self):
        rows = re.findall(r"^\| .* \| (.*) \|$", PAGE.split("## What holds")[1], re.M)[1:]
        self.assertGreater(len(rows), 25)
        named = 0
        for row in rows:
            for group in row.split(";"):
                where, _, names = group.strip().partition(": ")
                path = os.path.join("tests", where if "/" in where else "modules/" + where)
                found = [path + e for e in (".c", ".py") if os.path.exists(os.path.join(ROOT, path + e))]
                self.assertTrue(found, path)
                with open(os.path.join(ROOT, found[0]), encoding="utf-8") as f:
                    text = f.read()
                for name in filter(None, names.split(", ")):
                    named += 1
                    self.assertIn(f"({name})", text, where)
        self.assertGreater(named, 70)

    def test_the_network_in_c_compiles(self):
        blocks = re.findall(r"```c\n(.*?)```", PAGE, re.S)
        create = "weft_module *m = weft_module_create(ctx, &net_class, &(int){10});"
        network = next(b for b in blocks if create in b)
        definitions, use = network.split(create)
        source = ("#include <weft/weft.h>\nbool next_batch(weft_tensor **, weft_tensor **);\n"
                  + definitions + "void use(weft_context *ctx);\nvoid use(weft_context *ctx)\n{\n"
                  f"weft_tensor *images, *labels;\n{create}{use}}}\n")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "net.c")
            with open(path, "w", encoding="utf-8") as f:
                f.write(source)
            run = subprocess.run([*CC, "-std=c17", "-Wall", "-Werror", "-fsyntax-only",
                                  "-I" + os.path.join(ROOT, "include"), path],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 universal_newlines=True, timeout=120)
            self.assertEqual(run.returncode, 0, run.stdout)


if __name__ == "__main__":
    counted.main()
