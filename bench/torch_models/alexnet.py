"""AlexNet on one tower (Krizhevsky 2014, "One weird trick")."""

import torch
from torch import nn

from .model import Model


class AlexNet(nn.Module):
    def __init__(self, num_classes, channels, size, dropout=0.5):
        super().__init__()
        layers, inp = [], channels
        # out, kernel, stride, padding, pooled
        for out, kernel, stride, padding, pooled in ((64, 11, 4, 2, True), (192, 5, 1, 2, True),
                                                     (384, 3, 1, 1, False), (256, 3, 1, 1, False),
                                                     (256, 3, 1, 1, True)):
            layers += [nn.Conv2d(inp, out, kernel, stride, padding), nn.ReLU(inplace=True)]
            if pooled:
                layers.append(nn.MaxPool2d(3, 2))
            inp = out
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x):
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


MODELS = {"alexnet": Model(AlexNet)}
