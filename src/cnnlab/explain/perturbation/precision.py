"""The scores of many images, in half precision where that is faster and ranks the images alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import hardware
from cnnlab.errors import CnnlabError, UsageError
from cnnlab.explain.probe import Probe
from cnnlab.explain.rank_correlation import spearman
from cnnlab.hardware import has_fast_bf16, time_calls
from cnnlab.tracing.batchnorm_folding import folded
from cnnlab.tracing.hooks import recording, replacing_output

Precision = Literal["auto", "fp32", "bf16"]

TRIAL = 32  # images that are computed in both precisions before one is chosen
WORTHWHILE = 1.1  # smaller gains are noise of the trial
SAME_ORDER = 0.999  # rank correlation of the scores in both precisions


def scores_of(
    probe: Probe, target: int, count: int, make: Callable[[Sequence[int]], Tensor], precision: Precision
) -> Tensor:
    """Return the score of a class for ``count`` images that are made when they are needed, (count,).

    Args:
        probe: the network, which runs in batches whose size is found by measuring.
        target: the index of the class.
        count: the number of images.
        make: a function from numbers 0 .. count - 1 to these images, (len(numbers), C, H, W).
        precision: ``"fp32"`` (that of the model), ``"bf16"``, or ``"auto"``: on a machine that computes in bf16, both
            are tried on images from everywhere, and bf16 goes on if it is faster and their order is the same.

    Raises:
        UsageError: another precision.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise UsageError(f'precision is {precision!r}; choose "auto", "fp32" or "bf16".')

    def run(numbers: Sequence[int], bf16: bool) -> Tensor:
        with probe.session(), half(probe) if bf16 else nullcontext():
            logits = probe.logits_for(len(numbers), lambda start, end: make(numbers[start:end]))
        return logits[:, target]

    if precision != "auto" or count < 4 * TRIAL or not has_fast_bf16(probe.image.device):
        return run(range(count), precision == "bf16")
    # Every k-th image: a trial of neighbours, such as a corner of the image, says nothing about the others.
    order = [number for first in range(count // TRIAL) for number in range(first, count, count // TRIAL)]
    parts: dict[bool, list[Tensor]] = {True: [], False: []}

    def trial(bf16: bool) -> float:
        """Run one half of the trial to warm up, then the other; return the seconds of the second."""
        halves = iter((order[: TRIAL // 2], order[TRIAL // 2 : TRIAL]))
        return time_calls(lambda: parts[bf16].append(run(next(halves), bf16)), probe.image.device)[0]

    seconds = {bf16: trial(bf16) for bf16 in (True, False)}
    faster = WORTHWHILE * seconds[True] < seconds[False]
    bf16 = faster and spearman(torch.cat(parts[True]), torch.cat(parts[False])) >= SAME_ORDER
    scores = torch.cat([*parts[bf16], run(order[TRIAL:], bf16)])
    return scores[torch.tensor(order, device=scores.device).argsort()]


@contextmanager
def half(probe: Probe) -> Iterator[None]:
    """Compute in bf16 while open, except for the layer that gives the logits.

    There 8 bits would not tell similar scores apart.
    """
    name, head = _head(probe)

    def exact(inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        with torch.autocast(output.device.type, enabled=False):
            return F.linear(inputs[0].to(head.weight.dtype), head.weight, head.bias)

    with (
        replacing_output(probe.model, name, exact) if name else nullcontext(),
        hardware.Precision(bf16=True).autocast(probe.image.device),
    ):
        yield


def without_batchnorm(probe: Probe) -> Probe:
    """Return the same question to a copy of the network that is faster: BatchNorm is folded, weights are NHWC.

    It is the probe itself where there is nothing to fold, or the copy gives other logits.

    Args:
        probe: the network, the image and the class.
    """
    try:
        twin, pairs = folded(probe.model, tuple(probe.image.shape))
        if not pairs:
            return probe
        twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fast = Probe(twin, probe.image, probe.target, look_inside=False)
        same = (fast.logits - probe.logits).abs().max() <= 1e-4 * max(1.0, float(probe.logits.abs().max()))
    except (CnnlabError, RuntimeError, TypeError):  # it cannot be traced, or not be copied
        return probe
    return fast if same else probe


def _head(probe: Probe) -> tuple[str, Any]:
    """Return the name of the dense layer whose output is the logits, and the layer; an empty name without one."""
    dense = {name: module for name, module in probe.model.named_modules() if name and isinstance(module, nn.Linear)}
    with probe.session(), torch.inference_mode(), recording(probe.model, dense) as outputs:
        logits = probe.run(probe.image)
    for name, calls in outputs.calls.items():
        if calls and torch.equal(calls[-1], logits):
            return name, dense[name]
    return "", None
