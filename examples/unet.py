"""A small U-Net (Ronneberger et al. 2015) and two steps of SGD on a segmentation of two classes."""
import torch
import torch.nn.functional as F
from torch import nn


class UNet(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.down = nn.Conv2d(1, n, 3, padding=1)
        self.bottom = nn.Conv2d(n, 2 * n, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * n, n, 2, stride=2)
        self.join = nn.Conv2d(2 * n, n, 3, padding=1)
        self.head = nn.Conv2d(n, 2, 1)

    def forward(self, x):
        skip = torch.relu(self.down(x))
        x = torch.relu(self.bottom(F.max_pool2d(skip, 2)))
        x = torch.cat([self.up(x), skip], 1)
        return self.head(torch.relu(self.join(x)))


def fill(t):
    """Values that the twin has, too: no random numbers."""
    t.data = ((torch.arange(t.numel()) * 7 % 11 - 5) / 20).reshape(t.shape)


net = UNet(8)
for p in net.parameters():
    fill(p)
x = torch.empty(2, 1, 8, 8)
labels = torch.zeros(2 * 8 * 8, dtype=torch.int64)
fill(x)
sgd = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(2):
    sgd.zero_grad()
    y = net(x)
    loss = F.cross_entropy(y.permute(0, 2, 3, 1).reshape(-1, 2), labels)
    if step == 0:
        print(list(y.shape))
    loss.backward()
    sgd.step()
    print(f"loss {loss.item():.4f}")
