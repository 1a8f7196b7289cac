"""The optimizer: whose parameters it holds, what it does to the gradient, and its settings."""

from __future__ import annotations

from collections.abc import Iterator

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam


@check("the optimizer holds the network's parameters", place=405)
def parameters(exam: Exam) -> Iterator[Finding]:
    """Compare the optimizer's parameters with those of the network, also of the one that a step really uses."""
    own = {id(one): name for name, one in exam.model.named_parameters()}
    held = {id(one) for group in exam.optimizer.param_groups for one in group["params"]}
    foreign = len(held - set(own))
    left_out = [name for name, one in exam.model.named_parameters() if one.requires_grad and id(one) not in held]
    numbers = {"held": len(held), "foreign": foreign, "left out": len(left_out)}
    if foreign:
        yield Finding(
            "optimizer of other parameters",
            "error",
            f"{foreign} of the {len(held)} tensors in the optimizer are not in the network, and {len(left_out)} "
            "tensors of "
            f"the network are not in the optimizer{': ' if left_out else ''}{', '.join(left_out[:4])}",
            "Make the optimizer last: after layers are replaced, re-initialised or moved.",
            meaning="It updates tensors that no longer are part of the network; the new ones stay at their start.",
            code="optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)   # after model.fc = ...",
            numbers=numbers,
        )
    elif left_out:
        weights = [name for name, one in exam.model.named_parameters() if one.ndim > 1]
        count = sum(one.numel() for name, one in exam.model.named_parameters() if name in left_out)
        share = count / sum(one.numel() for one in exam.model.parameters())
        stuck = exam.telling and exam.run.skill < 0.3
        worst = weights[-1] in left_out or (share > 0.3 and stuck and not exam.subject.prepared)
        yield Finding(
            "parameters missing in the optimizer",
            "error" if worst else "warning",
            f"{len(left_out)} tensors with {share:.0%} of the trainable numbers are not in the optimizer: "
            f"{', '.join(left_out[:4])}",
            "Give the optimizer all parameters; to freeze some on purpose, set their requires_grad to False.",
            meaning="They get gradients and are never updated.",
            code="optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)",
            numbers=numbers | {"share": share},
        )


@check("the gradient reaches the optimizer in its size", place=530)
def clipping(exam: Exam) -> Iterator[Finding]:
    """Compare the gradient that backward computes with the one that the optimizer uses."""
    pairs = [(step.backwards[-1], step.used) for step in exam.steps if step.backwards and step.used]
    if not pairs:
        return
    ratio = max(used / max(one.fresh + one.before, 1e-30) for one, used in pairs)
    used = max(used for _, used in pairs)
    if ratio < 0.01 and exam.run.skill < 0.5:
        yield Finding(
            "gradient clipped to nothing",
            "error",
            f"backward() computes a gradient of norm {pairs[-1][0].fresh:.2g}, and the optimizer gets {used:.1g}, "
            f"{ratio:.0e} of it",
            "Clip at 1 to 5, or not at all.",
            meaning="Clipping is for rare, huge gradients; here it makes every step tiny.",
            code="nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
            numbers={"computed": pairs[-1][0].fresh, "used": used},
            plot=Plot("bars", {"computed": [pairs[-1][0].fresh], "used": [used]}, x="norm of the gradient"),
        )
