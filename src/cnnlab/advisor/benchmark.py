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
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.advisor.measurements import Measurement, save_measurement
from cnnlab.errors import CnnlabError, TrainingError
from cnnlab.hardware import (
    Precision,
    choose_device,
    device_name,
    keep_freed_memory,
    peak_resident_memory,
    processor_name,
    synchronize,
    time_calls,
)
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
    size = max(image_size or facts.image_size, facts.min_size)
    recipe = Recipe(
        model=name,
        image_size=size,
        in_channels=facts.in_channels,
        batch_size=batch_size,
        device=str(choose_device(device)),
    )
    speed = run_job("speed", recipe, facts.num_classes, time_limit, seconds)
    recipe = recipe.model_copy(update=speed.pop("precision"))
    memory = run_job("memory", recipe, facts.num_classes, time_limit)
    return Measurement(
        name=name,
        image_size=size,
        asked_size=image_size,
        channels=facts.in_channels,
        classes=facts.num_classes,
        batch_size=batch_size,
        threads=torch.get_num_threads(),
        machine=platform.node(),
        processor=processor_name(),
        torch=str(torch.__version__),
        date=date.today().isoformat(),
        **speed,
        **memory,
    )


def measure_all(names: list[str], **options: Any) -> Iterator[Measurement | CnnlabError]:
    """Measure one network after the other and save each result at once; after an error, which is yielded, go on.

    Args:
        names: names of the networks.
        options: options of :func:`measure`.
    """
    for name in names:
        try:
            measurement = measure(name, **options)
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
    return run_job("memory", recipe, classes, time_limit)["train_bytes"]


def run_job(what: str, recipe: Recipe, classes: int, time_limit: float, seconds: float = 0.0) -> dict[str, Any]:
    """Measure the ``"speed"`` or the ``"memory"`` of a network in a new Python process, see :func:`main`.

    Args:
        what: quantity to measure.
        recipe: recipe with the network, the side and channels of its images, the batch size and the device.
        classes: number of classes.
        time_limit: longest time for the process, in seconds.
        seconds: time for which training steps are timed, in seconds.
    """
    job = {"what": what, "recipe": recipe.values(), "classes": classes, "seconds": seconds}
    # -P: a file in the current folder that is called like a module of Python must not be taken for it.
    command = [sys.executable, "-P", "-m", "cnnlab.advisor.benchmark"]
    command.append(json.dumps(job | {"threads": torch.get_num_threads()}))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=time_limit, check=False)
    except subprocess.TimeoutExpired:
        raise TrainingError(
            f"{recipe.model}: not done within {time_limit:g} s. Try a smaller batch or smaller images."
        ) from None
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        if "error" not in answer:
            return answer
        why = answer["error"]
    elif done.returncode < 0:
        why = f"the process was killed (signal {-done.returncode}), perhaps for want of memory."
    else:
        why = f"the process failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    raise TrainingError(f"{recipe.model}: {why}")


# --- In a process of its own --------------------------------------------------------------------------------------


def main(arguments: list[str]) -> None:
    """Do the job that the first argument describes in JSON, and print the answer as the last line of stdout."""
    job = json.loads(arguments[0])
    torch.set_num_threads(job["threads"])
    keep_freed_memory()  # as in the command line
    try:
        recipe, classes = Recipe.make(job["recipe"]), job["classes"]
        answer = _speed(recipe, classes, job["seconds"]) if job["what"] == "speed" else _memory(recipe, classes)
    except torch.OutOfMemoryError:
        answer = {"error": "the memory of the device does not suffice. Try a smaller batch or smaller images."}
    except CnnlabError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


def _build(recipe: Recipe, classes: int, device: torch.device) -> tuple[Network, tuple[int, int, int]]:
    """Return the network of the recipe, and the shape (C, H, W) of an image."""
    torch.manual_seed(0)
    size, channels = recipe.image_size, recipe.in_channels
    assert size
    assert channels
    model = create_model(recipe.model, classes, channels, size, options=recipe.model_options).to(device)
    return model, (channels, size, size)


def _batch(
    count: int, shape: tuple[int, int, int], classes: int, device: torch.device, precision: Precision
) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, *shape).to(device).contiguous(memory_format=precision.memory_format)
    return images, (torch.arange(count) % classes).to(device)


def _learner(model: nn.Module, recipe: Recipe, precision: Precision) -> Learner:
    criterion = nn.CrossEntropyLoss()
    return Learner(model, model, criterion, make_optimizer(recipe, model), precision, recipe.clip_norm)


def _speed(recipe: Recipe, classes: int, seconds: float) -> dict[str, Any]:
    device = choose_device(recipe.device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # as in training
        torch.set_float32_matmul_precision("high")
    model, shape = _build(recipe, classes, device)
    precision = choose_precision(recipe, model, shape, classes, device)
    to_memory_format(model, precision.memory_format)
    images, labels = _batch(recipe.batch_size, shape, classes, device, precision)
    learner = _learner(model.train(), recipe, precision)
    train = time_calls(lambda: train_step(learner, images, labels), device, seconds, least=3)
    model.eval()
    inference = time_calls(lambda: infer(model, images, precision), device, seconds / 2, least=3)
    return {
        "settings": precision.label,
        "precision": precision.keys,
        "train_images_per_second": recipe.batch_size / statistics.median(train),
        "images_per_second": recipe.batch_size / statistics.median(inference),
        "device": "cpu" if device.type == "cpu" else device_name(device),
    }


def _memory(recipe: Recipe, classes: int) -> dict[str, Any]:
    device = choose_device(recipe.device)
    precision = saved_precision(recipe, device)
    _warm_up(recipe, device, precision)
    watch = _MemoryWatch(device)
    model, shape = _build(recipe, classes, device)
    to_memory_format(model, precision.memory_format)
    images, labels = _batch(recipe.batch_size, shape, classes, device, precision)
    model.eval()
    for _ in range(2):
        infer(model, images, precision)
    inference = watch.peak()
    model.train()
    if freeze := make_freeze(recipe, model, shape):
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
    learner = _learner(to_memory_format(tiny.to(device), precision.memory_format), recipe, precision)
    for _ in range(2):
        train_step(learner, *_batch(2, (3, 8, 8), 10, device, precision))
    synchronize(device)


class _MemoryWatch:
    """Measures the peak of memory since it was made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif device.type == "cpu":
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")  # the peak is reset to the memory resident now
        self.before = self._most()

    def peak(self) -> int | None:
        """Return the bytes above those at the beginning; None where the system does not tell."""
        now = self._most()
        return None if now is None or self.before is None else now - self.before

    def _most(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_resident_memory() if self.device.type == "cpu" else None


if __name__ == "__main__":
    main(sys.argv[1:])
