"""The cases that compare_ops.py and torch_ops.py share."""

# (N, C in, K out, H = W in, kernel, stride, padding, output_padding)
TRANSPOSED = {
    "conv_transpose2d 2x2 s2, 64 to 32 at 56": (16, 64, 32, 56, 2, 2, 0, 0),
    "conv_transpose2d 2x2 s2, 256 to 128 at 14": (16, 256, 128, 14, 2, 2, 0, 0),
    "conv_transpose2d 2x2 s2, 512 to 256 at 28": (4, 512, 256, 28, 2, 2, 0, 0),
    "conv_transpose2d 2x2 s2, 128 to 64 at 112": (4, 128, 64, 112, 2, 2, 0, 0),
    "conv_transpose2d 3x3 s2, 64 to 32 at 56": (16, 64, 32, 56, 3, 2, 1, 1),
    "conv_transpose2d 3x3 s2, 256 to 128 at 14": (16, 256, 128, 14, 3, 2, 1, 1),
    "conv_transpose2d 4x4 s2, 64 to 32 at 56": (16, 64, 32, 56, 4, 2, 1, 0),
    "conv_transpose2d 4x4 s2, 256 to 128 at 14": (16, 256, 128, 14, 4, 2, 1, 0),
    "conv_transpose2d 4x4 s2, 512 to 256 at 4": (64, 512, 256, 4, 4, 2, 1, 0),
    "conv_transpose2d 4x4 s2, 128 to 64 at 16": (64, 128, 64, 16, 4, 2, 1, 0),
}
IMAGES = 80  # of 64x56x56 floats, 64 MB: the output, as many as a thread of weft-bench has with 32 MB of L3
# What upsample_nearest and _bilinear begin with, to IMAGES of 64x56x56.
UPSAMPLED = {"": 28, "_x4": 14, "_odd": 37}
