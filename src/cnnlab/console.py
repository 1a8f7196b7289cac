"""What people read in a terminal: durations, shares, counts and sizes in words, tables, and the bar of a training.

rich is imported inside the functions, so that a program that prints nothing does not load it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def duration(seconds: float | None) -> str:
    """Write seconds for people: ``9.6 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share of 1 as a percentage: ``93.1%`` for 0.931."""
    return "–" if share is None else f"{share:.{digits}%}"


def amount(count: float | None) -> str:
    """Write a count in three significant digits: ``940``, ``11.7M``, ``1.81G``."""
    if count is None:
        return "–"
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * unit:
            return f"{count / unit:#.3g}".rstrip(".") + letter
    return f"{count:.3g}"


def size(count: float | None) -> str:
    """Write a number of bytes in about three digits: ``44.6 MiB``."""
    if count is None:
        return "–"
    for unit in ("B", "KiB", "MiB"):
        if count < 1000:
            return f"{count:.{0 if unit == 'B' or count >= 99.95 else 1}f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def table(titles: Sequence[str], rows: Iterable[Sequence[object]] = (), *, wrap: bool = True) -> Table:
    """Build a table without lines for a terminal.

    Args:
        titles: a title per column; one that begins with ``>`` stands over numbers, which are set to the right.
        rows: the cells of each row, written as they are: a class may be called ``[red]``. A cell that is a
            ``rich.text.Text`` keeps its style.
        wrap: whether a cell that is too long for the terminal goes on in the next line instead of being cut.
    """
    from rich.table import Table
    from rich.text import Text

    result = Table(box=None, header_style="bold", pad_edge=False)
    for title in titles:
        result.add_column(
            Text(title.removeprefix(">")),
            justify="right" if title.startswith(">") else "left",
            overflow="fold" if wrap else "ellipsis",
            no_wrap=not wrap,
        )
    for row in rows:
        result.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return result


def worth_a_line(epoch: int, epochs: int) -> bool:
    """Return whether an epoch, counted from 1, gets a line: every one of up to 20, else about ten and the last."""
    return epochs <= 20 or epoch % max(1, epochs // 10) == 0 or epoch == epochs


class TrainingBar:
    """A progress bar with a description, the share done, numbers, and the time left at the mean speed since ``begin``.

    ::

        with TrainingBar(console) as bar:
            bar.begin(total=500)
            for step in range(1, 501):
                ...
                if bar.due():
                    bar.show(step, "epoch 1/2", f"loss {loss:.3f}")
    """

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[numbers]}"),
            TextColumn("{task.fields[left]}", style="cyan"),
            console=console, refresh_per_second=8, expand=True, transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task("starting", total=None, numbers="", left="")
        self._total, self._begun, self._since, self._drawn_at = 0, 0, time.monotonic(), 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def begin(self, total: int, done: int = 0) -> None:
        """Set the number of steps, ``done`` of which were made earlier, and measure the time from here on."""
        self._total, self._begun, self._since = total, done, time.monotonic()
        self._progress.update(self._task, total=total, completed=done)

    def due(self) -> bool:
        """Return whether the last drawing is 0.12 s old; ask before reading a loss, which waits for the GPU."""
        return time.monotonic() - self._drawn_at > 0.12

    def show(self, done: int, description: str, numbers: str) -> None:
        """Draw the bar after ``done`` steps, with a description and numbers."""
        self._drawn_at = time.monotonic()
        left = ""
        if done > self._begun:
            seconds = (self._drawn_at - self._since) / (done - self._begun) * (self._total - done)
            left = f"{duration(seconds)} left"
        self._progress.update(self._task, completed=done, description=description, numbers=numbers, left=left)

    def say(self, line: str) -> None:
        """Print a line that stays above the bar."""
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def stop(self) -> None:
        """Take the bar off the screen."""
        self._progress.stop()
