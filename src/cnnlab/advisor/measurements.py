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
    """Speed and memory of a network as measured once.

    Attributes:
        name: name of the network.
        image_size: side of the images in pixels.
        asked_size: side in pixels that was asked for; None for the usual size. It is less than ``image_size`` where the
            network takes no smaller images.
        channels: number of channels of the images. ``classes``: number of classes.
        batch_size: number of images of a step.
        settings: precision and memory layout, such as ``"bf16 channels_last"``.
        train_images_per_second: images per second of a training step.
        images_per_second: images per second of inference.
        train_bytes: peak memory of training in bytes; None where the system does not tell.
        bytes: peak memory of inference in bytes; None where the system does not tell.
        device: ``"cpu"`` or the name of the GPU. ``threads``: number of threads of the CPU.
        machine: name of the machine. ``processor``: name of its processor.
        torch: version of torch. ``date``: day of the measurement.
    """

    name: str
    image_size: int
    asked_size: int | None
    channels: int
    classes: int
    batch_size: int
    settings: str
    train_images_per_second: float
    images_per_second: float
    train_bytes: int | None
    bytes: int | None
    device: str
    threads: int
    machine: str
    processor: str
    torch: str
    date: str

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
