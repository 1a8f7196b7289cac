"""Networks that answer differently every time in eval mode, or mix the images of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding
from cnnlab.why.exam import Exam
from cnnlab.why.trials import outputs_of


@check("an image's output depends on that image alone", place=220)
def random_answers(exam: Exam) -> Iterator[Finding]:
    """Pass the same images twice in eval mode, and once with another image among them changed."""
    model, images = exam.model, exam.batch[0][:12]
    with torch.random.fork_rng():
        first, second = outputs_of(model, images), outputs_of(model, images)
    if first is None or second is None or not torch.isfinite(first).all():
        return
    scale = float(first.abs().max()) or 1.0
    changing = float((first - second).abs().max()) / scale
    if changing > 1e-3:
        strong = [call for call in exam.first.calls if call.name == "dropout"]
        yield Finding(
            "random in eval mode",
            "warning",
            f"the same images give other outputs in eval mode: they differ by {changing:.0%} of the largest output"
            + (f"; F.dropout is called {len(strong)} time(s)" if strong else ""),
            "Give F.dropout the mode, or use nn.Dropout, which knows it.",
            meaning="Validation is measured with noise that belongs to training, so it comes out too low.",
            code="F.dropout(x, p, training=self.training)",
            numbers={"difference": changing},
        )
        return
    if len(first) != len(images):
        yield Finding(
            "outputs do not fit images",
            "error",
            f"{len(images)} images give {len(first)} outputs",
            "Flatten with x.flatten(1), which keeps the first axis.",
            meaning="Outputs of some images are compared with the labels of others.",
            code="x = x.flatten(1)",
            numbers={"images": len(images), "outputs": len(first)},
        )
        return
    others = images.clone()
    half = len(images) // 2
    others[half:] = images[half:].roll(1, 0) * 1.5 + 0.1
    third = outputs_of(model, others)
    if third is None or half == 0:
        return
    moved = (third[:half] - first[:half]).abs().flatten(1).max(1).values / scale
    if float(moved.max()) > 1e-3 and not _softmax_over_batch(first):
        yield Finding(
            "images mixed in the batch",
            "error",
            f"changing the other images of a batch changes the outputs of {int((moved > 1e-3).sum())} of {half} "
            "unchanged "
            f"images, by up to {float(moved.max()):.0%} of the largest output, in eval mode",
            "Look at every view, reshape, transpose and mean: the first axis must stay the batch.",
            meaning="What the network says about an image depends on its neighbours in the batch, so labels do not "
            "fit.",
            code="x = x.flatten(1)   # not x.view(C, -1).t() and the like",
            numbers={"largest change": float(moved.max())},
        )


def _softmax_over_batch(outputs: torch.Tensor) -> bool:
    """Whether the outputs of a class sum to 1 over the images, which another check explains."""
    summed = outputs.sum(0) if outputs.min() >= 0 else outputs.exp().sum(0)
    return bool((summed - 1).abs().max() < 1e-3)
