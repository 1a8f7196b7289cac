"""The learning rate, against a range test: the same training with other rates."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam

_LEARNED = 0.6  # skill of a training that need not be looked at further


@check("the learning rate stays", place=610)
def falling_rate(exam: Exam) -> Iterator[Finding]:
    """Look at the learning rate after each step."""
    rates = exam.run.rates
    if len(rates) < 5 or exam.subject.rate is not None:
        return
    first, last = max(rates[0], max(float(group["lr"]) for group in exam.optimizer.param_groups)), rates[-1]
    if last < 0.01 * first:
        steps = next(i for i, one in enumerate(rates) if one < 0.01 * first) + 1
        yield Finding(
            "learning rate falls to zero",
            "error",
            f"the learning rate falls from {first:.3g} to {last:.2g} within {len(rates)} steps, below 1% after {steps}",
            "Call scheduler.step() once for each epoch, or give it the number of steps.",
            meaning="A schedule made for epochs is run for every batch, so training is over before it began.",
            code="for epoch in range(epochs): ...; scheduler.step()   # outside of the loop over batches",
            numbers={"first": first, "last": last, "steps": steps},
            plot=Plot("lines", {"learning rate": rates}, x="step", y="learning rate"),
        )


@check("the learning rate is neither too high nor too low", place=620)
def learning_rate(exam: Exam) -> Iterator[Finding]:
    """Train with other learning rates where the training's own does not get far."""
    run = exam.run
    if run.skill > _LEARNED or not exam.telling or not exam.plain_step_learns:
        return
    own = max((float(group["lr"]) for group in exam.optimizer.param_groups), default=0.0)
    tried = {own: run.skill}
    losses = {f"{own:.3g}": run.losses}
    factors = (0.1, 0.01, 1e-3, 1e-4) if _unstable(exam) else (10.0, 100.0, 1e3, 1e4, 1e5)
    for factor in factors:
        if exam.time_left < 1:
            break
        trial = exam.with_change(f"rate x {factor:g}", partial(_scale, factor), own_step=True, clean=False)
        tried[own * factor] = trial.skill
        losses[f"{own * factor:.3g}"] = trial.losses
        if trial.skill > max(_LEARNED, run.skill + 0.4):
            break
    best = max(tried, key=lambda rate: tried[rate])
    if tried[best] < run.skill + 0.25:
        return
    numbers = {"learning rate": own, "better": best, "skill": run.skill, "skill there": tried[best]}
    plot = Plot(
        "bars", {f"{rate:.2g}": [skill] for rate, skill in sorted(tried.items())}, x="skill at each learning rate"
    )
    if best < own:
        end = "the loss has exploded" if run.broken else f"the loss is {run.losses[-1]:.3g}"
        yield Finding(
            "learning rate too high",
            "error",
            f"at {own:g} {end} after {len(run.losses)} steps and {run.outcome}; at {best:.2g} it is "
            f"{_right(tried[best])}",
            f"Use a learning rate near {best:.1g}.",
            meaning="Each step jumps over the valley it should go down; units may die for good.",
            code=f"lr={best:.1g}",
            numbers=numbers,
            plot=plot,
        )
    else:
        far = best / own >= 50
        yield Finding(
            "learning rate too low",
            "error" if far and run.skill < 0.2 else "warning" if far else "note",
            f"at {own:g} {run.outcome} after {len(run.losses)} steps; at {best:.2g} it is {_right(tried[best])}",
            f"Use a learning rate near {best:.1g}.",
            meaning="The weights hardly move: learning takes many times as long as it need.",
            code=f"lr={best:.1g}",
            numbers=numbers,
            plot=plot,
        )


def _right(skill: float) -> str:
    return f"{skill:.0%} better than guessing"


def _unstable(exam: Exam) -> bool:
    """Whether the loss of the training rises, breaks or jumps, which a smaller rate would mend."""
    run = exam.run
    if run.broken or len(run.losses) < 4:
        return True
    ratio = exam.update_ratio
    return ratio > 0.02 or run.losses[-1] > 1.2 * run.losses[0]


def _scale(factor: float, model: object, optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] = float(group["lr"]) * factor
