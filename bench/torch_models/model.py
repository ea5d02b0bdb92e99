"""What a family says of each of its networks, and what the families share."""

from dataclasses import dataclass
from typing import Callable

from torch import nn


@dataclass(frozen=True)
class Model:
    """A network by name. build takes the keywords num_classes, channels and size (the edge of the
    image), and, with a default, those of its own that `weft --model-arg` knows."""

    build: Callable[..., nn.Module]
    channels: int = 3
    classes: int = 1000
    default_size: int = 224

    def create(self, num_classes=None, channels=None, size=None, **args):
        """What is not given is the model's own."""
        return self.build(num_classes=num_classes or self.classes,
                          channels=channels or self.channels, size=size or self.default_size,
                          **args)


def init_conv_fan_out(net):
    """The initial values of most of torchvision's networks: He's, by fan out; layers of other
    kinds, and biases, keep what PyTorch gave them."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
