#!/usr/bin/env python3
"""./dev convert-data: CIFAR's pickles become its binary files, and nothing that a pickle holds runs.

    test_convert_data.py
"""

import os
import pickle
import subprocess
import sys
import tempfile
import types
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

TOOL = os.path.join(ROOT, "tools", "convert_data.py")


def fake_numpy():
    """Modules with numpy's names, so that pickles look as if numpy had written them."""
    numpy, core = types.ModuleType("numpy"), types.ModuleType("numpy.core.multiarray")

    class dtype:
        def __init__(self, name, *_):
            self.name = name

        def __reduce__(self):
            return dtype, (self.name, 0, 1), (3, "|", None, None, None, -1, -1, 0)

        def __setstate__(self, state):
            pass

    class ndarray:
        def __setstate__(self, state):
            pass

    def _reconstruct(*_):
        return ndarray()

    for thing, module in ((dtype, numpy), (ndarray, numpy), (_reconstruct, core)):
        thing.__module__, thing.__qualname__ = module.__name__, thing.__name__
        setattr(module, thing.__name__, thing)
    numpy.core = types.ModuleType("numpy.core")
    sys.modules.update({"numpy": numpy, "numpy.core": numpy.core, "numpy.core.multiarray": core})
    return numpy, core


NUMPY, CORE = fake_numpy()


class Images:
    def __init__(self, n, data, kind="u1"):
        self.n, self.data, self.kind = n, data, kind

    def __reduce__(self):
        return (CORE._reconstruct, (NUMPY.ndarray, (0,), b"b"),
                (1, (self.n, 3072), NUMPY.dtype(self.kind), False, self.data))


def dump(path, value):
    with open(path, "wb") as f:
        pickle.dump(value, f, protocol=2)


def pixels(n, seed):
    return bytes((seed * 7 + i * 13) % 256 for i in range(n * 3072))


def run(*args):
    return subprocess.run([sys.executable, TOOL, *args], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)


class ConvertData(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.tmp = self.folder.name
        self.addCleanup(self.folder.cleanup)

    def cifar10(self):
        source = f"{self.tmp}/py"
        os.makedirs(source)
        for k, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
            dump(f"{source}/{name}", {b"data": Images(4, pixels(4, k)),
                                      b"labels": [k, 1, 2, 9], b"batch_label": b"x"})
        dump(f"{source}/batches.meta", {b"label_names": [b"c%d" % i for i in range(10)]})
        return source

    def refused(self, pattern, *args):
        r = run(*args)
        self.assertEqual(r.returncode, 1, r.stdout)
        self.assertRegex(r.stderr, pattern)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        self.assertFalse(os.path.exists(args[1]))

    def test_cifar_10(self):
        r = run(self.cifar10(), f"{self.tmp}/bin")
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(f"{self.tmp}/bin/data_batch_2.bin", "rb") as f:
            data = f.read()
        self.assertEqual(len(data), 4 * 3073)
        self.assertEqual([data[i * 3073] for i in range(4)], [1, 1, 2, 9])
        self.assertEqual(data[3074:2 * 3073], pixels(4, 1)[3072:2 * 3072])
        with open(f"{self.tmp}/bin/batches.meta.txt", encoding="utf-8") as f:
            self.assertEqual(f.read().splitlines()[9], "c9")

    def test_cifar_100(self):
        source = f"{self.tmp}/py"
        os.makedirs(source)
        for name in ("train", "test"):
            dump(f"{source}/{name}", {b"data": Images(2, pixels(2, 3)), b"fine_labels": [99, 5],
                                      b"coarse_labels": [19, 0]})
        dump(f"{source}/meta", {b"fine_label_names": [b"f"] * 100, b"coarse_label_names": [b"c"] * 20})
        self.assertEqual(run(source, f"{self.tmp}/bin").returncode, 0)
        with open(f"{self.tmp}/bin/train.bin", "rb") as f:
            data = f.read()
        self.assertEqual((data[0], data[1], data[3074], data[3075]), (19, 99, 0, 5))

    def test_no_code_of_a_pickle_runs(self):
        class Evil:
            def __reduce__(self):
                return os.mkdir, (f"{self.tmp}/owned",)
        Evil.tmp = self.tmp
        source = self.cifar10()
        dump(f"{source}/test_batch", {b"data": Evil(), b"labels": []})
        self.refused(r"test_batch: holds \w+\.mkdir, expected", source, f"{self.tmp}/bin")
        self.assertFalse(os.path.exists(f"{self.tmp}/owned"))

    def test_what_is_wrong_is_one_line(self):
        source, out = self.cifar10(), f"{self.tmp}/bin"
        self.refused("holds neither", self.tmp, out)
        for value, pattern in (([1], "holds a list"),
                               ({b"data": Images(4, b"x"), b"labels": [0] * 4}, "has 1 bytes"),
                               ({b"data": Images(1, pixels(1, 0)), b"labels": [10]}, "expected 0 to 9"),
                               ({b"data": Images(1, pixels(1, 0)), b"labels": [0, 1]}, "no list of 1"),
                               ({b"data": b"xyz", b"labels": []}, "no array")):
            dump(f"{source}/data_batch_3", value)
            self.refused("data_batch_3: .*" + pattern, source, out)
        with open(f"{source}/data_batch_3", "wb") as f:
            f.write(b"no pickle")
        self.refused("not a pickle", source, out)


if __name__ == "__main__":
    counted.main()
