#!/usr/bin/env python3
"""weft check: what it finds in folders of pictures that this test makes, and in other data.

    test_check.py WEFT
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import counted  # noqa: E402

WEFT = os.path.abspath(sys.argv.pop(1))


def weft(*args):
    return subprocess.run([WEFT, "check", *args], text=True, capture_output=True, timeout=120,
                          errors="surrogateescape")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, seed, level=6):
    """Noise that follows from the seed alone."""
    rows, state = b"", seed * 2654435761 % 2 ** 32
    for _ in range(height):
        rows += b"\0"
        for _ in range(3 * width):
            state = (state * 1664525 + 1013904223) % 2 ** 32
            rows += bytes((state >> 24,))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, level)) + chunk(b"IEND", b""))


class Check(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def make(self):
        seed = 0
        for split, n in (("train", 6), ("val", 2)):
            for name in ("cat", "dog", "emu"):
                for i in range(n):
                    seed += 1
                    self.write(f"{split}/{name}/{i}.png", png(40 + i, 36, seed))

    def check(self, *args):
        out = os.path.join(self.folder, "found.json")
        done = weft(self.folder, "--json", out, *args)
        with open(out, encoding="utf-8") as f:
            return done, json.load(f)

    def test_nothing_is_found_in_good_data(self):
        self.make()
        done, found = self.check()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(found["findings"], [])
        self.assertIn("nothing found", done.stdout)
        self.assertIn("labels 0 to 2: 6 samples each", done.stdout)
        self.assertEqual([s["name"] for s in found["splits"]], ["train", "val"])
        self.assertEqual(found["splits"][0]["formats"], "PNG 18")
        self.assertEqual(found["splits"][0]["width_min_median_max"], [40, 43, 45])
        self.assertEqual([(c["name"], c["samples"]) for c in found["splits"][1]["classes"]],
                         [("cat", 2), ("dog", 2), ("emu", 2)])

    def test_each_kind_of_trouble_is_found(self):
        self.make()
        self.write("val/dog/leak.png", png(40, 36, 1, level=1))  # other bytes, the pixels of train/cat/0.png
        self.write("train/emu/conflict.png", png(40, 36, 7))  # train/dog/0.png
        self.write("train/dog/twice.png", png(40, 36, 7))
        self.write("train/cat/tiny.png", png(5, 36, 99))
        self.write("train/cat/long.png", png(200, 40, 98))
        good = png(40, 36, 97)
        self.write("train/cat/short.png", good[:len(good) // 2])
        self.write("train/cat/text.jpg", b"hello")
        self.write("val/cat/empty.png", b"")
        done, found = self.check()
        names = [(f["kind"], os.path.relpath(f["name"], self.folder)) for f in found["findings"]]
        self.assertEqual(names, [("damaged", "train/cat/short.png"), ("damaged", "train/cat/text.jpg"),
                                 ("damaged", "val/cat/empty.png"), ("leak", "val/dog/leak.png"),
                                 ("conflict", "train/emu/conflict.png"), ("duplicate", "train/dog/twice.png"),
                                 ("tiny", "train/cat/tiny.png"), ("long", "train/cat/long.png")])
        self.assertTrue(found["findings"][3]["other_name"].endswith("train/cat/0.png"))
        self.assertEqual(found["counts"], {"unreadable": 0, "damaged": 3, "leak": 1, "conflict": 1, "duplicate": 1,
                                           "tiny": 1, "long": 1})
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "weft check: 3 of 32 samples cannot be used\n")
        for f in found["findings"]:
            self.assertIn(f["text"], done.stdout)

    def test_threads_change_nothing(self):
        self.make()
        for i in range(30):
            self.write(f"train/cat/again{i}.png", png(41, 36, i % 7))
            self.write(f"train/dog/bad{i}.png", png(41, 36, i)[:100])
        first = self.check("-j", "1")[1]
        self.assertGreater(len(first["findings"]), 50)
        for j in ("2", "5"):
            self.assertEqual(self.check("-j", j)[1], first)

    def test_lists_are_cut(self):
        self.make()
        for i in range(9):
            self.write(f"train/cat/bad{i}.png", b"\x89PNG\r\n\x1a\n")
        done = weft(self.folder, "--list", "4")
        self.assertIn("and 5 more", done.stdout)
        self.assertEqual(done.stdout.count("truncated PNG"), 4)
        self.assertEqual(weft(self.folder, "--list", "0").stdout.count("truncated PNG"), 9)

    def test_names_are_quoted(self):
        self.make()
        self.write("train/cat/a\nb\x1b[2J.png", b"")
        done = weft(self.folder)
        self.assertIn("a\\nb\\x1b[2J.png: the file is empty", done.stdout)

    def test_limits_are_flags(self):
        self.make()
        self.assertEqual(weft(self.folder, "--max-pixels", str(42 * 36)).stderr,
                         "weft check: 9 of 24 samples cannot be used\n")
        self.assertIn("24 tiny", weft(self.folder, "--tiny", "37").stdout)
        self.assertIn("long  24", weft(self.folder, "--long", "1.01").stdout)

    def test_other_data_are_checked_too(self):
        done = weft("synthetic:3x8x8:4:64")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("64 samples; 8x8 pixels\n       labels 0 to 3: 16 samples each", done.stdout)

    def test_bad_arguments(self):
        for args, status, text in (([], 2, "DATA is needed"), (["/nowhere"], 1, "/nowhere"),
                                   ([self.folder, "--tiny", "0"], 2, "--tiny"),
                                   (["synthetic:1x8x8:2", "--json", "/nowhere/x"], 1, "/nowhere")):
            done = weft(*args)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(text, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)


if __name__ == "__main__":
    counted.main()
