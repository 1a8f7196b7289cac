"""Looking at every image once for the data doctor: can it be read, what is it, and a small copy to compare."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from cnnlab.data.array_split import ArraySplit
from cnnlab.data.base import ImageData
from cnnlab.data.decoding import open_image, orientation, reason, to_channels, upright
from cnnlab.data.decoding_split import DecodingSplit
from cnnlab.data.near_duplicates import THUMB
from cnnlab.data.scanning import tracked, workers

_SMALLEST_HASHED = 32  # pixels: a perceptual hash says nothing about smaller pictures


@dataclass(frozen=True)
class InspectedImage:
    """The facts about one image.

    Attributes:
        name: file relative to the root of the data, or ``train[12]`` for images in memory.
        split: name of the split.
        label: position in the list of classes.
        digest: checksum of the file or of the pixels.
        thumb: grey copy, uint8 (32, 32); None when unreadable or too small to compare.
        error: why it cannot be read, or None.
        size: of a file, height and width in pixels when upright.
        mode, format: of a file, Pillow's names of the kind of pixels and of the file format; "" in memory.
        orientation: of a file, the EXIF orientation, 1 (upright) to 8.
    """

    name: str
    split: str
    label: int
    digest: bytes = b""
    thumb: np.ndarray | None = None
    error: str | None = None
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    format: str = ""
    orientation: int = 1


def inspect_images(data: ImageData, progress: bool | None) -> list[InspectedImage]:
    """Inspect every image of every split; an unreadable one has an ``error`` and raises nothing.

    Files, and images in tar files, are read in threads.
    """
    images: list[InspectedImage] = []
    for name, split in data.splits().items():
        if isinstance(split, DecodingSplit):
            images += _inspect_files(name, split, progress)
        elif isinstance(split, ArraySplit):
            images += _inspect_arrays(name, split)
    return images


def _inspect_files(split_name: str, split: DecodingSplit, progress: bool | None) -> list[InspectedImage]:
    assert split.names is not None

    def inspect(index: int, name: str, label: int) -> InspectedImage:
        path = None
        try:
            source = split.source(index)
            path = source if isinstance(source, Path) else None
            content = source.read_bytes() if isinstance(source, Path) else source.getvalue()
            with open_image(io.BytesIO(content)) as image:
                mode, (width, height) = image.mode, image.size
                image.draft("L", (2 * THUMB, 2 * THUMB))  # a JPEG is decoded at 1/2 to 1/8 of its size
                turned = orientation(image)
                grey = to_channels(upright(image), 1, split.depth)
                thumb = np.asarray(grey.resize((THUMB, THUMB), Image.Resampling.LANCZOS))
        except Exception as error:  # Pillow raises many kinds for broken files
            return InspectedImage(name, split_name, label, error=reason(error, path))
        size = (width, height) if turned >= 5 else (height, width)
        digest = hashlib.blake2b(content).digest()
        return InspectedImage(name, split_name, label, digest, thumb, None, size, mode, image.format or "", turned)

    with ThreadPoolExecutor(workers()) as pool:
        inspected = pool.map(inspect, range(len(split)), split.names, split.labels.tolist())
        return list(tracked(inspected, len(split), f"Examining {split_name}", progress))


def _inspect_arrays(split_name: str, split: ArraySplit) -> list[InspectedImage]:
    compared = min(split.pixels.shape[2:]) >= _SMALLEST_HASHED
    weights = torch.tensor([0.299, 0.587, 0.114] if split.channels == 3 else [1.0]).view(1, -1, 1, 1)
    images: list[InspectedImage] = []
    for start in range(0, len(split), 4096):
        pixels = split.pixels[start : start + 4096]
        thumbs: Iterable[np.ndarray | None] = [None] * len(pixels)
        if compared:
            grey = (pixels.float() * weights).sum(1, keepdim=True)
            small = interpolate(grey, (THUMB, THUMB), mode="bilinear", antialias=True)
            thumbs = small[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()
        labels = split.labels[start : start + 4096].tolist()
        for i, (image, thumb, label) in enumerate(zip(pixels.numpy(), thumbs, labels, strict=True), start):
            digest = hashlib.blake2b(image.tobytes()).digest()
            name = split.names[i] if split.names else f"{split_name}[{i}]"
            images.append(InspectedImage(name, split_name, label, digest, thumb))
    return images
