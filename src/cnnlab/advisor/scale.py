"""How long a training takes on more devices than there are here, computed from numbers measured on one.

A step of data-parallel training has four parts: the computation on each device, the exchange of gradients between
devices, the decoding of the photos by the processor cores, and the reading of the files. Decoding and reading run
beside the computation, so that the slowest of the three counts; the exchange overlaps with the backward pass in part.
The answer is therefore a range: from full overlap, where the slowest of the four counts, to none, where the exchange
comes on top.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from cnnlab.advisor.benchmark import run_job
from cnnlab.data import Preprocess
from cnnlab.hardware import choose_device, processor_name
from cnnlab.training.recipe import Recipe
from cnnlab.zoo import models

GRADIENT_BYTES = 4  # a gradient is exchanged in float32
#: Bytes per parameter of a training in float32: weight, gradient, a bucket of DDP for it, and SGD's momentum. AdamW has
#: two moments, which makes 20.
STATE_BYTES = {"sgd": 16, "adamw": 20}

IMAGENET_IMAGES = 1_281_167  # Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015, table 2
IMAGENET_IMAGE_BYTES = 115_000  # the 147.9 GB of ILSVRC2012_img_train.tar, divided by its images
IMAGENET_EPOCHS = 90  # Goyal et al., Accurate, Large Minibatch SGD, 2017, section 5.1
SAMPLE_PHOTO = (375, 500)  # height and width in pixels, the median of ImageNet


@dataclass(frozen=True)
class Workload:
    """A training, by what it asks of a machine."""

    images: int  #: number of training images
    image_bytes: float  #: mean size of an image file in bytes
    epochs: int  #: number of epochs
    parameters: int  #: number of parameters that are trained
    batch_size: int  #: images per step and device


@dataclass(frozen=True)
class Hardware:
    """What one device, and one machine with several of them, can do."""

    rate: float  #: images per second of training steps on one device, from images in its memory
    decode_rate: float  #: photos per second that one core decodes and crops
    cores: float  #: number of cores per device
    disk: float  #: bytes per second that a machine reads, from a disk of its own
    network: float  #: bytes per second between two machines, in each direction
    local: float  #: bytes per second between two devices of a machine
    per_machine: int  #: number of devices in a machine


@dataclass(frozen=True)
class ScaleEstimate:
    """The seconds of an epoch on a number of devices, by part, and those of the training."""

    devices: int  #: number of devices
    machines: int  #: number of machines
    batch_size: int  #: images per step over all devices
    steps: int  #: steps per epoch
    compute: float  #: seconds per epoch of computation
    exchange: float  #: seconds per epoch of exchanging gradients
    decode: float  #: seconds per epoch of decoding
    read: float  #: seconds per epoch of reading files
    shortest: float  #: seconds of the training when everything overlaps
    longest: float  #: seconds of the training when the exchange overlaps with nothing

    @property
    def limit(self) -> str:
        """The part that takes longest."""
        parts = {"computing": self.compute, "network": self.exchange, "decoding": self.decode, "disk": self.read}
        return max(parts, key=lambda part: parts[part])


def estimate(work: Workload, hardware: Hardware, devices: int) -> ScaleEstimate:
    """Return how long ``work`` takes on a number of devices.

    In a ring of W devices each sends and receives ``2 (W - 1) / W`` times the bytes of the gradient in every step
    (Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, 2009). A ring over several machines goes as fast as
    the link between two of them.
    """
    machines = math.ceil(devices / hardware.per_machine)
    steps = math.ceil(work.images / (work.batch_size * devices))
    link = hardware.local if machines == 1 else hardware.network
    sent = 2 * (devices - 1) / devices * work.parameters * GRADIENT_BYTES
    compute = work.images / (hardware.rate * devices)
    decode = work.images / (hardware.decode_rate * hardware.cores * devices)
    read = work.images * work.image_bytes / (hardware.disk * machines)
    exchange = steps * sent / link
    beside = max(compute, decode, read)
    return ScaleEstimate(
        devices=devices,
        machines=machines,
        batch_size=work.batch_size * devices,
        steps=steps,
        compute=compute,
        exchange=exchange,
        decode=decode,
        read=read,
        shortest=work.epochs * max(beside, exchange),
        longest=work.epochs * (beside + exchange),
    )


def estimates(work: Workload, hardware: Hardware, devices: Iterable[int]) -> list[ScaleEstimate]:
    """Return the estimate for each number of devices."""
    return [estimate(work, hardware, number) for number in devices]


def memory_of_state(parameters: int, optimizer: str = "sgd") -> int:
    """Return the bytes that weights, gradients and optimizer take on every device, activations left out."""
    return STATE_BYTES[optimizer] * parameters


def measure_training(name: str, batch_size: int, device: str, seconds: float = 5.0) -> tuple[float, str]:
    """Return the images per second of training steps with SGD on one device, in a process of its own, and the settings.

    Args:
        name: name of the network, which gets images of its usual size.
        batch_size: images per step.
        device: name of the device, as in recipes.
        seconds: time for which steps are measured, in seconds.

    Raises:
        TrainingError: the process crashed, ran out of memory, or did not end within ten minutes.
    """
    facts, chosen = models.get(name).facts, choose_device(device)
    recipe = Recipe(
        model=name,
        image_size=facts.image_size,
        in_channels=facts.in_channels,
        batch_size=batch_size,
        optimizer="sgd",
        device=str(chosen),
    )
    speed = run_job("speed", recipe, facts.num_classes, 600, seconds)
    threads = f", {torch.get_num_threads()} threads" if chosen.type == "cpu" else ""
    place = processor_name() if chosen.type == "cpu" else speed["device"]
    return speed["train_images_per_second"], f"{place}{threads}, {speed['settings']}"


def measure_decoding(image_size: int, seconds: float = 1.0) -> float:
    """Return how many photos per second one core decodes, resizes and crops to ``image_size`` pixels.

    The photo is a JPEG of 500 x 375 pixels (width x height) with about as many bytes as one of ImageNet.
    """
    height, width = SAMPLE_PHOTO
    noise = np.random.default_rng(0).normal(0, 22, (height, width, 3))
    slope = np.linspace(40, 215, width)[None, :, None]
    buffer = io.BytesIO()
    Image.fromarray((slope + noise).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=80)
    preprocess = Preprocess(image_size, 3, (0.5,) * 3, (0.25,) * 3, resize="crop", crop_fraction=0.875)
    count, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds:
        preprocess.pixels(Image.open(io.BytesIO(buffer.getvalue())))
        count += 1
    return count / passed
