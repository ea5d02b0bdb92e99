#!/usr/bin/env python3
"""Makes the binary version of CIFAR-10 or CIFAR-100 from the version for Python.

    ./dev convert-data IN OUT

IN is the unpacked folder: cifar-10-batches-py or cifar-100-python. OUT is a new folder. It gets the
files that the binary version has (https://www.cs.toronto.edu/~kriz/cifar.html), which `weft train
--data-path OUT` reads. The pickles of IN may hold what these files hold and nothing else: no code of
theirs runs. Uses the standard library only.
"""

import os
import pickle
import sys

IMAGE = 3072  # bytes: 3 planes of 32 x 32
CIFAR10 = [(f"data_batch_{i}", f"data_batch_{i}.bin") for i in range(1, 6)]
CIFAR10 += [("test_batch", "test_batch.bin")]
CIFAR100 = [("train", "train.bin"), ("test", "test.bin")]


class Bad(Exception):
    """What is wrong with the input, as one sentence."""


class Dtype:
    """Stands for numpy.dtype: only its name matters."""

    def __init__(self, name=b"", *_):
        self.name = name if isinstance(name, str) else name.decode("ascii", "replace")

    def __setstate__(self, _):
        pass


class Array:
    """Stands for numpy.ndarray: its shape and its bytes."""

    def __init__(self, *_):
        self.shape, self.dtype, self.data = (), None, b""

    def __setstate__(self, state):
        _, self.shape, self.dtype, _, self.data = state


ALLOWED = {
    ("numpy", "dtype"): Dtype,
    ("numpy", "ndarray"): Array,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: Array(),
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin-1"),
}


class Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise Bad(f"holds {module}.{name}, expected arrays, lists and texts only")
        return ALLOWED[module, name]


def load(path):
    try:
        with open(path, "rb") as f:
            value = Reader(f, encoding="bytes").load()
    except Bad as e:
        raise Bad(f"{path}: {e}") from None
    except OSError as e:
        raise Bad(f"{path}: {e.strerror}") from None
    except Exception as e:  # a pickle may fail in many ways
        raise Bad(f"{path}: not a pickle of CIFAR: {e}") from None
    if not isinstance(value, dict):
        raise Bad(f"{path}: holds a {type(value).__name__}, expected a dictionary")
    return {k.decode() if isinstance(k, bytes) else k: v for k, v in value.items()}


def labels_of(path, batch, key, count, classes):
    labels = batch.get(key)
    if not isinstance(labels, list) or len(labels) != count:
        raise Bad(f"{path}: {key} has no list of {count} labels")
    for i, label in enumerate(labels):
        if not isinstance(label, int) or not 0 <= label < classes:
            raise Bad(f"{path}: {key} of image {i} is {label!r}, expected 0 to {classes - 1}")
    return labels


def records(path, batch, keys):
    """The binary records: the labels that `keys` name, then the pixels."""
    data = batch.get("data")
    if not isinstance(data, Array) or len(data.shape) != 2 or data.shape[1] != IMAGE:
        raise Bad(f"{path}: data is no array of N x {IMAGE} bytes")
    count = data.shape[0]
    pixels = data.data if isinstance(data.data, bytes) else bytes(data.data, "latin-1")
    if data.dtype is None or data.dtype.name != "u1" or len(pixels) != count * IMAGE:
        raise Bad(f"{path}: data has {len(pixels)} bytes, expected {count * IMAGE} of type u1")
    lists = [labels_of(path, batch, key, count, classes) for key, classes in keys]
    out = bytearray()
    for i in range(count):
        out += bytes(labels[i] for labels in lists)
        out += pixels[i * IMAGE:(i + 1) * IMAGE]
    return bytes(out)


def names_of(meta, path, key):
    names = meta.get(key)
    if not isinstance(names, list) or not all(isinstance(n, bytes) for n in names):
        raise Bad(f"{path}: {key} is no list of names")
    return b"".join(n + b"\n" for n in names)


def convert(source, target):
    hundred = os.path.exists(f"{source}/meta")
    if not hundred and not os.path.exists(f"{source}/batches.meta"):
        raise Bad(f"{source}: holds neither batches.meta (CIFAR-10) nor meta (CIFAR-100)")
    path = f"{source}/{'meta' if hundred else 'batches.meta'}"
    meta = load(path)
    if hundred:
        files = {f"{kind}_label_names.txt": names_of(meta, path, f"{kind}_label_names")
                 for kind in ("coarse", "fine")}
        keys, batches = [("coarse_labels", 20), ("fine_labels", 100)], CIFAR100
    else:
        files = {"batches.meta.txt": names_of(meta, path, "label_names")}
        keys, batches = [("labels", 10)], CIFAR10
    for name, out in batches:
        files[out] = records(f"{source}/{name}", load(f"{source}/{name}"), keys)
    try:
        os.makedirs(target)
        for name, data in files.items():
            with open(f"{target}/{name}", "xb") as f:
                f.write(data)
    except OSError as e:
        raise Bad(f"{e.filename}: {e.strerror}") from None
    return len(files)


def main():
    if len(sys.argv) != 3 or sys.argv[1].startswith("-"):
        print(__doc__.strip(), file=sys.stdout if "--help" in sys.argv else sys.stderr)
        return 0 if "--help" in sys.argv else 2
    try:
        n = convert(sys.argv[1].rstrip("/"), sys.argv[2].rstrip("/"))
    except Bad as e:
        print(f"convert-data: {e}", file=sys.stderr)
        return 1
    print(f"{n} files in {sys.argv[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
