"""Signals in the layers at the start: no activation, dead or saturated units, vanishing gradients, a bottleneck."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam
from cnnlab.why.observe import NONLINEAR, OTHER_ACTIVATIONS, RECTIFIERS, SATURATING, WEIGHTED, Call
from cnnlab.why.trials import outputs_of


@check("there are activations between the layers", place=235)
def linear_network(exam: Exam) -> Iterator[Finding]:
    """Test additivity, f(a + b) - f(0) = f(a) - f(0) + f(b) - f(0), and look for activation functions."""
    calls = exam.first.calls
    weighted = [call for call in calls if call.name in WEIGHTED]
    if len(weighted) < 2:
        return
    last = max(i for i, call in enumerate(calls) if call.name in WEIGHTED)
    between = [call for call in calls[:last] if call.name in RECTIFIERS | SATURATING | OTHER_ACTIVATIONS]
    between += [call for call in calls[:last] if call.name in NONLINEAR and call.name not in ("softmax", "log_softmax")]
    error = _additivity(exam)
    if error is not None and error < 1e-3:
        kind = f"f(a+b) equals f(a)+f(b)-f(0) up to {error:.1g}: {len(weighted)} layers in a row are one linear map"
    elif not between:
        kind = f"none of the {len(weighted)} layers is followed by an activation function"
    else:
        return
    yield Finding(
        "no activation",
        "error",
        kind,
        "Put a ReLU behind every convolution and dense layer but the last.",
        meaning="Without anything non-linear between them, many layers can do no more than one.",
        code="x = F.relu(self.conv1(x))",
        numbers={"layers": len(weighted)} | ({} if error is None else {"additivity error": error}),
    )


def _additivity(exam: Exam) -> float | None:
    """Return the relative error of additivity of the network in eval mode; None where it cannot be computed."""
    images = exam.batch[0][:8].float()
    if len(images) < 2 or not exam.batch[0].is_floating_point():
        return None
    a, b = images, images.roll(1, 0)
    parts = [outputs_of(exam.model, form) for form in (a + b, a, b, torch.zeros_like(a))]
    if any(part is None for part in parts):
        return None
    both, left, right, none = (part for part in parts if part is not None)
    scale = float((both - none).abs().max())
    return float((both - left - right + none).abs().max()) / scale if scale > 1e-8 else None


@check("units are alive at the start", place=240)
def dead_units(exam: Exam) -> Iterator[Finding]:
    """Count the units of each ReLU that are zero for all images, and of sigmoid and tanh that are at their limits."""
    rows = [(_place(call), _dead(call.output)) for call in exam.first.calls if _is(call, RECTIFIERS)]
    bad = [(name, share) for name, share in rows if share > 0.8]
    if bad:
        name, share = max(bad, key=lambda one: one[1])
        yield Finding(
            "dead units",
            "error",
            f"{share:.0%} of the units of {name} are zero for all {len(exam.batch[0])} images before the first step",
            "Start biases at zero and weights at their usual size; look at the inputs' scale.",
            meaning="Behind a ReLU that is always zero there is no gradient: these units never learn.",
            code="nn.init.zeros_(layer.bias)",
            numbers={"dead": share, "layers": len(bad)},
            plot=Plot("bars", {name: [share] for name, share in rows[:20]}, x="share of dead units"),
        )
    rows = [(_place(call), _saturated(call)) for call in exam.first.calls if _is(call, SATURATING)]
    bad = [(name, share) for name, share in rows if share > 0.6]
    if bad:
        name, share = max(bad, key=lambda one: one[1])
        yield Finding(
            "saturated units",
            "error",
            f"{share:.0%} of the outputs of {name} are within 1% of the function's limits before the first step",
            "Make the initial weights smaller (Glorot), normalise inputs, or use ReLU.",
            meaning="At its limits the function is flat, and next to no gradient comes through.",
            code="nn.init.xavier_uniform_(layer.weight)",
            numbers={"saturated": share, "layers": len(bad)},
            plot=Plot("bars", {name: [share] for name, share in rows[:20]}, x="share of saturated outputs"),
        )


@check("gradients reach the first layers", place=250)
def gradient_flow(exam: Exam) -> Iterator[Finding]:
    """Compare the gradient of each weight, relative to the weight, over the depth of the network."""
    ratios: dict[str, float] = {}
    for name, parameter in exam.model.named_parameters():
        gradient = exam.first.gradients[name]
        size = float(parameter.detach().norm())
        if parameter.ndim > 1 and gradient is not None and size > 0:
            ratios[name.removesuffix(".weight")] = float(gradient.norm()) / size
    if len(ratios) < 3 or max(ratios.values()) == 0:
        return
    names, values = list(ratios), list(ratios.values())
    last, first = max(values[-2:]), min(values[: max(1, len(values) // 2)])
    plot = Plot("lines", {"gradient / weight": values}, x="layer", y="gradient / weight")
    numbers = {"first half, smallest": first, "last": last, "largest": max(values)}
    if 0 < first < 1e-4 * last or (first == 0 and last > 0 and not _zero_start(exam)):
        squashing = {call.name for call in exam.first.calls if call.name in SATURATING}
        why = f" through {', '.join(sorted(squashing))}" if squashing else ""
        factor = "nothing" if first == 0 else f"{last / first:.0e} times less"
        yield Finding(
            "vanishing gradients",
            "error",
            f"{names[values.index(first)]} gets {factor} gradient, relative to its weights, than the last layer{why}",
            "Use ReLU with Kaiming's initialisation, BatchNorm, or skip connections.",
            meaning="Each layer on the way back makes the gradient smaller, and the first layers hardly move: a "
            "sigmoid "
            "lets through a quarter at most.",
            code="nn.Sequential(nn.Linear(...), nn.BatchNorm1d(...), nn.ReLU())",
            numbers=numbers,
            plot=plot,
        )
    elif max(values) > 1e3:
        yield Finding(
            "exploding gradients",
            "error",
            f"the gradient of {names[values.index(max(values))]} is {max(values):.1e} times its weights",
            "Make initial weights smaller, normalise inputs, or clip the gradient.",
            meaning="The first step throws the weights far away.",
            code="nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
            numbers=numbers,
            plot=plot,
        )


@check("no layer is too narrow", place=255)
def bottleneck(exam: Exam) -> Iterator[Finding]:
    """Look for a layer through which too few numbers pass for the number of classes."""
    if exam.classes < 4:
        return
    weighted = [call for call in exam.first.calls if call.name in WEIGHTED and call.output is not None]
    for call in weighted[:-1]:
        output = call.output
        width = (
            output[0].numel() if output is not None and output.ndim > 1 and len(output) == len(exam.batch[0]) else 99
        )
        if width <= 2:
            yield Finding(
                "bottleneck",
                "warning" if width == 2 else "error",
                f"{call.module or call.name} outputs {width} value{'s' * (width != 1)} for each image, for "
                f"{exam.classes} classes",
                "Make this layer wider, at least as wide as there are classes.",
                meaning="The layers behind it know nothing else about the image.",
                code="nn.Linear(..., 128)",
                numbers={"width": width, "classes": exam.classes},
            )
            return


def _is(call: Call, names: set[str]) -> bool:
    return call.name in names and call.output is not None and call.output.ndim > 1


def _place(call: Call) -> str:
    return f"{call.name.strip('_')} of module {call.module}" if call.module else call.name.strip("_")


def _dead(output: Tensor | None) -> float:
    """Return the share of units, channels for maps, that are zero for all images and positions."""
    assert output is not None
    zero = output == 0
    channel = output.ndim - 1 if output.ndim == 3 else 1
    return float(zero.movedim(channel, 0).flatten(1).all(1).float().mean())


def _saturated(call: Call) -> float:
    assert call.output is not None
    low = 0.0 if call.name.startswith("sigmoid") else -1.0
    part = (call.output - low) / (1 - low)
    return float(((part < 0.01) | (part > 0.99)).float().mean())


def _zero_start(exam: Exam) -> bool:
    """Whether a layer starts at zero, behind which no gradient comes in the first step."""
    return any(one.ndim > 1 and not bool(one.detach().any()) for one in exam.model.parameters())
