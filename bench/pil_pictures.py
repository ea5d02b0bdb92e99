#!/usr/bin/env python3
"""What images/picture/... of weft-bench does, done by PIL in one thread.

    pil_pictures.py [--seconds S]

Crops have RandomResizedCrop's distribution; each call takes another one, of another picture. Prints
images a second and microseconds an image, of processor time. Those named jpeg_... decode first: quality 90, 4:2:0.
"""

import argparse
import io
import math
import random
import time

import numpy
from PIL import Image, ImageEnhance

SIDE, WIDTH, HEIGHT = 224, 500, 375


def random_crop(rng):
    for _ in range(10):
        area = WIDTH * HEIGHT * rng.uniform(0.08, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= WIDTH and 0 < h <= HEIGHT:
            left, top = rng.randint(0, WIDTH - w), rng.randint(0, HEIGHT - h)
            return left, top, left + w, top + h
    return 0, 0, WIDTH, HEIGHT


def crop(filter_):
    return lambda image, box, rng: image.crop(box).resize((SIDE, SIDE), filter_)


def flip(image, box, rng):
    image = image.crop(box).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def planes(image, box, rng):
    """With what ToTensor's uint8 part does: to planes."""
    return numpy.ascontiguousarray(numpy.asarray(flip(image, box, rng)).transpose(2, 0, 1))


def jitter(image, box, rng):
    image = flip(image, box, rng)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.6, 1.4))
    h, s, v = image.convert("HSV").split()
    h = Image.fromarray(numpy.asarray(h) + numpy.uint8(rng.randrange(256)))
    return Image.merge("HSV", (h, s, v)).convert("RGB")


def evaluation(image, box, rng):
    image = image.resize((int(256 * WIDTH / HEIGHT), 256), Image.Resampling.BILINEAR)
    left, top = round((image.width - SIDE) / 2), round((image.height - SIDE) / 2)
    return image.crop((left, top, left + SIDE, top + SIDE))


CASES = {"crop_bilinear": crop(Image.Resampling.BILINEAR),
         "crop_bicubic": crop(Image.Resampling.BICUBIC),
         "crop_nearest": crop(Image.Resampling.NEAREST),
         "crop_flip": flip, "crop_flip_planes": planes, "crop_flip_jitter": jitter,
         "evaluation_256_224": evaluation, "jpeg_crop_flip_planes": planes,
         "jpeg_evaluation_256_224": evaluation}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2)
    args = parser.parse_args()
    rng = random.Random(1)
    noise = numpy.random.default_rng(1)
    pictures, jpegs = [], []
    for _ in range(16):
        small = noise.integers(0, 256, (HEIGHT // 5, WIDTH // 5, 3), dtype=numpy.uint8)
        image = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90)
        pictures.append(image)
        jpegs.append(file.getvalue())
    for name, run in CASES.items():
        n, start = 0, time.process_time()
        while time.process_time() - start < args.seconds:
            image = pictures[n % 16]
            if name.startswith("jpeg"):
                image = Image.open(io.BytesIO(jpegs[n % 16])).convert("RGB")
            run(image, random_crop(rng), rng)
            n += 1
        each = (time.process_time() - start) / n
        print(f"{name:24} {1 / each:8.0f} img/s {each * 1e6:8.1f} us/img")


if __name__ == "__main__":
    main()
