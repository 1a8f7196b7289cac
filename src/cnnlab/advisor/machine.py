"""The speed of this machine in up to 17 numbers, to be compared with other machines.

What is measured, in this order:

- products of two square matrices in fp32 (on a GPU with TF32, as in a training), and in bf16 where the hardware has it:
  about what a convolution can reach;
- the copy of a large tensor, which reads and writes it: what BatchNorm, ReLU and the optimizer are bound by;
- the training steps and the inference of a few networks, as :func:`cnnlab.advisor.benchmark.run_job` times them, once
  in the precision and memory layout that cnnlab chooses and once in plain fp32 and NCHW;
- batches of augmented images from images in memory, and photos that one core decodes.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

import cnnlab
from cnnlab.advisor.benchmark import run_job
from cnnlab.advisor.scale import measure_decoding
from cnnlab.data import ArraySplit, Augment, Loader, Preprocess
from cnnlab.errors import RunError
from cnnlab.files import write_text
from cnnlab.hardware import busy_note, choose_device, device_name, has_fast_bf16, time_calls
from cnnlab.training.recipe import Recipe
from cnnlab.zoo import models

NETWORKS = (("lenet5", 28, 64), ("resnet20", 32, 128), ("resnet18", 224, 16))  # network, pixels, images of a step
TIME_LIMIT = 300.0  # seconds for one network in one setting
PHOTO_SIDE = 224


@dataclass(frozen=True)
class Speed:
    """One number.

    Attributes:
        name: what was measured; equal names mean equal work, but for the sides of matrix products on CPU and GPU.
        value: the speed, the more the better.
        unit: its unit.
        settings: number format and memory layout, where there is a choice.
    """

    name: str
    value: float
    unit: str
    settings: str = ""


@dataclass(frozen=True)
class MachineSpeed:
    """What a machine does.

    Attributes:
        device: name of the GPU, or of the processor.
        cores: number of logical processors.
        threads: number of threads of torch.
        system: operating system, and versions of cnnlab, torch and Python.
        date: day of the measurement.
        quick: whether every number had a fraction of the usual time.
        note: a warning where other programs kept the machine busy; empty otherwise.
        speeds: the numbers, in the order in which they were measured.
    """

    device: str
    cores: int
    threads: int
    system: str
    date: str
    quick: bool
    note: str
    speeds: tuple[Speed, ...]

    def __getitem__(self, name: str) -> Speed | None:
        """Return the number of that name; None where it was not measured, as bf16 on hardware without it."""
        return next((speed for speed in self.speeds if speed.name == name), None)

    def save(self, path: str | Path) -> Path:
        """Write it as JSON; return the path.

        Raises:
            RunError: the file cannot be written.
        """
        write_text(Path(path), json.dumps(asdict(self), indent=2) + "\n")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> MachineSpeed:
        """Read what :meth:`save` wrote.

        Raises:
            RunError: there is no such file, or it holds something else.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(**{**values, "speeds": tuple(Speed(**speed) for speed in values["speeds"])})
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}.") from None
        except (ValueError, TypeError, KeyError):
            raise RunError(f"{path} holds no measurement. `cnnlab bench --out {path}` writes one.") from None


def measure_machine(
    device: str = "auto", *, quick: bool = False, begins: Callable[[str], None] = lambda name: None
) -> MachineSpeed:
    """Measure this machine: about a minute on two cores, a third of it with ``quick``.

    Args:
        device: name of the device, as in recipes.
        quick: whether to give every number a fraction of the time, and to leave out the network for photos.
        begins: a function that is called with the name of what is measured next.

    Raises:
        DeviceError: the device is not on this machine.
        UsageError: there is no device of that name.
        TrainingError: a network could not be trained here.
    """
    chosen = choose_device(device)
    seconds, note = (0.2 if quick else 1.0), busy_note()
    speeds = [
        *_hardware(chosen, seconds, begins),
        *_networks(chosen, NETWORKS[: 2 if quick else None], seconds, begins),
        *_data_path(seconds, begins),
    ]
    versions = f"cnnlab {cnnlab.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    return MachineSpeed(
        device=device_name(chosen),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        system=f"{platform.system()}, {versions}",
        date=date.today().isoformat(),
        quick=quick,
        note=note,
        speeds=tuple(speeds),
    )


def matrix_product_speed(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """Return the floating-point operations per second of a square matrix product (side 2048 on a CPU, else 8192).

    On a GPU a product in fp32 uses TF32, as products and convolutions do in a training.
    """
    side = 2048 if device.type == "cpu" else 8192
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    with _products_as_in_training(device):
        taken = statistics.median(time_calls(lambda: left @ right, device, seconds, least=3))
    return 2.0 * side**3 / taken


@contextmanager
def _products_as_in_training(device: torch.device) -> Iterator[None]:
    """Let matrix products in fp32 use TF32 on a GPU while open: a training does, and torch by default does not."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _hardware(device: torch.device, seconds: float, begins: Callable[[str], None]) -> Iterator[Speed]:
    """Yield the speed of matrix products, and of memory."""
    for dtype, word in ((torch.float32, "fp32"), (torch.bfloat16, "bf16"))[: 1 + has_fast_bf16(device)]:
        begins(f"matrix product {word}")
        yield Speed(f"matrix product {word}", matrix_product_speed(device, dtype, seconds) / 1e9, "GFLOP/s")
    begins("memory")
    source = torch.zeros(64 << 20, device=device)  # 256 MiB, more than any cache holds
    target = torch.empty_like(source)
    taken = statistics.median(time_calls(lambda: target.copy_(source), device, seconds, least=3))
    yield Speed("memory", 2 * 4 * source.numel() / taken / 1e9, "GB/s")


def _networks(
    device: torch.device, networks: Sequence[tuple[str, int, int]], seconds: float, begins: Callable[[str], None]
) -> Iterator[Speed]:
    """Yield the images/s of training and inference for each network, as cnnlab chooses and plain."""
    for name, size, batch_size in networks:
        facts = models.get(name).facts
        recipe = Recipe(
            model=name, image_size=size, in_channels=facts.in_channels, batch_size=batch_size, device=str(device)
        )
        for plain in (False, True):
            work = f"{name} at {size}"
            begins(f"{work}{', plain' * plain}")
            if plain:
                recipe = recipe.model_copy(update={"precision": "fp32", "channels_last": False})
            answer = run_job("speed", recipe, facts.num_classes, TIME_LIMIT, seconds)
            rates = {"training": "train_images_per_second", "inference": "images_per_second"}
            for what, key in rates.items():
                yield Speed(f"{work}, {what}{', plain' * plain}", answer[key], "images/s", answer["settings"])


def _data_path(seconds: float, begins: Callable[[str], None]) -> Iterator[Speed]:
    """Yield the images/s of augmented batches, and of decoded photos."""
    begins("augmented batches")
    count = 4096
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    split = ArraySplit(pixels, torch.arange(count) % 10)
    preprocess = Preprocess(32, 3, (0.5,) * 3, (0.25,) * 3)
    loader = Loader(split, preprocess, 128, augment=Augment(flip=True, crop=4), shuffle=True)
    taken = statistics.median(time_calls(lambda: list(loader.epoch(0)), torch.device("cpu"), seconds, least=3))
    yield Speed("augmented batches at 32", count / taken, "images/s")
    begins("photos")
    yield Speed(f"photos at {PHOTO_SIDE}, one core", measure_decoding(PHOTO_SIDE, seconds), "photos/s")


def compare_machines(machines: Sequence[MachineSpeed]) -> list[dict[str, Any]]:
    """Return what several machines do, number by number.

    Args:
        machines: the machines; the others are compared with the first.

    Returns:
        For each number its ``name`` and ``unit``, the ``values`` of the machines, None where a machine has none, and
        the ``ratios`` of the values to that of the first, None where either is missing.
    """
    rows = []
    for name in dict.fromkeys(speed.name for machine in machines for speed in machine.speeds):
        speeds = [machine[name] for machine in machines]
        values = [speed and speed.value for speed in speeds]
        ratios = [value / values[0] if value and values[0] else None for value in values]
        unit = next(speed.unit for speed in speeds if speed)
        rows.append({"name": name, "unit": unit, "values": values, "ratios": ratios})
    return rows
