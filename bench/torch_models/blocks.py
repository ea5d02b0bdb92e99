"""What the mobile networks are built of: torchvision.ops.misc, and the inverted residual block
(Sandler et al. 2018)."""

import torch
from torch import nn


def divisible_by_8(channels):
    """The nearest multiple of 8, at least 8 and not less than nine tenths."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class Conv2dNormActivation(nn.Sequential):
    def __init__(self, inp, out, kernel, stride=1, groups=1, norm=nn.BatchNorm2d, activation=None):
        layers = [nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False),
                  norm(out)]
        if activation:
            layers.append(activation(inplace=True))
        super().__init__(*layers)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels, squeezed, activation, scale_activation):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, x):
        scale = self.fc2(self.activation(self.fc1(self.avgpool(x))))
        return x * self.scale_activation(scale)


class StochasticDepth(nn.Module):
    """Drops whole images, mode "row"."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        keep = torch.empty((x.shape[0], 1, 1, 1), dtype=x.dtype, device=x.device)
        return x * keep.bernoulli_(1 - self.p).div_(1 - self.p)


def inverted_layers(inp, expanded, out, kernel, stride, norm, activation, squeeze=None):
    """Expansion, depthwise, [squeeze and excitation], projection."""
    layers = []
    if expanded != inp:
        layers.append(Conv2dNormActivation(inp, expanded, 1, norm=norm, activation=activation))
    layers.append(Conv2dNormActivation(expanded, expanded, kernel, stride, expanded, norm,
                                       activation))
    if squeeze:
        layers.append(SqueezeExcitation(expanded, *squeeze))
    layers.append(Conv2dNormActivation(expanded, out, 1, norm=norm))
    return layers


def init_mobilenet(net):
    """He's initial values by fan out, linear layers from normal(0, 0.01), no biases."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out")
        elif isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0, 0.01)
        if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
            nn.init.zeros_(m.bias)
