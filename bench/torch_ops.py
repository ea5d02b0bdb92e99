"""Times ops in PyTorch and prints the results as one JSON object: name: seconds.

Images are channels_last, their parameters too; what transposed convolutions take is the less of that
and of the default format. "NAME, both" is forward and backward together. compare_ops.py runs this beside Weft.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

from torch_table import IMAGES, TRANSPOSED, UPSAMPLED

ROW = 784    # of layer_norm


def cases():
    """name: (function, inputs)."""
    def images(n, c, side):
        x = torch.randn(n, c, side, side).to(memory_format=torch.channels_last)
        return x.requires_grad_()

    for text, side in UPSAMPLED.items():
        small = images(IMAGES, 64, side)
        yield "upsample_nearest" + text, lambda x: F.interpolate(x, size=56), [small]
        yield ("upsample_bilinear" + text,
               lambda x: F.interpolate(x, size=56, mode="bilinear"), [small])
    rows = torch.randn(IMAGES * 64 * 56 * 56 // ROW, ROW, requires_grad=True)
    gamma, beta = (torch.ones(ROW, requires_grad=True) for _ in range(2))
    yield "layer_norm", lambda x, g, b: F.layer_norm(x, [ROW], g, b), [rows, gamma, beta]
    for name, (n, c, k, side, kernel, stride, padding, more) in TRANSPOSED.items():
        w = torch.randn(c, k, kernel, kernel)

        def transposed(x, w, s=stride, p=padding, o=more):
            return F.conv_transpose2d(x, w, None, s, p, o)

        for last in (torch.channels_last, torch.contiguous_format):
            x = images(n, c, side).detach().contiguous(memory_format=last)
            yield (name, transposed, [x.requires_grad_(),
                                      w.clone(memory_format=last).requires_grad_()])


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

        for text, run in ((name, forward), (name + ", both", both)):
            took = seconds(run, args.seconds, clock)
            result[text] = min(took, result.get(text, took))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
