"""A forecast of the memory and time that making an image takes, and the largest size that fits into memory."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cnnlab.console import duration, size
from cnnlab.errors import UsageError
from cnnlab.generate.descent import Canvas, Job
from cnnlab.generate.events import Size
from cnnlab.generate.extractor import Extractor
from cnnlab.hardware import free_memory, time_calls

# Fitted by least squares to the peak memory of `cnnlab style` with seven networks (EfficientNet-Lite0, SqueezeNet,
# VGG-11, ResNet-18, DenseNet-121, MobileNet v2, GoogLeNet) at 256 to 512 pixels: the memory of kernels and eigenvalues
# at any size, in bytes; the ratio of allocated memory (with the allocator's gaps, the style loss, and the blocks of
# smaller stages) to the tensors kept for the backward pass; and the number of further tensors of the largest size, for
# gradients and the copies that convolutions make. `results/style.md` compares forecasts with measured peaks.
_WORKSPACE = 45 << 20
_GAPS = 1.25
_LARGEST = 5
_SHARE = 0.8  # of the free memory that an image may take
_LEAST = 32  # pixels: no smaller size is offered


@dataclass(frozen=True)
class Forecast:
    """The forecast of the time and memory that making an image takes.

    Attributes:
        size: height and width of the result in pixels.
        stages: number of stages, each with a size of its own.
        steps: number of steps of all stages together.
        seconds: time of all steps, in seconds.
        memory: peak memory in bytes, with the memory that the process uses already.
        available: free memory in bytes, at the time of the forecast.
        note: a sentence that says which size is made where the one asked for does not fit; else empty.
    """

    size: Size
    stages: int
    steps: int
    seconds: float
    memory: int
    available: int
    note: str = ""

    def __str__(self) -> str:
        height, width = self.size
        stages = "1 size" if self.stages == 1 else f"{self.stages} sizes"
        return (
            f"{width} x {height} pixels, {self.steps} steps in {stages}: about {duration(self.seconds)} and "
            f"{size(self.memory)} of memory ({size(self.available)} free)"
        )


def available_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device now."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def used_memory(device: torch.device) -> int:
    """Return the bytes of a device that this process uses now; 0 where that cannot be read, as outside Linux."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def step_memory(extractor: Extractor, shape: Size) -> int:
    """Return an estimate of the peak memory of one step in bytes.

    It counts the tensors that autograd keeps from the forward pass for the backward pass, by their shapes, without
    computing them, and some more of the largest size for the backward pass itself.

    Args:
        extractor: the extractor, whose forward pass is run on the ``meta`` device.
        shape: height and width of the image in pixels.
    """
    twin = copy.deepcopy(extractor).to("meta")
    weights = {tensor.untyped_storage()._cdata for tensor in [*twin.parameters(), *twin.buffers()]}
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()  # which a view shares with its base
        if storage._cdata not in weights:
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    image = torch.empty(1, extractor.channels, *shape, device="meta", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        outputs = twin(image)
    for output in outputs.values():  # the losses keep them
        count(output)
    return _WORKSPACE + round(_GAPS * sum(sizes.values()) + _LARGEST * max(sizes.values()))


def forecast(job: Job) -> Forecast:
    """Time a few steps at two small sizes, and return the forecast for the whole job.

    The time of a step is modelled as a constant plus a part that is proportional to the number of pixels.

    Args:
        job: the image to make.

    Raises:
        ModelError: the network cannot take such an image.
    """
    device, sizes = job.extractor.low.device, job.sizes
    memory = used_memory(device) + step_memory(job.extractor, sizes[-1])
    small = sizes[0]
    large = sizes[min(2, len(sizes) - 1)]
    seconds = {shape: _step_seconds(job, shape) for shape in dict.fromkeys((small, large))}
    seconds[small] = min(seconds[small], seconds[large])  # other programs may have been at work during the first
    pixels = {shape: math.prod(shape) for shape in sizes}
    slope = seconds[large] / pixels[large]
    if large != small:
        slope = max(0.0, (seconds[large] - seconds[small]) / (pixels[large] - pixels[small]))
    constant = max(0.0, seconds[small] - slope * pixels[small])
    total = sum(steps * (constant + slope * pixels[shape]) for shape, steps in zip(sizes, job.steps, strict=True))
    return Forecast(sizes[-1], len(sizes), sum(job.steps), total, memory, available_memory(device))


def _step_seconds(job: Job, shape: Size) -> float:
    canvas, objective = Canvas(job.start(shape), job.descent), job.objective(shape)
    return min(time_calls(lambda: canvas.step(objective), canvas.pixels.device, warmup=1, least=4))


def job_that_fits(make_job: Callable[[int], Job], longer: int) -> tuple[Job, Forecast]:
    """Return a job of the size that was asked for, or of the largest size that fits into memory, and its forecast.

    Args:
        make_job: a function from the longer side of the result in pixels to the job.
        longer: the longer side that was asked for, in pixels.

    Raises:
        UsageError: not even the smallest size fits.
    """
    job, note = make_job(longer), ""
    available = available_memory(job.extractor.low.device)
    needed = step_memory(job.extractor, job.sizes[-1])
    if needed > _SHARE * available:
        side = int(longer * math.sqrt(_SHARE * available / needed)) // 16 * 16
        if side < _LEAST:
            raise UsageError(
                f"{size(available)} of memory are free, and even {_LEAST} pixels need more. Close other programs, or "
                "name earlier layers."
            )
        note = f"{longer} pixels need about {size(needed)}, and {size(available)} are free: {side} pixels are made."
        job = make_job(side)
    return job, replace(forecast(job), note=note)
