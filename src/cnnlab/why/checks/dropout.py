"""Dropout so strong that little is left to learn from."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding
from cnnlab.why.exam import Exam


@check("dropout leaves enough", place=260)
def dropout(exam: Exam) -> Iterator[Finding]:
    """Look for dropout of more than 0.7, and train without it where that can be done."""
    strong = {
        name: float(one.p)
        for name, one in exam.model.named_modules()
        if isinstance(one, nn.modules.dropout._DropoutNd) and one.p > 0.7
    }
    calls = [call for call in exam.first.calls if call.name == "dropout"]
    rates = [float(call.options.get("p", call.options.get("arg1", 0.5))) for call in calls]
    if not strong and not any(rate > 0.7 for rate in rates):
        return
    largest = max([*strong.values(), *rates])
    numbers = {"p": largest, "skill": exam.run.skill}
    message = f"dropout of {largest:g} leaves {1 - largest:.0%} of the values of {', '.join(strong) or 'a layer'}"
    if strong:
        without = exam.with_change("without dropout", _off, own_step=True, clean=False)
        numbers["skill without"] = without.skill
        right = f"{exam.run.outcome}, and without it {without.outcome}"
        message += f"; after {len(without.losses)} steps {right}"
    yield Finding(
        "dropout too strong",
        "error" if largest >= 0.85 else "warning",
        message,
        "Use 0.5 between dense layers and 0.1 to 0.3 after convolutions.",
        meaning="Each step sees another, nearly empty network, and the loss hardly falls.",
        code="nn.Dropout(0.5)",
        numbers=numbers,
    )


def _off(model: nn.Module, optimizer: object) -> None:
    for one in model.modules():
        if isinstance(one, nn.modules.dropout._DropoutNd):
            one.p = 0.0
