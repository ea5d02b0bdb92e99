#!/usr/bin/env python3
"""What the commands print goes through cli_print, which quotes text from outside.

    test_printing.py
"""

import glob
import os
import re
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

# Files that use stdio as it is, and why they may.
PLAIN = {
    "print.c": "is cli_print",
    "main.c": "help: its own text, of several lines",
    "parser/help.c": "help: its own text",
    "cmd_models.c": "the names of the networks are the library's own",
    "eval_tables.c": "numbers, and class names that it quotes and cuts",
    "predict_rows.c": "fields of CSV and JSON, quoted as these demand",
    "progress.c": "numbers",
    "command_line.c": "writes into memory",
}


class Printing(unittest.TestCase):
    def test_text_from_outside_is_quoted(self):
        files = glob.glob(os.path.join(ROOT, "cli", "**", "*.c"), recursive=True)
        self.assertGreater(len(files), 15)
        for path in files:
            name = os.path.relpath(path, os.path.join(ROOT, "cli"))
            with open(path, encoding="utf-8") as f:
                text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
            calls = re.findall(r"\b(?:v?f?printf|f?puts|f?putc|putchar|perror)\(", text)
            if name in PLAIN:
                self.assertTrue(calls, f"{name} needs no exception")
            else:
                self.assertEqual(calls, [], name)


if __name__ == "__main__":
    counted.main()
