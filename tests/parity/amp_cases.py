#!/usr/bin/env python3
"""PyTorch's half of test_amp.py: layers under autocast to bfloat16.

    amp_cases.py PARITY_DRIVER FOLDER

A layer stands between two 1x1 convolutions by the identity, which are what makes its input and its
output's gradient bf16, in PyTorch as in Weft. What is compared is the distance to PyTorch in double:
Weft's, and that of PyTorch's own autocast. Prints, as the last line, a JSON list of
{case, what, weft, torch}: the largest errors relative to the tensor's largest value.
"""

import json
import os
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file
from torch import nn

generator = torch.Generator().manual_seed(5)
cases, tensors, expected = [], {}, {}


def bf16_numbers(shape, scale=1.0):
    return (torch.randn(shape, generator=generator) * scale).bfloat16().float()


def identity(channels):
    return torch.eye(channels)[:, :, None, None].contiguous()


def results(module, x, dy, pre, post, dtype, autocast):
    """Output, gradients, buffers."""
    module = module.to(dtype)
    x = x.to(dtype).clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        y = nn.functional.conv2d(x, pre.to(dtype))
        y = nn.functional.conv2d(module(y), post.to(dtype))
    y.backward(dy.to(y.dtype))
    found = {"y": y, "d/x": x.grad}
    found.update({f"d/{k}": p.grad for k, p in module.named_parameters()})
    found.update({f"b/{k}": b for k, b in module.named_buffers()})
    return {k: v.detach().double() for k, v in found.items()}


def layer(call, shape, training=True, **options):
    name = f"{call}.{len(cases)}"

    def make():
        module = getattr(nn, call)(**options)
        module.load_state_dict(state)
        return module.train(training)

    state = getattr(nn, call)(**options).state_dict()
    for key, t in state.items():
        if t.is_floating_point():
            state[key] = bf16_numbers(t.shape, 0.5)
            if t.dim() == 1:
                state[key] = state[key].abs() + 0.25
        tensors[f"{name}/state/{key}"] = state[key].contiguous()
    x = bf16_numbers(shape, 2.0)
    out = getattr(nn, call)(**options)(x)
    dy = bf16_numbers(out.shape)
    pre, post = identity(shape[1]), identity(out.shape[1])
    for part, t in (("x", x), ("dy", dy), ("pre", pre), ("post", post)):
        tensors[f"{name}/{part}"] = t
    expected[name] = (results(make(), x, dy, pre, post, torch.float64, False),
                      results(make(), x, dy, pre, post, torch.float32, True))
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    cases.append({"name": name, "group": "layer", "call": call, "in": ["x"], "grad": [0],
                  "training": training, **fields})


def list_layers():
    for options in ({"padding": (1, 1)}, {"stride": (2, 2), "padding": (1, 1), "bias": False},
                    {"groups": 2, "padding": (1, 1)}, {"dilation": (2, 1)},
                    {"groups": 32, "stride": (2, 2)}):
        layer("Conv2d", (3, 32, 14, 13), in_channels=32, out_channels=64, kernel_size=(3, 3),
              **options)
    for stride in ((1, 1), (2, 2)):
        layer("Conv2d", (2, 48, 14, 14), in_channels=48, out_channels=80, kernel_size=(1, 1),
              stride=stride)
    layer("Conv2d", (2, 3, 23, 23), in_channels=3, out_channels=16, kernel_size=(7, 7),
          stride=(2, 2), padding=(3, 3))
    layer("ConvTranspose2d", (2, 32, 7, 6), in_channels=32, out_channels=16, kernel_size=(2, 2),
          stride=(2, 2))
    for options in ({}, {"momentum": 0.3, "eps": 1e-3}, {"affine": False}):
        layer("BatchNorm2d", (4, 19, 6, 6), num_features=19, **options)
    layer("BatchNorm2d", (4, 19, 6, 6), training=False, num_features=19)
    layer("GroupNorm", (3, 20, 5, 4), num_groups=4, num_channels=20)
    for call in ("ReLU", "ReLU6", "LeakyReLU", "SiLU", "Hardswish", "Hardsigmoid", "Sigmoid", "Tanh",
                 "GELU", "Mish", "ELU", "Softplus", "PReLU"):
        layer(call, (2, 19, 7, 5))
    for call in ("MaxPool2d", "AvgPool2d"):
        layer(call, (2, 9, 8, 7), kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    layer("AdaptiveAvgPool2d", (2, 9, 8, 7), output_size=(3, 2))
    layer("AdaptiveAvgPool2d", (2, 9, 8, 7), output_size=(1, 1))


def error(got, want):
    return ((got.double() - want).abs().max() / want.abs().max().clamp(min=1)).item()


def main():
    driver, folder = sys.argv[1:]
    torch.manual_seed(5)
    torch.set_num_threads(1)
    list_layers()
    paths = [os.path.join(folder, f) for f in ("cases.json", "in.safetensors", "out.safetensors")]
    with open(paths[0], "w", encoding="utf-8") as f:
        json.dump(cases, f)
    save_file(tensors, paths[1])
    subprocess.run([driver, *paths, "bf16"], check=True, timeout=400)
    got = load_file(paths[2])
    found = []
    for case in cases:
        name = case["name"]
        options = {k: v for k, v in case.items() if k not in ("name", "group", "grad", "in")}
        exact, autocast = expected[name]
        for what, want in exact.items():
            found.append({"case": f"{name} {json.dumps(options)}", "what": what,
                          "weft": error(got[f"{name}/{what}"], want),
                          "torch": error(autocast[what], want)})
    print(json.dumps(found))


main()
