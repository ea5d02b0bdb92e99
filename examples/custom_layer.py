"""A layer with a parameter and an option of its own, inside a Sequential."""
import torch
from torch import nn


class LayerScale(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.gain = nn.Parameter(torch.full((channels, 1, 1), 0.1))

    def forward(self, x):
        return x * self.gain

    def extra_repr(self):
        return str(self.channels)


net = nn.Sequential(nn.Conv2d(3, 8, 3), LayerScale(8))
print(net)
net(torch.ones(2, 3, 4, 4)).sum().backward()
print(list(net.get_parameter("1.gain").grad.shape))
