#!/usr/bin/env python3
"""Evaluation as a user sees it: tables, JSON, pages, and the report that a run leaves.

    test_report.py WEFT [NAME...]
"""

import array
import base64
import html.parser
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import xml.etree.ElementTree
import zlib

import weft_command
from weft_command import SMALL, done, refused, tensors_bytes, weft, write

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced; collects elements and text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.words, self.tables = [], [], [], []
        self.cell = None
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"an attribute twice: {tag} {attrs}"
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.cell = []

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> ends {self.open[-3:]}"
        self.open.pop()
        if tag in ("td", "th"):
            self.tables[-1][-1].append("".join(self.cell).strip())
            self.cell = None

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)
        if self.cell is not None:
            self.cell.append(data)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def check_page(path):
    """What every page must be; the page."""
    text = read(path)
    page = Page(text)
    assert "://" not in text, re.findall(r".{30}://.{30}", text)
    for tag, attrs in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base"), tag
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href"):
                assert value.startswith("data:image/png;base64,"), (tag, value[:60])
        if tag == "img":
            assert attrs.get("alt"), attrs
    assert "url(" not in text and "@import" not in text
    assert "prefers-color-scheme:dark" in text
    svgs = [attrs for tag, attrs in page.elements if tag == "svg"]
    titles = sum(tag == "title" for tag, _ in page.elements)
    assert all(a.get("role") == "img" for a in svgs) and titles > len(svgs)
    plain = re.sub(r"data:image/png;base64,[^\"]*", "", text)
    assert not re.search(r"(?<![-\w])(nan|inf)\b", plain), re.findall(r".*(?<!-)\b(?:nan|inf)\b.*", plain)
    return page


def png(uri):
    """(width, height, channels, rows) of a PNG in a data URI, its checksums checked."""
    raw = base64.b64decode(uri.removeprefix("data:image/png;base64,"), validate=True)
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, header = 8, b"", None
    while at < len(raw):
        size, kind = struct.unpack(">I4s", raw[at:at + 8])
        body = raw[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", raw[at + 8 + size:at + 12 + size])[0]
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        if kind == b"IDAT":
            packed += body
        at += 12 + size
    width, height, depth, color, _, _, interlace = header
    channels = {0: 1, 2: 3, 6: 4}[color]
    assert depth == 8 and interlace == 0
    stride, data, rows = width * channels, zlib.decompress(packed), []
    assert len(data) == height * (stride + 1)
    before = bytes(stride)
    for y in range(height):
        kind, row = data[y * (stride + 1)], bytearray(data[y * (stride + 1) + 1:][:stride])
        for i in range(stride):
            left = row[i - channels] if i >= channels else 0
            up, corner = before[i], before[i - channels] if i >= channels else 0
            guess = left + up - corner
            near = min((left, up, corner), key=lambda v: abs(guess - v))
            row[i] = (row[i] + (0, left, up, (left + up) // 2, near)[kind]) & 255
        rows.append(bytes(row))
        before = bytes(row)
    return width, height, channels, rows


# ---- data with mistakes in it --------------------------------------------------------------------

N, SIZE, CLASSES = 120, 12, 7


def make_pixels(channels):
    return bytes((i * 31 + (i // 144) * 57 + (i % 144) * (i // 144)) % 251
                 for i in range(N * channels * SIZE * SIZE))


def make_data(tmp, channels=1, names=None, classes=CLASSES):
    """Labels that cannot be learnt in a few steps: there will be mistakes."""
    labels = array.array("q", [(i * i + i // 3) % classes for i in range(N)])
    meta = {"classes": str(classes)}
    if names:
        meta["class_names"] = "\n".join(names)
    return write(f"{tmp}/data{channels}.safetensors", tensors_bytes({
        "images": ("U8", [N, channels, SIZE, SIZE], make_pixels(channels)),
        "labels": ("I64", [N], labels.tobytes()),
    }, meta))


def train(tmp, data, *more):
    run = f"{tmp}/run"
    done("train", "--data-path", data, "-b", 24, "--threads", 2, "--epochs", 2, "--output-dir",
         run, *more)
    return run


def evaluate(tmp, run, data, *more):
    path = f"{tmp}/eval.json"
    text = done("eval", "--weights", f"{run}/weights.safetensors", "--data-path", data,
                "--threads", 2, "--json", path, *more)
    with open(path) as f:
        return text, json.load(f)["evaluation"]


# ---- figures -------------------------------------------------------------------------------------


def test_figures_agree_with_predicted_logits(tmp):
    data = make_data(tmp)
    run = train(tmp, data)
    text, e = evaluate(tmp, run, data)
    images = write(f"{tmp}/images.safetensors",
                   tensors_bytes({"images": ("U8", [N, 1, SIZE, SIZE], make_pixels(1))}))
    done("predict", "--weights", f"{run}/weights.safetensors", "--input", images, "--output",
         f"{tmp}/logits", "--threads", 2)
    _, tensors = weft_command.read_tensors(f"{tmp}/logits")
    logits = array.array("f", tensors["logits"][2])
    labels = [(i * i + i // 3) % CLASSES for i in range(N)]
    rows = [logits[CLASSES * i:CLASSES * (i + 1)] for i in range(N)]
    predicted = [max(range(CLASSES), key=lambda k: (row[k], -k)) for row in rows]
    ranks = [sorted(range(CLASSES), key=lambda k: (-row[k], k)).index(label)
             for row, label in zip(rows, labels)]
    assert e["images"] == N and e["nan_images"] == 0
    assert abs(e["acc1"] - 100 * ranks.count(0) / N) < 1e-6
    assert abs(e["acc5"] - 100 * sum(r < 5 for r in ranks) / N) < 1e-6
    assert f"top-1 {e['acc1']:.2f}%  top-5 {e['acc5']:.2f}%" in text, text
    confusion = [[0] * CLASSES for _ in range(CLASSES)]
    for label, p in zip(labels, predicted):
        confusion[label][p] += 1
    assert e["confusion"] == confusion
    for k, c in enumerate(e["classes"]):
        column = sum(row[k] for row in confusion)
        assert (c["support"], c["predicted"], c["correct"]) == (
            labels.count(k), column, confusion[k][k])
        assert abs(c["recall"] - 100 * confusion[k][k] / labels.count(k)) < 1e-6
        assert c["precision"] is None if column == 0 else \
            abs(c["precision"] - 100 * confusion[k][k] / column) < 1e-6
    wrong = sum(r > 0 for r in ranks)
    assert wrong > 24 and len(e["worst"]) == 24, wrong
    losses = [m["loss"] for m in e["worst"]]
    assert losses == sorted(losses, reverse=True)
    for m in e["worst"]:
        assert (m["label"], m["predicted"]) == (labels[m["sample"]], predicted[m["sample"]])
        assert "image" not in m


def test_the_batch_size_and_the_threads_change_no_figure(tmp):
    data = make_data(tmp)
    run = train(tmp, data)
    first = None
    for batch, threads in ((50, 1), (50, 2), (50, 7), (1, 1), (7, 2), (24, 3), (N, 2)):
        _, e = evaluate(tmp, run, data, "-b", batch, "--threads", threads)
        del e["seconds"], e["img_per_s"]
        first = first or e
        if batch == 50:
            assert e == first, threads
            continue
        # The model's outputs are rounded otherwise: kernels are chosen by shape. All else is equal.
        for m, n in [(e, first), *zip(e.pop("worst"), first["worst"])]:
            assert abs(m.pop("loss") - n["loss"]) <= 1e-5 * n["loss"]
            for name in ("probability", "label_probability"):
                assert name not in n or abs(m.pop(name) - n[name]) <= 1e-5
            assert all(m[key] == n[key] for key in m), (batch, m, n)


def test_tables_come_by_default_for_few_classes(tmp):
    data = make_data(tmp, names=[f"name {k}" for k in range(CLASSES)])
    run = train(tmp, data)
    text, e = evaluate(tmp, run, data)
    assert "\033" not in text
    lines = text.splitlines()
    for k, c in enumerate(e["classes"]):
        assert c["name"] == f"name {k}"
        row = next(line for line in lines if line.startswith(f"  {k} name {k} ") and "%" in line)
        assert row.split()[-1] == str(c["support"]) and f"{c['recall']:.2f}%" in row, row
        row = next(line for line in lines if line.startswith(f"  {k} name {k} ") and "%" not in line)
        assert [0 if w == "." else int(w) for w in row.split()[3:]] == e["confusion"][k], row
    assert max(map(len, lines)) <= 80
    assert len(evaluate(tmp, run, data, "--brief")[0].splitlines()) == 1
    brief = evaluate(tmp, run, data, "--brief", "--per-class")[0]
    assert "precision" in brief and "confusion" not in brief

    many = make_data(tmp, classes=40)
    run = train(tmp, many, "--overwrite")
    assert len(evaluate(tmp, run, many)[0].splitlines()) == 1
    text = evaluate(tmp, run, many, "--confusion")[0]
    assert len(text.splitlines()) > 40 and "precision" not in text


def test_outputs_that_are_not_numbers_are_told(tmp):
    data = make_data(tmp)
    run = train(tmp, data)
    path = f"{run}/weights.safetensors"
    with open(path, "rb") as f:
        raw = f.read()
    size = 8 + struct.unpack("<Q", raw[:8])[0]
    names = json.loads(raw[8:size])
    last = next(n for n in names if n.startswith("fc") and n.endswith(".bias")
                and names[n]["shape"] == [CLASSES])
    at = size + names[last]["data_offsets"][0] + 4 * 2
    write(path, raw[:at] + struct.pack("<f", float("nan")) + raw[at + 4:])
    assert weft("eval", "--weights", path, "--data-path", data).returncode == 1
    text, e = evaluate(tmp, run, data, "--allow-nan", "--report", f"{tmp}/odd.html")
    assert f"{N} images hold a NaN" in text and "loss NaN  top-1 0.00%" in text, text
    assert e["nan_images"] == N and e["acc1"] == 0 and e["loss"] is None
    assert all(m["predicted"] is None for m in e["worst"]) and len(e["worst"]) == 24
    assert sum(map(sum, e["confusion"])) == 0
    page = check_page(f"{tmp}/odd.html")
    assert f"outputs for {N} images hold a NaN" in page.text
    assert "not a number" in page.text


def test_outputs_that_cannot_be_written_are_found_first(tmp):
    data = make_data(tmp)
    run = train(tmp, data)
    for flag in ("--json", "--report"):
        refused(1, "nowhere/file", "eval", "--weights", f"{run}/weights.safetensors",
                "--data-path", data, flag, f"{tmp}/nowhere/file")


# ---- pages ---------------------------------------------------------------------------------------


def test_a_run_leaves_a_page_that_agrees_with_its_files(tmp):
    data = make_data(tmp)
    run = train(tmp, data)
    page = check_page(f"{run}/report.html")
    with open(f"{run}/result.json") as f:
        result = json.load(f)
    with open(f"{run}/summary.csv") as f:
        rows = [line.rstrip().split(",") for line in f]
    assert f"Test top-1 {result['test_acc1']:.2f} %" in page.text, page.text[:500]
    assert f"Best top-1 {result['best_test_acc1']:.2f} %" in page.text
    assert f"Test loss {result['test_loss']:.4f}" in page.text
    epochs = next(t for t in page.tables if t[0][0] == "epoch")
    assert len(epochs) == len(rows) == 3
    for shown, row in zip(epochs[1:], rows[1:]):
        assert shown[0] == row[0] and shown[1] == f"{float(row[1]):.4f}", (shown, row)
        assert shown[4] == f"{float(row[4]):.2f}", (shown, row)
    classes = next(t for t in page.tables if t[0][0] == "class")
    assert len(classes) == CLASSES + 2 and classes[1][0] == "class 0"
    assert "weft train --data-path" in page.text and "fmnist_cnn" in page.text
    assert re.search(r"xxh128:[0-9a-f]{32}", page.text)
    images = [attrs for tag, attrs in page.elements if tag == "img"]
    assert len(images) == 24
    assert all(int(a["width"]) == SIZE * (112 // SIZE) for a in images), images[0]


def test_pages_show_the_images_as_they_are_stored(tmp):
    for channels in (1, 3):
        data = make_data(tmp, channels)
        run = train(tmp, data, "--overwrite")
        report = f"{tmp}/report.html"
        _, e = evaluate(tmp, run, data, "--report", report)
        page = check_page(report)
        images = [attrs for tag, attrs in page.elements if tag == "img"]
        pixels, plane = make_pixels(channels), SIZE * SIZE
        assert len(images) == len(e["worst"]) == 24
        for attrs, m in zip(images, e["worst"]):
            width, height, depth, rows = png(attrs["src"])
            assert (width, height, depth) == (SIZE, SIZE, channels)
            planes = pixels[m["sample"] * channels * plane:][:channels * plane]
            expected = bytes(planes[c * plane + i] for i in range(plane) for c in range(channels))
            assert b"".join(rows) == expected
            assert f"Image {m['sample']}: class {m['label']} taken for class {m['predicted']}" \
                == attrs["alt"]
        # The weights lie in a run's directory: its curves are there, too.
        assert "Course of the training run" in page.text


def test_large_images_are_made_smaller_and_floats_spread(tmp):
    n, size = 8, 300
    pixels = array.array("f", [((i // 7) % 90) / 10 - 3 for i in range(n * size * 40)])
    labels = array.array("q", [i % 2 for i in range(n)])
    data = write(f"{tmp}/wide.safetensors", tensors_bytes({
        "images": ("F32", [n, 1, 40, size], pixels.tobytes()),
        "labels": ("I64", [n], labels.tobytes())}))
    run = f"{tmp}/run"
    done("train", "--data-path", data, "-b", 4, "--threads", 2, "--lr", 0, "--output-dir", run,
         "--epochs", 1)
    page = check_page(f"{run}/report.html")
    for _, attrs in [e for e in page.elements if e[0] == "img"]:
        width, height, depth, rows = png(attrs["src"])
        assert (width, height, depth) == (100, 14, 1)
        assert min(map(min, rows)) < 20 and max(map(max, rows)) > 235


def test_names_from_outside_cannot_become_markup(tmp):
    evil = ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "a & b' </td>",
            "</style></svg>", "\x1b[2Jred", "\u202ename", "naïve 猫"]
    data = make_data(tmp, names=evil)
    run = train(tmp, data)
    text, e = evaluate(tmp, run, data, "--report", f"{tmp}/report.html")
    assert "\x1b" not in text
    for path in (f"{run}/report.html", f"{tmp}/report.html"):
        raw, page = read(path), check_page(path)
        assert "<script" not in raw and "<img src=x" not in raw and "\x1b" not in raw
        assert "<script>alert(1)</script>" in page.text  # as text
        assert "naïve 猫" in page.text
        names = [row[0] for row in next(t for t in page.tables if t[0][0] == "class")]
        assert names[1] == evil[0] and names[2] == evil[1] and names[7] == evil[6]


def test_a_path_from_outside_cannot_become_markup(tmp):
    folder = f"{tmp}/<b onclick=x>&'\""
    os.makedirs(folder)
    data = make_data(folder)
    run = train(folder, data)
    page = check_page(f"{run}/report.html")
    assert "<b onclick=x>&'" in page.text
    xml.etree.ElementTree.parse(f"{run}/curve.svg")


def test_many_classes_become_one_image(tmp):
    data = make_data(tmp, classes=60)
    run = train(tmp, data)
    _, e = evaluate(tmp, run, data)
    page = check_page(f"{run}/report.html")
    images = [attrs["href"] for tag, attrs in page.elements if tag == "image"]
    assert len(images) == 1
    width, height, depth, rows = png(images[0])
    assert (width, height, depth) == (60, 60, 4)
    for r, counts in enumerate(e["confusion"]):
        for c, count in enumerate(counts):
            share = count / max(1, e["classes"][r]["support"])
            assert abs(rows[r][4 * c + 3] - 255 * share ** 0.5) <= 0.5, (r, c)


def test_the_curve_is_a_file_of_its_own(tmp):
    run = train(tmp, make_data(tmp))
    tree = xml.etree.ElementTree.parse(f"{run}/curve.svg").getroot()
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    # As wide as its window, whatever that is, and no wider than it is drawn for.
    assert tree.get("width") == "100%" and tree.get("height") is None
    assert re.fullmatch(r"max-width:\d+px", tree.get("style"))
    assert re.fullmatch(r"0 0 \d+ \d+", tree.get("viewBox"))
    text = " ".join(tree.itertext())
    for word in ("Loss", "Top-1 accuracy, %", "Learning rate", "epoch", "train", "test", "best "):
        assert word in text, word
    without = read(f"{run}/curve.svg").replace("http://www.w3.org/2000/svg", "")
    assert "://" not in without and "<script" not in without


def panel(page_text, title):
    """The drawing of the plot with this title."""
    return next(d for d in re.findall(r"<svg.*?</svg>", page_text, re.S)
                if f"Course of training: {title}" in d)


def test_the_plots_of_a_single_epoch_are_not_empty(tmp):
    run = train(tmp, make_data(tmp), "--epochs", 1)
    rate = panel(read(f"{run}/report.html"), "Throughput")
    line = re.search(r'<path class="line other faint" d="(.*?)"', rate).group(1)
    assert len(re.findall("[ML]", line)) > 1, rate  # the steps'
    os.remove(f"{run}/log.jsonl")  # now there is nothing but the epoch
    done("report", run)
    text = read(f"{run}/report.html")
    for title, unit in (("Throughput", " images/s"), ("Loss", ""), ("Top-1", " %")):
        assert re.search(rf'<text class="note"[^>]*>[\d.e+]+{unit}<', panel(text, title)), title


def test_a_pages_plots_stand_below_each_other_where_it_is_narrow(tmp):
    run = train(tmp, make_data(tmp))
    text = read(f"{run}/report.html")
    assert len(re.findall(r'<svg viewBox="[^"]*" role="img">\n<title>Course of training: ', text)) == 4
    assert re.search(r"\.curves\{display:grid;grid-template-columns:repeat\(auto-fit", text)


# ---- runs ----------------------------------------------------------------------------------------


def test_a_report_is_made_again_from_the_files(tmp):
    run = train(tmp, make_data(tmp))
    before = {name: read(f"{run}/{name}") for name in ("report.html", "curve.svg")}
    for name in before:
        os.remove(f"{run}/{name}")
    text = done("report", run)
    assert f"{run}/report.html" in text
    for name, content in before.items():
        assert read(f"{run}/{name}") == content, name
    # Of a run that has only its summary left, the curves can still be drawn.
    for name in ("log.jsonl", "evaluation.json", "config.json", "weights.safetensors"):
        os.remove(f"{run}/{name}")
    done("report", run)
    page = check_page(f"{run}/report.html")
    assert "The log has no end" in page.text and "Best top-1" in page.text


def test_reports_of_what_is_no_run_are_errors(tmp):
    refused(2, "RUN_DIR|directory is needed", "report")
    refused(2, "unexpected argument", "report", tmp, tmp)
    refused(1, "no run there", "report", tmp)
    refused(1, "no run there", "report", f"{tmp}/nowhere")
    run = f"{tmp}/damaged"
    os.makedirs(run)
    write(f"{run}/summary.csv", b"epoch,train_loss,what\n1,0.5,x\n2,nan,\n,,\n\xff,\n3,0.2")
    write(f"{run}/log.jsonl", b'{"event":"step","epochs_done":0.5,"loss":1}\nno json\n[1]\n{"ev')
    write(f"{run}/evaluation.json", b'{"classes": 3, "confusion": [[1,2],[3]], "worst": [7, '
          b'{"image": "javascript:alert(1)", "label": 900}], "epoch": "x", "mean": []}')
    write(f"{run}/config.json", b"[]")
    done("report", run)
    check_page(f"{run}/report.html")
    assert "javascript" not in read(f"{run}/report.html")


def test_an_interrupted_run_reports_what_there_was(tmp):
    run = f"{tmp}/run"
    p = subprocess.Popen([weft_command.WEFT, "train", *SMALL, "--epochs", "100000", "--output-dir",
                          run], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and not os.path.exists(f"{run}/evaluation.json"):
        time.sleep(0.05)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 130, err
    page = check_page(f"{run}/report.html")
    assert "did not finish: it was interrupted (interrupted at epoch" in page.text
    assert "Confusion matrix" in page.text


def test_a_run_that_fails_reports_why(tmp):
    r = weft("train", *SMALL, "--epochs", 50, "--lr", 1e5, "--lr-warmup-epochs", 0, "--momentum",
             0.99, "--output-dir", f"{tmp}/run")
    assert r.returncode == 1
    if not os.path.exists(f"{tmp}/run/summary.csv"):
        return  # it failed in its first step: nothing to report
    page = check_page(f"{tmp}/run/report.html")
    assert "did not finish: it failed" in page.text


def test_a_run_says_which_kernels_it_was_told_to_avoid(tmp):
    """Bits depend on it: WEFT_AVOID is part of the environment of config.json."""
    args = ("train", *SMALL, "--max-steps", "1", "--output-dir")
    done(*args, f"{tmp}/a", env={**os.environ, "WEFT_AVOID": "winograd,gemm"})
    done(*args, f"{tmp}/b")
    assert json.loads(read(f"{tmp}/a/config.json"))["environment"]["avoid"] == "winograd,gemm"
    assert json.loads(read(f"{tmp}/b/config.json"))["environment"]["avoid"] is None


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
