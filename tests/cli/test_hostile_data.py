#!/usr/bin/env python3
"""Sources that are odd or made to do harm: one clear line each, and nothing lost without a word.

    test_hostile_data.py WEFT [NAME...]

Most tests use `weft check`, which opens a source as `weft train` does.
"""

import io
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile

import weft_command
from test_sources import ppm, put
from weft_command import done, refused, weft, write

NET = ["--model", "fmnist_cnn", "-b", 2, "--threads", 1, "--epochs", 1]


def small(path, n=4, classes=("ant", "bee"), splits=("train", "val")):
    """Class folders of pictures of 8x8 pixels, all of which differ."""
    i = 0
    for split in splits:
        for name in classes:
            for k in range(n):
                i += 1
                put(f"{path}/{split}/{name}/{k}.ppm", ppm(i, 8, 8))
    return path


def counted(source, samples, *words):
    """`weft check` finds so many samples."""
    text = done("check", source)
    assert re.search(rf"^\w+ +{samples} samples", text, re.M), (source, text)
    for word in words:
        assert word in text, (source, text)


# ---- lists ---------------------------------------------------------------------------------------


def test_no_line_of_a_list_is_lost(tmp):
    for i in range(4):
        write(f"{tmp}/{i}.ppm", ppm(i, 8, 8))
        write(f"{tmp}/bare{i}", ppm(9 + i, 8, 8))
    lines = [f"{i}.ppm,{i % 2}" for i in range(4)]
    for name, text, n in (
            ("mac", "\r".join(lines) + "\r", 4),
            ("mac_heading", "path,label\r" + "\r".join(lines), 4),
            ("windows", "\ufeffpath,label\r\n" + "\r\n".join(lines), 4),
            ("no_endings", "bare0,0\nbare1,1\n", 2),
            ("named_labels", "bare0,cat\nbare1,dog\n", 2),
            ("spaces", '"0.ppm", "1"\n"1.ppm" ,0\n', 2),
            ("odd_names", "0.ppm,nan\n1.ppm,cat\n2.ppm,1e3\n", 3)):
        write(f"{tmp}/{name}.csv", text.encode())
        counted(f"{tmp}/{name}.csv", n)


def test_labels_of_a_list_that_are_no_numbers_among_numbers(tmp):
    write(f"{tmp}/0.ppm", ppm(0, 8, 8))
    for label in ("1e3", "0x10", "nan", "inf", "1.0", "-1", "", "x" * 5000):
        write(f"{tmp}/list.csv", f"0.ppm,0\n0.ppm,{label}\n0.ppm,1\n".encode())
        refused(1, f'list.csv, line 2: the label is "{re.escape(label[:60])}', "check", f"{tmp}/list.csv")


# ---- shards --------------------------------------------------------------------------------------


def tar(path, files):
    with tarfile.open(path, "w") as t:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return path


def sample(key, label=b"0"):
    return [(f"{key}.ppm", ppm(int(key), 8, 8)), (f"{key}.cls", label)]


def test_shards_lose_nothing(tmp):
    two = sample("1") + sample("2", b"1")
    shard = f"{tmp}/a.tar"
    picture = ppm(7, 8, 8)
    counted(tar(shard, two), 2)
    # a label in KEY.cls, whatever KEY.json holds, in either order
    counted(tar(shard, [("3.json", b'{"url": "x"}')] + sample("3") + two), 3)
    counted(tar(shard, [("3.ppm", picture), ("3.json", b'{"url": "x"}'), ("3.cls", b"1")] + two), 3)
    # the picture of a key is the one with nothing between key and ending
    tar(shard, [("4.mask.ppm", b"no picture"), ("4.ppm", picture), ("4.cls", b"1")] + two)
    counted(shard, 3, "1 file left out")
    for files, pattern in (
            (two + sample("2"), r"a.tar: 2.ppm is there twice"),
            (two + [("3.ppm", picture), ("3.json", b"{}")], r'3.json holds no "label" or "cls"'),
            (two + [("3.ppm", picture), ("3.json", b"[" * 100000)], "3.json is no JSON: maximum"),
            (two + sample("3", b"1\0"), "3.cls holds no label")):
        refused(1, pattern, "check", tar(shard, files))
    with open(tar(shard, two), "ab") as f, open(tar(f"{tmp}/b.tar", sample("3")), "rb") as other:
        f.write(other.read())
    refused(1, "a.tar: another tar begins behind its end", "check", shard)


def test_shards_with_holes_are_refused(tmp):
    picture = b"P6 300 300 255\n" + b"\1" * 90000 + b"\0" * 90000 + b"\2" * 90000
    write(f"{tmp}/1.ppm", picture)
    with open(f"{tmp}/1.ppm", "r+b") as f:
        f.truncate(len(picture) + 200000)
    write(f"{tmp}/1.cls", b"0")
    made = subprocess.run(["tar", "-C", tmp, "--sparse", "-cf", f"{tmp}/a.tar", "1.ppm", "1.cls"],
                          stderr=subprocess.DEVNULL, check=False)
    if made.returncode or os.path.getsize(f"{tmp}/a.tar") > len(picture) + 200000:
        return  # no GNU tar, or a file system without holes
    refused(1, "1.ppm is stored with holes", "check", f"{tmp}/a.tar")


def test_more_shards_than_a_process_may_open(tmp):
    for i in range(300):
        tar(f"{tmp}/train-{i:03d}.tar", sample(str(i), str(i % 2).encode()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        counted(tmp, 300)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- folders -------------------------------------------------------------------------------------


def test_links_that_lead_back_or_fork_end(tmp):
    data = small(f"{tmp}/data")
    for name in ("x", "y"):  # 2^64 folders for who follows both
        os.symlink(".", f"{data}/train/ant/{name}")
    refused(1, "train/ant/[xy]: is a link back to a folder above it", "check", data)
    for name in ("x", "y"):
        os.remove(f"{data}/train/ant/{name}")
    os.symlink("../../val/ant", f"{data}/train/ant/more")
    counted(data, 12)
    for i in range(16):
        os.makedirs(f"{tmp}/fork/{i}")
        for name in ("x", "y"):
            os.symlink(f"../{i + 1}", f"{tmp}/fork/{i}/{name}")
    os.makedirs(f"{tmp}/fork/16")
    os.symlink(f"{tmp}/fork/0", f"{data}/train/bee/fork")
    refused(1, "more than 16384 links to folders", "check", data)


def test_a_path_that_is_too_long_for_a_message_leaves_the_reason(tmp):
    deep = "/".join(["d" * 200] * 12)
    write(f"{tmp}/list.csv", f"{deep}/1.ppm,0\n".encode())
    refused(1, r"/ddd.* \.\.\. d.*/1.ppm: cannot be read: No such file", "train", "--data-path",
            f"{tmp}/list.csv", "--val-split", 0.5, *NET)


# ---- damaged pictures ----------------------------------------------------------------------------


def test_small_pictures_may_be_damaged_too(tmp):
    data = small(f"{tmp}/data")
    train = ["train", "--data-path", data, *NET, "--output-dir", f"{tmp}/run", "--overwrite",
             "--resume", "never", "--bad-images", "skip"]
    put(f"{data}/train/bee/1.ppm", b"P6 8 8 255\nshort")
    assert "note  1 damaged picture left out" in done(*train)
    for name in ("ant", "bee"):
        for k in range(4):
            put(f"{data}/val/{name}/{k}.ppm", b"P6 8 8 255\nshort")
    refused(1, "data/val: no sample is left; the first left out: .*/0.ppm: truncated PNM", *train)


def test_one_good_picture_among_many_bad_ones_is_found(tmp):
    os.makedirs(f"{tmp}/data/ant")
    for k in range(1100):
        write(f"{tmp}/data/ant/{k:04d}.ppm", b"")
    write(f"{tmp}/data/ant/0005.ppm", ppm(1, 8, 8))
    r = weft("check", f"{tmp}/data")
    assert r.returncode == 1 and "1099 of 1100 samples cannot be used" in r.stderr, r.stderr


def test_evaluation_sees_small_pictures_as_training_did(tmp):
    data = small(f"{tmp}/data")
    done("train", "--data-path", data, *NET, "--output-dir", f"{tmp}/run")
    figures = done("eval", "--weights", f"{tmp}/run/weights.safetensors", "--data-path", data)
    with open(f"{tmp}/run/log.jsonl", encoding="utf-8") as f:
        log = f.read()
    loss = re.search(r"loss ([0-9.]+)", figures).group(1)
    assert loss[:5] in log, (figures, log)
    # pictures of other sizes are brought to that of training
    put(f"{tmp}/large.ppm", ppm(1, 50, 40))
    rows = done("predict", "--weights", f"{tmp}/run/weights.safetensors", f"{tmp}/large.ppm")
    assert len(rows.splitlines()) == 2, rows
    refused(1, "--mean and --std have 1 number, the images have 3 channels", "train", "--data-path", data, *NET,
            "--mean", "0.5", "--std", 1)


def test_predict_leaves_out_what_is_missing_where_it_may(tmp):
    data = small(f"{tmp}/data")
    done("train", "--data-path", data, *NET, "--output-dir", f"{tmp}/run")
    good = [f"{data}/val/ant/{k}.ppm" for k in range(3)]

    def predict(lines, *args):
        return subprocess.run(
            [weft_command.WEFT, "predict", "--weights", f"{tmp}/run/weights.safetensors", "-", *args],
            input=lines, capture_output=True, text=True, check=False, timeout=60)
    r = predict("\r\n".join(good) + "\r\n")
    assert r.returncode == 0 and len(r.stdout.splitlines()) == 4, r.stderr
    lost = "\n".join([good[0], f"{tmp}/nothing.ppm", *good[1:]])
    r = predict(lost)
    assert r.returncode == 1 and re.fullmatch(r"weft predict: .*/nothing.ppm: No such.*\n", r.stderr), r.stderr
    r = predict(lost, "--bad-images", "skip")
    assert r.returncode == 0 and len(r.stdout.splitlines()) == 4, r.stderr
    assert "note  1 damaged picture left out; the first: " in r.stderr and "nothing.ppm" in r.stderr, r.stderr


# ---- packing -------------------------------------------------------------------------------------


def test_packed_labels_follow_the_training_classes(tmp):
    data = small(f"{tmp}/data", classes=("ant", "bee", "cat"))
    shutil.rmtree(f"{data}/val/bee")
    done("pack", data, "--output", f"{tmp}/packed")
    with open(f"{tmp}/packed/classes.txt", encoding="utf-8") as f:
        assert f.read().split() == ["ant", "bee", "cat"]
    with tarfile.open(f"{tmp}/packed/val-000000.tar") as t:
        labels = {t.extractfile(m).read() for m in t.getmembers() if m.name.endswith(".cls")}
    assert labels == {b"0", b"2"}, labels
    os.rename(f"{data}/val/cat", f"{data}/val/zebra")
    refused(1, "its classes are ant, zebra; those of .* are ant, bee, cat", "pack", data,
            "--output", f"{tmp}/other")
    assert not os.path.exists(f"{tmp}/other")


def test_packing_leaves_all_or_nothing(tmp):
    data = small(f"{tmp}/data")
    put(f"{data}/val/bee/3.ppm", b"P6 8 8 255\nshort")
    os.makedirs(f"{tmp}/mine")
    for folder in ("new", "mine"):
        r = weft("pack", data, "--size", 8, "--output", f"{tmp}/{folder}")
        assert r.returncode == 1 and "3.ppm: truncated" in r.stderr, r.stderr
    assert not os.path.exists(f"{tmp}/new") and os.listdir(f"{tmp}/mine") == []
    shutil.copy(f"{data}/val/bee/2.ppm", f"{data}/val/bee/3.ppm")
    done("pack", data, "--size", 8, "--output", f"{tmp}/mine")
    assert sorted(os.listdir(f"{tmp}/mine")) == ["train.safetensors", "val.safetensors"]


if __name__ == "__main__":
    weft_command.main(sys.argv, globals())
