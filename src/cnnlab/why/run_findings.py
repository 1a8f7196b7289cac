"""A run: what its history and its trained network show, beside what its recipe shows."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cnnlab.errors import CnnlabError
from cnnlab.runs.folder import RunFolder
from cnnlab.training.build import prepare
from cnnlab.why.diagnosis import Diagnosis, Finding, Plot, ranked
from cnnlab.why.exam import Exam
from cnnlab.why.examination import diagnose
from cnnlab.why.observe import RECTIFIERS, Calls
from cnnlab.why.recipe_subject import examined_recipe, session_subject

_PLACE = 800  # behind the causes, before the symptoms of short trainings


def history_findings(run: RunFolder) -> Iterator[Finding]:
    """Yield what the losses and accuracies of a run show.

    Args:
        run: the run.
    """
    rows = run.metrics
    if run.status == "diverged":
        yield Finding(
            "diverged",
            "error",
            str(run.summary.get("error", "the loss became NaN or infinite")),
            "Lower the learning rate, clip the gradient, or train in fp32.",
            meaning="From there on every weight is NaN.",
            code="lr=... clip_norm=1",
            place=_PLACE,
        )
    if not rows:
        return
    plot = Plot("lines", {key: _column(rows, key) for key in ("train_loss", "val_loss")}, x="epoch", y="loss")
    losses, held_out = _column(rows, "train_loss"), _column(rows, "val_loss")
    if not all(math.isfinite(one) for one in losses):
        epoch = next(i for i, one in enumerate(losses) if not math.isfinite(one)) + 1
        yield Finding(
            "loss is not a number",
            "error",
            f"the training loss is not finite in epoch {epoch}",
            "Lower the learning rate, or train in fp32.",
            meaning="From there on every weight is NaN.",
            plot=plot,
            place=_PLACE,
        )
        return
    yield from _learned_little(run, losses, plot)
    yield from _overfitted(run, held_out, plot)


def _learned_little(run: RunFolder, losses: list[float], plot: Plot) -> Iterator[Finding]:
    """Yield a finding where the training loss stays at that of guessing."""
    classes = len(run.classes) if run.has_weights else 0
    guessing = classes > 1 and _column(run.metrics, "train_accuracy")[-1] < 1.5 / classes
    if guessing and len(losses) >= 3 and losses[-1] > 0.97 * math.log(classes):
        yield Finding(
            "plateau at chance",
            "error",
            f"after {len(losses)} epochs the training loss is {losses[-1]:.3f}, and guessing costs "
            f"{math.log(classes):.3f}",
            "Look at the findings above; try another learning rate.",
            meaning="The network has learned nothing but how often each class occurs.",
            numbers={"loss": losses[-1], "log C": math.log(classes)},
            plot=plot,
            place=_PLACE,
        )


def _overfitted(run: RunFolder, held_out: list[float], plot: Plot) -> Iterator[Finding]:
    """Yield a finding where training images are right far more often than held-out ones."""
    # An epoch that was not evaluated has no held-out numbers.
    held_out = [one for one in held_out if math.isfinite(one)]
    best = max((one for one in _column(run.metrics, "val_accuracy") if math.isfinite(one)), default=math.nan)
    right = _column(run.metrics, "train_accuracy")
    gap = right[-1] - best if held_out and math.isfinite(best) else 0.0
    rising = len(held_out) > 4 and held_out[-1] > 1.3 * min(held_out)
    if gap > 0.15 and (rising or right[-1] > 0.95):
        yield Finding(
            "overfitting",
            "warning",
            f"{right[-1]:.1%} of the training images are right and {best:.1%} of the others; the held-out loss is "
            f"{held_out[-1] / max(min(held_out), 1e-9):.1f} times its best",
            "Augment, add weight decay or dropout, train shorter, or find more images.",
            meaning="The network learns its training images by heart.",
            code="augment.flip=true augment.crop=4 weight_decay=5e-4",
            numbers={"training": right[-1], "held out": best},
            plot=plot,
            place=_PLACE,
        )


def trained_findings(run: RunFolder, exam: Exam) -> Iterator[Finding]:
    """Yield what the trained network of a run shows: ReLUs most of whose units are dead.

    Args:
        run: the run.
        exam: the examination of its recipe, whose images are used.
    """
    if not run.has_weights:
        return
    model = run.model()
    with torch.no_grad(), Calls(RECTIFIERS, model) as forward:
        model(exam.batch[0])
    dead = {}
    for call in forward.calls:
        if call.output is not None and call.output.ndim in (2, 4):
            zero = (call.output == 0).transpose(0, 1).flatten(1).all(1)
            dead[call.module or call.name] = float(zero.float().mean())
    bad = {name: share for name, share in dead.items() if share > 0.5}
    if bad:
        name = max(bad, key=lambda one: bad[one])
        yield Finding(
            "dead units after training",
            "warning",
            f"{bad[name]:.0%} of the units of {name} are zero for all of {len(exam.batch[0])} images in the trained "
            "network",
            "Use a lower learning rate or warm-up.",
            meaning="They take no part any more: the network is smaller than it looks.",
            numbers={"dead": bad[name], "layers": float(len(bad))},
            plot=Plot("bars", {name: [share] for name, share in dead.items()}, x="share of dead units"),
            place=_PLACE + 50,
        )


def _column(rows: Any, key: str) -> list[float]:
    return [math.nan if row[key] is None else float(row[key]) for row in rows]


def examine_run(path: Path, data_dir: str | None = None, data: str | None = None) -> Diagnosis:
    """Examine a run: its history, the network that it trained, and its recipe from the beginning.

    Args:
        path: folder of the run.
        data_dir: folder to look for data sets in first.
        data: where the run's data lies now, if it was moved.
    """
    began, run = time.perf_counter(), RunFolder(path)
    findings, about = list(history_findings(run)), [f"run: {run.status}, {len(run.metrics)} epochs"]
    try:
        with torch.random.fork_rng():
            subject = session_subject(run.name, prepare(examined_recipe(run.recipe, data_dir, data)))
            exam = Exam(subject)
            diagnosis = diagnose(exam)
            findings += diagnosis.findings
            about += diagnosis.about
            findings += trained_findings(run, exam)
    except CnnlabError as error:
        findings.append(Finding("data not examined", "note", str(error), "Name the data with --data.", place=999))
    return Diagnosis(run.name, about, ranked(findings), time.perf_counter() - began)
