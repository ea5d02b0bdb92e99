"""Times ops in PyTorch and prints the results as one JSON object: name: seconds.

Images are channels_last, their parameters too; upsampling doubles height and width. "NAME, both" is
forward and backward together. compare_ops.py runs this beside Weft.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

from torch_table import IMAGES, TRANSPOSED

ROW = 784    # of layer_norm


def cases():
    """name: (function, inputs)."""
    def images(n, c, side):
        x = torch.randn(n, c, side, side).to(memory_format=torch.channels_last)
        return x.requires_grad_()

    small = images(IMAGES, 64, 28)
    yield "upsample_nearest", lambda x: F.interpolate(x, scale_factor=2), [small]
    yield ("upsample_bilinear",
           lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), [small])
    rows = torch.randn(IMAGES * 64 * 56 * 56 // ROW, ROW, requires_grad=True)
    gamma, beta = (torch.ones(ROW, requires_grad=True) for _ in range(2))
    yield "layer_norm", lambda x, g, b: F.layer_norm(x, [ROW], g, b), [rows, gamma, beta]
    for name, (n, c, k, side, kernel, stride, padding, more) in TRANSPOSED.items():
        w = torch.randn(c, k, kernel, kernel).to(memory_format=torch.channels_last)

        def transposed(x, w, s=stride, p=padding, o=more):
            return F.conv_transpose2d(x, w, None, s, p, o)

        yield name, transposed, [images(n, c, side), w.requires_grad_()]


def seconds(run, limit, clock):
    run()
    run()
    times, end = [], time.perf_counter() + limit
    while len(times) < 5 or time.perf_counter() < end:
        start = clock()
        run()
        times.append(clock() - start)
    return statistics.median(times)


def main():
    p = argparse.ArgumentParser(prog="torch_ops.py", description=__doc__.splitlines()[0])
    p.add_argument("--threads", type=int, default=0, help="0 leaves PyTorch's choice")
    p.add_argument("--seconds", type=float, default=0.3, help="a pass")
    p.add_argument("--only", default="", help="ops with this in their name")
    p.add_argument("--cpu", action="store_true", help="processor time instead of elapsed time")
    args = p.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    torch.set_flush_denormal(True)
    if args.threads:
        torch.set_num_threads(args.threads)
    result = {}
    for name, function, inputs in cases():
        if args.only not in name:
            continue
        dy = torch.ones_like(function(*inputs))

        def forward():
            with torch.no_grad():
                function(*inputs)

        def both():
            function(*inputs).backward(dy)
            for x in inputs:
                x.grad = None

        result[name] = seconds(forward, args.seconds, clock)
        result[name + ", both"] = seconds(both, args.seconds, clock)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
