"""Times one whole training step in PyTorch and prints the result as one JSON object.

A step is zero_grad, forward, cross-entropy, backward and an SGD update, the same work that
`weft-bench --step` times. Data is synthetic and lies in memory before the clock starts, so no
input pipeline is measured.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time

MODES = ("eager", "channels_last", "compile", "compile_channels_last")
DTYPES = ("f32", "bf16")
WARMUP_STEPS = 5
MIN_STEPS = 5


def parse_args(argv):
    p = argparse.ArgumentParser(prog="torch_step.py", description=__doc__.splitlines()[0])
    p.add_argument("--model", required=True)
    p.add_argument("--batch", type=int, required=True, help="images a step")
    p.add_argument("--size", type=int, help="edge of the square image (default: the model's own)")
    p.add_argument("--mode", default="eager", choices=MODES)
    p.add_argument("--dtype", default="f32", choices=DTYPES, help="bf16 is autocast")
    p.add_argument("--threads", type=int, default=0, help="0 leaves PyTorch's choice")
    p.add_argument("--seconds", type=float, default=5.0, help="time to measure, after warm-up")
    p.add_argument("--json", default="-", metavar="FILE", help="where to write; - is stdout")
    args = p.parse_args(argv)
    if args.batch < 1:
        p.error(f"--batch must be at least 1, not {args.batch}")
    if args.size is not None and args.size < 1:
        p.error(f"--size must be at least 1, not {args.size}")
    if args.threads < 0:
        p.error(f"--threads must not be negative, not {args.threads}")
    if not args.seconds > 0:
        p.error(f"--seconds must be positive, not {args.seconds}")
    return p, args


def make_step(torch, net, x, y, dtype):
    """Returns a function that runs one training step of `net` and returns the loss."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    loss_of = torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
            loss = loss_of(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def time_steps(step, seconds):
    """Median seconds a step, over at least `seconds` and MIN_STEPS; reads the loss every step,
    as a training loop that logs it does, so that a step is over when the clock is read."""
    for _ in range(WARMUP_STEPS):
        step().item()
    times, end = [], time.perf_counter() + seconds
    while len(times) < MIN_STEPS or time.perf_counter() < end:
        start = time.perf_counter()
        step().item()
        times.append(time.perf_counter() - start)
    return statistics.median(times), len(times)


def measure(args, spec):
    import torch

    torch.manual_seed(0)
    # Otherwise denormals in a net that trains on noise make PyTorch look slower than it is.
    torch.set_flush_denormal(True)
    if args.threads:
        torch.set_num_threads(args.threads)
    size = args.size or spec.default_size
    net = spec.create(size=size).train()
    x = torch.randn(args.batch, spec.channels, size, size)
    y = torch.randint(0, spec.classes, (args.batch,))
    if "channels_last" in args.mode:
        net = net.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    # Compiled before the optimizer is made; the optimizer then updates the same parameters.
    run = torch.compile(net) if args.mode.startswith("compile") else net
    step = make_step(torch, run, x, y, args.dtype)
    median, steps = time_steps(step, args.seconds)
    return {
        "model": args.model,
        "batch": args.batch,
        "size": size,
        "mode": args.mode,
        "dtype": args.dtype,
        "threads": torch.get_num_threads(),
        "img_per_s": args.batch / median,
        "median_step_s": median,
        "steps": steps,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "torch": torch.__version__,
    }


def main(argv):
    parser, args = parse_args(argv)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from torch_models import MODELS

    if args.model not in MODELS:
        parser.error(f"unknown model {args.model!r}; known: {', '.join(MODELS)}")
    text = json.dumps(measure(args, MODELS[args.model]))
    if args.json == "-":
        print(text)
    else:
        with open(args.json, "w", encoding="utf-8") as f:
            f.write(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
