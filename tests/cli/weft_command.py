"""What the tests of the `weft` command share: running it, weights and data files, and the runner.

A test is a function whose name starts with test_; it gets the path of a fresh folder. Uses the standard
library only.
"""

import gzip
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

WEFT = ""
# Small enough for the slowest ISA, and learnt within a few dozen steps.
SYNTHETIC = "synthetic:1x12x12:4:512"
SMALL = ["--data-path", SYNTHETIC, "--batch-size", "32", "--threads", "2"]


def weft(*args, cwd=None, env=None, timeout=120):
    return subprocess.run(
        [WEFT, *map(str, args)], cwd=cwd, env=env, timeout=timeout, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def done(*args, **kwargs):
    """Runs weft and expects success; its standard output."""
    r = weft(*args, **kwargs)
    assert r.returncode == 0, f"{args}: exit {r.returncode}: {r.stderr}"
    return r.stdout


def refused(status, pattern, *args, **kwargs):
    """Expects one line on stderr that matches, and the exit status."""
    r = weft(*args, **kwargs)
    assert r.returncode == status, f"{args}: exit {r.returncode}, not {status}: {r.stderr}"
    lines = r.stderr.splitlines()
    assert len(lines) == 1, f"{args}: not one line: {r.stderr!r}"
    assert re.search(pattern, lines[0]), f"{args}: {lines[0]!r} does not match {pattern!r}"
    assert lines[0].startswith("weft"), lines[0]
    return lines[0]


def tensors_bytes(tensors, meta=None):
    """A safetensors file of {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    if meta:
        header["__metadata__"] = meta
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def read_tensors(path):
    with open(path, "rb") as f:
        raw = f.read()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    meta = header.pop("__metadata__", {})
    return meta, {
        name: (e["dtype"], e["shape"], raw[8 + size + e["data_offsets"][0]:
                                           8 + size + e["data_offsets"][1]])
        for name, e in header.items()
    }


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def write_long_test(folder, count=20000):
    """64 training images and so many test images, for evaluations that take longer than training."""
    os.makedirs(folder)
    for name, n in (("train", 64), ("val", count)):
        write(f"{folder}/{name}.safetensors", tensors_bytes({
            "images": ("U8", [n, 1, 32, 32], bytes(range(256)) * (4 * n)),
            "labels": ("I64", [n], struct.pack(f"<{n}q", *(i % 4 for i in range(n))))}))
    return folder


def weights_hash(run):
    """Of the tensors only, not of the metadata."""
    _, tensors = read_tensors(os.path.join(run, "weights.safetensors"))
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name][2])
    return digest.hexdigest()


def idx(dims, data):
    return struct.pack(">BBBB", 0, 0, 8, len(dims)) + struct.pack(">%dI" % len(dims), *dims) + data


def write_idx_folder(folder, count=64, size=12, cut=0, label=None, magic=None):
    """A small MNIST-like folder; `cut` bytes are missing from the training images."""
    os.makedirs(folder, exist_ok=True)
    for name, n in (("train", count), ("t10k", count // 4)):
        pixels = bytes((i * 37 + i // 100) % 256 for i in range(n * size * size))
        labels = bytearray(i % 10 for i in range(n))
        if label is not None and name == "train":
            labels[5] = label
        images = idx([n, size, size], pixels)
        if name == "train":
            images = images[:len(images) - cut]
            if magic:
                images = magic + images[4:]
        write(f"{folder}/{name}-images-idx3-ubyte", images)
        with gzip.open(f"{folder}/{name}-labels-idx1-ubyte.gz", "wb") as f:
            f.write(idx([n], bytes(labels)))
    return folder


def main(argv, functions):
    """Runs the test functions among `functions`, a module's globals()."""
    global WEFT
    if len(argv) < 2:
        sys.exit(functions["__doc__"])
    WEFT = os.path.abspath(argv[1])
    tests = [(name, fn) for name, fn in functions.items()
             if name.startswith("test_") and callable(fn)
             and (not argv[2:] or any(w in name for w in argv[2:]))]
    passed = failed = skipped = 0
    for name, fn in tests:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="weft-cli-") as tmp:
            try:
                fn(tmp)
                passed += 1
                verdict = "ok"
            except unittest.SkipTest as why:
                skipped += 1
                verdict = f"skipped ({why})"
            except Exception:  # a test that breaks is a test that fails
                failed += 1
                verdict = "FAILED"
                traceback.print_exc(file=sys.stdout)
        print(f"{verdict:6} {name} ({time.monotonic() - started:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0
