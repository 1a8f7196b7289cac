"""Softmax where it does not belong: before a loss that has its own, or over the wrong axis."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam
from cnnlab.why.observe import SOFTMAXES, Call


@check("the loss gets what it expects", place=305)
def softmax(exam: Exam) -> Iterator[Finding]:
    """Look at what enters cross entropy and the negative log-likelihood, and at the axis of every softmax."""
    step = exam.steps[0]
    wrong_axis = next((call for call in [*exam.first.calls, *step.calls] if _over_batch(call, exam)), None)
    if wrong_axis is not None:
        yield Finding(
            "softmax over the batch",
            "error",
            f"{wrong_axis.name} runs over axis 0: the values of a class sum to 1 over the images of the batch",
            "Let it run over the classes, or leave it out: cross entropy has its own.",
            meaning="The images of a batch compete with each other instead of the classes of an image.",
            code="F.log_softmax(outputs, dim=1)",
            numbers={"axis": 0},
        )
        return
    for call in step.calls:
        if not call.inputs or call.inputs[0].ndim < 2:
            continue
        entering = call.inputs[0].float()
        if call.name == "cross_entropy" and (said := _no_logits(entering)):
            yield _before_cross_entropy(said, entering)
            return
        if call.name == "nll_loss" and not _log_probabilities(entering):
            kind = "probabilities" if _probabilities(entering) else "raw outputs"
            yield Finding(
                "no log-probabilities",
                "error",
                f"nll_loss gets {kind}: their exponentials sum to {float(entering.exp().sum(1).mean()):.3g}, not to 1",
                "Give it log_softmax of the outputs, or give the outputs themselves to cross_entropy.",
                meaning="nll_loss only picks the number of the right class: without log_softmax nothing pushes the "
                "other "
                "classes down, and the loss falls below zero without end.",
                code="loss = F.cross_entropy(outputs, labels)",
                numbers={"sum of exponentials": float(entering.exp().sum(1).mean())},
            )
            return


def _over_batch(call: Call, exam: Exam) -> bool:
    """Whether a call is a softmax over the images of the batch of two-dimensional scores."""
    if call.name not in SOFTMAXES or call.output is None or call.output.ndim != 2 or len(call.output) < 2:
        return False
    axis = call.options.get("dim", call.options.get("arg1"))
    return axis in (0, -2) and call.output.shape[1] == exam.first.outputs.shape[-1]


def _no_logits(entering: Tensor) -> str:
    """Return why the input of cross entropy is no raw score; "" when it may be."""
    if float(entering.max()) - float(entering.min()) < 1e-6:
        return ""  # all outputs are equal, for another reason
    if _probabilities(entering):
        return "they are positive and sum to 1 for each image: a softmax stands before it"
    if float(entering.min()) >= 0 and float(entering.max()) <= 1 and entering.numel() > 20:
        return "they lie within 0 and 1: a sigmoid stands before it"
    if float(entering.min()) >= 0 and float((entering == 0).float().mean()) > 0.2:
        return f"none is negative and {float((entering == 0).float().mean()):.0%} are zero: a ReLU stands before it"
    return ""


def _before_cross_entropy(said: str, entering: Tensor) -> Finding:
    kind = "softmax" if "softmax" in said else "sigmoid" if "sigmoid" in said else "ReLU"
    classes = entering.shape[1]
    if kind == "ReLU":
        meaning = "A class whose score is cut to zero gets no gradient; where all are, the image teaches nothing."
    else:
        floor = float(torch.log(torch.tensor(1 + (classes - 1) / torch.e)))
        meaning = (
            "cross_entropy takes raw scores and has its own softmax. Of values within 0 and 1 the loss cannot fall "
            "below "
            f"{floor:.2f} for {classes} classes, and the gradients are small, smallest where the network is wrong."
        )
    return Finding(
        f"{kind} before cross entropy",
        "error",
        f"cross_entropy gets outputs from {float(entering.min()):.3g} to {float(entering.max()):.3g}; {said}",
        f"Leave out the {kind} at the end of the network; apply softmax only to show probabilities.",
        meaning=meaning,
        code="return self.fc(x)   # raw scores",
        numbers={"smallest": float(entering.min()), "largest": float(entering.max())},
        plot=Plot("bars", {f"class {i}": [float(v)] for i, v in enumerate(entering[0][:12])}, x="outputs of an image"),
    )


def _probabilities(rows: Tensor) -> bool:
    return float(rows.min()) >= 0 and bool(((rows.sum(1) - 1).abs() < 1e-3).all())


def _log_probabilities(rows: Tensor) -> bool:
    return bool((rows.exp().sum(1) - 1).abs().max() < 1e-2)
