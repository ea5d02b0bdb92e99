"""The images and weights that test_zoo.py compares networks with."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode


def make_images(steps, batch, shape, classes, seed=7):
    """A noisy pattern for each class, so that there is something to learn; a batch for each step."""
    g = torch.Generator().manual_seed(seed)
    used = min(classes, 10)
    labels = torch.randint(0, used, (steps, batch), generator=g)
    patterns = torch.randn((used, *shape), generator=g)
    images = patterns[labels.flatten()]
    return images + 0.5 * torch.randn(images.shape, generator=g), labels


def make_weights(net, images, shift=0.0):
    """Every parameter and statistic differs from what a new network has. BatchNorm's statistics are
    what it would have seen, changed at random: with statistics that do not fit, the activations of
    deep networks in evaluation mode grow or vanish. shift: where BatchNorm's betas lie around."""
    g = torch.Generator().manual_seed(8)

    def uniform(like, low, high):
        return low + (high - low) * torch.rand(like.shape, generator=g).to(like.dtype)

    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(uniform(module.weight, 0.5, 1.5))
                module.bias.add_(shift)
                module.momentum = 1.0
            if getattr(module, "bias", None) is not None:
                module.bias.add_(uniform(module.bias, -0.2, 0.2))
        keep_from_corners(net.train(), images)
        for m, momentum in zip(norms, momenta):
            m.momentum = momentum
            spread = m.running_var.sqrt()
            m.running_mean.add_(spread * uniform(spread, -0.3, 0.3))
            m.running_var.mul_(uniform(spread, 0.5, 2))
            m.num_batches_tracked.fill_(7)


# ---- corners -------------------------------------------------------------------------------------
#
# Note [Corners]. ReLU's gradient jumps at 0. A unit whose input is nearer to 0 than a computation's
# rounding may have its gradient in one computation and not in another: PyTorch's f32 disagrees with
# its own f64 so. One unit in n changes the gradient by 1/sqrt(n) of its norm; a relative error e in
# n inputs flips about e*n of them: sqrt(e) in all, 1e-3 for 1e-6, however large the network. A test
# of gradients to 1e-3 would thus test chance. Here every channel's bias is moved by up to a tenth
# of the channel's spread to where no unit of the first batch is near a corner; the distance left is
# tens of times the rounding, and "corner" in the figures. Gradients then differ by rounding alone.
# Max pooling has corners too: of two inputs that are equal but for rounding, either may be the
# largest. No bias parts them; a seed of the images may, where there are not too many windows.

CORNERS = {
    F.relu: (0.0,),
    F.relu6: (0.0, 6.0),
    F.hardtanh: (0.0, 6.0),  # what nn.ReLU6 calls
    F.hardswish: (-3.0, 3.0),
    F.hardsigmoid: (-3.0, 3.0),
}
BIAS_ARGUMENT = {F.conv2d: 2, F.linear: 2, F.batch_norm: 4}


class Corners(TorchFunctionMode):
    """While a network runs under it: finds how near to corners its units come, and if asked moves
    biases so that they keep away."""

    def __init__(self, move):
        super().__init__()
        self.move = move
        self.bias = None  # of the last layer that has one
        self.nearest = math.inf  # in units of the channel's spread
        self.tie = math.inf  # of two inputs of a max pooling, in the same units

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in CORNERS:
            args = (self.at_corner(args[0], CORNERS[func]), *args[1:])
        if func is F.max_pool2d:
            self.tie = min(self.tie, nearest_tie(*args, **kwargs))
        result = func(*args, **kwargs)
        if func in BIAS_ARGUMENT:
            place = BIAS_ARGUMENT[func]
            self.bias = args[place] if len(args) > place else kwargs.get("bias")
        return result

    def at_corner(self, x, corners):
        with torch._C.DisableTorchFunction():
            z = x.detach().transpose(0, 1).flatten(1).contiguous().sort().values  # channel, unit
            spread = z.std(1).clamp_min(1e-30)
            shift = self.best_shift(z, spread, corners) if self.can_move(z) else 0 * spread
            self.nearest = min(self.nearest,
                               (distance(z, shift[:, None], corners)[:, 0] / spread).min().item())
            if not shift.any():
                return x
            self.bias.add_(shift)
            return x + shift.view(-1, *[1] * (x.dim() - 2))

    def can_move(self, z):
        return self.move and self.bias is not None and len(self.bias) == len(z)

    @staticmethod
    def best_shift(z, spread, corners):
        shifts = spread[:, None] * torch.linspace(-0.1, 0.1, 512, dtype=z.dtype)
        return shifts.gather(1, distance(z, shifts, corners).argmax(1, keepdim=True))[:, 0]


def distance(z, shifts, corners):
    """(channels, shifts): of the nearest of the sorted z + shift from a corner."""
    least = torch.full_like(shifts, math.inf)
    for corner in corners:
        at = corner - shifts
        right = torch.searchsorted(z, at)
        for k in (right, right - 1):
            least = torch.minimum(least, (z.gather(1, k.clamp(0, z.shape[1] - 1)) - at).abs())
    return least


def nearest_tie(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, **_):
    """Between the two largest of a window, in units of their channel's spread. What ReLU has made 0
    does not count, it gets no gradient; nor do equal ones, an earlier pooling's copies of one."""
    with torch._C.DisableTorchFunction():
        x = x.detach()
        kernel, stride, padding = (v if isinstance(v, int) else v[0]
                                   for v in (kernel_size, stride or kernel_size, padding))
        more = stride - 1 if ceil_mode else 0
        windows = F.pad(x, (padding, padding + more) * 2)
        windows = windows.unfold(2, kernel, stride).unfold(3, kernel, stride).flatten(4)
        first = windows.amax(-1)
        second = windows.masked_fill(windows == first.unsqueeze(-1), 0).amax(-1)
        gaps = (first - second) / x.transpose(0, 1).flatten(1).std(1).view(1, -1, 1, 1)
        gaps = gaps[second > 0]
        return gaps.min().item() if gaps.numel() else math.inf


def keep_from_corners(net, images):
    """Moves biases; statistics of BatchNorm layers become those of the images."""
    with torch.no_grad(), Corners(move=True):
        net(images)


def nearest(net, images):
    """To a corner, and to a tie, of any unit."""
    with torch.no_grad(), Corners(move=False) as corners:
        copy.deepcopy(net).train()(images)
    return corners.nearest, corners.tie
