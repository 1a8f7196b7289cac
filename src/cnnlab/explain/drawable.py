"""The base of results that have a figure: notebooks show it, and it can be saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawable:
    """A result with a figure: notebooks show it, :meth:`save` writes it."""

    def figure(self) -> Figure:
        """Draw the result."""
        raise NotImplementedError

    def save(self, path: str | Path) -> Path:
        """Write the figure to a file whose suffix chooses the format (png, svg, pdf); return the path.

        Raises:
            UsageError: a figure cannot be written in that format.
        """
        from cnnlab import figures

        return figures.save(self.figure(), path)

    def _repr_png_(self) -> bytes:
        from cnnlab import figures

        return figures.to_png(self.figure(), dpi=110)
