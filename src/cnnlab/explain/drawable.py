"""The base of results that have a figure: notebooks show it, and it can be saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cnnlab import figures


class Drawable:
    """A result with a figure: notebooks show it, :meth:`save` writes it."""

    def figure(self, *args: Any, **options: Any) -> Figure:
        """Draw the result."""
        raise NotImplementedError

    def save(self, path: str | Path, *args: Any, **options: Any) -> Path:
        """Write the figure to a file whose suffix chooses the format (png, svg, pdf); return the path.

        Args:
            path: the path of the file.
            args, options: the arguments of ``figure``.

        Raises:
            UsageError: a figure cannot be written in that format.
        """
        return figures.save(self.figure(*args, **options), path)

    def _repr_png_(self) -> bytes:
        return figures.to_png(self.figure(), dpi=110)
