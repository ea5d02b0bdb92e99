"""The networks for small grey images: fmnist_cnn, and lenet (LeCun et al. 1998) with ReLU."""

import torch
from torch import nn

from .model import Model


class FashionMnistCnn(nn.Module):
    """Three convolutions with BatchNorm, each followed by a 2x2 max pooling, and a linear layer."""

    def __init__(self, num_classes, channels, size):
        super().__init__()
        edge = size // 8
        if edge < 1:
            raise ValueError("fmnist_cnn needs images of at least 8x8")
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(128)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        self.fc = nn.Linear(128 * edge * edge, num_classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.maxpool(self.relu(self.bn2(self.conv2(x))))
        x = self.maxpool(self.relu(self.bn3(self.conv3(x))))
        return self.fc(torch.flatten(x, 1))


class LeNet(nn.Module):
    def __init__(self, num_classes, channels, size):
        super().__init__()
        edge = (size // 2 - 4) // 2
        if edge < 1:
            raise ValueError("lenet needs images of at least 12x12")
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * edge * edge, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.conv1(x)))
        x = self.maxpool(self.relu(self.conv2(x)))
        x = self.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(self.relu(self.fc2(x)))


MODELS = {
    "fmnist_cnn": Model(FashionMnistCnn, 1, 10, 28),
    "lenet": Model(LeNet, 1, 10, 28),
}
