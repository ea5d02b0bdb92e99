"""A loss of one's own, the focal loss (Lin et al. 2017)."""
import torch
import torch.nn.functional as F


def focal_loss(logits, labels, gamma):
    ce = F.cross_entropy(logits, labels, reduction="none")
    return ((1 - torch.exp(-ce)) ** gamma * ce).mean()


logits = torch.tensor([[1.0, 3.0, 2.0]], requires_grad=True)
loss = focal_loss(logits, torch.tensor([2]), 2)
loss.backward()
print(f"loss {loss.item():.4f}, of the first logit {logits.grad[0, 0].item():.4f}")
