#!/usr/bin/env python3
"""`weft` where its surroundings are hostile: text that steers terminals, paths that are not UTF-8,
full disks, limits, closed descriptors.

    test_faults.py WEFT [NAME...]
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
import unittest

import weft_command
from weft_command import (
    SMALL, done, read_tensors, refused, tensors_bytes, weft, write, write_idx_folder)

LENET = ["train", *SMALL, "--model", "lenet"]
# A title, a cleared screen, a second line, a C1 control, one as UTF-8, text that runs backwards.
EVIL = "e\x1b]0;x\x07\x1b[2J\nweft: fine\r\t\x9b\u202egpj\u2028\x7f"
DATA = {"images": ("U8", [8, 1, 12, 12], bytes(range(144)) * 8),
        "labels": ("I64", [8], b"".join(bytes([i % 4] + [0] * 7) for i in range(8)))}


def raw(*args, **kwargs):
    return subprocess.run([os.fsencode(weft_command.WEFT), *(os.fsencode(str(a)) for a in args)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=120, **kwargs)


def tame(r, most_lines=None):
    """What was printed holds nothing that a terminal would act on, and is UTF-8."""
    for stream in (r.stdout, r.stderr):
        text = stream.decode("utf-8")
        bad = re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
                         text)
        assert not bad, (bad, text)
        assert not re.search(r"^weft: fine", text, re.M), text
    if most_lines is not None:
        assert len(r.stderr.splitlines()) <= most_lines, r.stderr
    return r


def test_what_files_and_names_bring_does_not_reach_the_terminal(tmp):
    data = write(f"{tmp}/data.safetensors", tensors_bytes(DATA))
    run = f"{tmp}/run"
    done("train", "--data-path", data, "-b", 4, "--model", "lenet", "--max-steps", 1, "--no-augment",
         "--output-dir", run)
    with open(f"{run}/weights.safetensors", "rb") as f:
        good = f.read()

    def with_meta(name, **meta):
        size = int.from_bytes(good[:8], "little")
        header = json.loads(good[8:8 + size])
        header["__metadata__"].update(meta)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return write(f"{tmp}/{name}", len(text).to_bytes(8, "little") + text + good[8 + size:])

    evil = f"{tmp}/{EVIL}.safetensors"
    for name, meta in (("model", {"weft.model": EVIL}), ("args", {"weft.model_args": f"{EVIL}={EVIL}"}),
                       ("args2", {"weft.model_args": EVIL}), ("mean", {"weft.mean": EVIL}),
                       ("key", {EVIL: EVIL})):
        weights = with_meta(name, **meta)
        r = tame(raw("eval", "--weights", weights, "--data-path", data), 1)
        assert r.returncode == 0 or len(r.stderr.splitlines()) == 1, r.stderr
        tame(raw("predict", "--weights", weights, "--input", data, "--output", f"{tmp}/out"), 2)
    # Tensors that do not fit are listed, a line each.
    foreign = write(f"{tmp}/foreign", tensors_bytes({EVIL: ("F32", [1], bytes(4))}))
    r = tame(raw("eval", "--weights", foreign, "--model", "lenet", "--data-path", data))
    assert r.returncode == 1 and b"unexpected  e\\x1b]0;x\\x07\\x1b[2J\\nweft: fine" in r.stderr, r.stderr
    # Class names.
    named = write(f"{tmp}/named.safetensors", tensors_bytes(DATA, {"class_names": ",".join(
        EVIL.replace("\n", "") + str(i) for i in range(4))}))
    r = tame(raw("eval", "--weights", f"{run}/weights.safetensors", "--data-path", named, "--confusion",
                 "--per-class"))
    assert r.returncode in (0, 1), r
    # Names on the command line, in messages of the library, too.
    for args in (["--data-path", evil], ["--data-path", data, "--weights", evil],
                 ["--data-path", data, "--model", EVIL], ["--data-path", data, "--opt", EVIL],
                 ["--data-path", data, "--model-arg", EVIL], ["--data-path", data, "--wisdom", evil,
                                                             "--freeze", EVIL],
                 [f"--{EVIL}"], [EVIL], ["--data-path", data, "--output-dir", f"{data}/{EVIL}"],
                 ["--data-path", data, "-b", 4, "--max-steps", 1, "--no-augment", "--model", "lenet",
                  "--output-dir", f"{tmp}/{EVIL}"]):
        tame(raw("train", *args))
    tame(raw(EVIL), 1)
    tame(raw("report", f"{tmp}/{EVIL}"), 1)
    tame(raw("models", EVIL), 1)
    tame(raw("info", "--wisdom", f"{tmp}/{EVIL}"))
    # GCC 14's OpenMP complains itself about these, on stderr and as they are, before the command runs.
    r = raw("info", env=dict(os.environ, OMP_PLACES=EVIL, OMP_NUM_THREADS=EVIL))
    r.stderr = b""
    tame(r)


def test_any_bytes_are_a_path(tmp):
    name = os.fsdecode(b"d\xff\xc3(\x80 \xf4\x8f\x9f\xbf \xc3\xbc")
    data = write(f"{tmp}/{name}.safetensors", tensors_bytes(DATA))
    run, trace = f"{tmp}/{name}/run", f"{tmp}/{name}.trace"
    r = tame(raw("train", "--data-path", data, "-b", 4, "--model", "lenet", "--epochs", 1,
                 "--no-augment", "--output-dir", run, "--trace", trace))
    assert r.returncode == 0, r.stderr
    for step in range(2):
        with open(f"{run}/config.json", encoding="utf-8") as f:
            config = json.load(f)
        # As Python's surrogateescape.
        assert os.fsencode(config["options"]["output-dir"]) == os.fsencode(run)
        assert os.fsencode(config["options"]["data-path"]) == os.fsencode(data)
        shown = subprocess.run(["bash", "-c", "printf '%s\\n' " + config["command"]],
                               stdout=subprocess.PIPE).stdout
        assert os.fsencode(run) in shown.split(b"\n"), shown
        with open(f"{run}/evaluation.json", encoding="utf-8") as f:
            assert os.fsencode(json.load(f)["data"]["source"]) == os.fsencode(data)
        with open(f"{run}/report.html", encoding="utf-8") as f:
            assert "--data-path" in f.read()
        assert raw("report", run).returncode == 0
    with open(trace) as f:
        json.load(f)
    r = raw("eval", "--weights", f"{run}/weights.safetensors", "--data-path", data, "--json",
            f"{run}/e.json", "--report", f"{run}/e.html")
    assert r.returncode == 0, r.stderr
    with open(f"{run}/e.json", encoding="utf-8") as f:
        assert os.fsencode(json.load(f)["weights"]["file"]) == os.fsencode(f"{run}/weights.safetensors")
    r = raw("predict", "--weights", f"{run}/weights.safetensors", "--input", data, "--output",
            f"{run}/logits")
    assert r.returncode == 0 and os.path.exists(f"{run}/logits"), r.stderr
    # An error that names such a path goes into the log.
    r = raw("train", "--data-path", data, "-b", 4, "--model", "lenet", "--weights", f"{run}/none")
    assert r.returncode == 1, r


def test_class_names_of_any_bytes_travel(tmp):
    data = write_idx_folder(f"{tmp}/data")
    names = [b"caf\xe9", b"\x1b[2J", b"\xc3\xbc"] + [b"n%d" % i for i in range(7)]
    write(f"{data}/classes.txt", b"\n".join(names) + b"\n")
    run = f"{tmp}/run"
    done("train", "--data-path", data, "-b", 8, "--model", "lenet", "--max-steps", 2, "--output-dir", run)
    meta, _ = read_tensors(f"{run}/weights.safetensors")
    assert meta["weft.class_names"].split("\n")[:3] == ["caf\\xe9", "\\x1b[2J", "\u00fc"], meta
    r = tame(raw("eval", "--weights", f"{run}/weights.safetensors", "--data-path", data), 0)
    assert r.returncode == 0 and b"caf\\xe9" in r.stdout, r


def test_closed_descriptors_do_not_become_files(tmp):
    for i, fds in enumerate(((0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2))):
        run = f"{tmp}/{i}"
        r = subprocess.run([weft_command.WEFT, *LENET, "--max-steps", "2", "--output-dir", run],
                           timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           preexec_fn=lambda fds=fds: [os.close(fd) for fd in fds])
        assert r.returncode == 0, fds
        with open(f"{run}/log.jsonl") as f:
            assert [json.loads(line)["event"] for line in f] == ["step", "step", "epoch", "end"], fds


def test_output_that_is_lost_is_told(tmp):
    if not os.path.exists("/dev/full"):
        raise unittest.SkipTest("no /dev/full")
    refused(1, "trace: cannot write /dev/full: No space left", *LENET, "--max-steps", 1, "--output-dir",
            f"{tmp}/traced", "--trace", "/dev/full")
    assert os.path.exists(f"{tmp}/traced/result.json")
    for args in (["info"], ["models"], ["summary", "--model", "lenet"], ["version"], ["help"],
                 ["explain", "--model", "lenet"], ["train", "--help"],
                 [*LENET, "--max-steps", "1", "--output-dir", f"{tmp}/run"]):
        with open("/dev/full", "w") as full:
            r = subprocess.run([weft_command.WEFT, *args], stdout=full, stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, text=True, timeout=120)
        assert r.returncode == 1 and len(r.stderr.splitlines()) == 1, (args, r)
    assert os.path.exists(f"{tmp}/run/result.json")


def whole_lines(run):
    for name in ("log.jsonl", "summary.csv"):
        with open(f"{run}/{name}") as f:
            text = f.read()
        assert text == "" or text.endswith("\n"), (name, text[-80:])
        if name == "log.jsonl":
            [json.loads(line) for line in text.splitlines()]


def test_a_limit_of_file_size_is_a_message(tmp):
    # Beyond the first it is the log that no longer fits, once the weights have been written.
    for i, limit in enumerate((1 << 12, 66000, 66300, 66610, 66920)):
        run = f"{tmp}/{i}"
        r = subprocess.run(
            [weft_command.WEFT, "train", "--data-path", "synthetic:1x28x28:4:64", "-b", "8",
             "--model", "lenet", "--epochs", "400", "--output-dir", run, "--no-augment"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            timeout=300, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert r.returncode == 1, (limit, r.returncode, r.stderr)
        assert "File too large" in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr
        whole_lines(run)


def test_a_full_disk_leaves_whole_lines(tmp):
    disk = f"{tmp}/disk"
    os.mkdir(disk)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if mount.returncode != 0:
        raise unittest.SkipTest("no file system may be mounted here")
    try:
        # The disk fills up while the first epoch is logged: the line that needs another page fails.
        run = f"{disk}/run"
        p = subprocess.Popen([weft_command.WEFT, "train", "--data-path", "synthetic:1x12x12:4:65536",
                              "-b", "32", "--model", "lenet", "--output-dir", run],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 100
        while time.monotonic() < until and p.poll() is None and (
                not os.path.exists(f"{run}/log.jsonl") or os.path.getsize(f"{run}/log.jsonl") == 0):
            time.sleep(0.01)
        with open(f"{disk}/filler", "wb", buffering=0) as f:
            try:
                while True:
                    f.write(bytes(4096))
            except OSError:
                pass
        _, err = p.communicate(timeout=200)
        assert p.returncode == 1 and len(err.splitlines()) == 1, (p.returncode, err)
        assert "No space left on device" in err, err
        whole_lines(run)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_data_set_without_end_is_refused(tmp):
    refused(1, "100000000000 images, expected at most 10000000", "train", "--data-path",
            "synthetic:1x28x28:10:100000000000", "--output-dir", f"{tmp}/run")
    assert not os.path.exists(f"{tmp}/run")


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
