"""Filters set by hand, from the time before they were learned: grey scale, blur, sharpening, edges.

All are (F, C, HH, WW) as a convolution layer takes them, and like its filters they are not flipped. ``GREY`` makes one
channel of three; the others are for one channel, and :func:`apply_kernel` uses them on every channel alike.

Sources: luminance: Recommendation ITU-R BT.601, section 2.5.1. Sobel and the rest: Gonzalez & Woods, "Digital image
processing", chapter 3.
"""

from __future__ import annotations

import numpy as np

from cnnlab.errors import ShapeError
from cnnlab.scratch._checks import Array, expect_ndim
from cnnlab.scratch.layers._geometry import float_type
from cnnlab.scratch.layers.conv import conv_forward


def _kernel(rows: list[list[float]], divided_by: float = 1) -> Array:
    kernel = np.array(rows, dtype=np.float64)[None, None] / divided_by
    kernel.flags.writeable = False
    return kernel


#: Weights of red, green and blue in the brightness that people see: (1, 3, 1, 1).
GREY = _kernel([[0.299], [0.587], [0.114]]).reshape(1, 3, 1, 1)

#: The mean of 3x3 pixels.
BOX_BLUR = _kernel([[1, 1, 1], [1, 1, 1], [1, 1, 1]], divided_by=9)

#: Binomial weights 1 4 6 4 1 in both directions, nearly a Gaussian of standard deviation 1.
BLUR = _kernel([[1, 4, 6, 4, 1], [4, 16, 24, 16, 4], [6, 24, 36, 24, 6], [4, 16, 24, 16, 4], [1, 4, 6, 4, 1]], 256)

#: A pixel, plus its differences from its four neighbours.
SHARPEN = _kernel([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])

#: Increase of brightness from left to right: vertical edges.
SOBEL_X = _kernel([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])

#: Increase of brightness from top to bottom: horizontal edges.
SOBEL_Y = _kernel([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])

#: The second derivative: zero on flat ground and on even slopes, large at spots and on both sides of an edge.
LAPLACIAN = _kernel([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


def apply_kernel(images: Array, kernel: Array) -> Array:
    """Convolve images with a kernel; they keep their size, and the pixels at their borders are repeated beyond them.

    Args:
        images: images (N, C, H, W), bytes or floats.
        kernel: filters (F, C, HH, WW) with HH and WW odd; one of (1, 1, HH, WW) is applied to each channel by itself.

    Returns:
        Images (N, F, H, W), or (N, C, H, W) for each channel by itself, as floats, neither clipped nor rounded.

    Raises:
        ShapeError: the kernel is for another number of channels, or has an even number of rows or columns.
    """
    expect_ndim("images", images, 4, "(N, C, H, W)")
    expect_ndim("kernel", kernel, 4, "(F, C, HH, WW)")
    (HH, WW), channels = kernel.shape[2:], images.shape[1]
    if HH % 2 == 0 or WW % 2 == 0:
        raise ShapeError(f"The kernel has no pixel in the middle: its size is {HH}x{WW}. Use odd sizes, such as 3x3.")
    groups = channels if kernel.shape[:2] == (1, 1) else 1
    weights = np.repeat(kernel, groups, axis=0).astype(float_type(images))
    padded = np.pad(images, ((0, 0), (0, 0), (HH // 2, HH // 2), (WW // 2, WW // 2)), mode="edge")
    bias = np.zeros(len(weights), weights.dtype)
    return conv_forward(padded, weights, bias, {"stride": 1, "pad": 0, "groups": groups})[0]
