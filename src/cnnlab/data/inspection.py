"""Looking at every image once for the data doctor: can it be read, what is it, and a small copy to compare."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnlab.data import near_duplicates
from cnnlab.data.array_split import ArraySplit
from cnnlab.data.base import ImageData
from cnnlab.data.decoding import open_image, orientation, reason, to_channels, upright
from cnnlab.data.file_split import FileSplit
from cnnlab.data.scanning import workers

_SMALLEST_HASHED = 32  # pixels: a perceptual hash says nothing about smaller pictures


@dataclass(frozen=True)
class InspectedImage:
    """The facts about one image; ``thumb`` is a grey copy of 32x32, None when unreadable or too small to compare."""

    name: str
    split: str
    label: int
    digest: bytes = b""
    thumb: np.ndarray | None = None
    file: FileFacts | None = None
    error: str | None = None


@dataclass(frozen=True)
class FileFacts:
    """The facts that only files have: size (height, width) upright, Pillow's mode and format, EXIF orientation."""

    size: tuple[int, int]
    mode: str
    format: str
    orientation: int


def inspect_images(data: ImageData, progress: bool | None) -> list[InspectedImage]:
    """Inspect every image of every split, files in threads; an unreadable one has an ``error`` and raises nothing."""
    images: list[InspectedImage] = []
    for name, split in data.splits().items():
        if isinstance(split, FileSplit):
            images += _inspect_files(name, split, progress)
        elif isinstance(split, ArraySplit):
            images += _inspect_arrays(name, split)
    return images


def _inspect_files(split_name: str, split: FileSplit, progress: bool | None) -> list[InspectedImage]:
    def inspect(path: Path, name: str, label: int) -> InspectedImage:
        try:
            content = path.read_bytes()
            thumb, file = _thumb(content, split.depth)
        except Exception as error:  # Pillow raises many kinds for broken files
            return InspectedImage(name, split_name, label, error=reason(error, path))
        return InspectedImage(name, split_name, label, hashlib.blake2b(content).digest(), thumb, file)

    with ThreadPoolExecutor(workers()) as pool:
        inspected: Iterable[InspectedImage] = pool.map(inspect, split.paths, split.names, split.labels.tolist())
        return list(_tracked(inspected, len(split), f"Examining {split_name}", progress))


def _thumb(content: bytes, depth: int) -> tuple[np.ndarray, FileFacts]:
    from PIL import Image

    with open_image(io.BytesIO(content)) as image:
        kind, mode, (width, height) = image.format or "", image.mode, image.size
        image.draft("L", (2 * near_duplicates.THUMB,) * 2)  # a JPEG is decoded at 1/2 to 1/8 of its size
        turned = orientation(image)
        grey = to_channels(upright(image), 1, depth)
        side = (near_duplicates.THUMB, near_duplicates.THUMB)
        thumb = np.asarray(grey.resize(side, Image.Resampling.LANCZOS))
    size = (width, height) if turned >= 5 else (height, width)
    return thumb, FileFacts(size, mode, kind, turned)


def _inspect_arrays(split_name: str, split: ArraySplit) -> list[InspectedImage]:
    import torch
    from torch.nn.functional import interpolate

    side = near_duplicates.THUMB
    compared = min(split.pixels.shape[2:]) >= _SMALLEST_HASHED
    weights = torch.tensor([0.299, 0.587, 0.114] if split.channels == 3 else [1.0]).view(1, -1, 1, 1)
    images: list[InspectedImage] = []
    for start in range(0, len(split), 4096):
        pixels = split.pixels[start : start + 4096]
        thumbs: Iterable[np.ndarray | None] = [None] * len(pixels)
        if compared:
            grey = (pixels.float() * weights).sum(1, keepdim=True)
            small = interpolate(grey, (side, side), mode="bilinear", antialias=True)
            thumbs = small[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()
        labels = split.labels[start : start + 4096].tolist()
        for i, (image, thumb, label) in enumerate(zip(pixels.numpy(), thumbs, labels, strict=True), start):
            digest = hashlib.blake2b(image.tobytes()).digest()
            name = split.names[i] if split.names else f"{split_name}[{i}]"
            images.append(InspectedImage(name, split_name, label, digest, thumb))
    return images


def _tracked(
    items: Iterable[InspectedImage], total: int, description: str, progress: bool | None
) -> Iterable[InspectedImage]:
    if not progress:
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description, total, console=Console(stderr=True), transient=True)
