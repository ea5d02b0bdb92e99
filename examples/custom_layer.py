"""A layer with a parameter and an option of its own, inside a Sequential."""
import torch
from torch import nn


class LayerScale(nn.Module):
    def __init__(self, channels, init):
        super().__init__()
        self.channels = channels
        self.gain = nn.Parameter(torch.full((channels, 1, 1), init))

    def forward(self, x):
        return x * self.gain

    def extra_repr(self):
        return str(self.channels)


net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), LayerScale(8, 0.1))
print(net)
net(torch.ones(2, 3, 4, 4)).sum().backward()
for name, p in net.named_parameters():
    print(name, list(p.grad.shape))
