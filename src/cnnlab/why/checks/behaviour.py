"""Symptoms: what a training does that does not learn, for whatever cause."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam
from cnnlab.why.trials import Trial, outputs_of

_STEPS = 40


@check("one batch can be learned by heart", place=910)
def by_heart(exam: Exam) -> Iterator[Finding]:
    """Train on one batch alone, with the training's own step and with a plain one."""
    if exam.run.skill > 0.5 or exam.time_left < 2 or not exam.telling:
        return
    own, plain = exam.batch_by_heart
    if own.skill > 0.8 or not _long(own) or not _long(plain):
        return
    part = "the network or the data" if plain.skill < 0.8 else "the training step or its optimizer"
    yield Finding(
        "one batch is not learned by heart",
        "error" if own.skill < 0.3 else "note",
        f"after {_steps(own)} on one batch of {exam.heart_size} images {own.outcome}; with "
        "a plain step "
        f"and Adam {plain.outcome}",
        f"The fault is in {part}.",
        meaning="A network that works learns a few images by heart at once, whatever they show.",
        numbers={"own": own.accuracy, "plain": plain.accuracy},
        plot=Plot("lines", {"own step": own.losses, "plain step": plain.losses}, x="step", y="loss"),
    )


def _long(trial: Trial) -> bool:
    """Return whether a trial made enough steps for a network with much dropout to learn something."""
    return trial.broken or len(trial.losses) >= _STEPS


def _steps(trial: Trial) -> str:
    return f"{len(trial.losses)} steps" + (", when the loss explodes," if trial.broken else "")


@check("more than one class is predicted", place=920)
def one_answer(exam: Exam) -> Iterator[Finding]:
    """Count the different answers of the network after a short training."""
    if exam.classes < 2 or exam.run.model is None or exam.run.skill > 0.2 or not _long(exam.run):
        return
    outputs = outputs_of(exam.run.model, exam.judge[0])
    if outputs is None or not torch.isfinite(outputs).all():
        return
    counts = outputs.argmax(1).bincount(minlength=exam.classes)
    share = float(counts.max()) / len(outputs)
    truth = float(exam.judge[1].bincount().max()) / len(outputs)
    if share > 0.95 and truth < 0.9:
        yield Finding(
            "always the same answer",
            "warning",
            f"after {len(exam.run.losses)} steps the network answers {int(counts.argmax())} for {share:.0%} of the "
            "training images",
            "A symptom: look at the findings above it.",
            meaning="The network ignores its input: units are dead, the signal is lost, or only biases learn.",
            numbers={"share": share},
            plot=Plot("bars", {str(i): [float(n)] for i, n in enumerate(counts.tolist()[:20])}, x="answers"),
        )
