#!/usr/bin/env python3
"""PyTorch's half of test_torch_state.py: state_tool.c's network as an nn.Module.

    torch_state.py save FILE    every element is numbered; shared tensors under both names
    torch_state.py model FILE   the same by safetensors' save_model, which keeps one name
    torch_state.py print FILE   the file must hold the network's repr
    torch_state.py check FILE   loads strictly; the numbers and the versions must be there
"""

import json
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from torch import nn


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.wide = nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
        self.register_buffer("scalar", torch.zeros(()))
        self.register_buffer("bytes", torch.zeros(5, dtype=torch.uint8))
        self.register_buffer("hidden", torch.zeros(5), persistent=False)


def numbers(state):
    first = {}
    for i, (name, t) in enumerate(state.items()):
        i = first.setdefault(t.data_ptr(), i)
        k = torch.arange(t.numel(), dtype=torch.float64).reshape(t.shape)
        value = i + k / 8 if t.is_floating_point() else 100 * i + k
        if t.dtype == torch.uint8:
            value = value.to(torch.int64) & 255
        yield name, t, value.to(t.dtype)


what, path = sys.argv[1:]
net = Bag()
if what == "print":
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert text == repr(net), (text, repr(net))
elif what == "check":
    state = load_file(path)
    names = list(net.state_dict())
    net.load_state_dict(state, strict=True)
    for name, t, want in numbers(net.state_dict()):
        assert t.dtype == state[name].dtype, (name, state[name].dtype)
        assert torch.equal(t, want), (name, t, want)
    with safe_open(path, "pt") as f:
        assert list(f.keys()) and f.metadata()["format"] == "pt", f.metadata()
        versions = json.loads(f.metadata()["weft.versions"])
    metadata = {k: v["version"] for k, v in net.state_dict()._metadata.items()}
    assert versions == metadata, (versions, metadata)
else:
    with torch.no_grad():
        for _, t, want in numbers(net.state_dict()):
            t.copy_(want)
    if what == "save":
        save_file({k: v.clone() for k, v in net.state_dict().items()}, path)
    else:
        save_model(net, path)
