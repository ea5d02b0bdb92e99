"""ResNet (He et al. 2015), wide (Zagoruyko and Komodakis 2016) and grouped (Xie et al. 2016), and
those for small images, whose stem is one 3x3 convolution."""

from functools import partial

import torch
from torch import nn

from .model import Model, init_conv_fan_out


def _conv_bn(inp, out, kernel, stride=1, groups=1):
    return (nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inp, planes, width, stride, groups):
        super().__init__()
        self.conv1, self.bn1 = _conv_bn(inp, planes, 3, stride)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = _conv_bn(planes, planes, 3)
        self.downsample = _shortcut(inp, planes, stride)

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + shortcut)


class Bottleneck(nn.Module):
    """The "v1.5" block: the stride sits on the 3x3 convolution, as in torchvision."""

    expansion = 4

    def __init__(self, inp, planes, width, stride, groups):
        super().__init__()
        self.conv1, self.bn1 = _conv_bn(inp, width, 1)
        self.conv2, self.bn2 = _conv_bn(width, width, 3, stride, groups)
        self.conv3, self.bn3 = _conv_bn(width, planes * self.expansion, 1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inp, planes * self.expansion, stride)

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + shortcut)


def _shortcut(inp, out, stride):
    """The projection of a block whose output has another shape; else None."""
    return nn.Sequential(*_conv_bn(inp, out, 1, stride)) if stride != 1 or inp != out else None


class ResNet(nn.Module):
    """planes: channels of the stem and of the first stage; they double from stage to stage."""

    def __init__(self, block, counts, num_classes, channels, size, small=False, planes=64,
                 groups=1, width_per_group=64):
        super().__init__()
        inp = planes
        self.conv1, self.bn1 = _conv_bn(channels, inp, *((3, 1) if small else (7, 2)))
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.stages = len(counts)
        for i, count in enumerate(counts):
            stage = []
            for j in range(count):
                width = planes * width_per_group // 64 * groups
                stage.append(block(inp, planes, width, 2 if i > 0 and j == 0 else 1, groups))
                inp = planes * block.expansion
            self.add_module(f"layer{i + 1}", nn.Sequential(*stage))
            planes *= 2
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inp, num_classes)
        init_conv_fan_out(self)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _imagenet(block, counts, **kin):
    return Model(partial(ResNet, block, counts, **kin))


def _cifar(planes, counts):
    return Model(partial(ResNet, BasicBlock, counts, small=True, planes=planes), 3, 10, 32)


MODELS = {
    "resnet18": _imagenet(BasicBlock, (2, 2, 2, 2)),
    "resnet34": _imagenet(BasicBlock, (3, 4, 6, 3)),
    "resnet50": _imagenet(Bottleneck, (3, 4, 6, 3)),
    "resnet101": _imagenet(Bottleneck, (3, 4, 23, 3)),
    "wide_resnet50_2": _imagenet(Bottleneck, (3, 4, 6, 3), width_per_group=128),
    "resnext50_32x4d": _imagenet(Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4),
    "cifar_resnet18": _cifar(64, (2, 2, 2, 2)),
    "cifar_resnet20": _cifar(16, (3, 3, 3)),
    "cifar_resnet56": _cifar(16, (9, 9, 9)),
}
