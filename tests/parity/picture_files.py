"""Picture files for picture_pil.py: those that PIL writes, and those it cannot, byte by byte.

make_all(FOLDER, DRIVER) writes FOLDER/GROUP/NAME. Everything is a function of the seed.
"""

import os
import struct
import subprocess
import zlib

import numpy as np
from PIL import Image

SIZES = [(1, 1), (5, 7), (16, 16), (33, 17), (100, 61), (1, 40), (64, 1)]
rng = np.random.default_rng(5)
root = None


def picture(h, w, c):
    """Smooth areas, edges and noise."""
    y, x = np.mgrid[0:h, 0:w]
    planes = [(x * (3 + i) + y * (5 - i) + 40 * ((x // 8 + y // 5 + i) % 3) + rng.integers(0, 20, (h, w))) % 256
              for i in range(c)]
    return np.stack(planes, -1).astype(np.uint8)


def image(h, w, mode):
    if mode == "1":
        return Image.fromarray(picture(h, w, 1)[:, :, 0] > 128)
    if mode == "P":
        return Image.fromarray(picture(h, w, 3)).quantize(37 if h % 2 else 256)
    if mode == "I;16":
        return Image.fromarray(picture(h, w, 1)[:, :, 0].astype(np.uint16) * 3)
    n = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    pixels = picture(h, w, n)
    return Image.frombytes(mode, (w, h), pixels.tobytes())


def path(group, name):
    os.makedirs(os.path.join(root, group), exist_ok=True)
    return os.path.join(root, group, name)


def saved(group, name, im, **options):
    im.save(path(group, name), **options)


def written(group, name, *parts):
    with open(path(group, name), "wb") as f:
        f.write(b"".join(parts))


# ---- JPEG ----------------------------------------------------------------------------------------


def make_jpeg(driver):
    for h, w in SIZES:
        for mode in ("L", "RGB", "CMYK"):
            for progressive in (False, True):
                for sub in (0, 1, 2):
                    saved("JPEG by PIL", f"{mode}-{progressive}-{sub}-{h}x{w}.jpg", image(h, w, mode),
                          quality=int(rng.integers(5, 100)), progressive=progressive, subsampling=sub,
                          restart_marker_rows=int(rng.integers(0, 3)))
    subprocess.run([driver, "jpegs", os.path.dirname(path("JPEG by libjpeg", "x"))], check=True,
                   stdout=subprocess.DEVNULL)
    # Bytes after the image, and before its end, do not matter.
    for name in sorted(os.listdir(os.path.join(root, "JPEG by libjpeg")))[::29]:
        with open(path("JPEG by libjpeg", name), "rb") as f:
            data = f.read()
        written("JPEG with more behind", name, data, b"\0\xff\xd8garbage" * 9)


# ---- PNG -----------------------------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(w, h, bits, kind, rows, interlace=0, before=b"", after=b""):
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, kind, 0, 0, interlace))
            + before + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b""))


def packed(samples, bits):
    """Rows of samples (H, N) as PNG stores them, filter 0."""
    out = b""
    for row in samples:
        if bits == 16:
            line = row.astype(">u2").tobytes()
        elif bits == 8:
            line = row.astype(np.uint8).tobytes()
        else:
            b = "".join(format(int(v), f"0{bits}b") for v in row)
            b += "0" * (-len(b) % 8)
            line = bytes(int(b[i:i + 8], 2) for i in range(0, len(b), 8))
        out += b"\0" + line
    return out


ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def make_png(driver):
    for h, w in SIZES:
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            saved("PNG by PIL", f"{mode.replace(';', '')}-{h}x{w}.png", image(h, w, mode),
                  compress_level=int(rng.integers(0, 10)))
    for kind, samples, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (3, 1, (1, 2, 4, 8)),
                                  (4, 2, (8, 16)), (6, 4, (8, 16))):
        for bits in depths:
            for h, w in ((1, 1), (3, 5), (9, 17), (40, 31)):
                v = rng.integers(0, 1 << bits, (h, w, samples))
                colours = rng.integers(0, 256, (1 << min(bits, 8), 3))
                before = chunk(b"gAMA", struct.pack(">I", 45455))
                if kind == 3:
                    if bits == 8:
                        colours = colours[:200]  # the rest is black
                    before += chunk(b"PLTE", colours.astype(np.uint8).tobytes())
                    before += chunk(b"tRNS", rng.integers(0, 256, len(colours)).astype(np.uint8).tobytes())
                elif kind == 0:
                    before += chunk(b"tRNS", struct.pack(">H", int(v[0, 0, 0])))
                elif kind == 2:
                    before += chunk(b"tRNS", struct.pack(">HHH", *(int(i) for i in v[0, 0])))
                flat = packed(v.reshape(h, -1), bits)
                name = f"type{kind}-{bits}bit-{h}x{w}"
                written("PNG of each depth", name + ".png", png(w, h, bits, kind, flat, 0, before))
                passes = b"".join(
                    packed(v[y0::dy, x0::dx].reshape(len(v[y0::dy]), -1), bits) for y0, x0, dy, dx in ADAM7
                    if v[y0::dy, x0::dx].size)
                written("PNG of each depth", name + "-interlaced.png", png(w, h, bits, kind, passes, 1, before))
    frames = [image(20, 30, "RGB") for _ in range(3)]
    saved("PNG animated", "rgb.png", frames[0], save_all=True, append_images=frames[1:])
    saved("PNG animated", "hidden.png", frames[0], save_all=True, append_images=frames[1:], default_image=True)


# ---- WebP ----------------------------------------------------------------------------------------


def make_webp(driver):
    for h, w in SIZES + [(150, 130)]:
        for mode in ("RGB", "RGBA"):
            for i, options in enumerate(({"quality": 80}, {"quality": 5}, {"quality": 100, "method": 6},
                                         {"lossless": True}, {"lossless": True, "exact": True},
                                         {"quality": 50, "alpha_quality": 30})):
                saved("WebP", f"{mode}-{h}x{w}-{i}.webp", image(h, w, mode), **options)
    for mode in ("RGB", "RGBA"):
        frames = [image(40, 30, mode) for _ in range(3)]
        for lossless in (False, True):
            saved("WebP animated", f"{mode}-{lossless}.webp", frames[0], save_all=True,
                  append_images=frames[1:], lossless=lossless)
    # A first frame that is smaller than the canvas: cut out of a still picture's file.
    for lossless in (False, True):
        saved("WebP animated", "still", image(10, 8, "RGB"), format="WebP", lossless=lossless)
        with open(path("WebP animated", "still"), "rb") as f:
            still = f.read()[12:]
        os.remove(path("WebP animated", "still"))
        frame = (struct.pack("<I", 2)[:3] + struct.pack("<I", 3)[:3] + struct.pack("<I", 7)[:3] +
                 struct.pack("<I", 9)[:3] + struct.pack("<I", 100)[:3] + b"\0" + still)
        body = (b"VP8X" + struct.pack("<IB3x", 10, 2) + struct.pack("<I", 20)[:3] + struct.pack("<I", 30)[:3]
                + b"ANIM" + struct.pack("<IIH", 6, 0xff112233, 0) + b"ANMF" + struct.pack("<I", len(frame)) + frame)
        written("WebP animated", f"inset-{lossless}.webp", b"RIFF", struct.pack("<I", len(body) + 4), b"WEBP", body)


# ---- BMP -----------------------------------------------------------------------------------------


def bmp(w, h, bits, data, palette=b"", compression=0, colours=0, top_down=False, header=40, masks=b"", gap=0):
    if header == 12:
        info = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, w, -h if top_down else h, 1, bits, compression, len(data),
                           2835, 2835, colours, 0)
        if header > 40:
            info = (info + masks).ljust(header, b"\0")
        else:
            info += masks
    offset = 14 + len(info) + len(palette) + gap
    return (b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + palette + b"\0" * gap + data)


def bmp_rows(numbers, bits):
    """Rows of numbers, bottom first, in as few bits as they have, padded to 4 bytes."""
    out = b""
    for row in numbers[::-1]:
        b = "".join(format(int(v), f"0{bits}b") for v in row)
        if bits > 8:
            line = b"".join(int(v).to_bytes(bits // 8, "little") for v in row)
        else:
            b += "0" * (-len(b) % 8)
            line = bytes(int(b[i:i + 8], 2) for i in range(0, len(b), 8))
        out += line + b"\0" * (-len(line) % 4)
    return out


def runs(numbers, bits):
    """RLE of rows, bottom first, with all kinds of codes; what is skipped is colour 0."""
    h, w = numbers.shape
    out = bytearray()
    flat = numbers[::-1]

    def pack(values):
        if bits == 8:
            return bytes(int(v) for v in values)
        values = list(values) + [0] * (len(values) % 2)
        return bytes(int(a) << 4 | int(b) for a, b in zip(values[::2], values[1::2]))

    for y in range(h):
        x = 0
        while x < w:
            n = int(min(w - x, rng.integers(1, 12)))
            kind = rng.integers(0, 4)
            if kind == 0 and n >= 3:  # as they are
                body = pack(flat[y, x:x + n])
                out += bytes((0, n)) + body + b"\0" * (len(body) % 2)
            elif kind == 1 and x + n < w:  # a step to the right
                out += bytes((0, 2, n, 0))
                flat[y, x:x + n] = 0
            else:
                first = int(flat[y, x])
                second = int(flat[y, min(x + 1, w - 1)]) if bits == 4 else first
                for i in range(n):
                    flat[y, x + i] = second if i % 2 else first
                out += bytes((n, first << 4 | second if bits == 4 else first))
            x += n
        out += b"\0\0"
    return bytes(out + b"\0\1")


def make_bmp(driver):
    for h, w in SIZES:
        for mode in ("1", "L", "P", "RGB", "RGBA"):
            saved("BMP by PIL", f"{mode}-{h}x{w}.bmp", image(h, w, mode))
        for bits in (1, 4, 8, 16, 24, 32):
            numbers = rng.integers(0, 1 << bits, (h, w))
            colours = rng.integers(0, 256, (1 << bits if bits <= 8 else 0, 4)).astype(np.uint8)
            rows = bmp_rows(numbers, bits)
            short = colours[:, :3].tobytes()
            written("BMP of each depth", f"{bits}-{h}x{w}.bmp", bmp(w, h, bits, rows, colours.tobytes()))
            written("BMP of each depth", f"{bits}-top-{h}x{w}.bmp",
                    bmp(w, h, bits, rows, colours.tobytes(), top_down=True))
            written("BMP of each depth", f"{bits}-gap-{h}x{w}.bmp",
                    bmp(w, h, bits, rows, colours.tobytes(), header=124, gap=9))
            written("BMP of each depth", f"{bits}-os2-{h}x{w}.bmp", bmp(w, h, bits, rows, short, header=12))
            if bits == 8:
                written("BMP of each depth", f"{bits}-few-{h}x{w}.bmp",
                        bmp(w, h, bits, rows, colours[:77].tobytes(), colours=77))
            if bits in (4, 8):
                written("BMP with runs", f"{bits}-{h}x{w}.bmp",
                        bmp(w, h, bits, runs(numbers, bits), colours.tobytes(), compression=1 if bits == 8 else 2))
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, 1)
    written("BMP of each depth", "grey.bmp", bmp(9, 7, 8, bmp_rows(rng.integers(0, 256, (7, 9)), 8), grey.tobytes()))
    for bits, fields in ((32, (0xff0000, 0xff00, 0xff, 0)), (32, (0xff000000, 0xff0000, 0xff00, 0)),
                         (32, (0xff, 0xff00, 0xff0000, 0xff000000)), (32, (0xff0000, 0xff00, 0xff, 0xff000000)),
                         (32, (0xff000000, 0xff00, 0xff, 0)), (16, (0xf800, 0x7e0, 0x1f, 0)),
                         (16, (0x7c00, 0x3e0, 0x1f, 0)), (24, (0xff0000, 0xff00, 0xff, 0)),
                         (32, (0, 0, 0, 0)), (16, (0xf000, 0xf00, 0xf0, 0))):
        rows = bmp_rows(rng.integers(0, 1 << bits, (6, 11)), bits)
        for header in (40, 56, 108, 124):
            if header == 40 and fields[3]:
                continue
            masks = struct.pack("<IIII", *fields)[:12 if header == 40 else 16]
            written("BMP with bit fields", f"{bits}-{fields[0]:x}-{fields[3]:x}-{header}.bmp",
                    bmp(11, 6, bits, rows, compression=3, header=header, masks=masks))


# ---- PNM -----------------------------------------------------------------------------------------


def make_pnm(driver):
    for h, w in SIZES:
        for mode in ("1", "L", "RGB", "I;16"):
            saved("PNM by PIL", f"{mode.replace(';', '')}-{h}x{w}.ppm", image(h, w, mode))
        for greatest in (1, 2, 15, 100, 254, 255, 256, 1000, 4095, 65534, 65535):
            for kind, samples in ((2, 1), (3, 3), (5, 1), (6, 3)):
                v = rng.integers(0, greatest + 1, h * w * samples)
                if kind > 3 and greatest in (100, 1000):
                    v += rng.integers(0, 2, len(v)) * 20  # beyond the greatest
                if kind <= 3:
                    body = "".join(f"{i}{' ' if j % 11 else chr(10)}" for j, i in enumerate(v)).encode()
                    body = body.replace(b"\n", b"\n# 12 comment\n", 1)
                else:
                    body = v.astype(">u2" if greatest > 255 else np.uint8).tobytes()
                written("PNM of each kind", f"P{kind}-{greatest}-{h}x{w}.pnm",
                        f"P{kind}\n# a comment\n{w}\t{h}\n{greatest}\n".encode(), body)
        bits = rng.integers(0, 2, (h, w))
        written("PNM of each kind", f"P1-{h}x{w}.pbm", f"P1 {w} {h}\n".encode(),
                "\n".join("".join(map(str, row)) for row in bits).encode())
        written("PNM of each kind", f"P4-{h}x{w}.pbm", f"P4\n{w} {h}\n".encode(),
                np.packbits(bits, axis=1).tobytes())


# ---- TIFF ----------------------------------------------------------------------------------------


def tiff(w, h, tags, strips, big_endian=False, tiled=False):
    """One IFD with these tags {tag: (type, values)}, and strips or tiles of bytes."""
    e = ">" if big_endian else "<"
    sizes = {1: "B", 3: "H", 4: "I"}
    data = b"".join(strips)
    offsets = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    tags = {256: (4, [w]), 257: (4, [h]), **tags,
            (324 if tiled else 273): (4, offsets), (325 if tiled else 279): (4, [len(s) for s in strips])}
    at = 8 + len(data) + len(data) % 2
    ifd = struct.pack(e + "H", len(tags))
    behind = b""
    for tag in sorted(tags):
        kind, values = tags[tag]
        body = struct.pack(e + sizes[kind] * len(values), *values)
        if len(body) > 4:
            where = at + 2 + 12 * len(tags) + 4 + len(behind)
            behind += body + b"\0" * (len(body) % 2)
            body = struct.pack(e + "I", where)
        ifd += struct.pack(e + "HHI", tag, kind, len(values)) + body.ljust(4, b"\0")
    head = (b"MM" if big_endian else b"II") + struct.pack(e + "HI", 42, at)
    return head + data + b"\0" * (len(data) % 2) + ifd + struct.pack(e + "I", 0) + behind


def tiff_cases():
    """(name, photometric, bits, samples, more tags)"""
    for photometric in (0, 1):
        for bits in (1, 2, 4, 8, 16):
            yield f"grey{photometric}-{bits}", photometric, bits, 1, {}
    yield "grey-12", 1, 12, 1, {}
    yield "grey-32", 1, 32, 1, {}
    yield "grey-float", 1, 32, 1, {339: (3, [3])}
    yield "grey-signed-16", 1, 16, 1, {339: (3, [2])}
    yield "grey-signed-32", 1, 32, 1, {339: (3, [2])}
    for extra in (0, 1, 2):
        yield f"grey-extra{extra}", 1, 8, 2, {338: (3, [extra])}
        for bits in (8, 16):
            yield f"rgb{bits}-extra{extra}", 2, bits, 4, {338: (3, [extra])}
    yield "rgb-5", 2, 8, 5, {338: (3, [2, 0])}
    for bits in (8, 16):
        yield f"rgb{bits}", 2, bits, 3, {}
        yield f"rgba{bits}", 2, bits, 4, {}
        yield f"cmyk{bits}", 5, bits, 4, {}
    yield "ycbcr", 6, 8, 3, {530: (3, [1, 1])}
    yield "cmyk-5", 5, 8, 5, {338: (3, [0])}
    for bits in (1, 2, 4, 8):
        yield f"palette-{bits}", 3, bits, 1, {320: (3, [int(i) for i in rng.integers(0, 65536, 3 << bits)])}


# PIL does not open the first, and reads the second with their bytes exchanged. In planes, it divides the third by
# an alpha that nothing says they were multiplied by, and does not open the last.
NOT_BIG = ("grey-12", "grey-32", "grey0-16")
NOT_BIG_DEFLATED = ("grey-float", "grey-signed-16", "grey-signed-32")
NOT_IN_PLANES = ("rgba8", "rgba16", "rgb-5")


def tiff_bytes(v, bits, big_endian, as_float):
    if as_float:
        return (v / 7 - 10).astype((">" if big_endian else "<") + "f4").tobytes()
    if bits in (16, 32):
        return v.astype((">" if big_endian else "<") + f"u{bits // 8}").tobytes()
    return b"".join(line[1:] for line in (packed(row[None], bits) for row in v))


def make_tiff(driver):
    for name, photometric, bits, samples, more in tiff_cases():
        for big_endian in (False, True):
            for how in ("strips", "tiles", "planes", "deflate", "turned"):
                h, w = 37, 43
                most = 600 if bits in (16, 32) and samples == 1 and rng.integers(0, 2) else (1 << bits)
                v = rng.integers(0, most, (h, w, samples))
                tags = {258: (3, [bits] * samples), 262: (3, [photometric]), 277: (3, [samples]), **more}

                def data(part):
                    raw = tiff_bytes(part.reshape(len(part), -1), bits, big_endian, name == "grey-float")
                    return zlib.compress(raw) if how == "deflate" else raw

                if big_endian and (name in NOT_BIG or (how == "deflate" and name in NOT_BIG_DEFLATED)):
                    continue
                if how == "tiles":
                    full = np.zeros((48, 48, samples), v.dtype)
                    full[:h, :w] = v
                    strips = [data(full[y:y + 16, x:x + 16]) for y in range(0, 48, 16) for x in range(0, 48, 16)]
                    tags.update({322: (4, [16]), 323: (4, [16])})
                elif how == "planes":
                    if samples == 1 or name in NOT_IN_PLANES:
                        continue
                    tags.update({284: (3, [2]), 278: (4, [10]), 259: (3, [8])})
                    strips = [zlib.compress(data(v[y:y + 10, :, c:c + 1])) for c in range(samples)
                              for y in range(0, h, 10)]
                else:
                    tags[278] = (4, [10])
                    strips = [data(v[y:y + 10]) for y in range(0, h, 10)]
                    if how == "deflate":
                        tags[259] = (3, [8])
                    if how == "turned":
                        tags[274] = (3, [int(rng.integers(2, 9))])
                written("TIFF of each kind", f"{name}-{how}-{'big' if big_endian else 'little'}.tif",
                        tiff(w, h, tags, strips, big_endian, how == "tiles"))
    for h, w in SIZES[2:5]:
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"):
            for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4", "zstd",
                                "lzma"):
                if (compression == "group4" and mode != "1") or (compression == "jpeg" and mode not in "L RGB CMYK"):
                    continue
                im = image(h, w, mode)
                if mode == "RGB":
                    saved("TIFF by PIL", f"YCbCr-{compression}-{h}x{w}.tif", im.convert("YCbCr"),
                          compression=compression)
                saved("TIFF by PIL", f"{mode.replace(';', '')}-{compression}-{h}x{w}.tif", im,
                      compression=compression)


# ---- EXIF ----------------------------------------------------------------------------------------


def exif_block(orientation, big=False):
    """A TIFF header and an IFD that has other entries around the orientation."""
    e = ">" if big else "<"
    entries = [(0x0100, 3, 1, 77), (0x010f, 2, 3, None), (0x0112, 3, 1, orientation), (0x0128, 3, 1, 2)]
    body = struct.pack(e + "H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(e + "HHI", tag, kind, count)
        body += b"me\0\0" if value is None else struct.pack(e + "HH", value, 0)
    return (b"MM" if big else b"II") + struct.pack(e + "HI", 42, 8) + body + b"\0\0\0\0"


def make_exif(driver):
    """Orientations 0 to 9: those outside of 1 to 8 mean nothing."""
    for orientation in range(10):
        for big in (False, True):
            block = exif_block(orientation, big)
            name = f"{orientation}-{'big' if big else 'little'}"
            saved("EXIF", f"{name}.jpg", image(23, 40, "RGB"), exif=b"Exif\0\0" + block)
            saved("EXIF", f"{name}-grey.jpg", image(23, 40, "L"), exif=b"Exif\0\0" + block)
            saved("EXIF", f"{name}.png", image(23, 40, "RGBA"), exif=block)
            saved("EXIF", f"{name}.webp", image(23, 40, "RGB"), exif=block, lossless=True)
            rows = packed(rng.integers(0, 256, (4, 3 * 7)), 8)
            written("EXIF", f"{name}-late.png", png(7, 4, 8, 2, rows, after=chunk(b"eXIf", block)))


MAKERS = [make_exif, make_jpeg, make_png, make_webp, make_bmp, make_pnm, make_tiff]


def make_all(folder, driver):
    global root
    root = folder
    for make in MAKERS:
        make(driver)
