"""Weight decay and momentum that no training survives."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cnnlab.training.muon import Muon, MuonSGD
from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding
from cnnlab.why.exam import Exam

ADAMW_SHRINKS, MUON_SHRINKS = 0.005, 0.02
"""The largest usual share of a weight that decoupled decay takes in a step.

Weights in balance with a decay of d per step turn by about sqrt(2 d) in a step: 0.1 and 0.2 radians. The fastest public
trainings by Muon turn the filters by 0.2 at first (https://github.com/KellerJordan/cifar10-airbench).
"""


@check("weight decay and momentum are usual", place=540)
def settings(exam: Exam) -> Iterator[Finding]:
    """Look for unusual settings, and train with usual ones in their place."""
    groups = exam.optimizer.param_groups
    decay = max((float(group.get("weight_decay", 0) or 0) for group in groups), default=0.0)
    muon = isinstance(exam.optimizer, Muon | MuonSGD)
    decoupled = isinstance(exam.optimizer, torch.optim.AdamW | Muon | MuonSGD) or any(
        group.get("decoupled_weight_decay") for group in groups
    )
    # A factor of the rate leaves the decay of MuonSGD alone.
    factors = [group["factor"] if isinstance(exam.optimizer, MuonSGD) else 1.0 for group in groups]
    rate = max((float(group["lr"]) / factor for group, factor in zip(groups, factors, strict=True)), default=0.0)
    if decay >= (0.3 if decoupled else 0.05):
        without = exam.with_change("without weight decay", _no_decay, own_step=True, clean=False)
        better = without.skill > exam.run.skill + 0.2
        most = MUON_SHRINKS if muon else ADAMW_SHRINKS
        if better or (decay * rate > most if decoupled else decay >= 0.2):
            yield Finding(
                "weight decay too strong",
                "error" if better else "warning",
                f"weight decay is {decay:g}; after {len(without.losses)} steps {exam.run.outcome}, "
                "and without it "
                f"{without.outcome}",
                "Use 5e-4 with SGD, 0 to 1e-4 with Adam, 0.01 to 0.05 with AdamW, 0.01 to 0.3 with Muon.",
                meaning="Each step pulls all weights towards zero more strongly than the loss moves them.",
                code="torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)",
                numbers={"weight decay": decay, "skill": exam.run.skill, "skill without": without.skill},
            )
    momentum = max((float(group.get("momentum", 0) or 0) for group in groups), default=0.0)
    if momentum >= 0.995:
        without = exam.with_change("momentum 0.9", _usual_momentum, own_step=True, clean=False)
        yield Finding(
            "momentum too strong",
            "error" if momentum >= 1 or without.skill > exam.run.skill + 0.2 else "warning",
            f"momentum is {momentum:g}; after {len(without.losses)} steps {exam.run.outcome}, and "
            "with 0.9 "
            f"{without.outcome}",
            "Use 0.9.",
            meaning=f"Each gradient goes on for {1 / max(1 - momentum, 1e-9):.0f} steps, so the weights overshoot.",
            code="torch.optim.SGD(model.parameters(), lr=..., momentum=0.9)",
            numbers={"momentum": momentum, "skill": exam.run.skill, "skill at 0.9": without.skill},
        )


def _no_decay(model: object, optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0


def _usual_momentum(model: object, optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["momentum"] = 0.9
