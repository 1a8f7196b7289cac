"""Measured speed and memory of networks, saved in this user's cache for later tables."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from typing import Any

from cnnlab.errors import RunError
from cnnlab.files import cache_dir, read_cached_json, write_cached_json
from cnnlab.hardware import processor_name

FILE = "measured.json"


@dataclass(frozen=True)
class Measurement:
    """Speed and memory of a network as measured once."""

    name: str  #: name of the network
    image_size: int  #: side of the images in pixels
    asked_size: int | None  #: side that was asked for, less where the network takes none so small; None: the usual one
    channels: int  #: number of channels of the images
    classes: int  #: number of classes
    batch_size: int  #: number of images of a step
    settings: str  #: precision and memory layout, such as ``"bf16 channels_last"``
    train_images_per_second: float  #: images per second of a training step
    images_per_second: float  #: images per second of inference
    train_bytes: int | None  #: peak memory of training in bytes; None where the system does not tell
    bytes: int | None  #: peak memory of inference in bytes; None where the system does not tell
    device: str  #: ``"cpu"`` or the name of the GPU
    threads: int  #: number of threads of the CPU
    machine: str  #: name of the machine
    processor: str  #: name of its processor
    torch: str  #: version of torch
    date: str  #: day of the measurement

    @property
    def is_from_here(self) -> bool:
        """Whether the measurement was made on this machine."""
        return (self.machine, self.processor) == (platform.node(), processor_name())

    @property
    def conditions(self) -> tuple[Any, ...]:
        """The conditions that have to be equal for two networks to be compared."""
        return (self.asked_size, self.batch_size, self.device, self.threads, self.machine, self.processor, self.torch)

    def describe_conditions(self) -> str:
        """Return the conditions in one line."""
        size = "at the usual sizes" if self.asked_size is None else f"at {self.asked_size}x{self.asked_size}"
        device = self.processor if self.device == "cpu" else self.device
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{size}, batches of {self.batch_size}, on {device}, {threads}, torch {self.torch}, {self.date}"


def load_measurements() -> list[Measurement]:
    """Return the saved measurements, oldest first; entries that cannot be read are left out."""
    entries = read_cached_json(FILE)
    measurements = []
    for values in entries if isinstance(entries, list) else []:
        try:
            measurements.append(Measurement(**values))
        except TypeError:  # written by another version
            continue
    return measurements


def save_measurement(measurement: Measurement) -> None:
    """Save a measurement; it replaces an older one under the same conditions.

    Raises:
        RunError: the cache cannot be written.
    """
    same = (measurement.name, measurement.conditions)
    others = [saved for saved in load_measurements() if (saved.name, saved.conditions) != same]
    if not write_cached_json(FILE, [asdict(saved) for saved in [*others, measurement]]):
        raise RunError(f"Could not write {cache_dir() / FILE}. Make the folder writable, or name one in CNNLAB_CACHE.")


def comparable(measurements: list[Measurement]) -> dict[str, Measurement]:
    """Return a measurement per network: those made on this machine under the conditions of the latest one."""
    here = [measurement for measurement in measurements if measurement.is_from_here]
    return {m.name: m for m in here if m.conditions == here[-1].conditions}
