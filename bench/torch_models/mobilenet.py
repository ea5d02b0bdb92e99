"""MobileNetV2 (Sandler et al. 2018) and MobileNetV3 (Howard et al. 2019)."""

from functools import partial

import torch
from torch import nn

from .blocks import Conv2dNormActivation, divisible_by_8, init_mobilenet, inverted_layers
from .model import Model


class InvertedResidualV2(nn.Module):
    def __init__(self, inp, out, stride, expansion):
        super().__init__()
        self.residual = stride == 1 and inp == out
        *layers, last = inverted_layers(inp, inp * expansion, out, 3, stride, nn.BatchNorm2d,
                                        nn.ReLU6)
        self.conv = nn.Sequential(*layers, *last)  # the projection is not nested

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
              (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self, num_classes, channels, size, width_mult=1.0, dropout=0.2):
        super().__init__()
        inp, last = divisible_by_8(32 * width_mult), divisible_by_8(1280 * max(1.0, width_mult))
        layers = [Conv2dNormActivation(channels, inp, 3, 2, activation=nn.ReLU6)]
        for expansion, out, count, stride in self.STAGES:
            out = divisible_by_8(out * width_mult)
            for i in range(count):
                layers.append(InvertedResidualV2(inp, out, 1 if i else stride, expansion))
                inp = out
        layers.append(Conv2dNormActivation(inp, last, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        init_mobilenet(self)

    def forward(self, x):
        x = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


class InvertedResidual(nn.Module):
    def __init__(self, inp, kernel, expanded, out, squeeze, hardswish, stride, norm):
        super().__init__()
        self.residual = stride == 1 and inp == out
        if squeeze:
            squeeze = (divisible_by_8(expanded // 4), nn.ReLU, nn.Hardsigmoid)
        self.block = nn.Sequential(*inverted_layers(
            inp, expanded, out, kernel, stride, norm, nn.Hardswish if hardswish else nn.ReLU,
            squeeze))

    def forward(self, x):
        return x + self.block(x) if self.residual else self.block(x)


class MobileNetV3(nn.Module):
    def __init__(self, rows, hidden, num_classes, channels, size, dropout=0.2):
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        cna = partial(Conv2dNormActivation, norm=norm, activation=nn.Hardswish)
        last = rows[-1][3]
        self.features = nn.Sequential(cna(channels, rows[0][0], 3, 2),
                                      *(InvertedResidual(*row, norm) for row in rows),
                                      cna(last, 6 * last, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Linear(6 * last, hidden), nn.Hardswish(inplace=True),
                                        nn.Dropout(dropout), nn.Linear(hidden, num_classes))
        init_mobilenet(self)

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


# in, kernel, expanded, out, squeeze and excitation, hardswish, stride
LARGE = ((16, 3, 16, 16, False, False, 1), (16, 3, 64, 24, False, False, 2),
         (24, 3, 72, 24, False, False, 1), (24, 5, 72, 40, True, False, 2),
         (40, 5, 120, 40, True, False, 1), (40, 5, 120, 40, True, False, 1),
         (40, 3, 240, 80, False, True, 2), (80, 3, 200, 80, False, True, 1),
         (80, 3, 184, 80, False, True, 1), (80, 3, 184, 80, False, True, 1),
         (80, 3, 480, 112, True, True, 1), (112, 3, 672, 112, True, True, 1),
         (112, 5, 672, 160, True, True, 2), (160, 5, 960, 160, True, True, 1),
         (160, 5, 960, 160, True, True, 1))
SMALL = ((16, 3, 16, 16, True, False, 2), (16, 3, 72, 24, False, False, 2),
         (24, 3, 88, 24, False, False, 1), (24, 5, 96, 40, True, True, 2),
         (40, 5, 240, 40, True, True, 1), (40, 5, 240, 40, True, True, 1),
         (40, 5, 120, 48, True, True, 1), (48, 5, 144, 48, True, True, 1),
         (48, 5, 288, 96, True, True, 2), (96, 5, 576, 96, True, True, 1),
         (96, 5, 576, 96, True, True, 1))

MODELS = {
    "mobilenet_v2": Model(MobileNetV2),
    "mobilenet_v3_small": Model(partial(MobileNetV3, SMALL, 1024)),
    "mobilenet_v3_large": Model(partial(MobileNetV3, LARGE, 1280)),
}
