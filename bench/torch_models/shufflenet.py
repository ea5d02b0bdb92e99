"""ShuffleNet V2 (Ma et al. 2018)."""

from functools import partial

import torch
from torch import nn

from .model import Model


def _conv(inp, out, kernel, stride=1, relu=True):
    """kernel 3: depthwise."""
    layers = [nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=inp if kernel > 1 else 1,
                        bias=False), nn.BatchNorm2d(out)]
    return layers + [nn.ReLU(inplace=True)] if relu else layers


class InvertedResidual(nn.Module):
    def __init__(self, inp, out, stride):
        super().__init__()
        half = out // 2
        self.halves = stride == 1
        self.branch1 = nn.Sequential() if self.halves else nn.Sequential(
            *_conv(inp, inp, 3, stride, relu=False), *_conv(inp, half, 1))
        self.branch2 = nn.Sequential(*_conv(half if self.halves else inp, half, 1),
                                     *_conv(half, half, 3, stride, relu=False),
                                     *_conv(half, half, 1))

    def forward(self, x):
        x1, x2 = x.chunk(2, 1) if self.halves else (self.branch1(x), x)
        x = torch.cat((x1, self.branch2(x2)), 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleNetV2(nn.Module):
    def __init__(self, repeats, widths, num_classes, channels, size):
        super().__init__()
        inp = widths[0]
        self.conv1 = nn.Sequential(nn.Conv2d(channels, inp, 3, 2, 1, bias=False),
                                   nn.BatchNorm2d(inp), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i, (count, out) in enumerate(zip(repeats, widths[1:])):
            units = [InvertedResidual(inp, out, 2)]
            units += [InvertedResidual(out, out, 1) for _ in range(count - 1)]
            self.add_module(f"stage{i + 2}", nn.Sequential(*units))
            inp = out
        self.conv5 = nn.Sequential(*_conv(inp, widths[-1], 1))
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, x):
        x = self.stage2(self.maxpool(self.conv1(x)))
        x = self.conv5(self.stage4(self.stage3(x)))
        return self.fc(x.mean([2, 3]))


MODELS = {
    "shufflenet_v2_x1_0": Model(partial(ShuffleNetV2, (4, 8, 4), (24, 116, 232, 464, 1024))),
}
