#!/usr/bin/env python3
"""Every source of pictures that `weft train` opens, and what is wrong with bad ones.

    test_sources.py WEFT [NAME...]

All files are made here, with the standard library.
"""

import io
import json
import os
import re
import shutil
import struct
import sys
import tarfile
import zipfile
import zlib

import weft_command
from weft_command import done, idx, read_tensors, refused, weights_hash, write

SIZE = 12
ARGS = ["-b", 8, "--threads", 2, "--max-steps", 2, "--model", "fmnist_cnn"]
PHOTO = ["-b", 4, "--threads", 2, "--max-steps", 1, "--model", "cifar_resnet20", "--train-crop-size", 32]


def image(i, classes=3, size=SIZE, channels=1):
    k = i % classes
    return bytes((200 if p * classes // (size * size) == k else 20) + (i * 7 + p) % 30
                 for p in range(size * size) for _ in range(channels))


def png(pixels, width, height, channels=1):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(
            ">I", zlib.crc32(name + data))
    rows = b"".join(b"\0" + pixels[y * width * channels:(y + 1) * width * channels]
                    for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(
        ">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def ppm(i, width, height):
    return b"P6\n%d %d\n255\n" % (width, height) + bytes(
        (i * 31 + p) % 256 for p in range(width * height * 3))


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return write(path, data)


def folder(path, n=24, names=("ant", "bee", "cat")):
    for split, count in (("train", n), ("val", n // 2)):
        for i in range(count):
            put(f"{path}/{split}/{names[i % 3]}/{i:03d}.png", png(image(i), SIZE, SIZE))
    return path


def photos(path, n=12, classes=("ant", "bee"), splits=("train", "val")):
    for split in splits:
        for i in range(n):
            put(f"{path}/{split}/{classes[i % len(classes)]}/{i:03d}.ppm",
                ppm(i, 40 + 3 * i, 60 - 2 * i))
    return path


def run(tmp, data, *args, name="run"):
    return done("train", "--data-path", data, *args, "--output-dir", f"{tmp}/{name}", "--overwrite")


def data_line(text):
    return next(line for line in text.splitlines() if line.startswith("data "))


def test_a_class_folder_trains_to_the_same_bits_as_idx(tmp):
    n = 24
    order = sorted(range(n), key=lambda i: (i % 3, i))  # a folder has its classes one after another
    for name, count in (("train", n), ("t10k", n // 2)):
        some = [i for i in order if i < count]
        put(f"{tmp}/idx/{name}-images-idx3-ubyte",
            idx([count, SIZE, SIZE], b"".join(image(i) for i in some)))
        put(f"{tmp}/idx/{name}-labels-idx1-ubyte", idx([count], bytes(i % 3 for i in some)))
    folder(f"{tmp}/png", n)
    for args in ([], ["--hflip", 0.5, "--crop-padding", 2]):
        a = run(tmp, f"{tmp}/idx", *ARGS, *args, name="a")
        b = run(tmp, f"{tmp}/png", *ARGS, *args, name="b")
        assert weights_hash(f"{tmp}/a") == weights_hash(f"{tmp}/b")
    assert "24 training and 12 test images of 1x12x12, 3 classes of 8" in data_line(a), a
    assert data_line(b).endswith("24 training and 12 validation images of 1x12x12, 3 classes: "
                                 "ant (8), bee (8), cat (8)"), b
    meta = read_tensors(f"{tmp}/b/weights.safetensors")[0]
    assert meta["weft.class_names"] == "ant\nbee\ncat\n" and meta["weft.channels"] == "1", meta


def test_pictures_of_several_sizes_need_no_flags_and_neither_does_eval(tmp):
    photos(f"{tmp}/data")
    text = run(tmp, f"{tmp}/data", *PHOTO)
    assert "12 training and 12 validation images of 3x32x32, 2 classes: ant (6), bee (6)" in text
    meta = read_tensors(f"{tmp}/run/weights.safetensors")[0]
    assert meta["weft.transform"] == "32x32 resize 37 bilinear", meta
    assert meta["weft.mean"].startswith("0.485"), meta
    with open(f"{tmp}/run/config.json") as f:
        options = json.load(f)["options"]
    assert options["hflip"] == 0.5 and options["train-crop-size"] == 32, options
    text = done("eval", "--weights", f"{tmp}/run/weights.safetensors", "--data-path", f"{tmp}/data",
                "--report", f"{tmp}/report.html")
    assert "images 12" in text and "ant" in text, text
    hashes = set()
    for j in (0, 1, 3, 8):
        run(tmp, f"{tmp}/data", *PHOTO, "-j", j, "--auto-augment", "none", "--vflip", 0.5,
            "--mixup-alpha", 0.2, "--cutmix-alpha", 1)
        hashes.add(weights_hash(f"{tmp}/run"))
    assert len(hashes) == 1, hashes


def test_hidden_files_and_others_are_left_out_and_nested_ones_found(tmp):
    photos(f"{tmp}/data")
    put(f"{tmp}/data/train/ant/.hidden.ppm", b"")
    put(f"{tmp}/data/train/ant/notes.txt", b"text")
    put(f"{tmp}/data/train/ant/deep/er/x.ppm", ppm(1, 40, 40))
    os.symlink(f"{tmp}/data/train/bee/001.ppm", f"{tmp}/data/train/ant/link.ppm")
    text = run(tmp, f"{tmp}/data", *PHOTO)
    assert "14 training" in text and "ant (8), bee (6)" in text, text
    assert "2 files are hidden or no pictures, and left out" in text, text
    text = run(tmp, f"{tmp}/data/train", *PHOTO, "--val-split", 0.2)
    assert text.count("2 files are hidden or no pictures, and left out") == 1, text
    assert "val loss" in text and "test loss" not in text, text
    refused(2, "-b 64 is more than the 14 training images of .*; give -b 14 or less", "train",
            "--data-path", f"{tmp}/data", *PHOTO, "-b", 64)
    refused(1, "notes.txt, line 1: expected a picture's path and its label", "check",
            f"{tmp}/data/train/ant/notes.txt")
    refused(1, "001.ppm: not a data set: expected a folder, a list", "check",
            f"{tmp}/data/train/bee/001.ppm")


def test_val_split_keeps_classes_and_the_test_images_come_last(tmp):
    photos(f"{tmp}/one", 20, splits=[""])
    refused(2, "holds one split; --val-split 0.1", "train", "--data-path", f"{tmp}/one", *PHOTO)
    text = run(tmp, f"{tmp}/one", *PHOTO, "--val-split", 0.2)
    assert "16 training and 4 validation images" in text and "ant (8), bee (8)" in text, text
    for name, count in (("train", 60), ("t10k", 12)):
        put(f"{tmp}/idx/{name}-images-idx3-ubyte",
            idx([count, SIZE, SIZE], b"".join(image(i) for i in range(count))))
        put(f"{tmp}/idx/{name}-labels-idx1-ubyte", idx([count], bytes(i % 3 for i in range(count))))
    text = run(tmp, f"{tmp}/idx", *ARGS, "--val-split", 0.1)
    assert "54 training, 6 validation and 12 test images" in text, text
    assert re.search(r"^validation accuracy .*\n(.*\n)*test accuracy .* of 12 images", text, re.M)
    with open(f"{tmp}/run/test.json") as f:
        assert json.load(f)["evaluation"]["images"] == 12
    with open(f"{tmp}/run/report.html", encoding="utf-8") as f:
        page = f.read()
    for words in ("Validation top-1", "validation loss", "Validation figures"):
        assert words in page, f"the report calls validation images so: {words}"
    assert "Test top-1" not in page and ">test<" not in page and "test loss" not in page


def tar_of(path, samples, fmt=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=fmt) as t:
        for name, data in samples:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))


def test_tar_shards_are_what_their_files_are(tmp):
    folder(f"{tmp}/png")
    run(tmp, f"{tmp}/png", *ARGS, name="a")
    os.makedirs(f"{tmp}/tar")
    for split, count in (("train", 24), ("val", 12)):
        order = sorted(range(count), key=lambda i: (i % 3, i))
        for shard in range(2):
            part = order[shard * count // 2:(shard + 1) * count // 2]
            samples = []
            for i in part:  # long names need pax or GNU headers
                key = "long/" * 30 + f"{i:06d}"
                label = str(i % 3).encode()
                samples += [(key + ".png", png(image(i), SIZE, SIZE)),
                            (key + ".cls", label) if i % 2 else
                            (key + ".json", json.dumps({"label": i % 3}).encode())]
            tar_of(f"{tmp}/tar/{split}-{shard:06d}.tar", samples,
                   tarfile.GNU_FORMAT if shard else tarfile.PAX_FORMAT)
    run(tmp, f"{tmp}/tar", *ARGS, name="b")
    assert weights_hash(f"{tmp}/a") == weights_hash(f"{tmp}/b")
    text = run(tmp, tmp + "/tar/train-{000000..000001}.tar", *ARGS, "--val-split", 0.25)
    assert "18 training and 6 validation" in text, text
    refused(1, r"train-000002.tar: cannot be read: No such file", "train", "--data-path",
            tmp + "/tar/train-{000000..000002}.tar", *ARGS, "--val-split", 0.25)
    with open(f"{tmp}/tar/train-000001.tar", "rb") as f:
        whole = f.read()
    for cut in (len(whole) - 11000, 700, 100):
        put(f"{tmp}/cut/train-1.tar", whole[:cut])
        refused(1, "train-1.tar: (not a tar file|cut short)", "train", "--data-path",
                f"{tmp}/cut/train-1.tar", *ARGS, "--val-split", 0.2)


def npy(array, shape, kind="|u1"):
    header = str({"descr": kind, "fortran_order": False, "shape": tuple(shape)}).encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + array


def test_npz_and_npy_have_medmnists_names_and_any_layout(tmp):
    hashes = set()
    for layout, shape in (("(N,H,W)", (SIZE, SIZE)), ("(N,H,W,C)", (SIZE, SIZE, 3)),
                          ("(N,C,H,W)", (3, SIZE, SIZE))):
        arrays = {}
        for split, count in (("train", 24), ("val", 12), ("test", 9)):
            images = [image(i, channels=3 if layout == "(N,H,W,C)" else 1) for i in range(count)]
            if layout == "(N,C,H,W)":
                images = [x * 3 for x in images]
            arrays[f"{split}_images"] = npy(b"".join(images), (count, *shape))
            arrays[f"{split}_labels"] = npy(bytes(i % 3 for i in range(count)), (count, 1))
        with zipfile.ZipFile(f"{tmp}/data.npz", "w", zipfile.ZIP_DEFLATED) as z:
            for name, data in arrays.items():
                z.writestr(name + ".npy", data)
                put(f"{tmp}/npy/{name}.npy", data)
        for path in (f"{tmp}/data.npz", f"{tmp}/npy"):
            text = run(tmp, path, *ARGS, "--channels", 3)
            assert "24 training, 12 validation and 9 test images of 3x12x12, 3 classes" in text, text
            assert f"stored as {layout}" in text, text
            hashes.add(weights_hash(f"{tmp}/run"))
    assert len(hashes) == 1, hashes
    put(f"{tmp}/npy/train_labels.npy", npy(struct.pack("<24d", *[0.5] * 24), (24,), "<f8"))
    refused(1, r"label 0.5 of sample 0 is no class", "train", "--data-path", f"{tmp}/npy", *ARGS)
    with zipfile.ZipFile(f"{tmp}/bomb.npz", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("train_images.npy", npy(b"", (1 << 40, 1, 1)))
        z.writestr("train_labels.npy", npy(b"", (0,)))
    refused(1, r"bomb.npz/train_images.npy: truncated or damaged", "train", "--data-path",
            f"{tmp}/bomb.npz", *ARGS)
    with open(f"{tmp}/data.npz", "rb") as f:
        whole = f.read()
    write(f"{tmp}/cut.npz", whole[:len(whole) // 2])
    refused(1, r"cut.npz: not a .npz file", "train", "--data-path", f"{tmp}/cut.npz", *ARGS)


def test_lists_name_labels_by_number_or_by_name(tmp):
    folder(f"{tmp}/png")
    run(tmp, f"{tmp}/png", *ARGS, name="a")
    for separator, ending, label in ((",", "csv", lambda i: "ant bee cat".split()[i % 3]),
                                     ("\t", "tsv", lambda i: str(i % 3))):
        os.makedirs(f"{tmp}/{ending}")
        for split, count in (("train", 24), ("val", 12)):
            order = sorted(range(count), key=lambda i: (i % 3, i))
            lines = [separator.join(["path", "label"])] + [separator.join(
                [f'"../png/{split}/{"ant bee cat".split()[i % 3]}/{i:03d}.png"', label(i)])
                for i in order]
            write(f"{tmp}/{ending}/{split}.{ending}", "\r\n".join(lines).encode())
        run(tmp, f"{tmp}/{ending}", *ARGS, name="b")
        assert weights_hash(f"{tmp}/a") == weights_hash(f"{tmp}/b"), ending
    for label, pattern in (("1.5", 'line 1: the label is "1.5"'), ("-1", 'the label is "-1"'),
                           ("99999999", 'the label is "99999999", expected a whole number from 0')):
        write(f"{tmp}/bad.csv", f"png/train/ant/000.png,{label}\n".encode())
        refused(1, pattern, "train", "--data-path", f"{tmp}/bad.csv", *ARGS, "--val-split", 0.5)
    write(f"{tmp}/bad.csv", b"a.png\n")
    refused(1, "bad.csv, line 1: expected a picture's path and its label", "train", "--data-path",
            f"{tmp}/bad.csv", *ARGS, "--val-split", 0.5)


def test_cifar_and_stl_are_read_as_their_authors_wrote_them(tmp):
    planes = [bytes((i * 13 + p) % 256 for p in range(3 * 32 * 32)) for i in range(20)]
    for k in range(5):
        put(f"{tmp}/c10/cifar-10-batches-bin/data_batch_{k + 1}.bin",
            b"".join(bytes([i % 10]) + planes[i] for i in range(k * 4, k * 4 + 4)))
    put(f"{tmp}/c10/cifar-10-batches-bin/test_batch.bin", bytes([3]) + planes[3])
    put(f"{tmp}/c10/cifar-10-batches-bin/batches.meta.txt",
        "\n".join(f"c{k}" for k in range(10)).encode() + b"\n\n")
    args = ["-b", 4, "--threads", 2, "--max-steps", 1, "--model", "cifar_resnet20"]
    text = run(tmp, f"{tmp}/c10", *args)
    assert "20 training and 1 test images of 3x32x32, 10 classes: c0 (2), c1 (2)" in text, text
    for name in ("train", "test"):
        put(f"{tmp}/c100/{name}.bin", b"".join(bytes([i % 20, 99 - i]) + planes[i]
                                               for i in range(20)))
    put(f"{tmp}/c100/fine_label_names.txt", "\n".join(f"f{k}" for k in range(100)).encode())
    put(f"{tmp}/c100/coarse_label_names.txt", "\n".join(f"g{k}" for k in range(20)).encode())
    assert "100 classes" in run(tmp, f"{tmp}/c100", *args)
    assert "20 classes" in run(tmp, f"{tmp}/c100", *args, "--coarse-labels")
    put(f"{tmp}/c100/train.bin", bytes([0, 100]) + planes[0])
    refused(1, "train.bin: label 100 of image 0 is out of range, expected 0 to 99", "train",
            "--data-path", f"{tmp}/c100", *args)
    put(f"{tmp}/c100/train.bin", b"123")
    refused(1, "train.bin: truncated or damaged: has 3 bytes", "train", "--data-path",
            f"{tmp}/c100", *args)
    for name in ("train", "test"):
        put(f"{tmp}/stl/{name}_X.bin", bytes(3 * 96 * 96) * 4)
        put(f"{tmp}/stl/{name}_y.bin", bytes([1, 2, 10, 3]))
    text = run(tmp, f"{tmp}/stl", "-b", 2, "--threads", 2, "--max-steps", 1, "--model", "cifar_resnet20")
    assert "4 training and 4 test images of 3x96x96, 10 classes" in text, text


def test_bad_pictures_stop_training_or_are_left_out_and_counted(tmp):
    photos(f"{tmp}/data", 16)
    good = f"{tmp}/data/train/ant/000.ppm"
    bad = {"empty.jpg": b"", "text.jpg": b"not a picture at all\n" * 9,
           "cut.png": png(image(1), SIZE, SIZE)[:60]}
    for name, data in bad.items():
        path = put(f"{tmp}/data/train/ant/{name}", data)
        args = ["--data-path", f"{tmp}/data", *PHOTO[:4], "--epochs", 1, *PHOTO[6:]]
        refused(1, name, "train", *args, "--output-dir", f"{tmp}/x", "--overwrite")
        os.remove(path)
    hashes = set()
    for name, data in bad.items():
        put(f"{tmp}/data/train/ant/{name}", data)
    for j in (0, 3):
        text = done("train", *args, "--bad-images", "skip", "-j", j, "--output-dir", f"{tmp}/x",
                    "--overwrite")
        assert "note  3 damaged pictures left out; the first: " in text, text
        hashes.add(weights_hash(f"{tmp}/x"))
    assert len(hashes) == 1
    shutil.copy(good, f"{tmp}/data/val/ant/good.ppm")
    put(f"{tmp}/data/val/ant/bad.png", bad["cut.png"])
    text = done("eval", "--weights", f"{tmp}/x/weights.safetensors", "--data-path", f"{tmp}/data",
                "--bad-images", "skip")
    assert "images 17" in text and "1 damaged picture left out" in text, text


def test_folders_that_are_no_data_sets_are_told(tmp):
    os.makedirs(f"{tmp}/none/a")
    refused(1, "no data set there", "train", "--data-path", f"{tmp}/none", *PHOTO)
    put(f"{tmp}/flat/a.ppm", ppm(0, 30, 30))
    refused(1, "holds pictures, but no class folders", "train", "--data-path", f"{tmp}/flat", *PHOTO)
    photos(f"{tmp}/empty")
    os.makedirs(f"{tmp}/empty/train/zebra")
    refused(1, "no pictures in the folder of 1 class: zebra ", "train", "--data-path",
            f"{tmp}/empty", *PHOTO)
    photos(f"{tmp}/single", classes=("ant",))
    assert "all training images are of one class" in run(tmp, f"{tmp}/single", *PHOTO)
    photos(f"{tmp}/other")
    os.rename(f"{tmp}/other/val/bee", f"{tmp}/other/val/wasp")
    r = weft_command.weft("train", "--data-path", f"{tmp}/other", *PHOTO)
    assert r.returncode == 1 and "its classes are ant, wasp" in r.stderr, r.stderr
    photos(f"{tmp}/bytes", classes=("ant", "b\udcff"))
    text = run(tmp, f"{tmp}/bytes", *PHOTO)
    assert r"ant (6), b\xff (6)" in text, text
    os.symlink("..", f"{tmp}/empty/train/zebra/up")
    refused(1, "is a link back to a folder above it", "train", "--data-path", f"{tmp}/empty", *PHOTO)


def test_a_run_is_kept_out_of_the_class_folders(tmp):
    data = folder(f"{tmp}/data")
    for run in (f"{data}/train", f"{data}/train/run", f"{data}/val/a/b"):
        refused(2, "would be a class of the data", "train", "--data-path", data, *ARGS, "--output-dir", run)
    assert sorted(os.listdir(f"{data}/train")) == ["ant", "bee", "cat"]
    done("train", "--data-path", data, *ARGS, "--output-dir", f"{data}/run")
    refused(2, "would be a class of the data", "train", "--data-path", ".", "--val-split", "0.3", *ARGS,
            cwd=f"{data}/train")


def test_samplers_weights_and_caches_are_used(tmp):
    photos(f"{tmp}/data", 16)
    plain = run(tmp, f"{tmp}/data", *PHOTO)
    first = weights_hash(f"{tmp}/run")
    for args in (["--cache", "ram"], ["--cache", tmp], ["--fast-decode"]):
        run(tmp, f"{tmp}/data", *PHOTO, *args)
        assert weights_hash(f"{tmp}/run") == first, args
    write(f"{tmp}/weights.txt", b"1\n0.25\n")
    for args in (["--balanced-sampler"], ["--ra-sampler"], ["--class-weights", f"{tmp}/weights.txt"]):
        run(tmp, f"{tmp}/data", *PHOTO, *args)
        assert weights_hash(f"{tmp}/run") != first, args
    write(f"{tmp}/weights.txt", b"1\n")
    refused(1, "weights.txt: expected a number that is not negative for each of the 2 classes",
            "train", "--data-path", f"{tmp}/data", *PHOTO, "--class-weights", f"{tmp}/weights.txt")
    assert "ant (8), bee (8)" in plain


if __name__ == "__main__":
    weft_command.main(sys.argv, globals())
