"""PIL's half of test_transforms.py: makes pictures, has the driver and PIL transform them, and prints
what differs as one line of JSON. Run by a Python that has PIL and numpy.

    transforms_pil.py TRANSFORM_DRIVER CASE [ARGUMENTS]
"""

import json
import subprocess
import sys

try:
    import numpy
    from PIL import Image
except ImportError as error:
    print(json.dumps({"skip": str(error)}))
    sys.exit(0)

DRIVER = sys.argv[1]
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def drive(jobs):
    """Runs (words, bytes, shape) jobs; the arrays that the driver answers."""
    text = b"".join(" ".join(map(str, words)).encode() + b"\n" + data for words, data, _ in jobs)
    run = subprocess.run([DRIVER], input=text, capture_output=True, timeout=300)
    if run.returncode:
        sys.exit(run.stderr.decode())
    answers, at = [], 0
    for _, _, shape in jobs:
        size = int(numpy.prod(shape))
        answers.append(numpy.frombuffer(run.stdout, numpy.uint8, size, at).reshape(shape))
        at += size
    if at != len(run.stdout):
        sys.exit(f"the driver wrote {len(run.stdout)} bytes, expected {at}")
    return answers


def picture(rng, channels, height, width):
    """Noise, gradients or edges: what rounds and clips in all ways."""
    kind = rng.integers(4)
    shape = (height, width, channels)
    if kind == 0:
        a = rng.integers(0, 256, shape)
    elif kind == 1:  # 0 and 255 only: bicubic overshoots
        a = rng.integers(0, 2, shape) * 255
    elif kind == 2:
        y, x = numpy.mgrid[:height, :width]
        a = (x[..., None] * rng.integers(1, 9, channels) + y[..., None] * 3) % 256
    else:  # blocks
        a = numpy.kron(rng.integers(0, 256, (height // 7 + 1, width // 7 + 1, channels)),
                       numpy.ones((7, 7, 1), int))[:height, :width]
    return a.astype(numpy.uint8)


def image_of(array):
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def planes_of(image):
    a = numpy.asarray(image)
    return a[None] if a.ndim == 2 else a.transpose(2, 0, 1)


def report(got, want, names):
    wrong = []
    for g, w, name in zip(got, want, names):
        if g.shape != w.shape:
            wrong.append(f"{name}: shape {g.shape}, PIL {w.shape}")
        elif (g != w).any():
            at = tuple(int(i) for i in numpy.argwhere(g != w)[0])
            wrong.append(f"{name}: {int((g != w).sum())} of {g.size} pixels, first at {at}: "
                         f"{g[at]}, PIL {w[at]}")
    print(json.dumps({"cases": len(names), "wrong": wrong[:10], "bad": len(wrong)}))


FILTERS = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST]


@case
def resize(count):
    """Random sizes, boxes with fractions, crops then resizes as torchvision's, and flips."""
    rng = numpy.random.default_rng(20)
    jobs, want, names = [], [], []
    for i in range(int(count)):
        channels = int(rng.choice([1, 3]))
        height, width = (int(v) for v in numpy.exp(rng.uniform(0, 5.3, 2)))
        out_h, out_w = (int(v) for v in numpy.exp(rng.uniform(0, 5, 2)))
        array = picture(rng, channels, height, width)
        top, left = int(rng.integers(height)), int(rng.integers(width))
        h, w = int(rng.integers(1, height - top + 1)), int(rng.integers(1, width - left + 1))
        if i % 4 == 0:
            top, left, h, w = 0, 0, height, width
        if i % 16 == 0:  # a dimension that stays
            out_h = h
        if i % 16 == 8:
            out_w = w
        box = (0.0, 0.0, float(w), float(h))
        if i % 2:  # PIL's own box, with fractions
            x = numpy.sort(rng.uniform(0, w, 2).astype(numpy.float32))
            y = numpy.sort(rng.uniform(0, h, 2).astype(numpy.float32))
            box = tuple(float(v) for v in (x[0], y[0], x[1], y[1]))
            if box[0] == box[2] or box[1] == box[3]:
                box = (0.0, 0.0, float(w), float(h))
        which = i % 3
        hflip, vflip = int(rng.integers(2)), int(rng.integers(2))
        image = image_of(array).crop((left, top, left + w, top + h))
        image = image.resize((out_w, out_h), FILTERS[which], box=box)
        if hflip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if vflip:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        words = ["resize", channels, height, width, top, left, h, w,
                 *(float(v).hex() for v in box), out_h, out_w, which, hflip, vflip]
        jobs.append((words, array.tobytes(), (channels, out_h, out_w)))
        want.append(planes_of(image))
        names.append(" ".join(map(str, words)))
    report(drive(jobs), want, names)


CASES[sys.argv[2]](*sys.argv[3:])
