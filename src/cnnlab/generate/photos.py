"""Photos and paintings as tensors, their colours, and pictures and animations on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnlab.data.decoding import ImageLike, decode, to_tensor
from cnnlab.figures.pictures import to_picture
from cnnlab.files import replacing

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def read_photo(photo: ImageLike, channels: int, longer: int, *, enlarge: bool = True) -> Tensor:
    """Return a picture in its own proportions, (1, channels, H, W) of 0..1.

    Args:
        photo: a path, a picture, an array or a tensor; photos are rotated as their EXIF orientation says.
        channels: the number of channels, 1 for grey or 3 for colour.
        longer: length of the longer side in pixels.
        enlarge: whether a smaller picture is enlarged; else it keeps its size.

    Raises:
        DataError: the picture cannot be read; the message has its path.
    """
    image = decode(photo, channels)
    factor = longer / max(image.size)
    if factor != 1 and (enlarge or factor < 1):
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return to_tensor(image)[None].float() / 255


def luminance(images: Tensor) -> Tensor:
    """Return the luminance (ITU-R BT.601) of images (N, C, H, W) of 0..1, as (N, 1, H, W) of 0..1."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return (images * torch.tensor(_LUMA).to(images).view(1, 3, 1, 1)).sum(1, keepdim=True)


def in_grey_of(style: Tensor, photo: Tensor) -> Tensor:
    """Return a painting (1, C, H, W) in grey, with mean and standard deviation of the photo's luminance.

    Source: L. Gatys et al.: Preserving color in neural artistic style transfer, 2016,
    https://arxiv.org/abs/1606.05897 (luminance-only transfer).
    """
    light, wanted = luminance(style), luminance(photo)
    matched = (light - light.mean()) * (wanted.std() / light.std().clamp_min(1e-6)) + wanted.mean()
    return matched.clamp(0, 1).expand_as(style).contiguous()


def with_colours_of(image: Tensor, photo: Tensor) -> Tensor:
    """Return the luminance of an image with the colours of a photo, (1, C, H, W) of 0..1 both.

    The same number is added to red, green and blue of a pixel, so that I and Q of YIQ stay as they are.
    """
    return (photo + luminance(image) - luminance(photo)).clamp(0, 1)


def as_picture(image: Tensor) -> np.ndarray:
    """Return an image (1, C, H, W) of 0..1 as a picture, uint8 (H, W, 3) or (H, W)."""
    return to_picture(image[0].detach().cpu())


def save_image(image: Tensor, path: Path) -> Path:
    """Write an image (1, C, H, W) of 0..1 as a PNG in one step: a viewer never reads half a file. Return the path.

    Raises:
        RunError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(as_picture(image)).save(temporary, format="PNG")
    return path


def save_gif(frames: Sequence[np.ndarray], path: Path, seconds: float = 0.12, longer: int = 320) -> Path:
    """Write pictures as an animated GIF that repeats; the last one stays for two seconds. Return the path.

    Args:
        frames: pictures, uint8 (H, W, 3) or (H, W); all are brought to the proportions of the last.
        path: the file to write.
        seconds: the time that each picture is shown, in seconds.
        longer: largest length of the longer side of the animation, in pixels.

    Raises:
        RunError: the file cannot be written.
    """
    height, width = frames[-1].shape[:2]
    factor = min(1.0, longer / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    pictures = [Image.fromarray(frame).convert("RGB").resize(size, Image.Resampling.BICUBIC) for frame in frames]
    coloured = [picture.quantize(128, dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures]
    durations = [round(1000 * seconds)] * (len(coloured) - 1) + [2000]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        coloured[0].save(temporary, format="GIF", save_all=True, append_images=coloured[1:], duration=durations, loop=0)
    return path
