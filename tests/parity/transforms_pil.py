"""PIL's half of test_transforms.py: makes pictures, has the driver and PIL transform them, and prints
what differs as one line of JSON. Run by a Python that has PIL, numpy and PyTorch.

    transforms_pil.py TRANSFORM_DRIVER CASE ...
"""

import json
import math
import subprocess
import sys

try:
    import numpy
    import torch
    from PIL import Image, ImageEnhance, ImageOps
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
    for words, _, shape in jobs:
        kind = numpy.float64 if words[0] in ("magnitudes", "draws") else numpy.uint8
        size = int(numpy.prod(shape))
        answers.append(numpy.frombuffer(run.stdout, kind, size, at).reshape(shape))
        at += size * answers[-1].itemsize
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
    return {"cases": len(names), "wrong": wrong[:10], "bad": len(wrong)}


FILTERS = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST]


@case
def resize(count=2000):
    """Random sizes, boxes with fractions, crops then resizes as torchvision's, and flips."""
    rng = numpy.random.default_rng(20)
    jobs, want, names = [], [], []
    for i in range(count):
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
    return report(drive(jobs), want, names)


# ---- ops -----------------------------------------------------------------------------------------

# torchvision's names in the order of data/transform/ops.h.
OPS = ["Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color",
       "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert"]
RA, TA_WIDE, IMAGENET = 1, 2, 3


def linspace(start, end, bins):
    return [float(v) for v in torch.linspace(start, end, bins)]


def magnitudes_of(policy, op, height, width):
    """torchvision's _augmentation_space, without signs; and whether it draws one."""
    bins = 10 if policy == IMAGENET else 31
    wide = policy == TA_WIDE
    if op in ("ShearX", "ShearY"):
        return linspace(0, 0.99 if wide else 0.3, bins), True
    if op == "TranslateX":
        return linspace(0, 32.0 if wide else 150.0 / 331.0 * width, bins), True
    if op == "TranslateY":
        return linspace(0, 32.0 if wide else 150.0 / 331.0 * height, bins), True
    if op == "Rotate":
        return linspace(0, 135.0 if wide else 30.0, bins), True
    if op in ("Brightness", "Color", "Contrast", "Sharpness"):
        return linspace(0, 0.99 if wide else 0.9, bins), True
    if op == "Posterize":
        most = 6 if wide else 4
        return [float(8 - v) for v in
                (torch.arange(bins) / ((bins - 1) / most)).round().int()], False
    if op == "Solarize":
        return linspace(255.0, 0.0, bins), False
    return [0.0] * bins, False


def affine(image, shear, translate, center, resample):
    """torchvision's functional.affine of a PIL image, angle 0, scale 1."""
    sx, sy = (math.radians(v) for v in shear)
    cx, cy = center
    tx, ty = translate
    a = math.cos(0.0 - sy) / math.cos(sy)
    b = -math.cos(0.0 - sy) * math.tan(sx) / math.cos(sy) - math.sin(0.0)
    c = math.sin(0.0 - sy) / math.cos(sy)
    d = -math.sin(0.0 - sy) * math.tan(sx) / math.cos(sy) + math.cos(0.0)
    matrix = [d, -b, 0.0, -c, a, 0.0]
    matrix[2] += matrix[0] * (-cx - tx) + matrix[1] * (-cy - ty)
    matrix[5] += matrix[3] * (-cx - tx) + matrix[4] * (-cy - ty)
    matrix[2] += cx
    matrix[5] += cy
    fill = 0 if image.mode == "L" else (0, 0, 0)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)


def hue(image, factor):
    if image.mode == "L":
        return image
    h, s, v = image.convert("HSV").split()
    shifted = numpy.array(h, numpy.uint8) + numpy.int32(factor * 255).astype(numpy.uint8)
    return Image.merge("HSV", (Image.fromarray(shifted), s, v)).convert("RGB")


def apply_op(image, op, magnitude, resample=Image.Resampling.NEAREST):
    """torchvision's _apply_op of a PIL image."""
    if op == "ShearX":
        return affine(image, [math.degrees(math.atan(magnitude)), 0.0], [0, 0], [0, 0],
                      resample)
    if op == "ShearY":
        return affine(image, [0.0, math.degrees(math.atan(magnitude))], [0, 0], [0, 0],
                      resample)
    centre = [image.width * 0.5, image.height * 0.5]
    if op == "TranslateX":
        return affine(image, [0.0, 0.0], [int(magnitude), 0], centre, resample)
    if op == "TranslateY":
        return affine(image, [0.0, 0.0], [0, int(magnitude)], centre, resample)
    if op == "Rotate":
        return image.rotate(magnitude, resample,
                            fillcolor=0 if image.mode == "L" else (0, 0, 0))
    if op in ("Brightness", "Color", "Contrast", "Sharpness"):
        return getattr(ImageEnhance, op)(image).enhance(1.0 + magnitude)
    if op == "Posterize":
        return ImageOps.posterize(image, int(magnitude))
    if op == "Solarize":
        return ImageOps.solarize(image, magnitude)
    if op in ("AutoContrast", "Equalize", "Invert"):
        return getattr(ImageOps, op.lower())(image)
    return image


@case
def magnitudes():
    """The tables of the three spaces."""
    jobs, want, names = [], [], []
    for policy in (RA, TA_WIDE, IMAGENET):
        for number, op in enumerate(OPS):
            for height, width in ((224, 224), (32, 32), (299, 171)):
                table, _ = magnitudes_of(policy, op, height, width)
                words = ["magnitudes", policy, number, height, width]
                jobs.append((words, b"", (31,)))
                want.append(numpy.array(table))
                names.append(f"{policy} {op} {height}x{width}")
    got = [g[:len(w)] for g, w in zip(drive(jobs), want)]
    return report(got, want, names)


@case
def ops():
    """Every op over its range of magnitudes, both signs, on pictures of odd sizes."""
    rng = numpy.random.default_rng(21)
    jobs, want, names = [], [], []
    sizes = [(32, 32), (37, 53), (64, 64), (2, 2), (1, 9), (3, 3), (224, 224)]
    for number, op in enumerate(OPS):
        for policy in (RA, TA_WIDE):
            for bin_ in range(31):
                height, width = sizes[(number + bin_) % len(sizes)]
                channels = 1 if bin_ % 4 == 3 else 3
                table, is_signed = magnitudes_of(policy, op, height, width)
                for sign in (1, -1) if is_signed else (1,):
                    array = picture(rng, channels, height, width)
                    magnitude = sign * table[bin_]
                    which = (bin_ + (sign > 0)) % 3
                    image = apply_op(image_of(array), op, magnitude, FILTERS[which])
                    data = numpy.ascontiguousarray(array.transpose(2, 0, 1)).tobytes()
                    words = ["op", number, magnitude.hex(), channels, height, width, which]
                    jobs.append((words, data, (channels, height, width)))
                    want.append(planes_of(image))
                    names.append(f"{op} {magnitude} {channels}x{height}x{width} filter {which}")
    return report(drive(jobs), want, names)


@case
def adjustments():
    """Factors beyond the policies' ranges, hues, grey, angles."""
    rng = numpy.random.default_rng(22)
    jobs, want, names = [], [], []
    for i in range(400):
        height, width = (int(v) for v in rng.integers(1, 70, 2))
        if i % 5 == 0:
            width = height
        channels = 1 if i % 4 == 3 else 3
        array = picture(rng, channels, height, width)
        image = image_of(array)
        what = ["brightness", "contrast", "saturation", "sharpness", "hue", "grey", "rotate"][i % 7]
        value = float(rng.uniform(0, 3))
        if what == "hue":
            value = float(rng.uniform(-0.5, 0.5))
            image = hue(image, value)
        elif what == "grey":
            grey = image.convert("L")
            image = grey if channels == 1 else Image.merge("RGB", (grey,) * 3)
        elif what == "rotate":
            value = float(rng.choice([rng.uniform(-180, 180), 90, 180, -90, 45]))
            image = apply_op(image, "Rotate", value)
        else:
            name = {"saturation": "Color"}.get(what, what.capitalize())
            image = getattr(ImageEnhance, name)(image).enhance(value)
        data = numpy.ascontiguousarray(array.transpose(2, 0, 1)).tobytes()
        jobs.append((["adjust", what, value.hex(), channels, height, width], data,
                     (channels, height, width)))
        want.append(planes_of(image))
        names.append(f"{what} {value} {channels}x{height}x{width}")
    return report(drive(jobs), want, names)


@case
def every_hue():
    """All colours of a coarse cube and all grey levels, under every shift of the hue."""
    levels = numpy.array(sorted({*range(0, 256, 17), 1, 2, 3, 127, 128, 254}))
    cube = numpy.stack(numpy.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    array = cube.astype(numpy.uint8)
    jobs, want, names = [], [], []
    for shift in range(-127, 128, 2):
        value = shift / 255 + (0.001 if shift >= 0 else -0.001)
        jobs.append((["adjust", "hue", value.hex(), 3, 1, array.shape[1]],
                     numpy.ascontiguousarray(array.transpose(2, 0, 1)).tobytes(),
                     (3, 1, array.shape[1])))
        want.append(planes_of(hue(image_of(array), value)))
        names.append(f"hue {shift}")
    return report(drive(jobs), want, names)


@case
def blur():
    """Gaussian blur beside a sum in double: rounding to the nearest level, and f32 sums whose error is
    below (taps + 1) 2^-23 of 255 in each direction."""
    rng = numpy.random.default_rng(23)
    jobs, exact, names = [], [], []
    for i in range(60):
        height, width = (int(v) for v in rng.integers(12, 60, 2))
        sigma, taps = float(rng.uniform(0.1, 3)), int(rng.choice([3, 5, 13, 23]))
        array = picture(rng, 3, height, width)
        x = numpy.arange(taps) - taps // 2
        weights = numpy.exp(-0.5 * (x / sigma) ** 2)
        weights /= weights.sum()
        padded = numpy.pad(array.astype(float), ((taps // 2,) * 2, (taps // 2,) * 2, (0, 0)),
                           "reflect")
        rows = sum(w * padded[:, t:t + width] for t, w in enumerate(weights))
        both = sum(w * rows[t:t + height] for t, w in enumerate(weights))
        data = numpy.ascontiguousarray(array.transpose(2, 0, 1)).tobytes()
        jobs.append((["adjust", f"blur{taps}", sigma.hex(), 3, height, width], data,
                     (3, height, width)))
        exact.append(both.transpose(2, 0, 1))
        names.append(f"sigma {sigma} taps {taps} {height}x{width}")
    wrong = []
    for got, want, (words, _, _), name in zip(drive(jobs), exact, jobs, names):
        bound = 0.5 + 2 * (int(words[1][4:]) + 1) * 2.0 ** -23 * 255
        error = float(abs(got - want).max())
        if error > bound:
            wrong.append(f"{name}: {error} from the exact result, at most {bound}")
    return {"cases": len(names), "wrong": wrong[:10], "bad": len(wrong)}


# ---- whole transforms ----------------------------------------------------------------------------


def resized_size(height, width, size):
    """torchvision's _compute_resized_output_size."""
    short, long = min(height, width), max(height, width)
    other = int(size * long / short)
    return (size, other) if height <= width else (other, size)


def center_crop(image, height, width):
    """torchvision's center_crop of a PIL image."""
    w, h = image.size
    if width > w or height > h:
        left, top = max(0, (width - w) // 2), max(0, (height - h) // 2)
        right, bottom = max(0, (width - w + 1) // 2), max(0, (height - h + 1) // 2)
        image = ImageOps.expand(image, (left, top, right, bottom))
        w, h = image.size
    top, left = int(round((h - height) / 2.0)), int(round((w - width) / 2.0))
    return image.crop((left, top, left + width, top + height))


@case
def evaluation(count=120):
    """Resize and CenterCrop, to ImageNet's 224 and to odd sizes larger than the picture."""
    rng = numpy.random.default_rng(24)
    jobs, want, names = [], [], []
    for i in range(count):
        height, width = (int(v) for v in rng.integers(20, 400, 2))
        channels = 1 if i % 5 == 4 else 3
        size, crop_h, crop_w = 256, 224, 224
        if i % 2:
            size, crop_h, crop_w = (int(v) for v in rng.integers(1, 120, 3))
        which = (i // 2) % 3
        array = picture(rng, channels, height, width)
        new_h, new_w = resized_size(height, width, size)
        image = image_of(array)
        if (new_h, new_w) != (height, width):
            image = image.resize((new_w, new_h), FILTERS[which])
        image = center_crop(image, crop_h, crop_w)
        words = ["apply", channels, height, width, 1, 2, i, f"height={crop_h}", f"width={crop_w}",
                 f"resize={size}", f"interpolation={which}"]
        jobs.append((words, array.tobytes(), (channels, crop_h, crop_w)))
        want.append(planes_of(image))
        names.append(" ".join(map(str, words)))
    return report(drive(jobs), want, names)


def training_steps(array, out, draw, which, fill):
    """PIL's pixels for what the driver says it drew."""
    top, left, h, w, hflip, vflip = (int(v) for v in draw[:6])
    image = image_of(array).crop((left, top, left + w, top + h))
    image = image.resize((out, out), FILTERS[which])
    if hflip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if vflip:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    for i in range(int(draw[22])):
        image = apply_op(image, OPS[int(draw[23 + 2 * i])], float(draw[24 + 2 * i]),
                         FILTERS[which])
    for which_op in draw[8:12].astype(int):
        factor = float(draw[12 + which_op])
        if which_op == 3:
            image = hue(image, factor)
        else:
            name = ["Brightness", "Contrast", "Color"][which_op]
            image = getattr(ImageEnhance, name)(image).enhance(factor)
    if draw[20]:
        grey = image.convert("L")
        image = grey if image.mode == "L" else Image.merge("RGB", (grey,) * 3)
    image = apply_op(image, "Rotate", float(draw[21]))
    planes = planes_of(image).copy()
    e_top, e_left, e_h, e_w = draw[16:20].astype(int)
    planes[:, e_top:e_top + e_h, e_left:e_left + e_w] = fill
    return planes


@case
def training(count=150):
    """Everything at once: what was drawn, done by PIL, gives the same image."""
    rng = numpy.random.default_rng(25)
    inputs, ask, jobs, names = [], [], [], []
    for i in range(count):
        height, width = (int(v) for v in rng.integers(10, 300, 2))
        channels, out, which = (1 if i % 5 == 4 else 3), int(rng.choice([32, 64, 101])), i % 3
        array = picture(rng, channels, height, width)
        members = [f"height={out}", f"width={out}", "random_crop=1", f"interpolation={which}",
                   "hflip=0.5", "vflip=0.5", f"auto_augment={i % 5}", "brightness=0.4",
                   "contrast=0.4", "saturation=1.5", "hue=0.3", "grey=0.3", "rotation=30",
                   "erase=0.5"]
        inputs.append((array, out, which))
        ask.append((["draws", height, width, 7, 3, i, *members], b"", (64,)))
        jobs.append((["apply", channels, height, width, 7, 3, i, *members], array.tobytes(),
                     (channels, out, out)))
        names.append(" ".join(map(str, jobs[-1][0])))
    want = [training_steps(array, out, draw, which, 0)
            for (array, out, which), draw in zip(inputs, drive(ask))]
    return report(drive(jobs), want, names)


print(json.dumps({name: CASES[name]() for name in sys.argv[2:]}))
