"""EfficientNet (Tan and Le 2019)."""

import math
from functools import partial

import torch
from torch import nn

from .blocks import (Conv2dNormActivation, StochasticDepth, divisible_by_8, init_mobilenet,
                     inverted_layers)
from .model import Model


class MBConv(nn.Module):
    def __init__(self, expansion, kernel, stride, inp, out, drop):
        super().__init__()
        self.residual = stride == 1 and inp == out
        self.block = nn.Sequential(*inverted_layers(
            inp, divisible_by_8(inp * expansion), out, kernel, stride, nn.BatchNorm2d, nn.SiLU,
            (max(1, inp // 4), partial(nn.SiLU, inplace=True), nn.Sigmoid)))
        self.stochastic_depth = StochasticDepth(drop)

    def forward(self, x):
        return x + self.stochastic_depth(self.block(x)) if self.residual else self.block(x)


class EfficientNet(nn.Module):
    def __init__(self, rows, num_classes, channels, size, dropout=0.2, stochastic_depth_prob=0.2):
        super().__init__()
        cna = partial(Conv2dNormActivation, activation=nn.SiLU)
        layers, done, total = [cna(channels, rows[0][3], 3, 2)], 0, sum(row[-1] for row in rows)
        for expansion, kernel, stride, inp, out, count in rows:
            stage = []
            for i in range(count):
                drop = stochastic_depth_prob * done / total
                stage.append(MBConv(expansion, kernel, 1 if i else stride, out if i else inp, out,
                                    drop))
                done += 1
            layers.append(nn.Sequential(*stage))
        last = rows[-1][4]
        self.features = nn.Sequential(*layers, cna(last, 4 * last, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * last, num_classes))
        init_mobilenet(self)
        reach = 1 / math.sqrt(num_classes)
        nn.init.uniform_(self.classifier[1].weight, -reach, reach)

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


# expansion, kernel, stride of the first block, in, out, blocks
B0 = ((1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3),
      (6, 5, 1, 80, 112, 3), (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1))

MODELS = {
    "efficientnet_b0": Model(partial(EfficientNet, B0)),
}
