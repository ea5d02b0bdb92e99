#!/usr/bin/env python3
"""What data of `weft train`, `eval` and `predict` have to agree on, and the mistakes that are told.

    test_data.py WEFT [NAME...]
"""

import array
import os
import sys

import weft_command
from weft_command import (
    done, idx, read_tensors, refused, tensors_bytes, weft, write)

SIZE = 12


def pixels(n, channels=1, size=SIZE, classes=3, shift=0, order=None):
    """Images whose class can be seen: a third of the picture is light."""
    out = bytearray()
    for i in range(n):
        k = (order[i % classes] if order else i % classes)
        out += bytes((200 if p * classes // (size * size) == k else 20) + (i * 7 + p + shift) % 30
                     for p in range(size * size)) * channels
    return bytes(out)


def split(n=96, channels=1, size=SIZE, dtype="U8", labels=None, classes=3, names=None, order=None,
          shift=0, meta=None):
    """A safetensors file; `order`: what the picture of each label is."""
    raw = pixels(n, channels, size, classes, shift, order)
    if dtype == "F32":
        raw = array.array("f", [v / 255 for v in raw]).tobytes()
    labels = array.array("q", labels or [i % classes for i in range(n)])
    meta = dict(meta or {})
    if names:
        meta["class_names"] = "\n".join(names)
    return tensors_bytes({"images": (dtype, [n, channels, size, size], raw),
                          "labels": ("I64", [n], labels.tobytes())}, meta)


def folder(path, train, test):
    os.makedirs(path, exist_ok=True)
    write(f"{path}/train.safetensors", train)
    write(f"{path}/test.safetensors", test)
    return path


def train_args(data, run, *args):
    return ["train", "--data-path", data, "-b", 16, "--threads", 2, "--epochs", 6, "--output-dir", run,
            *args]


def error_lines(status, *args):
    r = weft(*args)
    assert r.returncode == status, r
    return r.stderr.splitlines()


def test_splits_that_do_not_fit_are_refused_before_the_run_is_made(tmp):
    run = f"{tmp}/run"
    cases = [
        ({"size": 14}, r"test\.safetensors: the test images are 1x14x14, the training images "
                       r"\(.*train\.safetensors\) 1x12x12$"),
        ({"channels": 3}, "the test images are 3x12x12, the training images .* 1x12x12$"),
        ({"dtype": "F32"}, "the test images are f32, the training images .* u8"),
        ({"labels": [0, 1, 2, 5] * 4, "n": 16}, r"label 5 of test image 3 is out of range: the "
                                                r"training images \(.*\) have 3 classes$"),
        ({"meta": {"classes": "4"}}, "the test images have 4 classes, the training images .* 3$"),
    ]
    for test, pattern in cases:
        data = folder(f"{tmp}/data", split(), split(**test))
        refused(1, pattern, *train_args(data, run))
        assert not os.path.exists(run), pattern
    # The other way round the text is as clear.
    data = folder(f"{tmp}/data", split(dtype="F32"), split())
    refused(1, "the test images are u8, the training images .* f32", *train_args(data, run))
    # A network that is made for more classes has room for the label.
    data = folder(f"{tmp}/data", split(), split(n=16, labels=[0, 1, 2, 5] * 4))
    done(*train_args(data, run, "--num-classes", 6, "--max-steps", 1))


def test_class_names_in_another_order_are_followed(tmp):
    names, other = ["ant", "bee", "cat"], ["cat", "ant", "bee"]
    order = [names.index(n) for n in other]  # the picture of the other file's label k
    train, test = split(names=names), split(n=48, shift=3, names=other, order=order)
    data = folder(f"{tmp}/data", train, test)
    run, weights = f"{tmp}/run", f"{tmp}/run/weights.safetensors"
    text = done(*train_args(data, run))
    assert "note  the test labels follow the training classes" in text, text
    assert "test accuracy 100.00%" in text, text
    assert read_tensors(weights)[0]["weft.class_names"] == "ant\nbee\ncat\n"
    # Between weights and data: both directions, a part of the classes, and with training.
    for path, moved in ((data, True), (folder(f"{tmp}/same", train, train), False)):
        text = done("eval", "--weights", weights, "--data-path", path)
        assert "top-1 100.00%" in text, text
        assert ("its labels follow the classes of" in text) == moved, text
    some = folder(f"{tmp}/some", train, split(n=32, classes=2, labels=[0, 1] * 16,
                                              names=["cat", "bee"]))
    text = done("eval", "--weights", weights, "--data-path", some)
    assert "its labels follow the classes of" in text and "images 32" in text, text
    turned = folder(f"{tmp}/turned", test, test)
    text = done(*train_args(turned, f"{tmp}/more", "--weights", weights, "--lr", 0, "--wd", 0,
                            "--max-steps", 1, "--freeze-bn"))
    assert "test accuracy 100.00%" in text, text
    assert read_tensors(f"{tmp}/more/weights.safetensors")[0]["weft.class_names"] == \
        "ant\nbee\ncat\n"
    # predict says what its columns are.
    done("predict", "--weights", weights, "--input", f"{data}/test.safetensors", "--output",
         f"{tmp}/out.safetensors")
    assert read_tensors(f"{tmp}/out.safetensors")[0]["class_names"] == "ant\nbee\ncat\n"


def test_other_class_names_are_refused_with_both_lists(tmp):
    data = folder(f"{tmp}/data", split(names=["ant", "bee", "cat"]),
                  split(names=["ant", "bee", "cow"]))
    run = f"{tmp}/run"
    lines = error_lines(1, *train_args(data, run))
    assert "its classes are ant, bee, cow; those of" in lines[0], lines
    assert lines[0].endswith("are ant, bee, cat") and "--ignore-class-names" in lines[1], lines
    assert not os.path.exists(run)
    done(*train_args(data, run, "--ignore-class-names"))
    weights = f"{run}/weights.safetensors"
    lines = error_lines(1, "eval", "--weights", weights, "--data-path", data)
    assert "its classes are ant, bee, cow" in lines[0] and len(lines) == 2, lines
    done("eval", "--weights", weights, "--data-path", data, "--ignore-class-names")
    cows = folder(f"{tmp}/cows", *[split(names=["ant", "bee", "cow"])] * 2)
    lines = error_lines(1, *train_args(cows, f"{tmp}/tuned", "--weights", weights))
    assert "--reset-head begins with a new classifier" in lines[1], lines
    done(*train_args(cows, f"{tmp}/tuned", "--weights", weights, "--reset-head", "--max-steps", 1))
    # Twins cannot be told apart where the order differs.
    twins = folder(f"{tmp}/data", split(names=["a", "a", "b"]), split(names=["b", "a", "a"]))
    refused_text = error_lines(1, *train_args(twins, f"{tmp}/twins"))[0]
    assert 'in another order than those of' in refused_text and 'named "a"' in refused_text


def test_images_of_another_type_than_the_weights_are_told(tmp):
    u8, f32 = split(), split(dtype="F32")
    weights = {}
    for name, data in (("u8", u8), ("f32", f32)):
        run = f"{tmp}/{name}"
        done(*train_args(folder(f"{tmp}/d{name}", data, data), run, "--max-steps", 1))
        weights[name] = f"{run}/weights.safetensors"
        assert read_tensors(weights[name])[0]["weft.images"] == name
    for of, data in (("u8", "f32"), ("f32", "u8"), ("u8", "u8"), ("f32", "f32")):
        path = f"{tmp}/d{data}"
        for args in (["eval", "--data-path", path],
                     ["predict", "--input", f"{path}/test.safetensors", "--output", f"{tmp}/out"]):
            r = weft(*args, "--weights", weights[of])
            assert r.returncode == 0, r
            told = f"was trained on {of} images" in r.stderr and f"these are {data}" in r.stderr
            assert told == (of != data), r


# ---- likely mistakes -----------------------------------------------------------------------------


def notes_of(tmp, data, *args):
    path = write(f"{tmp}/data.safetensors", data) if isinstance(data, bytes) else data
    text = done("train", "--data-path", path, "-b", 8, "--threads", 2, "--max-steps", 1,
                "--lr-warmup-epochs", 0, "--output-dir", f"{tmp}/run", "--overwrite", *args)
    return [line[6:] for line in text.splitlines()
            if line.startswith("note  ") and "one split" not in line]


def test_likely_mistakes_are_told_in_one_line_each(tmp):
    assert notes_of(tmp, split()) == []
    cases = [
        (split(labels=[1 + i % 3 for i in range(96)]), "no training image has label 0"),
        (split(labels=[2 * (i % 3) for i in range(96)]), "2 of 5 classes have no training image: 1, 3"),
        (split(labels=[i % 2 for i in range(96)], names=["ant", "bee", "cat"]),
         "1 of 3 classes have no training image: 2 (cat)"),
        (split(labels=[2] * 96, names=["ant", "bee", "cat"]), "all training images are of class 2"),
        (split(labels=[0] * 96), "all training images are of one class"),
        (split(names=["ant", "bee", "ant"]), 'classes 0 and 2 are both named "ant"'),
    ]
    for data, start in cases:
        notes = notes_of(tmp, data)
        assert len(notes) == 1 and notes[0].startswith(start), (start, notes)
    same = folder(f"{tmp}/same", split(), split())
    assert notes_of(tmp, same) == ["the test images are the training images"]
    other = folder(f"{tmp}/other", split(), split(shift=1))
    assert notes_of(tmp, other) == []


def test_pixels_that_are_no_network_input_are_told(tmp):
    def images(values, shape):
        return tensors_bytes({"images": ("F32", shape, array.array("f", values).tobytes()),
                              "labels": ("I64", [16], array.array("q", [0, 1] * 8).tobytes())})

    count = 16 * 144
    bytes_as_floats = images([float(i % 256) for i in range(count)], [16, 1, 12, 12])
    notes = notes_of(tmp, bytes_as_floats, "--lr", 0)
    assert len(notes) == 1 and notes[0].startswith("the images are f32 from 0 to 255"), notes
    assert notes_of(tmp, images([i % 7 / 7 for i in range(count)], [16, 1, 12, 12])) == []
    assert notes_of(tmp, images([i % 7 - 3.0 for i in range(count)], [16, 1, 12, 12])) == []
    last = [i % 7 / 7 for i in range(30 * 16 * 30 * 3)]
    notes = notes_of(tmp, images(last, [16, 30, 30, 3]), "--model", "resnet18")
    assert len(notes) == 1 and notes[0].startswith("the images have 30 channels of 30x3"), notes


def test_images_that_are_left_out_are_told(tmp):
    data = split(n=100, classes=3)
    assert notes_of(tmp, data, "-b", 64) == [
        "36 of 100 training images are left out of each epoch, others each time: they fill no batch "
        "of 64"]
    assert notes_of(tmp, data, "-b", 64, "--no-shuffle") == [
        "36 of 100 training images are never trained on: they fill no batch of 64"]
    assert notes_of(tmp, data, "-b", 50) == []


def test_an_absurd_label_is_refused_with_file_row_and_value(tmp):
    labels = [i % 3 for i in range(96)]
    labels[41] = 900000
    path = write(f"{tmp}/data.safetensors", split(labels=labels))
    refused(1, r"data\.safetensors: label 900000 of image 41 would make 900001 classes, of which the "
               "images have 4", *train_args(path, f"{tmp}/run"))
    assert not os.path.exists(f"{tmp}/run")
    # Said to be meant, as few of many classes are, it is told only.
    labels[41] = 199
    path = write(f"{tmp}/data.safetensors", split(labels=labels))
    refused(1, "label 199 of image 41", *train_args(path, f"{tmp}/run"))
    assert notes_of(tmp, split(labels=labels, meta={"classes": "200"}))[0].startswith(
        "196 of 200 classes have no training image: 3, 4, 5, ")


# ---- IDX -----------------------------------------------------------------------------------------


def test_idx_of_any_number_of_classes_trains(tmp):
    """EMNIST's balanced set has 47 classes, its letters 26 from 1."""
    for name, first, count, outputs in (("balanced", 0, 47, 47), ("letters", 1, 26, 27)):
        data = f"{tmp}/gzip"
        os.makedirs(data, exist_ok=True)
        for part, n in (("train", 2 * count), ("test", count)):
            labels = bytes(first + i % count for i in range(n))
            stem = f"{data}/emnist-{name}-{part}"
            write(f"{stem}-images-idx3-ubyte", idx([n, SIZE, SIZE], pixels(n, shift=len(part))))
            write(f"{stem}-labels-idx1-ubyte", idx([n], labels))
        run = f"{tmp}/{name}"
        text = done("train", "--data-path", f"{data}/emnist-{name}", "-b", 8, "--threads", 2,
                    "--max-steps", 1, "--output-dir", run)
        assert f"{outputs} classes" in text, text
        assert ("no training image has label 0" in text) == (first == 1), text
        assert read_tensors(f"{run}/weights.safetensors")[1]["fc.bias"][1] == [outputs]
        assert "weft.class_names" not in read_tensors(f"{run}/weights.safetensors")[0]
    refused(1, "holds several data sets, among them .*emnist-", "train", "--data-path", data)


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
