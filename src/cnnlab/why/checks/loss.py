"""The loss: connected with the network, of the right shape, about the right labels, and near log C at the start."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam
from cnnlab.why.observe import Step, watching
from cnnlab.why.trials import begin


@check("the loss depends on the network", place=302)
def disconnected(exam: Exam) -> Iterator[Finding]:
    """Follow the graph of the loss that the training's own step calls backward on."""
    step = exam.steps[0]
    if not step.backwards:
        return
    parameters = [one for one in step.parameters if one.requires_grad]
    ids = {id(one) for one in parameters}
    reached = sum(id(one) in ids for one in step.backwards[0].leaves)
    if parameters and not reached:
        yield Finding(
            "loss without gradient",
            "error",
            "backward() of the loss reaches none of the network's parameters",
            "Compute the loss from the outputs themselves: no .item(), .detach(), .data, argmax, numpy or "
            "torch.tensor(...) on the way.",
            meaning="The loss is a number that knows nothing of the network, so no weight gets a gradient.",
            code="loss = F.cross_entropy(outputs, labels); loss.backward()",
            numbers={"parameters reached": 0, "parameters": len(parameters)},
        )


@check("each image has a loss of its own", place=315)
def broadcast(exam: Exam) -> Iterator[Finding]:
    """Look for shapes that broadcast against each other in a loss, which compares every output with every label."""
    for call in exam.steps[0].calls:
        if call.name not in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss") or len(call.inputs) < 2:
            continue
        left, right = call.inputs[0].shape, call.inputs[1].shape
        if left != right:
            yield _broadcast(f"{call.name} gets outputs of shape {tuple(left)} and labels of shape {tuple(right)}")
            return
    before, after = (_at_first_output(exam, changed) for changed in (False, True))
    if before is not None and after is not None and not torch.allclose(before, after, rtol=1e-3, atol=1e-7):
        shapes = f"{tuple(exam.first.outputs.shape)} and labels {tuple(exam.batch[1].shape)}"
        yield _broadcast(
            f"outputs have shape {shapes}, and the gradient of an output changes with the labels of others"
        )


def _at_first_output(exam: Exam, changed: bool) -> torch.Tensor | None:
    """Return the gradient of the loss for the first image's output; None where each image has several outputs.

    Args:
        exam: the examination.
        changed: whether the other images have other labels.
    """
    images, labels = exam.batch
    if exam.first.outputs.ndim != 2 or exam.first.outputs.shape[1] != 1 or labels.ndim != 1 or len(labels) < 3:
        return None
    model, optimizer = begin(exam.subject)
    labels = torch.cat([labels[:1], labels[1:].roll(1) + labels[1:].max() - labels[1:]]) if changed else labels
    with watching(model, optimizer) as record:
        exam.subject.step()(model, optimizer, images, labels)
    gradient = record.backwards[0].at_outputs if record.backwards else None
    return None if gradient is None else gradient[0]


def _broadcast(message: str) -> Finding:
    return Finding(
        "loss broadcasts",
        "error",
        message,
        "Give outputs and labels the same shape before the loss.",
        meaning="(N, 1) against (N,) becomes (N, N): every output is pulled towards the mean of all labels.",
        code="loss = F.mse_loss(outputs.squeeze(1), labels.float())",
    )


@check("the loss is about the labels of its images", place=330)
def wrong_labels(exam: Exam) -> Iterator[Finding]:
    """Compare the class that the loss pushes up, the most negative gradient of the outputs, with the label."""
    pushed, labels = _pushed(exam)
    if pushed is None or len(labels) < 8 or not _one_target(exam):
        return
    share = float((pushed == labels).float().mean())
    if share < 0.5:
        shift = (pushed - labels) % exam.classes
        commonest = int(shift.bincount().argmax())
        fixed = float((shift == commonest).float().mean())
        more = f"; it is the label plus {commonest} for {fixed:.0%}" if fixed > 0.9 and commonest else ""
        yield Finding(
            "loss pushes the wrong class",
            "error",
            f"the loss raises the score of the label for {share:.0%} of {len(labels)} images{more}",
            "Look at the labels between the batch and the loss, and at the sign of the loss.",
            meaning="The network learns other labels than those that it is judged by.",
            code="loss = F.cross_entropy(outputs, labels)",
            numbers={"share": share},
        )


def _one_target(exam: Exam) -> bool:
    """Whether the step passes its images once, and its loss has one class for each: mixed images have two."""
    step = exam.steps[0]
    gradient = step.backwards[0].at_outputs if step.backwards else None
    if gradient is None or step.events.count("forward") != 1:
        return False
    return int((gradient < 0).sum(1).median()) in (1, exam.classes - 1)


def _pushed(exam: Exam) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Return for each image of the first step the class whose score the loss raises most, and the labels."""
    step, labels = exam.steps[0], exam.steps[0].labels
    gradient = step.backwards[0].at_outputs if step.backwards else None
    if gradient is None or gradient.ndim != 2 or gradient.shape[1] != exam.classes or len(gradient) != len(labels):
        return None, labels
    if not torch.isfinite(gradient).all() or not bool(gradient.any(1).all()):
        return None, labels
    return gradient.argmin(1), labels


@check("the loss starts near log C", place=340)
def start(exam: Exam) -> Iterator[Finding]:
    """Compare the first loss with that of guessing, log of the number of classes, and with infinity."""
    step = exam.steps[0]
    value = step.backwards[0].loss if step.backwards else exam.first.loss
    outputs = step.outputs if step.outputs is not None else exam.first.outputs
    if not math.isfinite(value) or not torch.isfinite(outputs).all():
        what = "outputs" if not torch.isfinite(outputs).all() else "loss"
        yield Finding(
            "not a number at the start",
            "error",
            f"the {what} of the first step is not finite (loss {value:g})",
            "Look for log of zero, division by zero, exp of large numbers, and huge initial weights.",
            meaning="One NaN in the loss makes every weight NaN.",
            code="torch.autograd.set_detect_anomaly(True)",
        )
        return
    if exam.classes < 2 or not _is_cross_entropy(step):
        return
    count, chance = len(step.labels), exam.chance_loss
    summed = _summed(exam, step)
    if summed:
        harmful, more = _mean_mends(exam, count)
        yield Finding(
            "loss summed over the batch",
            "error" if harmful else "warning",
            f"the loss of the first step is {value:.1f} for {count} images: {value / count:.2f} each{more}",
            "Take the mean over the images.",
            meaning=f"Gradients are {count} times those of the mean, so the learning rate is {count} times what it "
            "seems, "
            "and changes with the batch size.",
            code='F.cross_entropy(outputs, labels, reduction="mean")',
            numbers={"loss": value, "for each image": value / count},
        )
        value /= count
    if value > 1.8 * chance + 0.7:
        size = float(outputs.std())
        yield Finding(
            "loss far above log C",
            "error" if value > 3 * chance + 1 else "warning",
            f"the first loss is {value:.2f}; guessing among {exam.classes} classes costs log {exam.classes} = "
            f"{chance:.2f} "
            f"(outputs have a standard deviation of {size:.3g})",
            "Make the initial weights of the last layer smaller, or leave torch's own; check the scale of the inputs.",
            meaning="The network is sure and wrong before it has seen anything; the first epochs go into unlearning "
            "that.",
            code="nn.init.normal_(model.fc.weight, std=0.01)",
            numbers={"loss": value, "log C": chance, "outputs": size},
            plot=Plot("bars", {"first loss": [value], f"log {exam.classes}": [chance]}),
        )
    elif value < 0.6 * chance and not exam.subject.prepared:
        yield Finding(
            "loss below guessing",
            "warning",
            f"the first loss is {value:.2f}, and guessing among {exam.classes} classes costs {chance:.2f}",
            "Look at what the loss is divided by, and whether the label is part of the input.",
            meaning="An untrained network cannot be better than guessing.",
            numbers={"loss": value, "log C": chance},
        )


def _is_cross_entropy(step: Step) -> bool:
    return any(call.name in ("cross_entropy", "nll_loss") for call in step.calls)


def _mean_mends(exam: Exam, count: int) -> tuple[bool, str]:
    """Return whether the training learns with a learning rate for the mean, and the words for it.

    Args:
        exam: the examination.
        count: number of images over which the loss is summed.
    """

    def scale(model: object, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            group["lr"] = float(group["lr"]) / count

    if exam.run.skill > 0.5:
        return False, ""
    mean = exam.with_change("loss of the mean", scale, own_step=True, clean=False)
    words = f"; after {len(mean.losses)} steps {exam.run.outcome}, and with 1/{count} of the learning rate "
    return mean.skill > exam.run.skill + 0.2, f"{words}{mean.outcome}"


def _summed(exam: Exam, step: Step) -> bool:
    """Whether the gradient of the outputs is that of the summed cross entropy, N times that of its mean."""
    gradient = step.backwards[0].at_outputs if step.backwards else None
    if gradient is None or step.outputs is None or gradient.shape != step.outputs.shape or len(gradient) < 4:
        return False
    # Of the sum, the absolute gradients of an image with the probability p of its label sum to 2 (1 - p).
    chosen = step.outputs.float().softmax(1).gather(1, step.labels[:, None])[:, 0]
    scale = gradient.abs().sum(1) / (2 * (1 - chosen)).clamp_min(1e-6)
    return abs(float(scale.median()) - 1) < 0.05
