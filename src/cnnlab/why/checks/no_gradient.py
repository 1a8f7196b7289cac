"""Parameters that get no gradient: detached, or unused."""

from __future__ import annotations

from collections.abc import Iterator

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding
from cnnlab.why.exam import Exam


@check("every trained parameter gets a gradient", place=225)
def no_gradient(exam: Exam) -> Iterator[Finding]:
    """Look for trainable parameters that the loss does not depend on."""
    named = dict(exam.model.named_parameters())
    trainable = [name for name, one in named.items() if one.requires_grad]
    without = [name for name in trainable if exam.first.gradients[name] is None]
    reached = len(trainable) - len(without)
    if not trainable or not without:
        return
    if not exam.first.leaves and exam.steps and exam.steps[0].backwards and exam.steps[0].backwards[0].leaves:
        return  # the script's own step computes another loss
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in without))
    count = sum(named[name].numel() for name in without)
    used = {call.module for call in exam.first.calls if call.module is not None}
    run = [layer for layer in layers if layer in used]
    share = count / sum(named[name].numel() for name in trainable)
    numbers = {"parameters": float(count), "share": share, "with gradient": float(reached)}
    if run:
        yield Finding(
            "gradient cut off",
            "error",
            f"forward uses {', '.join(run[:4])}, but the loss gives no gradient to {count:,} parameters ({share:.0%})",
            "Look for detach(), .data, torch.no_grad(), .numpy() or torch.tensor(...) between this layer and the loss.",
            meaning="These layers keep their random start, as if they were frozen.",
            code="features = self.body(x)   # without .detach()",
            numbers=numbers,
        )
    elif share > 0.02:
        yield Finding(
            "unused layers",
            "warning",
            f"forward does not use {', '.join(layers[:4])}, with {count:,} parameters",
            "Call the layer in forward, or delete it.",
            meaning="What the loss does not depend on is not trained.",
            numbers=numbers,
        )
