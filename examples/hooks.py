"""Hooks that log the activations of every layer."""
import torch
from torch import nn


def log(module, inputs, output):
    print(type(module).__name__, list(output.shape), f"{output.mean().item():.2f}")


net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU())
nn.init.constant_(net[1].weight, 0.25)
nn.init.constant_(net[1].bias, 0.5)
handles = [layer.register_forward_hook(log) for layer in net]
net(torch.ones(2, 1, 2, 2))
for handle in handles:
    handle.remove()
net(torch.ones(2, 1, 2, 2))
