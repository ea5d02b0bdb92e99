"""DenseNet (Huang et al. 2017)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from .model import Model


class _DenseLayer(nn.Module):
    def __init__(self, inp, growth, bn_size, drop_rate):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inp)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inp, bn_size * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bn_size * growth, growth, 3, padding=1, bias=False)
        self.drop_rate = drop_rate

    def forward(self, features):
        x = self.conv1(self.relu1(self.norm1(torch.cat(features, 1))))
        x = self.conv2(self.relu2(self.norm2(x)))
        return F.dropout(x, self.drop_rate, self.training) if self.drop_rate > 0 else x


class _DenseBlock(nn.ModuleDict):
    def __init__(self, inp, count, growth, bn_size, drop_rate):
        super().__init__({f"denselayer{i + 1}": _DenseLayer(inp + i * growth, growth, bn_size,
                                                            drop_rate) for i in range(count)})

    def forward(self, x):
        features = [x]
        for layer in self.values():
            features.append(layer(features))
        return torch.cat(features, 1)


class _Transition(nn.Sequential):
    def __init__(self, inp, out):
        super().__init__()
        self.norm = nn.BatchNorm2d(inp)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inp, out, 1, bias=False)
        self.pool = nn.AvgPool2d(2, 2)


class DenseNet(nn.Module):
    def __init__(self, counts, num_classes, channels, size, drop_rate=0.0, growth=32, inp=64,
                 bn_size=4):
        super().__init__()
        self.features = nn.Sequential()
        self.features.conv0 = nn.Conv2d(channels, inp, 7, 2, 3, bias=False)
        self.features.norm0 = nn.BatchNorm2d(inp)
        self.features.relu0 = nn.ReLU(inplace=True)
        self.features.pool0 = nn.MaxPool2d(3, 2, 1)
        for i, count in enumerate(counts):
            if i > 0:
                self.features.add_module(f"transition{i}", _Transition(inp, inp // 2))
                inp //= 2
            self.features.add_module(f"denseblock{i + 1}",
                                     _DenseBlock(inp, count, growth, bn_size, drop_rate))
            inp += count * growth
        self.features.norm5 = nn.BatchNorm2d(inp)
        self.classifier = nn.Linear(inp, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)
            elif isinstance(m, nn.Linear):
                nn.init.zeros_(m.bias)

    def forward(self, x):
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


MODELS = {
    "densenet121": Model(partial(DenseNet, (6, 12, 24, 16))),
    "densenet169": Model(partial(DenseNet, (6, 12, 32, 32))),
}
