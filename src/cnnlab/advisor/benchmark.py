"""Measurements of the speed and the memory of a network on this machine, each in processes of its own.

What is measured, at a stated batch and image size, with the settings that
:func:`cnnlab.training.precision.choose_precision` picks:

- images/s of a training step: forward, loss, backward, AdamW step on a batch that is on the device already (no data
  are loaded or augmented); the median of the steps of about two seconds;
- images/s of inference in eval mode, likewise;
- peak memory of both. On a GPU the most that torch had allocated at once (``torch.cuda.max_memory_allocated``), without
  CUDA's own context. On a CPU the most resident memory of a fresh process, less what it had with torch loaded and warm
  before the network was built: weights, activations, gradients, AdamW's two moments, and what the allocator and the
  kernels keep for themselves.

Speed and memory come from two processes, because the trial of the settings would leave its own peak behind. A process
that crashes, or does not end in time, takes nothing with it.
"""

from __future__ import annotations

import json
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnlab.advisor.measurements import Measurement, save_measurement
from cnnlab.errors import CnnlabError, TrainingError
from cnnlab.hardware import Precision, choose_device, device_name, processor_name, synchronize, time_calls
from cnnlab.training.optim import make_optimizer
from cnnlab.training.precision import choose_precision, saved_precision, to_memory_format
from cnnlab.training.recipe import Recipe
from cnnlab.training.step import Learner, infer, train_step
from cnnlab.training.transfer import make_freeze
from cnnlab.zoo import Network, create_model, models

# --- In this process ----------------------------------------------------------------------------------------------


def measure(
    name: str,
    *,
    image_size: int | None = 32,
    batch_size: int = 32,
    device: str = "auto",
    seconds: float = 2.0,
    time_limit: float = 120.0,
) -> Measurement:
    """Measure speed and memory of a network on this machine, in two processes.

    Args:
        name: name of the network.
        image_size: side in pixels, raised to the least that the network takes; None for its usual size.
        batch_size: images per step.
        device: name of the device, as in recipes.
        seconds: time for which training steps are measured, in seconds; inference is measured for half of it.
        time_limit: seconds for each of the two processes.

    Raises:
        TrainingError: a process crashed, ran out of memory, or did not end in time.
        UnknownNameError, DeviceError: there is no such network or device.
    """
    facts = models.get(name).facts
    job: dict[str, Any] = {
        "name": name,
        "image_size": max(image_size or facts.image_size, facts.min_size),
        "batch_size": batch_size,
        "device": str(choose_device(device)),
        "threads": torch.get_num_threads(),
        "seconds": seconds,
    }
    speed = run_job(job | {"what": "speed"}, time_limit)
    memory = run_job(job | {"what": "memory", "precision": speed.pop("precision")}, time_limit)
    return Measurement(
        name=name,
        image_size=job["image_size"],
        asked_size=image_size,
        channels=facts.in_channels,
        classes=facts.num_classes,
        batch_size=batch_size,
        threads=job["threads"],
        machine=platform.node(),
        processor=processor_name(),
        torch=str(torch.__version__),
        date=date.today().isoformat(),
        **speed,
        **memory,
    )


def measure_all(
    names: list[str], *, image_size: int | None, batch_size: int, device: str, time_limit: float
) -> Iterator[Measurement | CnnlabError]:
    """Measure one network after the other and save each result at once; after an error, which is yielded, go on."""
    for name in names:
        try:
            measurement = measure(
                name, image_size=image_size, batch_size=batch_size, device=device, time_limit=time_limit
            )
        except TrainingError as error:
            yield error
            continue
        save_measurement(measurement)
        yield measurement


def measure_memory(recipe: Recipe, classes: int, *, time_limit: float = 60.0) -> int | None:
    """Return the peak memory in bytes of a training step as ``recipe`` says, measured in a process of its own.

    Args:
        recipe: recipe of a session, whose size, channels, precision, memory layout and device are decided.
        classes: number of classes.
        time_limit: longest time for the process, in seconds.

    Raises:
        TrainingError: the process crashed, ran out of memory, or did not end in time.
    """
    job = {"what": "memory", "threads": torch.get_num_threads(), "recipe": recipe.values(), "classes": classes}
    return run_job(job, time_limit)["train_bytes"]


def run_job(job: dict[str, Any], time_limit: float) -> dict[str, Any]:
    """Do ``job`` in a new Python process and return its answer; see :func:`main`."""
    # -P: a file in the current folder that is called like a module of Python must not be taken for it.
    command = [sys.executable, "-P", "-m", "cnnlab.advisor.benchmark", json.dumps(job)]
    name = job.get("name") or job["recipe"]["model"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=time_limit, check=False)
    except subprocess.TimeoutExpired:
        raise TrainingError(
            f"{name}: not done within {time_limit:g} s. Try a smaller batch or smaller images."
        ) from None
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        if "error" not in answer:
            return answer
        raise TrainingError(f"{name}: {answer['error']}")
    if done.returncode < 0:
        raise TrainingError(f"{name}: the process was killed (signal {-done.returncode}), perhaps for want of memory.")
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise TrainingError(f"{name}: the process failed: {last}")


# --- In a process of its own --------------------------------------------------------------------------------------


def main(arguments: list[str]) -> None:
    """Do the job that the first argument describes in JSON, and print the answer as the last line of stdout."""
    job = json.loads(arguments[0])
    torch.set_num_threads(job["threads"])
    try:
        answer = _speed(job) if job["what"] == "speed" else _memory(job)
    except torch.OutOfMemoryError:
        answer = {"error": "the memory of the device does not suffice. Try a smaller batch or smaller images."}
    except CnnlabError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


def _recipe(job: dict[str, Any]) -> tuple[Recipe, int]:
    """Return what is trained, with size and channels decided, and the number of classes."""
    if "recipe" in job:
        return Recipe.make(job["recipe"]), job["classes"]
    facts = models.get(job["name"]).facts
    values = {
        "model": job["name"],
        "image_size": job["image_size"],
        "in_channels": facts.in_channels,
        "batch_size": job["batch_size"],
        "device": job["device"],
    }
    return Recipe.make(values | job.get("precision", {})), facts.num_classes


def _build(recipe: Recipe, classes: int, device: torch.device) -> Network:
    torch.manual_seed(0)
    size, channels = recipe.image_size, recipe.in_channels
    return create_model(recipe.model, classes, channels, size, options=recipe.model_options).to(device)


def _batch(
    recipe: Recipe, classes: int, device: torch.device, precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    assert recipe.image_size
    images = torch.rand(recipe.batch_size, recipe.in_channels or 3, recipe.image_size, recipe.image_size)
    labels = torch.arange(recipe.batch_size) % classes
    return images.to(device).contiguous(memory_format=precision.memory_format), labels.to(device)


def _learner(model: Network, recipe: Recipe, precision: Precision) -> Learner:
    criterion = nn.CrossEntropyLoss(reduction="sum")
    return Learner(model, model, criterion, make_optimizer(recipe, model), precision, recipe.clip_norm)


def _speed(job: dict[str, Any]) -> dict[str, Any]:
    recipe, classes = _recipe(job)
    device = choose_device(recipe.device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # as in training
        torch.set_float32_matmul_precision("high")
    model = _build(recipe, classes, device)
    assert recipe.image_size
    shape = (recipe.in_channels or 3, recipe.image_size, recipe.image_size)
    precision = choose_precision(recipe, model, shape, classes, device)
    to_memory_format(model, precision.memory_format)
    images, labels = _batch(recipe, classes, device, precision)
    learner = _learner(model, recipe, precision)
    model.train()
    train = time_calls(lambda: train_step(learner, images, labels), device, job["seconds"], least=3)
    model.eval()
    inference = time_calls(lambda: infer(model, images, precision), device, job["seconds"] / 2, least=3)
    return {
        "settings": precision.label,
        "precision": precision.keys,
        "train_images_per_second": recipe.batch_size / statistics.median(train),
        "images_per_second": recipe.batch_size / statistics.median(inference),
        "device": "cpu" if device.type == "cpu" else device_name(device),
    }


def _memory(job: dict[str, Any]) -> dict[str, Any]:
    recipe, classes = _recipe(job)
    device = choose_device(recipe.device)
    precision = saved_precision(recipe, device)
    _warm_up(recipe, device, precision)
    watch = _MemoryWatch(device)
    model = to_memory_format(_build(recipe, classes, device), precision.memory_format)
    assert isinstance(model, Network)
    images, labels = _batch(recipe, classes, device, precision)
    model.eval()
    for _ in range(2):
        infer(model, images, precision)
    inference = watch.peak()
    model.train()
    freeze = make_freeze(recipe, model, (images.shape[1], images.shape[2], images.shape[3]))
    if freeze:
        freeze.apply(model)
        freeze.set_modes(model)
    learner = _learner(model, recipe, precision)
    for _ in range(2):  # the moments of the optimizer are there from the second step on
        train_step(learner, images, labels)
    synchronize(device)
    return {"bytes": inference, "train_bytes": watch.peak()}


def _warm_up(recipe: Recipe, device: torch.device, precision: Precision) -> None:
    """Load the kernels and start the threads, whose time and memory belong to no network."""
    tiny = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    model = to_memory_format(tiny.to(device), precision.memory_format)
    optimizer = make_optimizer(recipe, model)
    for _ in range(2):
        images = torch.rand(2, 3, 8, 8, device=device).contiguous(memory_format=precision.memory_format)
        with precision.autocast(device):
            loss = model(images).float().square().mean()
        loss.backward()
        optimizer.step()
    synchronize(device)


class _MemoryWatch:
    """Measures the peak of memory since it was made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before: int | None = torch.cuda.memory_allocated(device)
        elif device.type == "cpu":
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")  # the peak is reset to the memory resident now
            self.before = _peak_resident()

    def peak(self) -> int | None:
        """Return the bytes above those at the beginning; None where the system does not tell."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - (self.before or 0)
        if self.device.type != "cpu" or self.before is None:
            return None
        now = _peak_resident()
        return None if now is None else now - self.before


def _peak_resident() -> int | None:
    """Return the most bytes this process had resident.

    Linux tells it of the running program; ``ru_maxrss`` would start with the size of the process that started this one.
    """
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        if match := re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE):
            return int(match[1]) * 1024
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
