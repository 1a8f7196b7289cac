"""Parameters that are frozen and should not be."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding
from cnnlab.why.exam import Exam


@check("what is frozen was trained before", place=230)
def frozen(exam: Exam) -> Iterator[Finding]:
    """Look at parameters with ``requires_grad=False``: the last layer, and layers that still have random weights."""
    named = [(name, one) for name, one in exam.model.named_parameters()]
    weights = [(name, one) for name, one in named if one.ndim > 1]
    still = [(name, one) for name, one in weights if not one.requires_grad]
    if not still:
        return
    count, total = sum(one.numel() for _, one in still), sum(one.numel() for _, one in weights)
    numbers = {"frozen": float(count), "share": count / total}
    names = ", ".join(name.removesuffix(".weight") for name, _ in still[:4])
    last_name, last = weights[-1]
    if not last.requires_grad:
        yield Finding(
            "last layer frozen",
            "error",
            f"{count:,} of {total:,} weights are frozen ({names}), the last layer {last_name} among them",
            "Freeze first and replace the last layer afterwards, or set its requires_grad to True.",
            meaning="The layer that has to learn the new classes stays at its random start.",
            code=f"model.{last_name.removesuffix('.weight')}.requires_grad_(True)",
            numbers=numbers,
        )
        return
    untrained = [name for name, one in still if _random(one)]
    if untrained and not exam.subject.prepared:
        share = sum(one.numel() for name, one in still if name in untrained) / total
        yield Finding(
            "random weights frozen",
            "error" if share > 0.3 and exam.telling and exam.run.skill < 0.3 else "warning",
            f"{', '.join(name.removesuffix('.weight') for name in untrained[:4])} are frozen ({share:.0%} of the "
            "weights) and "
            "have the uniform random weights of a new layer",
            "Load trained weights before freezing, or train these layers too.",
            meaning="The network looks at its images through random filters that never become better.",
            code="model.requires_grad_(True)",
            numbers=numbers,
        )
    else:
        yield Finding(
            "frozen weights",
            "note",
            f"{count:,} of {total:,} weights are frozen ({names}); they do not look like fresh random ones",
            "Fine for transfer learning.",
            numbers=numbers,
        )


def _random(weight: Tensor) -> bool:
    """Whether a weight looks drawn by torch's own initialisation: uniform within 1 / sqrt(fan in)."""
    if weight.numel() < 200:
        return False
    bound = weight[0].numel() ** -0.5
    largest, spread = float(weight.detach().abs().max()), float(weight.detach().std())
    return 0.95 * bound < largest <= 1.001 * bound and abs(spread / (bound / 3**0.5) - 1) < 0.1
