"""The training step: its mode, its gradients, and whether the optimizer moves anything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch import nn

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam
from cnnlab.why.observe import Step


@check("training runs in train mode", place=410)
def mode(exam: Exam) -> Iterator[Finding]:
    """Look at the mode of the network during the forward pass of its own step."""
    step = exam.steps[-1]
    modules = dict(exam.model.named_modules())
    active = [name for name, one in modules.items() if _acts_in_training(one)]
    sleeping = [name for name in step.sleeping if name in active]
    partly_frozen = not all(one.requires_grad for one in exam.model.parameters())
    if partly_frozen:  # a frozen part runs in eval mode, with its dropout
        sleeping = [name for name in sleeping if isinstance(modules[name], nn.modules.batchnorm._BatchNorm)]
    if not sleeping:
        return
    yield Finding(
        "eval mode while training",
        "error" if len(sleeping) == len(active) else "warning",
        f"{len(sleeping)} of {len(active)} BatchNorm and dropout layers are in eval mode during the training step: "
        f"{', '.join(sleeping[:4])}",
        "Call model.train() at the beginning of the step, and model.eval() only around validation.",
        meaning="BatchNorm normalises with its starting values of mean 0 and variance 1 and never learns better ones; "
        "dropout does nothing.",
        code="model.train()",
        numbers={"in eval mode": len(sleeping)},
    )


def _acts_in_training(module: nn.Module) -> bool:
    """Whether a module does something else in train mode: BatchNorm that is not frozen, and dropout."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.weight is None or module.weight.requires_grad
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0


@check("each step moves the weights", place=420)
def update(exam: Exam) -> Iterator[Finding]:
    """Follow the order of backward and update, and whether the gradient is still there when it is used."""
    steps = exam.steps
    if not any(step.backwards for step in steps):
        return
    moved = [sum(value > 0 for value in step.moved.values()) for step in steps]
    fresh = max((one.fresh for step in steps for one in step.backwards), default=0.0)
    events = steps[-1].events
    order = " → ".join(events)
    if not any("update" in step.events for step in steps) and not any(moved):
        yield Finding(
            "optimizer never steps",
            "error",
            f"three training steps call no optimizer.step() ({order}), and no weight moves",
            "Call optimizer.step() after loss.backward().",
            meaning="Gradients are computed and never used.",
            code="optimizer.zero_grad(); loss.backward(); optimizer.step()",
            numbers={"updates": 0},
        )
    elif fresh > 0 and "update" in events and "backward" in events and _gone(steps):
        late = events.index("update") < events.index("backward")
        what = f"before backward() ({order})" if late else "after zero_grad()"
        yield Finding(
            "gradients erased before the update",
            "error",
            f"backward() computes a gradient of norm {fresh:.2g}, but optimizer.step() finds a gradient of 0",
            "Zero the gradients before backward(), not between backward() and step().",
            meaning=f"optimizer.step() runs {what}, so it has nothing to use, and no weight moves.",
            code="optimizer.zero_grad(); loss.backward(); optimizer.step()",
            numbers={"computed": fresh, "used": 0},
        )


def _gone(steps: list[Step]) -> bool:
    """Whether the optimizer finds no gradient in any step, although all its parameters are the network's."""
    return all((step.used or 0.0) == 0 for step in steps) and all(step.own_parameters for step in steps)


@check("gradients are zeroed", place=430)
def accumulation(exam: Exam) -> Iterator[Finding]:
    """Compare the gradient that is there before backward with the one that backward computes."""
    steps = exam.steps
    stale = [
        later.backwards[0]
        for earlier, later in itertools.pairwise(steps)
        if later.backwards and "update" in earlier.events and later.backwards[0].before > 0
    ]
    if stale and stale[-1].fresh > 0:
        before = [step.backwards[0].before for step in steps if step.backwards]
        ratio = stale[-1].before / stale[-1].fresh
        yield Finding(
            "gradients not zeroed",
            "error",
            f"before backward() of step {len(steps)} there already is a gradient {ratio:.1f} times as large as the "
            "new one",
            "Call optimizer.zero_grad() in every step, before backward().",
            meaning="backward() adds to what is there: each update repeats all gradients since the beginning, like a "
            "momentum of 1.",
            code="optimizer.zero_grad()",
            numbers={"old": stale[-1].before, "new": stale[-1].fresh},
            plot=Plot("lines", {"gradient before backward": before}, x="step", y="norm"),
        )


@check("BatchNorm has enough images", place=440)
def tiny_batches(exam: Exam) -> Iterator[Finding]:
    """Look for BatchNorm with batches of one to four images."""
    norms = [
        name
        for name, one in exam.model.named_modules()
        if isinstance(one, nn.modules.batchnorm._BatchNorm) and name not in exam.steps[0].sleeping
    ]
    size = exam.train.batch_size
    if not norms or size is None or size > 4 or len(exam.train.order) < 8:
        return
    yield Finding(
        "BatchNorm with tiny batches",
        "error" if size <= 2 else "warning",
        f"{len(norms)} BatchNorm layers get batches of {size} image{'s' * (size > 1)}",
        "Use batches of 16 and more, or GroupNorm, which does not depend on the batch.",
        meaning="Mean and variance of so few images are noise, and eval mode uses other ones than training did.",
        code="DataLoader(train, batch_size=32, shuffle=True)",
        numbers={"batch": size},
    )
