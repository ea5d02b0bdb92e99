"""Two layers that share one weight: one gradient, saved under both names."""
import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.second = nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


net = Tied()
nn.init.constant_(net.first.weight, 0.5)
y = net(torch.ones(1, 2)).sum()
y.backward()
print(f"y {y.item()}, gradient {net.second.weight.grad[0, 0].item()}")
print("parameters", *(name for name, _ in net.named_parameters()))
print("state", *net.state_dict())
