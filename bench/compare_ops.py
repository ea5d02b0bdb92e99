#!/usr/bin/env python3
"""Times upsampling, layer_norm and conv_transpose2d in Weft and in PyTorch (channels_last).

    bench/compare_ops.py WEFT_BENCH [--threads N] [--rounds N] [--only TEXT] [--seconds X]
                         [--cpu]

Weft's figures are its benchmarks': images/*/f32/memory, and of a transposed convolution the
passes of the convolution that it transposes, as a training step runs them: its forward is
backward-data, its backward is forward and backward-weights. "both" is forward and backward
together. PyTorch runs under the Python that WEFT_TORCH_PYTHON names. Each round runs both, in
turns, in a process of its own; the figures are medians over the rounds, in milliseconds.
WEFT_MAX_ISA caps Weft's instruction set. --cpu: processor time of one thread instead of elapsed
time, for a machine that is not quiet; caches and memory are shared all the same.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

from torch_table import IMAGES, TRANSPOSED, UPSAMPLED

HERE = os.path.dirname(os.path.abspath(__file__))
# glibc then keeps what PyTorch frees; else each output of more than 32 MB is made of new pages.
KEEP_MEMORY = "glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=8589934592"
PASSES = ("forward", "backward-data", "backward-weights")
# images read and written
PARTS = {"layer_norm": 2, "layer_norm backward": 3} | {
    f"upsample_{mode}{text}{backward}": 1 + (side / 56) ** 2
    for mode in ("nearest", "bilinear") for text, side in UPSAMPLED.items()
    for backward in ("", " backward")}


def run(command, **more):
    out = subprocess.run(command, text=True, capture_output=True, env=os.environ | more)
    if out.returncode != 0:
        sys.exit(f"compare_ops: {command[0]} failed: {out.stderr.strip().splitlines()[-1:]}")
    sys.stderr.write("".join(f"{line}\n" for line in out.stderr.splitlines() if "peak" in line))
    return json.loads(out.stdout[out.stdout.index("{"):])


def shape(n, c, k, side, kernel, stride, padding, more, name):
    large = (side - 1) * stride - 2 * padding + kernel + more
    return f'mb{n}_ic{k}ih{large}oc{c}oh{side}kh{kernel}sh{stride}ph{padding}n"{name}"'


def weft(args, folder):
    options = ["--benchmark_format=json", f"--benchmark_min_time={args.seconds}"]
    if args.threads:
        options += ["--threads", str(args.threads)]
    result, elements = {}, IMAGES * 64 * 56 * 56
    kinds = "--benchmark_filter=images/(upsample|layer_norm).*/f32/memory"
    images = any(args.only in name for name in PARTS)
    found = run([args.bench, kinds, *options])["benchmarks"] if images else []
    for b in found:
        name = b["name"].split("/")[1].replace("_backward", " backward")
        if args.only in name:
            share = b["cpu_time"] / b["real_time"] if args.cpu else 1
            took = PARTS[name] * elements / (b["Gelem/s"] * 1e9) * share
            forward = name.removesuffix(" backward")
            if forward == name:
                result[name] = took
            else:
                result[forward + ", both"] = result[forward] + took
    names = {f"case{i}": name for i, name in enumerate(TRANSPOSED) if args.only in name}
    if not names:
        return result
    path = os.path.join(folder, "transposed")
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(shape(*TRANSPOSED[name], key) + "\n" for key, name in names.items())
    kernels = "--benchmark_filter=conv2d/.*case.*/(gemm|wino|onednn)"
    found = run([args.bench, "--shapes", path, kernels, *options])
    passes = {}
    for b in found["benchmarks"]:
        if "(selected)" not in b.get("label", ""):
            continue
        key = re.search(r"case\d+", b["name"]).group()
        which = next(p for p in reversed(PASSES) if f"/{p}/" in b["name"])
        scale = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[b["time_unit"]]
        passes[names[key], which] = b["cpu_time" if args.cpu else "real_time"] * scale
    for name in names.values():
        result[name] = passes[name, "backward-data"]
        result[name + ", both"] = sum(passes[name, which] for which in PASSES)
    return result


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("bench", metavar="WEFT_BENCH")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", default="")
    p.add_argument("--seconds", type=float, default=0.3, help="a pass")
    p.add_argument("--cpu", action="store_true", help="processor time, of one thread")
    args = p.parse_args()
    args.threads = 1 if args.cpu else args.threads
    python = os.environ.get("WEFT_TORCH_PYTHON")
    if not python:
        sys.exit("compare_ops: WEFT_TORCH_PYTHON is not set")
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(args.rounds):
            ours = weft(args, folder)
            theirs = run([python, os.path.join(HERE, "torch_ops.py"),
                          "--threads", str(args.threads), "--seconds", str(args.seconds),
                          "--only", args.only] + ["--cpu"] * args.cpu,
                         GLIBC_TUNABLES=KEEP_MEMORY)
            rounds.append((ours, theirs))
    print(f"{'op':44} {'Weft ms':>9} {'PyTorch':>9}   PyTorch / Weft, each round")
    for name in rounds[0][1]:
        a, b = ([r[i][name] for r in rounds] for i in range(2))
        print(f"{name:44} {1e3 * statistics.median(a):9.3f} {1e3 * statistics.median(b):9.3f}   "
              + " ".join(f"{y / x:.2f}" for x, y in zip(a, b)))


if __name__ == "__main__":
    main()
