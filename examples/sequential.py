"""Linear, ReLU, linear in a row."""
import torch
from torch import nn

model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
print(list(model(torch.randn(1, 10)).shape))
