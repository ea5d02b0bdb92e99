#!/usr/bin/env python3
"""`weft look`: a page of what data are; `weft pack`: the same samples in fewer files; `weft predict`:
rows for pictures. All files are made here.

    test_look_pack.py WEFT [NAME...]
"""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tarfile

import weft_command
from test_sources import folder, ppm, put
from weft_command import done, read_tensors, refused, weft, weights_hash, write

NET = ["--model", "cifar_resnet20", "-b", 4, "--threads", 2, "--train-crop-size", 32]


def photos(path, n=12):
    for split in ("train", "val"):
        for i in range(n):
            put(f"{path}/{split}/{('ant', 'bee, or wasp', 'cat')[i % 3]}/{i:02d}.ppm",
                ppm(i, 40 + i, 50))
    return path


def trained(tmp, data):
    done("train", "--data-path", data, *NET, "--max-steps", 2, "--output-dir", f"{tmp}/run")
    return f"{tmp}/run/weights.safetensors"


def test_the_page_shows_each_class_and_names_what_cannot_be_read(tmp):
    data = photos(f"{tmp}/photos")
    with open(f"{data}/val/cat/02.ppm", "wb") as f:
        f.write(b"P6\n52 50\n255\nshort")
    text = done("look", data, "--train-crop-size", 32, "--output", f"{tmp}/look.html")
    assert f"page  {tmp}/look.html" in text, text
    with open(f"{tmp}/look.html", encoding="utf-8") as f:
        page = f.read()
    assert len(re.findall(r'<img src="data:image/jpeg;base64', page)) == 6, "three classes, twice"
    assert "bee, or wasp" in page and page.count("32x32 pixels") == 2
    assert re.search(r'class="warn".*02\.ppm: ', page), "what cannot be read is told"
    assert page.count("<script") == 0 and "http-equiv=\"Content-Security-Policy\"" in page
    text = done("look", f"{data}/train", "--output", f"{tmp}/one.html")  # needs no second split
    assert "12 training images of" in text and "note" not in text, text
    small = folder(f"{tmp}/small")
    done("look", small, "--output", f"{tmp}/small.html")
    with open(f"{tmp}/small.html", encoding="utf-8") as f:
        assert "data:image/png;base64" in f.read(), "small images are shown exactly"
    refused(1, "2 channels, and only 1", "look", "synthetic:2x8x8:2", "--output", f"{tmp}/two.html")
    refused(1, "no such folder|No such file", "look", small, "--output", f"{tmp}/none/look.html")
    assert not os.path.exists(f"{tmp}/two.html")


def test_shards_train_to_the_bits_of_the_folder(tmp):
    data = photos(f"{tmp}/photos")
    text = done("pack", data, "--output", f"{tmp}/packed", "--shard-size", 1)
    assert re.search(r"^train  12 pictures in 1 shard", text, re.M), text
    assert sorted(os.listdir(f"{tmp}/packed")) == [
        "classes.txt", "train-000000.tar", "val-000000.tar"]
    with tarfile.open(f"{tmp}/packed/train-000000.tar") as tar:
        assert tar.getnames()[:2] == ["00000000.ppm", "00000000.cls"], tar.getnames()
        assert tar.getmembers()[0].mtime == 0 and tar.extractfile("00000004.cls").read() == b"1"
    hashes = set()
    for source in (data, f"{tmp}/packed"):
        done("train", "--data-path", source, *NET, "--max-steps", 3, "--output-dir", f"{tmp}/run",
             "--overwrite", "--resume", "never")
        hashes.add(weights_hash(f"{tmp}/run"))
    assert len(hashes) == 1, hashes
    again = done("pack", data, "--output", f"{tmp}/again", "--shard-size", 1)
    assert again.replace("again", "packed") == text
    with open(f"{tmp}/packed/train-000000.tar", "rb") as a, \
            open(f"{tmp}/again/train-000000.tar", "rb") as b:
        assert a.read() == b.read(), "the same data, the same bytes"
    refused(2, "is not empty", "pack", data, "--output", f"{tmp}/packed")


def test_pixels_are_those_of_evaluation(tmp):
    data = photos(f"{tmp}/photos")
    done("pack", data, "--output", f"{tmp}/small", "--size", 24)
    meta, tensors = read_tensors(f"{tmp}/small/train.safetensors")
    assert tensors["images"][:2] == ("U8", [12, 3, 24, 24]), tensors["images"][:2]
    assert meta["class_names"] == "ant\nbee, or wasp\ncat" and meta["classes"] == "3", meta
    text = done("train", "--data-path", f"{tmp}/small", "--model", "cifar_resnet20", "-b", 4,
                "--threads", 2, "--max-steps", 1, "--output-dir", f"{tmp}/run")
    assert "12 training and 12" in text and "bee, or wasp (4)" in text, text
    small = folder(f"{tmp}/grey")  # of one size: packed as they are
    done("pack", small, "--output", f"{tmp}/shards")
    done("pack", f"{tmp}/small", "--output", f"{tmp}/same")
    with open(f"{tmp}/small/train.safetensors", "rb") as a, \
            open(f"{tmp}/same/train.safetensors", "rb") as b:
        assert a.read() == b.read()
    with open(f"{data}/train/ant/00.ppm", "wb") as f:
        f.write(b"P6\n40 50\n255\nshort")
    refused(1, r"ant/00\.ppm: ", "pack", data, "--output", f"{tmp}/bad", "--size", 24)
    assert not os.path.exists(f"{tmp}/bad/train.safetensors"), "nothing that failed is half there"


def test_rows_name_pictures_and_classes(tmp):
    data = photos(f"{tmp}/photos")
    weights = trained(tmp, data)
    files = [f"{data}/val/cat/02.ppm", f"{data}/val/ant"]
    rows = list(csv.reader(io.StringIO(done("predict", "--weights", weights, *files, "--top", 2))))
    assert rows[0] == ["path", "class_1", "probability_1", "class_2", "probability_2"], rows[0]
    assert [r[0] for r in rows[1:]] == [files[0]] + [f"{files[1]}/{i:02d}.ppm" for i in (0, 3, 6, 9)]
    assert {r[1] for r in rows[1:]} <= {"ant", "bee, or wasp", "cat"}
    listed = "".join(f"{p}\n" for p in (files[0], files[1]))
    for data_in in (listed, listed.replace("\n", "\0")):
        r = weft_stdin(data_in, "predict", "--weights", weights, "-", "--format", "jsonl")
        lines = [json.loads(line) for line in r.splitlines()]
        assert [line["path"] for line in lines] == [row[0] for row in rows[1:]]
        for line, row in zip(lines, rows[1:]):
            assert line["top"][0]["class"] == row[1]
            assert abs(sum(t["probability"] for t in line["top"]) - 1) < 1e-4, line
    done("predict", "--weights", weights, data, "--output", f"{tmp}/rows.csv", "-b", 64)
    with open(f"{tmp}/rows.csv", encoding="utf-8", newline="") as f:
        whole = list(csv.reader(f))
    assert len(whole) == 13 and os.listdir(tmp).count("rows.csv.part") == 0
    for row in whole[1:]:  # the same picture gets the same row
        for other in rows[1:]:
            assert row[0] != other[0] or row[1:3] == other[1:3], (row, other)


def weft_stdin(text, *args):

    r = subprocess.run([weft_command.WEFT, *map(str, args)], input=text.encode(),
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    assert r.returncode == 0, r.stderr
    return r.stdout.decode()


def test_bad_pictures_to_predict_are_told_or_left_out(tmp):
    data = photos(f"{tmp}/photos")
    weights = trained(tmp, data)
    bad = write(f"{tmp}/bad.jpg", b"text, not a picture")
    good = f"{data}/val/cat/02.ppm"
    refused(1, r"bad\.jpg: not a ", "predict", "--weights", weights, good, bad)
    refused(1, "No such file", "predict", "--weights", weights, good, f"{tmp}/none.png")
    refused(2, "FILE is needed", "predict", "--weights", weights)
    refused(2, "exclude each other", "predict", "--weights", weights, "--input", good, good)
    r = weft("predict", "--weights", weights, good, bad, good, "--bad-images", "skip")
    assert r.returncode == 0 and r.stdout.count(good) == 2 and "bad.jpg" not in r.stdout, r
    assert "1 damaged picture left out" in r.stderr, r.stderr
    refused(1, r"bad\.jpg", "predict", "--weights", weights, good, bad, "--output", f"{tmp}/o.csv")
    assert not [name for name in os.listdir(tmp) if name.startswith("o.csv")]
    odd = f"{tmp}/a,\"b\"\n.ppm".encode() + b"\xff.ppm"
    with open(odd, "wb") as f:
        f.write(ppm(1, 30, 30))

    r = subprocess.run([weft_command.WEFT.encode(), b"predict", b"--weights", weights.encode(), odd,
                        b"--format", b"jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert r.returncode == 0, r.stderr
    path = json.loads(r.stdout)["path"]
    assert path.encode("utf-8", "surrogateescape") == odd, path


if __name__ == "__main__":
    weft_command.main(sys.argv, globals())
