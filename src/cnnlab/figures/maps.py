"""Maps over pictures: what a network looked at."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from matplotlib.figure import Figure

from cnnlab.figures.style import new_figure


def attribution(answer: Any, picture: npt.ArrayLike | None = None) -> Figure:
    """Draw a map over the picture that it explains."""
    figure = new_figure(4, 4)
    figure.add_subplot().imshow(answer.map)
    return figure
