"""GoogLeNet (Szegedy et al. 2014), with BatchNorm instead of local response normalisation."""

import torch
from torch import nn
from torch.nn import functional as F

from .inception import BasicConv2d, init_truncated, transform_input
from .model import Model


class Inception(nn.Module):
    """out: channels of the four branches; reduced: of what the middle two start from."""

    def __init__(self, inp, out, reduced):
        super().__init__()
        self.branch1 = BasicConv2d(inp, out[0], kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(inp, reduced[0], kernel_size=1),
            BasicConv2d(reduced[0], out[1], kernel_size=3, padding=1),
        )
        # 3x3 where the paper has 5x5: so are the weights that everybody has
        self.branch3 = nn.Sequential(
            BasicConv2d(inp, reduced[1], kernel_size=1),
            BasicConv2d(reduced[1], out[2], kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            BasicConv2d(inp, out[3], kernel_size=1),
        )

    def forward(self, x):
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(x) for branch in branches], 1)


class InceptionAux(nn.Module):
    def __init__(self, inp, num_classes, dropout):
        super().__init__()
        self.conv = BasicConv2d(inp, 128, kernel_size=1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = torch.flatten(self.conv(F.adaptive_avg_pool2d(x, 4)), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x))))


# The paper's table 1: name, channels of the branches and of their reductions; or None, a pooling's
# window
STAGES = (
    ("inception3a", (64, 128, 32, 32), (96, 16)),
    ("inception3b", (128, 192, 96, 64), (128, 32)),
    ("maxpool3", None, 3),
    ("inception4a", (192, 208, 48, 64), (96, 16)),
    ("inception4b", (160, 224, 64, 64), (112, 24)),
    ("inception4c", (128, 256, 64, 64), (128, 24)),
    ("inception4d", (112, 288, 64, 64), (144, 32)),
    ("inception4e", (256, 320, 128, 128), (160, 32)),
    ("maxpool4", None, 2),
    ("inception5a", (256, 320, 128, 128), (160, 32)),
    ("inception5b", (384, 384, 128, 128), (192, 48)),
)


class GoogLeNet(nn.Module):
    """In training mode with aux_logits the output is (logits, aux2's, aux1's)."""

    aux_loss_weight = 0.3

    def __init__(self, num_classes, channels, size, aux_logits=False, transform_input=False,
                 dropout=0.2, dropout_aux=0.7):
        super().__init__()
        self.transform_input = transform_input
        self.conv1 = BasicConv2d(channels, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        inp = 192
        for name, out, detail in STAGES:
            if out is None:
                setattr(self, name, nn.MaxPool2d(detail, stride=2, ceil_mode=True))
            else:
                setattr(self, name, Inception(inp, out, detail))
                inp = sum(out)
        self.aux1 = InceptionAux(512, num_classes, dropout_aux) if aux_logits else None
        self.aux2 = InceptionAux(528, num_classes, dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inp, num_classes)
        init_truncated(self, 0.01)

    def forward(self, x):
        if self.transform_input:
            x = transform_input(x)
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        aux = []
        for name, _, _ in STAGES:
            x = getattr(self, name)(x)
            head = {"inception4a": self.aux1, "inception4d": self.aux2}.get(name)
            if head is not None and self.training:
                aux.insert(0, head(x))
        x = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return (x, *aux) if aux else x


MODELS = {"googlenet": Model(GoogLeNet)}
