"""Pages that need no other file: templates, and figures and pictures as parts of the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

import cnnlab
from cnnlab import figures
from cnnlab.console import duration, percent

PHOTO_SIDE = 100  # pixels from which on a picture counts as a photo


def render(template: str, *, room: str = "cnnlab.runs", **values: Any) -> str:
    """Return a page made of a template of a room, which may include templates of this one.

    Class names and file names come from strangers: every value is escaped unless it is Markup.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(one) for one in dict.fromkeys([room, "cnnlab.runs"])]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number="{:,}".format, duration=duration, shape=_shape)
    return environment.get_template(template).render(values, version=cnnlab.__version__)


def figure_markup(figure: Figure, name: str) -> Markup:
    """Return a figure as markup that takes its colours from the page; its texts are escaped by the XML writer.

    Args:
        figure: the figure; it has been saved, so that its layout is decided.
        name: the start of the ids in the markup, another one for each figure of a page.
    """
    figure.set_layout_engine("none")  # deciding the layout again would take as long as drawing
    return Markup(figures.to_svg(figure, name))


def picture_uri(pixels: np.ndarray, side: int | None = None) -> str:
    """Return a picture as a data URI: JPEG for photos, PNG for small images, whose pixels matter.

    Args:
        pixels: uint8 (H, W, 3) or (H, W).
        side: the longer side that a photo is reduced to, in pixels.
    """
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    photo = max(image.size) >= PHOTO_SIDE
    if side is not None and photo:
        image.thumbnail((side, side))
    image.save(buffer, "JPEG", quality=88) if photo else image.save(buffer, "PNG")
    return f"data:image/{'jpeg' if photo else 'png'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _shape(shape: Iterable[int] | None) -> str:
    return "–" if shape is None else " × ".join(map(str, shape)) or "1"
