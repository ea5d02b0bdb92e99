#!/usr/bin/env python3
"""Every command of docs/data.md runs as it stands there, on small data of the form that it names.

    test_data_page.py WEFT [NAME...]

A command that trains gets flags behind it that make it short. Uses the standard library only.
"""

import io
import os
import re
import shlex
import struct
import subprocess
import sys
import tarfile
import zipfile

import weft_command
from test_sources import image, npy, png, put
from weft_command import done, idx, tensors_bytes, write

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "data.md")
CLASSES = ("ant", "bee", "cat")
SHORT = ["-b", "4", "--threads", "2", "--max-steps", "1", "-j", "1"]
SMALL = ["--train-crop-size", "32", "--val-crop-size", "32"]  # where no size is asked for


def commands():
    with open(PAGE, encoding="utf-8") as f:
        blocks = re.findall(r"^```sh\n(.*?)^```", f.read(), re.S | re.M)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def make_photos(tmp):
    for split, count in (("train", 30), ("val", 15)):
        for i in range(count):
            side = 20 + i % 5  # of several sizes
            pixels = image(i, size=side, channels=3)
            put(f"{tmp}/photos/{split}/{CLASSES[i % 3]}/{i:03d}.png", png(pixels, side, side, 3))


def make_shards(tmp):
    os.makedirs(f"{tmp}/shards")
    write(f"{tmp}/shards/classes.txt", "\n".join(CLASSES).encode() + b"\n")
    for name, first in (("train-000000", 0), ("train-000001", 20), ("val-000000", 40)):
        with tarfile.open(f"{tmp}/shards/{name}.tar", "w") as tar:
            for i in range(first, first + 20):
                for suffix, data in ((".png", png(image(i, size=24, channels=3), 24, 24, 3)),
                                     (".cls", str(i % 3).encode())):
                    entry = tarfile.TarInfo(f"{i:04d}{suffix}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


def make_list(tmp):
    lines = [f"photos/train/{CLASSES[i % 3]}/{i:03d}.png,{CLASSES[i % 3]}" for i in range(30)]
    write(f"{tmp}/list.csv", "\n".join(lines).encode() + b"\n")


def make_cifar(tmp):
    def record(i, labels):
        return bytes(labels) + bytes((i * 37 + p) % 256 for p in range(3072))
    for n in range(1, 6):
        put(f"{tmp}/cifar-10-batches-bin/data_batch_{n}.bin",
            b"".join(record(i, [i % 10]) for i in range(10)))
    put(f"{tmp}/cifar-10-batches-bin/test_batch.bin", b"".join(record(i, [i % 10]) for i in range(20)))
    for kind, n in (("fine", 100), ("coarse", 20)):
        put(f"{tmp}/cifar-100-binary/{kind}_label_names.txt",
            "".join(f"{kind}{i}\n" for i in range(n)).encode())
    put(f"{tmp}/cifar-10-batches-bin/batches.meta.txt", "".join(f"c{i}\n" for i in range(10)).encode())
    for name in ("train", "test"):
        put(f"{tmp}/cifar-100-binary/{name}.bin",
            b"".join(record(i, [i % 20, i % 100]) for i in range(100)))
    for name in ("train", "test"):
        put(f"{tmp}/stl10_binary/{name}_X.bin", bytes(i % 251 for i in range(20 * 3 * 96 * 96)))
        put(f"{tmp}/stl10_binary/{name}_y.bin", bytes(i % 10 + 1 for i in range(20)))


def make_idx(folder, beginning):
    for split, n in (("train", 40), ("t10k" if beginning == "" else "test", 20)):
        pixels = b"".join(image(i, size=28) for i in range(n))
        put(f"{folder}/{beginning}{split}-images-idx3-ubyte", idx((n, 28, 28), pixels))
        put(f"{folder}/{beginning}{split}-labels-idx1-ubyte", idx((n,), bytes(i % 3 for i in range(n))))


def make_arrays(tmp):
    with zipfile.ZipFile(f"{tmp}/pathmnist.npz", "w") as z:
        for split, n in (("train", 40), ("val", 20), ("test", 20)):
            pixels = b"".join(image(i, size=28, channels=3) for i in range(n))
            z.writestr(f"{split}_images.npy", npy(pixels, (n, 28, 28, 3)))
            z.writestr(f"{split}_labels.npy", npy(bytes(i % 3 for i in range(n)), (n, 1)))
    pixels = b"".join(image(i, size=32, channels=3) for i in range(40))
    labels = struct.pack("<40q", *(i % 3 for i in range(40)))
    write(f"{tmp}/tensors.safetensors", tensors_bytes({
        "images": ("U8", [40, 3, 32, 32], pixels), "labels": ("I64", [40], labels)}))


def make_weights(tmp):
    done("train", "--data-path", "photos", "--model", "cifar_resnet20", *SHORT, *SMALL, "--output-dir",
         "run", cwd=tmp)
    done("train", "--data-path", "photos", "--model", "resnet18", *SHORT, *SMALL, "--output-dir",
         "first", cwd=tmp)
    os.rename(f"{tmp}/first/weights.safetensors", f"{tmp}/resnet18.safetensors")


def short(line):
    """The command with `weft` as it was built; a training is cut short."""
    words = shlex.split(line)
    at = words.index("weft")
    if words[at + 1] == "train":
        words += SHORT + ["--output-dir", "out", "--resume", "never", "--overwrite"]
        if "resnet18" in words and "--train-crop-size" not in words:
            words += SMALL
    words[at] = weft_command.WEFT
    return " ".join(w if w == "|" else shlex.quote(w) for w in words)


def test_every_command_of_the_page_runs(tmp):
    for make in (make_photos, make_shards, make_list, make_cifar, make_arrays, make_weights):
        make(tmp)
    make_idx(f"{tmp}/mnist", "")
    make_idx(f"{tmp}/emnist", "emnist-letters-")
    lines = commands()
    assert len(lines) > 20, lines
    for line in lines:
        r = subprocess.run(["bash", "-c", short(line)], cwd=tmp, text=True, timeout=300,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert r.returncode == 0, f"{line}: exit {r.returncode}: {r.stdout}{r.stderr}"
        if "weft train" in line:
            assert re.search(r"^data  \S.*\d+ training", r.stdout, re.M), (line, r.stdout)
    rows = open(f"{tmp}/predictions.csv", encoding="utf-8").read().splitlines()
    assert len(rows) == 16 and rows[0].startswith("path,class_1,probability_1"), rows[:2]
    assert "<img" in open(f"{tmp}/look.html", encoding="utf-8").read()


if __name__ == "__main__":
    weft_command.main(sys.argv, globals())
