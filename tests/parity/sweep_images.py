"""Convolutions, linear layers, pooling and upsampling."""

import numpy as np
import torch
import torch.nn.functional as F

from sweep_case import Case

# Winograd's kernels take 3x3 filters of stride and dilation 1; docs/numerics.md has the bounds.
FORWARD_GAIN, WEIGHTS_GAIN = 625, 945


def images(r, largest=9, channels=6):
    return [r.integer(1, 3), r.integer(1, channels), r.integer(1, largest), r.integer(1, largest)]


def unbatched(r, images):
    """In some cases, one image (C, H, W)."""
    return images[0] if r.chance(0.15) else images


def pair(r, low, high):
    return [r.integer(low, high), r.integer(low, high)]


def gradients(function, x, dy):
    """Of sum(function(*x) * dy), all in double; what a sum of absolute values is made of."""
    t = [torch.from_numpy(np.ascontiguousarray(v)).requires_grad_() for v in x]
    y = function(*t)
    return [y.detach().numpy(), *(g.numpy() for g in torch.autograd.grad(
        y, t, torch.from_numpy(dy)))]


def linear_tolerance(function, winograd=False):
    """Of a function linear in each of its inputs: every result is a sum of products, whose errors are
    those of the sum of their sizes, as many times as there are products."""
    def tolerance(x, y, dy, dx):
        sizes = gradients(function, [np.abs(v) for v in x], np.abs(dy[0]))
        counts = gradients(function, [np.ones_like(v) for v in x], np.ones_like(dy[0]))
        result = []
        for k, (size, n) in enumerate(zip(sizes, counts)):
            largest = float(n.max(initial=1))
            bound = (largest + 2, size)
            if winograd and k < 3:
                a, b = ((x[0], x[1]), (dy[0], x[1]), (x[0], dy[0]))[k]
                gain = WEIGHTS_GAIN if k == 2 else FORWARD_GAIN
                size = gain * largest * np.abs(a).max() * np.abs(b).max()
                bound = (3 * np.sqrt(largest + 24), np.full(n.shape, size))
            result.append(bound)
        return result
    return tolerance


def conv2d(r):
    groups = r.choice([1, 1, 1, 2, 3])
    kernel, dilation = r.choice([[1, 1], [3, 3], [3, 3], pair(r, 1, 4)]), r.choice([[1, 1], pair(r, 1, 2)])
    stride, padding = r.choice([[1, 1], pair(r, 1, 3)]), r.choice([[0, 0], [1, 1], pair(r, 0, 2)])
    per_group = r.integer(1, 3)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    size = [max(reach[i] - 2 * padding[i], 1) + r.integer(0, 6) for i in range(2)]
    outputs = groups * r.choice([1, 2, 3, 8])
    x = unbatched(r, r.normal([r.integer(1, 3), groups * per_group, *size]))
    w = r.normal([outputs, per_group, *kernel])
    inputs = [x, w] + ([r.normal([outputs])] if r.chance(0.6) else [])

    def function(x, w, b=None):
        return F.conv2d(x, w, b, stride, padding, dilation, groups)

    winograd = kernel == [3, 3] and stride == [1, 1] and dilation == [1, 1]
    return Case("conv2d", inputs, function, [*stride, *padding, *dilation, groups],
                range(len(inputs)), linear_tolerance(function, winograd))


def conv_transpose2d(r):
    groups = r.choice([1, 1, 1, 2, 3])
    kernel, dilation = r.choice([[2, 2], [3, 3], pair(r, 1, 4)]), r.choice([[1, 1], pair(r, 1, 2)])
    stride = r.choice([[1, 1], [2, 2], pair(r, 1, 3)])
    more = [r.integer(0, max(s, d) - 1) if r.chance(0.5) else 0 for s, d in zip(stride, dilation)]
    per_group = r.integer(1, 3)
    size, padding = pair(r, 1, 6), r.choice([[0, 0], pair(r, 0, 2)])
    for i in range(2):
        grown = (size[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + more[i] + 1
        padding[i] = min(padding[i], (grown - 1) // 2)
    inputs = [unbatched(r, r.normal([r.integer(1, 3), groups * r.integer(1, 3), *size]))]
    inputs.append(r.normal([inputs[0].shape[-3], per_group, *kernel]))
    if r.chance(0.6):
        inputs.append(r.normal([groups * per_group]))

    def function(x, w, b=None):
        return F.conv_transpose2d(x, w, b, stride, padding, more, groups, dilation)

    winograd = kernel == [3, 3] and stride == [1, 1] and dilation == [1, 1]
    return Case("conv_transpose2d", inputs, function,
                [*stride, *padding, *dilation, groups, *more], range(len(inputs)),
                linear_tolerance(function, winograd))


def linear(r):
    lead, n_in, n_out = r.shape(1, 3, largest=4), r.integer(1, 20), r.integer(1, 9)
    inputs = [r.normal([*lead, n_in]), r.normal([n_out, n_in])]
    if r.chance(0.6):
        inputs.append(r.normal([n_out]))
    return Case("linear", inputs, F.linear, grad=range(len(inputs)),
                tolerance=linear_tolerance(F.linear))


def window(r, x, largest_dilation):
    kernel = pair(r, 1, 3)
    dilation = pair(r, 1, largest_dilation)
    for i in range(2):
        while dilation[i] * (kernel[i] - 1) + 1 > x[2 + i]:
            kernel[i] -= 1
    padding = [r.integer(0, k // 2) for k in kernel]
    return kernel, pair(r, 1, 3), padding, dilation


def max_pool2d(r):
    shape = images(r)
    kernel, stride, padding, dilation = window(r, shape, 2)
    ceil = r.chance(0.3)
    windows = kernel[0] * kernel[1]

    def tolerance(x, y, dy, dx):
        return [(0, y[0]), (windows, gradients(lambda x: F.max_pool2d(
            x, kernel, stride, padding, dilation, ceil), [x[0]], np.abs(dy[0]))[1])]

    return Case("max_pool2d", [unbatched(r, r.values(shape, [0, 1]))],
                lambda x: F.max_pool2d(x, kernel, stride, padding, dilation, ceil),
                [*kernel, *stride, *padding, *dilation, ceil, 1], tolerance=tolerance)


def avg_pool2d(r):
    shape = images(r)
    kernel, stride, padding, _ = window(r, shape, 1)
    ceil, count = r.chance(0.3), r.chance(0.6)

    def function(x):
        return F.avg_pool2d(x, kernel, stride, padding, ceil, count)

    return Case("avg_pool2d", [unbatched(r, r.normal(shape))], function,
                [*kernel, *stride, *padding, 1, 1, ceil, count],
                tolerance=averaging(function, kernel[0] * kernel[1]))


def averaging(function, n):
    """At most n elements to an average, and as many averages to a gradient."""
    def tolerance(x, y, dy, dx):
        sizes = gradients(function, [np.abs(x[0])], np.abs(dy[0]))
        return [(n + 3, size) for size in sizes]
    return tolerance


def adaptive_avg_pool2d(r):
    shape, size = images(r), pair(r, 1, 9)
    n = max(shape[2] * shape[3], size[0] * size[1])
    return Case("adaptive_avg_pool2d", [unbatched(r, r.normal(shape))], lambda x: F.adaptive_avg_pool2d(x, size),
                size, tolerance=averaging(lambda x: F.adaptive_avg_pool2d(x, size), n))


def upsample2d(r):
    shape, size = images(r), pair(r, 1, 12)
    if r.chance(0.4):
        size = [shape[2] * 2, shape[3] * 2]
    bilinear = r.chance(0.6)
    corners = bilinear and r.chance(0.5)
    mode = {"mode": "bilinear", "align_corners": corners} if bilinear else {"mode": "nearest"}

    def function(x):
        return F.interpolate(x, size=size, **mode)

    n = size[0] * size[1]

    def tolerance(x, y, dy, dx):
        if not bilinear:
            return [(0, y[0]), (n, gradients(function, [x[0]], np.abs(dy[0]))[1])]
        # A weight is a rounded place, up to the image's height or width, less a whole number; it
        # moves the result by the difference of neighbours, here at most twice the largest pixel.
        place = max(shape[2:]) + max(size) + 4
        top = np.abs(x[0]).max(axis=(2, 3), keepdims=True)
        incoming = np.abs(dy[0]).sum(axis=(2, 3), keepdims=True)
        return [(4 * place, top), (4 * place + n, np.broadcast_to(incoming, dx[0].shape))]

    x = r.normal(shape) if bilinear else r.values(shape)
    return Case("upsample2d", [x], function, [*size, bilinear, corners], tolerance=tolerance)


def make(r):
    return r.choice([conv2d, conv2d, conv_transpose2d, conv_transpose2d, linear, max_pool2d,
                     avg_pool2d, adaptive_avg_pool2d, upsample2d, upsample2d])(r)
