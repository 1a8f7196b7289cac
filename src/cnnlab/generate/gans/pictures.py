"""Pictures of a GAN: grids and GIFs of samples, interpolation, losses, classes, nearest training images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from cnnlab import figures
from cnnlab.figures.pictures import mosaic
from cnnlab.files import replacing
from cnnlab.generate.gans.pair import generate

FRAMES = 60  # a GIF shows at most so many epochs


def grid(pixels: Tensor, columns: int | None = None) -> np.ndarray:
    """Return images as one picture in rows and columns, uint8 (H, W, 3), small ones enlarged by whole factors.

    Args:
        pixels: the images, uint8 (N, C, S, S).
        columns: number of images in a row; about the square root of N when ``None``.
    """
    tiles = pixels.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy()
    return mosaic(tiles, columns or math.ceil(math.sqrt(len(tiles))), gap=2)


def write_gif(files: Sequence[Path], path: Path, seconds: float = 0.25) -> Path:
    """Write pictures of equal size as an animated GIF that repeats; the last one stays for two seconds.

    Of more than 60 pictures, 60 evenly spaced ones are shown, the first and the last among them. Returns ``path``.

    Args:
        files: files of the pictures, in their order.
        path: file to write.
        seconds: time that each picture is shown, in seconds.
    """
    chosen = np.linspace(0, len(files) - 1, min(len(files), FRAMES)).round().astype(int)
    pictures = []
    for position in chosen:
        with Image.open(files[position]) as picture:
            pictures.append(picture.convert("RGB").quantize(dither=Image.Dither.NONE))
    durations = [round(1000 * seconds)] * (len(pictures) - 1) + [2000]
    with replacing(path) as temporary:
        pictures[0].save(
            temporary, "gif", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=True
        )
    return path


def interpolate(generator: nn.Module, noise: Tensor, steps: int = 10) -> Tensor:
    """Return the images of a generator along straight lines between pairs of noise vectors.

    A generator that has learned more than single images changes them gradually along a line.

    Args:
        generator: the generator; its mode (training or eval) is restored afterwards.
        noise: beginnings and ends of the lines, float32 (2, rows, noise_size).
        steps: number of images on each line, with its beginning and its end.

    Returns:
        uint8 (rows, steps, C, S, S) on the CPU.
    """
    shares = torch.linspace(0, 1, steps, device=noise.device).view(1, -1, 1)
    path = torch.lerp(noise[0][:, None], noise[1][:, None], shares)  # (rows, steps, noise_size)
    return generate(generator, path.flatten(0, 1)).unflatten(0, path.shape[:2])


def loss_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw losses and logits over the epochs.

    The losses of a GAN do not tell how good its images are: one falls only while the other network learns less.

    Args:
        rows: the rows of ``metrics.csv``.
    """
    epochs = [row["epoch"] for row in rows]

    def line(key: str) -> tuple[list[int], list[float]]:
        return epochs, [row[key] for row in rows]

    panels = {
        "loss": {"discriminator": line("discriminator_loss"), "generator": line("generator_loss")},
        "logit of the discriminator": {"real images": line("real_logit"), "generated images": line("fake_logit")},
    }
    return figures.lines(panels, x="epoch")


def class_figure(counts: Mapping[str, int]) -> Figure:
    """Draw the number of samples that a classifier assigns to each class, beside the number for equal frequencies.

    Args:
        counts: number of samples of each class, by the name of the class.
    """
    equal = sum(counts.values()) / max(len(counts), 1)
    return figures.bars(counts, x="number of samples", reference=(equal, "all classes equally frequent"))


def neighbour_figure(samples: Tensor, nearest: Tensor, percentiles: np.ndarray) -> Figure:
    """Draw generated images above their nearest training images.

    Args:
        samples: generated images, uint8 (n, C, S, S).
        nearest: the nearest training image of each, uint8 (n, C, S, S).
        percentiles: percentage of held-out images that lie at most as far from the training images, (n,).
    """
    pictures = [image.permute(1, 2, 0).numpy() for image in (*samples, *nearest)]
    titles = [f"generated\nfarther than {percentile:.1f}%\nof held-out images" for percentile in percentiles]
    titles += ["training image"] * len(nearest)
    return figures.image_grid(pictures, titles, columns=len(samples))
