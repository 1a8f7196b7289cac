"""The base of results that have a figure; matplotlib is loaded when one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawable:
    """The base of results that have a figure: notebooks show it, :meth:`save` writes it."""

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
        from cnnlab.figures.style import save

        return save(self.figure(*args, **options), path)

    def _repr_png_(self) -> bytes:
        from cnnlab.figures.style import to_png

        return to_png(self.figure(), dpi=110)
