"""VGG (Simonyan and Zisserman 2014), with and without BatchNorm."""

from functools import partial

import torch
from torch import nn

from .model import Model, init_conv_fan_out


class Vgg(nn.Module):
    """counts: convolutions of each stage; a stage ends in a 2x2 max pooling."""

    def __init__(self, counts, batch_norm, num_classes, channels, size, dropout=0.5):
        super().__init__()
        layers, inp = [], channels
        for count, out in zip(counts, (64, 128, 256, 512, 512)):
            for _ in range(count):
                layers.append(nn.Conv2d(inp, out, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(out))
                layers.append(nn.ReLU(inplace=True))
                inp = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        init_conv_fan_out(self)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.zeros_(module.bias)

    def forward(self, x):
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


COUNTS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}

MODELS = {name + suffix: Model(partial(Vgg, counts, suffix == "_bn"))
          for name, counts in COUNTS.items() for suffix in ("", "_bn")}
