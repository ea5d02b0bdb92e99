"""Inception v3 (Szegedy et al. 2015, "Rethinking the Inception architecture")."""

import torch
from torch import nn
from torch.nn import functional as F

from .model import Model

# ---- shared with googlenet.py ----


class BasicConv2d(nn.Module):
    def __init__(self, inp, out, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(inp, out, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)), inplace=True)


def init_truncated(net, std):
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, std=std, a=-2, b=2)


def transform_input(x):
    """From ImageNet's mean and deviation of each channel to 0.5 and 0.5."""
    channels = []
    for c, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        channels.append(x[:, c] * (std / 0.5) + (mean - 0.5) / 0.5)
    return torch.stack(channels, 1)


# ---- blocks ----


def conv(inp, out, height, width=None):
    """A convolution that keeps the size."""
    kernel = (height, width or height)
    return BasicConv2d(inp, out, kernel_size=kernel, padding=(kernel[0] // 2, kernel[1] // 2))


def conv_halving(inp, out):
    return BasicConv2d(inp, out, kernel_size=3, stride=2)


def average(x):
    return F.avg_pool2d(x, 3, stride=1, padding=1)


def maximum_halving(x):
    return F.max_pool2d(x, 3, stride=2)


class InceptionA(nn.Module):
    """5x5 and two 3x3."""

    def __init__(self, inp, pool_features):
        super().__init__()
        self.branch1x1 = conv(inp, 64, 1)
        self.branch5x5_1 = conv(inp, 48, 1)
        self.branch5x5_2 = conv(48, 64, 5)
        self.branch3x3dbl_1 = conv(inp, 64, 1)
        self.branch3x3dbl_2 = conv(64, 96, 3)
        self.branch3x3dbl_3 = conv(96, 96, 3)
        self.branch_pool = conv(inp, pool_features, 1)

    def forward(self, x):
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(average(x))], 1)


class InceptionB(nn.Module):
    """Halves the map."""

    def __init__(self, inp):
        super().__init__()
        self.branch3x3 = conv_halving(inp, 384)
        self.branch3x3dbl_1 = conv(inp, 64, 1)
        self.branch3x3dbl_2 = conv(64, 96, 3)
        self.branch3x3dbl_3 = conv_halving(96, 96)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, maximum_halving(x)], 1)


class InceptionC(nn.Module):
    """7x7, taken apart into rows and columns, once and twice."""

    def __init__(self, inp, inside):
        super().__init__()
        self.branch1x1 = conv(inp, 192, 1)
        self.branch7x7_1 = conv(inp, inside, 1)
        self.branch7x7_2 = conv(inside, inside, 1, 7)
        self.branch7x7_3 = conv(inside, 192, 7, 1)
        self.branch7x7dbl_1 = conv(inp, inside, 1)
        self.branch7x7dbl_2 = conv(inside, inside, 7, 1)
        self.branch7x7dbl_3 = conv(inside, inside, 1, 7)
        self.branch7x7dbl_4 = conv(inside, inside, 7, 1)
        self.branch7x7dbl_5 = conv(inside, 192, 1, 7)
        self.branch_pool = conv(inp, 192, 1)

    def forward(self, x):
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(average(x))], 1)


class InceptionD(nn.Module):
    """Halves the map."""

    def __init__(self, inp):
        super().__init__()
        self.branch3x3_1 = conv(inp, 192, 1)
        self.branch3x3_2 = conv_halving(192, 320)
        self.branch7x7x3_1 = conv(inp, 192, 1)
        self.branch7x7x3_2 = conv(192, 192, 1, 7)
        self.branch7x7x3_3 = conv(192, 192, 7, 1)
        self.branch7x7x3_4 = conv_halving(192, 192)

    def forward(self, x):
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_2(self.branch7x7x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(seven))
        return torch.cat([three, seven, maximum_halving(x)], 1)


class InceptionE(nn.Module):
    """Rows and columns of 3 side by side."""

    def __init__(self, inp):
        super().__init__()
        self.branch1x1 = conv(inp, 320, 1)
        self.branch3x3_1 = conv(inp, 384, 1)
        self.branch3x3_2a = conv(384, 384, 1, 3)
        self.branch3x3_2b = conv(384, 384, 3, 1)
        self.branch3x3dbl_1 = conv(inp, 448, 1)
        self.branch3x3dbl_2 = conv(448, 384, 3)
        self.branch3x3dbl_3a = conv(384, 384, 1, 3)
        self.branch3x3dbl_3b = conv(384, 384, 3, 1)
        self.branch_pool = conv(inp, 192, 1)

    def forward(self, x):
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([
            self.branch1x1(x),
            self.branch3x3_2a(three), self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double),
            self.branch_pool(average(x)),
        ], 1)


class InceptionAux(nn.Module):
    def __init__(self, inp, num_classes):
        super().__init__()
        self.conv0 = BasicConv2d(inp, 128, kernel_size=1)
        self.conv1 = BasicConv2d(128, 768, kernel_size=5)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x):
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, stride=3)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Inception3(nn.Module):
    """In training mode with aux_logits the output is (logits, the auxiliary ones)."""

    aux_loss_weight = 0.4
    aux_smallest = 299  # image, for a map of 17x17

    def __init__(self, num_classes, channels, size, aux_logits=False, transform_input=False,
                 dropout=0.5):
        super().__init__()
        self.transform_input = transform_input
        self.Conv2d_1a_3x3 = conv_halving(channels, 32)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = conv(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = conv(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.AuxLogits = InceptionAux(768, num_classes) if aux_logits else None
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        init_truncated(self, 0.1)
        if self.AuxLogits is not None:
            init_truncated(self.AuxLogits.fc, 0.001)

    def forward(self, x):
        if self.transform_input:
            x = transform_input(x)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))
        x = self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x))))
        x = self.Mixed_6e(x)
        aux = None
        if self.AuxLogits is not None and self.training:
            aux = self.AuxLogits(x)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        x = self.fc(torch.flatten(self.dropout(self.avgpool(x)), 1))
        return x if aux is None else (x, aux)


MODELS = {"inception_v3": Model(Inception3, default_size=299)}
