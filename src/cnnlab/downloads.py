"""Downloads of data sets and public weights: over https, checked, and resumed where they broke off.

The checksum decides whether a file is the right one, and a file gets its name when it is complete and right.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from cnnlab.console import duration, size

if TYPE_CHECKING:
    import requests

#: Addresses that are downloaded from begin with one of these; tests add a server on this machine.
SCHEMES: tuple[str, ...] = ("https://",)
TIMEOUT = 30  # seconds without a byte after which a connection counts as broken
SLOWEST = 1024  # bytes/s below which another address is tried
PATIENCE = 60  # seconds over which that speed is measured
MEMORY = 15  # seconds over which the speed is measured that says how much time is left


class DownloadError(Exception):
    """A file could not be downloaded; the message says which and why.

    Callers raise a :class:`~cnnlab.errors.CnnlabError` from it that says what the file was needed for.
    """


@dataclass(frozen=True)
class Remote:
    """A file to download.

    Attributes:
        urls: addresses of the file, tried in this order.
        checksum: ``"md5:"`` or ``"sha256:"`` and the hexadecimal digits of the checksum, or the first of them.
    """

    urls: tuple[str, ...]
    checksum: str

    @property
    def file(self) -> str:
        """The name of the file."""
        return self.urls[0].rsplit("/", 1)[-1]

    def mismatch(self, path: Path) -> str:
        """Say how the checksum of the file at ``path`` differs from that of this file; ``""`` if it does not."""
        method, _, expected = self.checksum.partition(":")
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, method).hexdigest()
        if digest.startswith(expected):
            return ""
        return f"its {method.upper()} checksum begins with {digest[:8]}, not with {expected[:8]}"


def download(remote: Remote, folder: Path, *, progress: bool | None = None) -> Path:
    """Download a file into ``folder`` and return its path, at once if it is there with this checksum.

    Args:
        remote: file to download.
        folder: folder to write to; created if it is not there. The bytes of a download that broke off stay in it under
            a hidden name, and the next call goes on from there.
        progress: whether a bar is drawn on stderr; None draws it on a terminal only.

    Raises:
        DownloadError: no address is https, answers and has the file with this checksum, or ``folder`` cannot be
            written.
    """
    import requests
    import urllib3

    target = folder / remote.file
    failures = []
    visible = sys.stderr.isatty() if progress is None else progress
    try:
        if target.is_file() and not remote.mismatch(target):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with _partial_file(target) as part:
            for url in remote.urls:
                try:
                    _complete(remote, url, part, visible)
                    os.replace(part, target)
                    return target
                except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
                    failures.append(f"{url}: {_reason(error)}")
                except DownloadError as error:
                    failures.append(str(error))
                if _is_whole(remote, part):  # the server promised more bytes than the file has
                    os.replace(part, target)
                    return target
            if part.is_file():
                failures.append(f"the {size(part.stat().st_size)} that came are kept, and the next try goes on there")
    except OSError as error:
        raise DownloadError(f"{remote.urls[0]}: {_reason(error)}") from error
    raise DownloadError("; ".join(failures))


@contextmanager
def _partial_file(target: Path) -> Iterator[Path]:
    """Yield the path to download ``target`` to, with the bytes of an earlier download; the file is kept afterwards."""
    # A name per process: processes that start together must not write into each other's file.
    own = target.with_name(f".{target.name}.{os.getpid()}.part")
    released = target.with_name(f".{target.name}.part")
    for path in target.parent.glob(f".{target.name}.*part"):
        with suppress(OSError):  # another process was quicker
            # A process that still downloads has written to its file a moment ago.
            if path == released or time.time() - path.stat().st_mtime > 2 * TIMEOUT:
                os.replace(path, own)
    try:
        yield own
    finally:
        if own.is_file():
            if own.stat().st_size:
                os.replace(own, released)
            else:
                own.unlink()


def _complete(remote: Remote, url: str, part: Path, visible: bool) -> None:
    """Download the missing bytes of ``part`` from ``url``; where the result is wrong, all of them once more.

    Raises:
        DownloadError: the file has another checksum; ``part`` is deleted.
    """
    resumed = part.is_file()
    _fetch(url, part, remote.file, visible)
    if (mismatch := remote.mismatch(part)) and resumed:
        part.unlink()
        _fetch(url, part, remote.file, visible)
        mismatch = remote.mismatch(part)
    if mismatch:
        part.unlink()
        raise DownloadError(f"{url}: what came is not the file, {mismatch}")


def _is_whole(remote: Remote, part: Path) -> bool:
    """Return whether what came before an error is the whole file; without a checksum nobody can tell."""
    return not remote.checksum.endswith(":") and part.is_file() and not remote.mismatch(part)


def _fetch(url: str, part: Path, name: str, visible: bool) -> None:
    """Append the missing bytes of the file at ``url`` to ``part``, or write it again if the server sends all of it."""
    done = part.stat().st_size if part.is_file() else 0
    # Without "identity" a server may compress the file, and positions would be those of the compressed file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with _request(url, headers) as answer:
        if answer.status_code == 416:  # no byte is missing, or the file is a wrong one: the checksum tells
            return
        answer.raise_for_status()
        kind = answer.headers.get("Content-Type", "")
        if kind.startswith("text/html") and not name.endswith((".html", ".htm")):
            raise DownloadError(f"{url}: a web page came instead of the file")  # what came before stays as it is
        done = done if answer.status_code == 206 else 0
        compressed = "Content-Encoding" in answer.headers  # against the request: the length is that of fewer bytes
        length = 0 if compressed else int(answer.headers.get("Content-Length", 0))
        speed = Speed(done)
        with (
            open(part, "ab" if done else "wb") as file,
            _bar(name, done, done + length if length else None, visible) as show,
        ):
            # read1 returns what is there: a server that sends a byte now and then must not hold us for hours.
            while chunk := answer.raw.read1(1 << 16, decode_content=True):
                file.write(chunk)
                done += len(chunk)
                show(done)
                if speed.is_too_low(done):
                    raise DownloadError(f"{url}: less than {size(SLOWEST)} a second over {PATIENCE} s")


class Speed:
    """The speed of a download over the last seconds.

    Args:
        begun: the number of bytes at the beginning.
    """

    def __init__(self, begun: int) -> None:
        self.marks = deque([(time.monotonic(), begun)])

    def since(self, done: int, seconds: float) -> tuple[float, int]:
        """Return the time and the bytes since the oldest mark of about the last ``seconds``.

        Args:
            done: the number of bytes so far.
            seconds: the time over which the speed is measured.
        """
        now = time.monotonic()
        if now - self.marks[-1][0] >= seconds / 20:
            self.marks.append((now, done))
        while len(self.marks) > 1 and now - self.marks[1][0] >= seconds:
            self.marks.popleft()
        then, before = self.marks[0]
        return now - then, done - before

    def is_too_low(self, done: int) -> bool:
        """Return whether less than ``SLOWEST`` came over the last ``PATIENCE`` seconds."""
        elapsed, count = self.since(done, PATIENCE)
        return elapsed >= PATIENCE and count < SLOWEST * elapsed


def _request(url: str, headers: dict[str, str]) -> requests.Response:
    """Return the answer of the server at ``url``, after redirects; only https addresses are asked.

    Raises:
        DownloadError: an address is not https, or there are more than ten redirects.
    """
    import requests

    for _ in range(10):
        if not url.startswith(SCHEMES):
            raise DownloadError(f"{url}: only https:// is downloaded from")
        answer = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False)
        if not answer.is_redirect:
            return answer
        answer.close()
        url = urljoin(url, answer.headers["Location"])
    raise DownloadError(f"{url}: too many redirects")


@contextmanager
def _bar(name: str, begun: int, total: int | None, visible: bool) -> Iterator[Callable[[int], None]]:
    """Draw a bar with the time left at the speed of the last seconds; yield a function of the bytes so far."""
    if not visible:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True)
    left_column = TextColumn("{task.fields[left]}", style="cyan")
    with Progress(*columns, left_column, console=Console(stderr=True)) as progress:
        task, speed = progress.add_task(name, total=total, completed=begun, left=""), Speed(begun)

        def show(done: int) -> None:
            left, (seconds, count) = "", speed.since(done, MEMORY)
            if total and count and seconds > 0.5:
                left = f"{duration(seconds / count * max(total - done, 0))} left"
            progress.update(task, completed=done, left=left)

        yield show


def _reason(error: BaseException) -> str:
    """Return the cause of an error in one line, without the names of the exceptions that requests and urllib3 wrap."""
    text = str(error)
    for cause in (
        "Connection refused",
        "Connection broken",
        "Name or service not known",
        "Temporary failure in name resolution",
        "timed out",
    ):
        if cause.lower() in text.lower():
            return cause.lower()
    return text if len(text) < 200 else type(error).__name__
