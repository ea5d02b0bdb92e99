#!/usr/bin/env python3
"""PIL's half of test_pictures.py: makes files of all formats and variants, and compares pixels.

    picture_pil.py PICTURE_DRIVER FOLDER

Each file is decoded by PIL, with convert("RGB") and convert("L"), and by the driver. Prints, as the last
line, JSON: {group: {files, equal, refused (by both), examples: [why, ...]}}, and the versions of PIL's libraries.
"""

import json
import os
import subprocess
import sys

import numpy as np
import PIL
from PIL import Image, ImageOps, features

DRIVER, FOLDER = sys.argv[1:]
rng = np.random.default_rng(5)


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


def picture(h, w, c):
    """Smooth areas, edges and noise."""
    y, x = np.mgrid[0:h, 0:w]
    planes = [(x * (3 + i) + y * (5 - i) + 40 * ((x // 8 + y // 5 + i) % 3) + rng.integers(0, 20, (h, w))) % 256
              for i in range(c)]
    return np.stack(planes, -1).astype(np.uint8)


SIZES = [(1, 1), (5, 7), (16, 16), (33, 17), (100, 61), (1, 40), (64, 1)]


def image(h, w, mode):
    if mode == "1":
        return Image.fromarray(picture(h, w, 1)[:, :, 0] > 128)
    if mode == "P":
        return Image.fromarray(picture(h, w, 3)).quantize(37 if h % 2 else 256)
    if mode == "I;16":
        return Image.fromarray((picture(h, w, 1)[:, :, 0].astype(np.uint16) * 3))
    n = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    pixels = picture(h, w, n)
    return Image.fromarray(pixels[:, :, 0] if n == 1 else pixels, mode)


def saved(group, name, im, **options):
    folder = os.path.join(FOLDER, group)
    os.makedirs(folder, exist_ok=True)
    im.save(os.path.join(folder, name), **options)


def make_jpeg():
    for h, w in SIZES:
        for mode in ("L", "RGB", "CMYK"):
            for progressive in (False, True):
                for sub in (0, 1, 2):
                    saved("JPEG by PIL", f"{mode}-{progressive}-{sub}-{h}x{w}.jpg", image(h, w, mode),
                          quality=int(rng.integers(5, 100)), progressive=progressive, subsampling=sub,
                          restart_marker_rows=int(rng.integers(0, 3)))
    folder = os.path.join(FOLDER, "JPEG by libjpeg")
    os.makedirs(folder)
    subprocess.run([DRIVER, "jpegs", folder], check=True, stdout=subprocess.DEVNULL)


def make_png():
    for h, w in SIZES:
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            saved("PNG by PIL", f"{mode.replace(';', '')}-{h}x{w}.png", image(h, w, mode),
                  compress_level=int(rng.integers(0, 10)))


MAKERS = [make_jpeg, make_png]


def main():
    for make in MAKERS:
        make()
    driver = Driver()
    for group in sorted(os.listdir(FOLDER)):
        for name in sorted(os.listdir(os.path.join(FOLDER, group))):
            compare(driver, group, os.path.join(FOLDER, group, name))
    versions = {"PIL": PIL.__version__, "libjpeg-turbo": features.version_feature("libjpeg_turbo")}
    print(json.dumps({"groups": results, "versions": versions}))


if __name__ == "__main__":
    main()
