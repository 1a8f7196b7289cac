"""Images that show nothing, are no numbers, or come in a scale that the first layer cannot use."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam
from cnnlab.why.observe import WEIGHTED

_FLAT = 1e-6  # standard deviation below which an image is of a single value


@check("images: finite, not constant, in a usable scale", place=110)
def images(exam: Exam) -> Iterator[Finding]:
    """Look at the values of the training images, as the network's first layer gets them."""
    sample = exam.train.images.float()
    finite = torch.isfinite(sample).flatten(1).all(1)
    if not finite.all():
        yield Finding(
            "NaN in images",
            "error",
            f"{int((~finite).sum())} of {len(sample)} training images hold NaN or infinite values",
            "Find the file or the division by zero that makes them, or drop these images.",
            meaning="One such image makes the loss, and then every weight, NaN.",
            code="assert torch.isfinite(images).all()",
            numbers={"images": float((~finite).sum())},
        )
        return
    flat = sample.flatten(1).std(1) < _FLAT
    share = float(flat.float().mean())
    if share > 0.05:
        values = sample.flatten(1)[flat].mean(1).unique()[:3].tolist()
        yield Finding(
            "constant images",
            "error",
            f"{share:.0%} of the training images are of a single value ({', '.join(f'{v:g}' for v in values)})",
            "Look at the conversion: values of 0..1 become 0 when they are cast to a whole type such as uint8.",
            meaning="There is nothing to see in them, so no network can tell them apart.",
            code="images = images.float() / 255   # divide after the conversion to float",
            numbers={"share": share},
            plot=_pictures(sample),
        )
        return
    if len(sample) > 8 and float(sample.std(0).max()) < _FLAT:
        yield Finding(
            "equal images",
            "error",
            f"all {len(sample)} training images are the same",
            "Look at the indexing in the data set's __getitem__.",
            meaning="No network can tell them apart.",
            numbers={"images": float(len(sample))},
            plot=_pictures(sample),
        )
        return
    yield from _dead_channels(sample)
    yield from _scale(exam, sample)


def _dead_channels(sample: Tensor) -> Iterator[Finding]:
    if sample.ndim != 4 or sample.shape[1] < 2:
        return
    spread = sample.transpose(0, 1).flatten(1).std(1)
    empty = [i for i, one in enumerate(spread.tolist()) if one < _FLAT]
    if empty:
        yield Finding(
            "constant channels",
            "warning",
            f"channel {', '.join(map(str, empty))} of {sample.shape[1]} has the same value everywhere",
            "Look at how the images are read and normalised: is a standard deviation huge, or a channel left out?",
            meaning="The network gets no information from these channels.",
            numbers={"channels": float(len(empty))},
        )


def _scale(exam: Exam, sample: Tensor) -> Iterator[Finding]:
    """Judge mean and standard deviation of the values that enter the first convolution or dense layer."""
    first = next((call for call in exam.first.calls if call.name in WEIGHTED), None)
    entering = sample if first is None or not first.inputs else first.inputs[0].float()
    mean, std, low, high = (float(f(entering)) for f in (torch.mean, torch.std, torch.min, torch.max))
    numbers = {"mean": mean, "std": std, "smallest": low, "largest": high}
    plot = _histogram(entering)
    values = f"values of mean {mean:.3g}, standard deviation {std:.3g}, range {low:.3g} to {high:.3g}"
    if std > 15:
        yield Finding(
            "inputs not scaled",
            "error",
            f"the first layer gets {values}",
            "Scale them: divide bytes by 255, then subtract the mean and divide by the standard deviation.",
            meaning="The usual initial weights expect a standard deviation near 1: outputs, loss and gradients start "
            f"about {std:.0f} times too large, units saturate or die, and the usual learning rates are too high.",
            code="images = (images / 255 - mean) / std",
            numbers=numbers,
            plot=plot,
        )
    elif std < 0.03:
        yield Finding(
            "inputs too small",
            "error",
            f"the first layer gets {values}",
            "Look for a second division by 255 (ToTensor divides already), then normalise with mean and std.",
            meaning="The images hardly differ from a constant: the gradient of the first layer is "
            f"about {1 / max(std, 1e-9):.0f} times too small, so the network learns the biases only.",
            code="images = (images - images.mean()) / images.std()",
            numbers=numbers,
            plot=plot,
        )
    elif low < -1e-3 and (swapped := _swapped(entering)):
        yield Finding(
            "mean and std swapped",
            "error",
            f"the first layer gets {values}; with pixels of 0..1 they were normalised by mean "
            f"{swapped[0]:.4f} "
            f"and std {swapped[1]:.4f}, and their mean is {swapped[2]:.4f} and their std {swapped[3]:.4f}",
            "Swap the two numbers of the normalisation.",
            meaning="The inputs are neither centred nor of unit spread, so the first layer starts in a bad place.",
            code=f"images = (images - {swapped[2]:.4f}) / {swapped[3]:.4f}",
            numbers=numbers,
            plot=plot,
        )
    elif low < -1e-3 and (abs(mean) > 1.5 or std > 4 or std < 0.15):
        yield Finding(
            "inputs not normalised",
            "warning",
            f"the first layer gets {values}",
            "Normalise with the mean and the standard deviation of the training images themselves.",
            meaning="Inputs were normalised with numbers that do not belong to these images.",
            code="images = (images - images.mean()) / images.std()",
            numbers=numbers,
            plot=plot,
        )


def _histogram(values: Tensor) -> Plot:
    """Return a plot of how often the values lie in each tenth of their range."""
    counts, edges = torch.histogram(values.flatten()[:1_000_000].cpu(), bins=10)
    shares = (counts / counts.sum()).tolist()
    bars = {f"{left:.3g}": [share] for left, share in zip(edges.tolist(), shares, strict=False)}
    return Plot("bars", bars, x="share of the values from each number on")


def _swapped(entering: Tensor) -> tuple[float, float, float, float] | None:
    """Return mean and std that were used, and those that pixels of 0..1 had; None where they are not swapped."""
    channels = entering.transpose(0, 1).flatten(1) if entering.ndim == 4 else entering.flatten()[None]
    row = channels[0]
    spread = float(row.max() - row.min())
    if spread == 0:
        return None
    std = 1 / spread
    mean = -float(row.min()) * std
    own_mean, own_std = mean + std * float(row.mean()), std * float(row.std())
    close = abs(mean - own_std) < 0.08 * own_std and abs(std - own_mean) < 0.08 * own_mean
    return (mean, std, own_mean, own_std) if close and abs(mean - std) > 0.15 * max(mean, std) else None


def _pictures(sample: Tensor) -> Plot | None:
    """Return a plot of four images; None where they are no pictures."""
    if sample.ndim != 4:
        return None
    return Plot("images", {f"image {i}": sample[i].mean(0).tolist() for i in range(min(4, len(sample)))})
