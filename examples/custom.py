"""A module with two linear layers and a parameter of its own, used in a matrix product between them."""
import torch
from torch import nn


class CustomModule(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.linear1 = nn.Linear(inputs, hidden)
        self.linear2 = nn.Linear(hidden, outputs)
        self.register_parameter("weight_custom", nn.Parameter(torch.randn(hidden, hidden)))

    def forward(self, x):
        x = torch.relu(self.linear1(x))
        x = torch.matmul(x, self.weight_custom)
        return self.linear2(x)


model = CustomModule(10, 20, 5)
print(list(model(torch.randn(1, 10)).shape))
