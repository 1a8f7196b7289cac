"""What every download shares: a progress bar, and the reason in a line when it fails."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress


class DownloadError(Exception):
    """A file could not be downloaded; the message says which and why."""


def reason(error: BaseException) -> str:
    """The innermost cause in a line: requests wraps urllib3, which wraps the socket's error."""
    text = str(error)
    for known in (
        "Connection refused",
        "Name or service not known",
        "Temporary failure in name resolution",
        "timed out",
    ):
        if known.lower() in text.lower():
            return known.lower()
    return text if len(text) < 200 else type(error).__name__


class DownloadBar:
    """A rich progress bar with the four attributes that pooch's downloader uses: total, update, reset, close."""

    def __init__(self, description: str) -> None:
        self.description = description
        self.total = 0
        self._done = 0
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._progress.start()
        self._task = self._progress.add_task(self.description, total=None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def update(self, count: int) -> None:
        """Count ``count`` more bytes."""
        # pooch counts whole chunks, so that the last one overshoots.
        self._done = min(self._done + count, self.total) if self.total else self._done + count
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done, total=self.total or None)

    def reset(self) -> None:
        """Start counting anew (pooch does so at the end, to correct its estimate)."""
        self._done = 0

    def close(self) -> None:
        """Stop drawing."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
