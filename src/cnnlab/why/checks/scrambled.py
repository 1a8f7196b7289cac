"""Images whose pixels were put in another order than they had."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam


@check("neighbouring pixels are alike", place=120)
def scrambled(exam: Exam) -> Iterator[Finding]:
    """Compare neighbouring pixels, and look for another reading of the same numbers in which they are more alike."""
    images = exam.train.images.float()
    if images.ndim != 4 or min(images.shape[2:]) < 8 or not float(images.std()) > 1e-6:
        return
    likeness = smoothness(images)
    best, other = max(((smoothness(form), name) for name, form in _readings(exam)), default=(0.0, ""))
    if best > likeness + 0.1 and 1 - best < 0.6 * (1 - likeness):
        yield Finding(
            "pixels scrambled",
            "error",
            f"neighbouring pixels correlate by {likeness:.2f}; read as {other} the same numbers correlate by "
            f"{best:.2f}",
            "Change the order of the axes with permute; view and reshape cut the same numbers into other pieces.",
            meaning="The convolutions look for patterns of neighbours, and what were neighbours lies apart.",
            code="images = images.permute(0, 3, 1, 2)   # NHWC to NCHW",
            numbers={"correlation": likeness, "other reading": best},
            plot=Plot("images", {f"image {i}": images[i, 0].tolist() for i in range(min(4, len(images)))}),
        )
    elif likeness < 0.15:
        yield Finding(
            "images look like noise",
            "error",
            f"neighbouring pixels correlate by {likeness:.2f}; in pictures it is 0.7 and more",
            "Look at some images, and at every view, reshape and sort on the way to them.",
            meaning="The convolutions look for patterns of neighbours, and there are none.",
            numbers={"correlation": likeness},
            plot=Plot("images", {f"image {i}": images[i, 0].tolist() for i in range(min(4, len(images)))}),
        )


def smoothness(images: Tensor) -> float:
    """Return the correlation of neighbouring pixels, the smaller one of down and across."""
    centred = images - images.mean()
    variance = float(centred.square().mean()) or 1.0
    down = float((centred[:, :, 1:] * centred[:, :, :-1]).mean())
    across = float((centred[..., 1:] * centred[..., :-1]).mean())
    return min(down, across) / variance


def _readings(exam: Exam) -> Iterator[tuple[str, Tensor]]:
    """Yield other readings of the same numbers as images (n, C, H, W), with their names."""
    images = exam.train.images.float()
    count, channels, height, width = images.shape
    if channels > 1:
        yield "(N, H, W, C)", images.reshape(count, height, width, channels).permute(0, 3, 1, 2)
    if height != width:
        yield "(N, C, W, H)", images.reshape(count, channels, width, height).transpose(2, 3)
    whole = exam.whole_images
    if whole is not None and whole.shape[0] <= 20_000:
        total = whole.shape[0]
        some = torch.arange(0, total, max(1, total // 500))
        yield "(H, W, N)", whole.float().reshape(height, width, channels, total).permute(3, 2, 0, 1)[some]
        yield "(C, H, W, N)", whole.float().reshape(channels, height, width, total).permute(3, 0, 1, 2)[some]
