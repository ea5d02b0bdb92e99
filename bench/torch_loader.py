#!/usr/bin/env python3
"""What `weft-bench --load` does, by PyTorch's DataLoader: RandomResizedCrop, mirroring, bytes.

    torch_loader.py PATH [-j N] [--batch N] [--size S] [--seconds X]

PATH is a class folder, or holds one named train. With torchvision the pictures go through its ImageFolder and its
transforms. Where it cannot be imported, its steps are written out with PIL. Prints one JSON object; pss_mb counts
what processes share once.
"""

import argparse
import json
import math
import os
import statistics
import time

import numpy
import torch
from PIL import Image

try:
    import torchvision
except (ImportError, RuntimeError):
    torchvision = None

PIECE = 512  # images that one figure is of, at least, as in bench/load.c


def read(path):
    with open(path, "rb") as f:
        return Image.open(f).convert("RGB")


class Steps:
    """torchvision's RandomResizedCrop, RandomHorizontalFlip and PILToTensor."""

    def __init__(self, size):
        self.size = size

    @staticmethod
    def box(width, height):
        for _ in range(10):
            area = width * height * float(torch.empty(1).uniform_(0.08, 1))
            ratio = math.exp(float(torch.empty(1).uniform_(math.log(3 / 4), math.log(4 / 3))))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                y = int(torch.randint(0, height - h + 1, (1,)))
                x = int(torch.randint(0, width - w + 1, (1,)))
                return x, y, x + w, y + h
        return 0, 0, width, height

    def __call__(self, image):
        image = image.crop(self.box(*image.size))
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        if float(torch.rand(1)) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(numpy.array(image)).permute(2, 0, 1).contiguous()


class Folder(torch.utils.data.Dataset):
    def __init__(self, path, transform):
        self.classes = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
        self.files = [(os.path.join(folder, name), label)
                      for label, c in enumerate(self.classes)
                      for folder, _, names in os.walk(os.path.join(path, c)) for name in sorted(names)]
        self.transform = transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        path, label = self.files[i]
        return self.transform(read(path)), label


def dataset(path, size):
    if torchvision is None:
        return Folder(path, Steps(size))
    t = torchvision.transforms
    steps = t.Compose([t.RandomResizedCrop(size), t.RandomHorizontalFlip(), t.PILToTensor()])
    return torchvision.datasets.ImageFolder(path, steps)


def batches(loader):
    while True:
        for images, _ in loader:
            yield len(images)


def piece(counts):
    start, images = time.perf_counter(), 0
    while images < PIECE:
        images += next(counts)
    return images / (time.perf_counter() - start)


def pss_mb(pids):
    kib = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            kib += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return kib / 1024


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("path")
    p.add_argument("-j", "--workers", type=int, default=0, help="processes; 0: this one")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--size", type=int, default=224)
    p.add_argument("--seconds", type=float, default=5)
    args = p.parse_args()
    torch.set_num_threads(1)
    inside = os.path.join(args.path, "train")
    data = dataset(inside if os.path.isdir(inside) else args.path, args.size)
    loader = torch.utils.data.DataLoader(data, args.batch, shuffle=True, num_workers=args.workers,
                                         persistent_workers=args.workers > 0)
    counts = batches(loader)
    piece(counts)
    begin, rates = time.perf_counter(), []
    while not rates or time.perf_counter() - begin < args.seconds:
        rates.append(piece(counts))
    children = open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii").read().split()
    print(json.dumps({"path": args.path, "batch": args.batch, "size": args.size,
                      "workers": args.workers, "img_per_s": statistics.median(rates),
                      "by": f"torchvision {torchvision.__version__}" if torchvision else "PIL",
                      "pss_mb": pss_mb([os.getpid(), *children])}))


if __name__ == "__main__":
    main()
