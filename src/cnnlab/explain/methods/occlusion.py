"""Occlusion: what the score loses when a patch of the image is covered.

Zeiler, Fergus: Visualizing and understanding convolutional networks. ECCV 2014. https://arxiv.org/abs/1311.2901
(section 4.2)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnlab.explain.method import explanation
from cnnlab.explain.perturbation.baselines import Fill, filled
from cnnlab.explain.perturbation.partial import fastest
from cnnlab.explain.perturbation.patched_copies import Reused
from cnnlab.explain.perturbation.precision import Precision, scores_of
from cnnlab.explain.perturbation.sliding_windows import NOTHING, Pair, SlidingWindows, Span, pair
from cnnlab.explain.probe import Probe


@explanation(
    title="Occlusion",
    signed=True,
    paper="Zeiler, Fergus 2014",
    url="https://arxiv.org/abs/1311.2901",
    meaning="Red where covering a patch costs {target} score, blue where it is gained.",
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
    """What the score loses when a patch covers a pixel: the mean over the patches that do, (H, W).

    The patches move over the image from the top left corner on; the last ones are cut at the border.

    Args:
        probe: model, image and target.
        window: height and width of a patch in pixels; a seventh of the image's when ``None``.
        stride: by how much it moves, down and to the right, at most its size; a quarter of it when ``None``.
        fill: what it covers the image with: a number, ``"mean"`` or ``"blur"``; see
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
    network, make = fastest(probe, Patched(probe.image, cover, windows), cover, windows)
    # The whole image goes the same way as the covered ones, so that its rounding errors cancel.
    scores = scores_of(network, probe.target, 1 + len(windows), make, precision).double()
    return torch.from_numpy(windows.average((scores[0] - scores[1:]).cpu().numpy()))


class Patched:
    """Batches of an image, each with another patch covered; number 0 has none."""

    def __init__(self, image: Tensor, fill: Tensor, windows: SlidingWindows) -> None:
        self.copies, self.fill = Reused(image), fill
        self.patches: list[Span] = [NOTHING, *windows]

    def __call__(self, numbers: Sequence[int]) -> Tensor:
        """Return the images with these numbers, (len(numbers), C, H, W); valid until the next call."""
        spans = [self.patches[number] for number in numbers]
        return self.copies(spans, [self.fill[0, :, rows, columns] for rows, columns in spans])
