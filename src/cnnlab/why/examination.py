"""All checks over one training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from cnnlab.errors import CnnlabError, ScriptError
from cnnlab.why.check import checks
from cnnlab.why.diagnosis import Diagnosis, Finding, ranked
from cnnlab.why.exam import Exam
from cnnlab.why.subject import Subject, located


def examine_subject(subject: Subject) -> Diagnosis:
    """Examine a training that is given as functions; its code runs in this process.

    Args:
        subject: the training.
    """
    return diagnose(Exam(subject))


def diagnose(exam: Exam) -> Diagnosis:
    """Run every check over an examination.

    Args:
        exam: the examination.
    """
    began = time.perf_counter()
    findings: list[Finding] = []
    for entry in sorted(checks, key=lambda entry: entry.facts.place):
        findings += _run_check(entry.factory, entry.facts.place, exam)
    if crashes := [finding for finding in findings if finding.kind == "crash"]:
        # The same line fails in every check that comes to it.
        findings = [one for one in findings if one.kind not in ("crash", "not examined")] + crashes[:1]
    return Diagnosis(
        exam.subject.name, [*exam.subject.notes, *_about(exam)], ranked(findings), time.perf_counter() - began
    )


def _run_check(function: Callable[[Exam], Any], place: int, exam: Exam) -> Iterator[Finding]:
    """Yield the findings of a check; when the examined code fails in it, that."""
    try:
        for finding in function(exam):
            yield finding if finding.place else replace(finding, place=place)
    except ScriptError as error:
        yield Finding(
            "crash",
            "error",
            str(error),
            "Mend this line first.",
            place=300,
            meaning="The training stops at this line too, unless it fails only with the small batches, or in the eval "
            "mode, of this examination.",
        )
    except Exception as error:
        # Shapes and labels that do not fit concern this check alone; other errors of cnnlab the whole examination.
        if isinstance(error, CnnlabError) and not isinstance(error, ValueError):
            raise
        name = getattr(function, "__name__", "check")
        message = located(error, exam.subject.path, f"{name} could not be examined")
        yield Finding("not examined", "note", message, "", place=999)


def _about(exam: Exam) -> list[str]:
    """Return lines that say what was examined."""
    try:
        model, optimizer = exam.model, exam.optimizer
        count = sum(one.numel() for one in model.parameters())
        shape = " x ".join(map(str, exam.train.images.shape[1:]))
        rates = sorted({group["lr"] for group in optimizer.param_groups})
        images, more = len(exam.train.order), "" if exam.train.complete else " or more"
        size = f", batches of {exam.train.batch_size}" if exam.train.batch_size else ""
        return [
            f"network: {type(model).__name__}, {count:,} parameters",
            f"data: {images:,}{more} training images of {shape}{size}",
            f"optimizer: {type(optimizer).__name__}, learning rate {', '.join(f'{rate:g}' for rate in rates)}",
        ]
    except Exception:
        return []
