"""SqueezeNet 1.1 (Iandola et al. 2016; 1.1 is the authors' later version)."""

import torch
from torch import nn

from .model import Model


class Fire(nn.Module):
    def __init__(self, inp, squeezed, expanded):
        super().__init__()
        self.squeeze = nn.Conv2d(inp, squeezed, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat([self.expand1x1_activation(self.expand1x1(x)),
                          self.expand3x3_activation(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    # squeezed and expanded channels (each way) of the modules between poolings
    STAGES = (
        ((16, 64), (16, 64)),
        ((32, 128), (32, 128)),
        ((48, 192), (48, 192), (64, 256), (64, 256)),
    )

    def __init__(self, num_classes, channels, size, dropout=0.5):
        super().__init__()
        layers, inp = [nn.Conv2d(channels, 64, 3, stride=2), nn.ReLU(inplace=True)], 64
        for stage in self.STAGES:
            layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            for squeezed, expanded in stage:
                layers.append(Fire(inp, squeezed, expanded))
                inp = 2 * expanded
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(inp, num_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(inplace=True),
                                        nn.AdaptiveAvgPool2d(1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if module is last:
                    nn.init.normal_(module.weight, 0, 0.01)
                else:
                    nn.init.kaiming_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x):
        return torch.flatten(self.classifier(self.features(x)), 1)


MODELS = {"squeezenet1_1": Model(SqueezeNet)}
