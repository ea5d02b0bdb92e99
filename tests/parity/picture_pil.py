#!/usr/bin/env python3
"""PIL's half of test_pictures.py: compares the pixels of files of all formats and variants.

    picture_pil.py PICTURE_DRIVER FOLDER

Each file is decoded by PIL, with convert("RGB") and convert("L"), and by the driver. Prints, as the last
line, JSON: {group: {files, equal, refused, examples: [why, ...]}}, and the versions of PIL's libraries.
"""

import json
import os
import subprocess
import sys

import numpy as np
import PIL
from PIL import Image, ImageOps, features

import picture_files

DRIVER, FOLDER = sys.argv[1:]


class Driver:
    def __init__(self):
        self.process = subprocess.Popen([DRIVER, "decode"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def decode(self, path, channels=3, exif=0, fast=0, limit=0):
        """An array (H, W, C), or the error's text."""
        self.process.stdin.write(f"{channels} {exif} {fast} {limit} {path}\n".encode())
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode()
        kind, _, rest = answer.rstrip("\n").partition(" ")
        if kind == "error":
            return rest
        if kind != "picture":
            raise AssertionError(f"{path}: the driver ended: {answer!r}")
        h, w, c = map(int, rest.split())
        return np.frombuffer(self.process.stdout.read(h * w * c), np.uint8).reshape(h, w, c)


def by_pil(path, mode, exif=False):
    """An array (H, W, C), or the error's text."""
    try:
        with Image.open(path) as image:
            image.load()
            if exif:
                image = ImageOps.exif_transpose(image)
            pixels = np.asarray(image.convert(mode))
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


results = {}


def compare(driver, group, path, exif=False):
    r = results.setdefault(group, {"files": 0, "equal": 0, "refused": 0, "examples": []})
    r["files"] += 1
    why = None
    for mode, channels in (("RGB", 3), ("L", 1)):
        if mode == "L" and os.path.basename(path).startswith(("ycbcr", "YCbCr-None")):
            continue  # PIL gives Y, which is not the grey of its RGB
        theirs = by_pil(path, mode, exif)
        ours = driver.decode(path, channels, int(exif))
        if isinstance(theirs, str) or isinstance(ours, str):
            if not (isinstance(theirs, str) and isinstance(ours, str)):
                why = (f"{mode}: PIL {theirs if isinstance(theirs, str) else theirs.shape}, "
                       f"Weft {ours if isinstance(ours, str) else ours.shape}")
            elif mode == "L":
                r["refused"] += 1
        elif theirs.shape != ours.shape:
            why = f"{mode}: PIL {theirs.shape}, Weft {ours.shape}"
        elif not np.array_equal(theirs, ours):
            d = np.abs(theirs.astype(int) - ours)
            at = tuple(int(i) for i in np.unravel_index(d.argmax(), d.shape))
            why = (f"{mode}: {np.count_nonzero(d)} of {d.size} differ, by at most {d.max()}, at {at}: "
                   f"PIL {theirs[at]}, Weft {ours[at]}")
    if why:
        r["examples"].append(f"{os.path.basename(path)}: {why}")
    else:
        r["equal"] += 1


def compare_cut(driver, group, path, share):
    """A copy that ends early is refused, or has all pixels; and PIL's, where PIL takes it, too."""
    with open(path, "rb") as f:
        data = f.read()
    copy = os.path.join(FOLDER, "cut short")
    with open(copy, "wb") as f:
        f.write(data[:int(len(data) * share)])
    r = results.setdefault(group + ", cut short", {"files": 0, "equal": 0, "refused": 0, "examples": []})
    r["files"] += 1
    theirs, ours, whole = by_pil(copy, "RGB"), driver.decode(copy), driver.decode(path)
    if isinstance(ours, str):
        r["refused"] += 1
        r["equal"] += 1
    elif np.array_equal(ours, whole) and (isinstance(theirs, str) or np.array_equal(ours, theirs)):
        r["equal"] += 1
    else:
        r["examples"].append(f"{os.path.basename(path)}: {share} of it is taken, with other pixels")


def main():
    picture_files.make_all(FOLDER, DRIVER)
    driver = Driver()
    for group in sorted(os.listdir(FOLDER)):
        names = sorted(os.listdir(os.path.join(FOLDER, group)))
        for name in names:
            path = os.path.join(FOLDER, group, name)
            compare(driver, group, path)
            if group == "EXIF":
                compare(driver, "EXIF, turned", path, exif=True)
        # The last number of a plain PNM may lose digits, and nobody knows.
        for i, name in enumerate([n for n in names if not n.startswith(("P2", "P3"))][::9]):
            compare_cut(driver, group, os.path.join(FOLDER, group, name), (0.5, 0.9, 0.99)[i % 3])
    versions = {"PIL": PIL.__version__, "libjpeg-turbo": features.version_feature("libjpeg_turbo")}
    print(json.dumps({"groups": results, "versions": versions}))


if __name__ == "__main__":
    main()
