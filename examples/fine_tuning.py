"""Fine-tuning: all but a new last layer is frozen."""
import torch
import torch.nn.functional as F
from torch import nn

net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 10))
for p in net.parameters():
    p.requires_grad_(False)
net[2] = nn.Linear(8, 3)
sgd = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)

before = {name: p.clone() for name, p in net.state_dict().items()}
F.cross_entropy(net(torch.randn(5, 4)), torch.tensor([0, 1, 2, 0, 1])).backward()
sgd.step()
for name, p in net.state_dict().items():
    print(name, list(p.shape), "frozen" if torch.equal(p, before[name]) else "trained")
