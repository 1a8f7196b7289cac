"""Figures of captions: images with their sentences, attention word by word, and training curves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from cnnlab import figures
from cnnlab.figures.pictures import Pixels, to_picture

CELL = 1.9  # width of a picture in inches
LETTERS = 28  # letters that fit below it
SIDE = 256  # pixels of a picture with attention
SHADE = 0.25  # brightness of a position with the attention 0, as a share of the image's


def caption_grid(
    pixels: Sequence[Tensor | Pixels],
    sentences: Sequence[str],
    references: Sequence[str] | None = None,
    columns: int = 4,
) -> Figure:
    """Draw images with the sentences about them.

    Args:
        pixels: images, uint8 (C, H, W) each.
        sentences: a sentence for each image.
        references: a reference caption of each image, drawn below its sentence.
        columns: number of images in a row.
    """
    titles = []
    for position, sentence in enumerate(sentences):
        lines = textwrap.wrap(sentence or "(nothing)", LETTERS)
        if references is not None:
            lines += ["—", *textwrap.wrap(references[position], LETTERS)]
        titles.append("\n".join(lines))
    pictures = [to_picture(image) for image in pixels]
    return figures.image_grid(pictures, titles, columns=min(columns, max(len(pictures), 1)), cell=CELL)


def attention_figure(pixels: Tensor | Pixels, words: Sequence[str], attention: Tensor, columns: int = 5) -> Figure:
    """Draw an image, and once more for every word of its sentence with the attention for this word as brightness.

    The position with the largest attention weight has the full brightness of the image.

    Args:
        pixels: the image, uint8 (C, H, W).
        words: words of the sentence.
        attention: attention weights for at least as many words, (T, h, w).
        columns: number of pictures in a row.
    """
    picture = to_picture(pixels)
    picture = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture
    large = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    maps = attention.float().cpu().numpy()
    pictures = [large, *(shaded(large, place) for place in maps[: len(words)])]
    return figures.image_grid(pictures, ["", *words], columns=columns, cell=1.35)


def shaded(picture: Pixels, attention: np.ndarray) -> Pixels:
    """Return a picture (H, W, 3), darkened where ``attention`` (h, w) is small relative to its largest value."""
    share = (attention / max(float(attention.max()), 1e-12)).astype(np.float32)
    size = (picture.shape[1], picture.shape[0])
    smooth = np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    return to_picture(picture / 255 * (SHADE + (1 - SHADE) * smooth[..., None]), "HWC")


def training_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the losses per word and the BLEU over the epochs.

    Args:
        rows: the rows of ``metrics.csv``.
    """
    epochs = [row["epoch"] for row in rows]

    def line(key: str) -> tuple[list[int], list[float]]:
        return epochs, [row[key] for row in rows]

    panels = {
        "loss of a word": {"training": line("train_loss"), "validation": line("val_loss")},
        "BLEU": {"validation": line("val_bleu")},
    }
    return figures.lines(panels, x="epoch")
