"""Occlusion: the drop of the score when a window of the image is covered.

Zeiler, Fergus: Visualizing and understanding convolutional networks. ECCV 2014. https://arxiv.org/abs/1311.2901
(section 4.2)
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnlab.explain.method import explanation
from cnnlab.explain.perturbation.baselines import Fill, filled
from cnnlab.explain.perturbation.partial import fastest
from cnnlab.explain.perturbation.precision import Precision, scores_of, without_batchnorm
from cnnlab.explain.perturbation.sliding_windows import CoveredImages, Pair, SlidingWindows, pair
from cnnlab.explain.probe import Probe

MANY = 64  # windows from which on it pays to fold BatchNorm


@explanation(
    title="Occlusion",
    signed=True,
    paper="Zeiler, Fergus 2014",
    url="https://arxiv.org/abs/1311.2901",
    many_passes=True,
    meaning="Red where covering a patch lowers the score of {target}, blue where it raises it.",
    unit="drop of the score",
)
def occlusion(
    probe: Probe,
    *,
    window: int | Pair | None = None,
    stride: int | Pair | None = None,
    fill: Fill = 0.0,
    precision: Precision = "auto",
) -> Tensor:
    """Return the mean drop of the score over the windows that cover a pixel, (H, W).

    The windows move over the image from the top left corner on; the last ones are cut at the border.

    Args:
        probe: the network, the image and the class.
        window: height and width of a window in pixels; a seventh of the image's when ``None``.
        stride: the distance of neighbouring windows in pixels, at most their size; a quarter of it when ``None``.
        fill: the baseline that covers the image: a number, ``"mean"``, ``"grey"`` or ``"blur"``; see
            :func:`~cnnlab.explain.perturbation.baselines.filled`.
        precision: ``"bf16"`` computes in half precision; ``"auto"`` does so where that is faster and gives the same
            order of pixels.

    Raises:
        UsageError: the window is larger than the image, the stride leaves gaps, or another ``fill``.
    """
    height, width = probe.image.shape[2:]
    size = pair("window", (max(1, round(height / 7)), max(1, round(width / 7))) if window is None else window)
    step = pair("stride", (max(1, size[0] // 4), max(1, size[1] // 4)) if stride is None else stride)
    windows = SlidingWindows((height, width), size, step)
    cover = filled(probe.image, fill)
    fast = without_batchnorm(probe) if len(windows) >= MANY else probe
    network, make = fastest(fast, CoveredImages(probe.image, cover, windows), cover, windows)
    # The whole image goes the same way as the covered ones, so that its rounding errors cancel.
    scores = scores_of(network, probe.target, 1 + len(windows), make, precision).double()
    return torch.from_numpy(windows.average((scores[0] - scores[1:]).cpu().numpy()))
