"""Files on disk: written in one step or not at all, the cache folder of this user, kinds of files, JSON, CSV.

Nothing here imports torch; it serves the lowest rooms too.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cnnlab.errors import RunError


def cache_dir() -> Path:
    """Return the folder of downloads, decoded arrays and measurements: ``$CNNLAB_CACHE``, else the user's."""
    if folder := os.environ.get("CNNLAB_CACHE"):
        return Path(folder).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("cnnlab"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends without an error, that file takes the place of ``path``.

    The file is flushed to the disk before it is renamed. After an error, or when the process is killed, ``path`` holds
    what it held before. The folder of ``path`` must exist.

    Raises:
        RunError: ``path`` is a folder, the disk is full or the folder cannot be written; raised for any
            OSError inside the block.
    """
    # Processes that write the same file at once must not write into each other's temporary file.
    if path.is_dir():
        raise RunError(f"Could not write {path}: it is a folder. Add the name of a file, as in {path / 'FILE'}.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if not path.parent.is_dir():
            raise RunError(
                f"Could not write {path}: there is no folder {path.parent}. Make it, or name another."
            ) from error
        raise RunError(
            f"Could not write {path}: {error.strerror or error}. What was saved there before is intact. "
            "Free some space or choose another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` in one step; what UTF-8 cannot hold, as some names of files, as escapes.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def free_path(path: Path) -> Path:
    """Return the first of ``path``, ``path-2``, ``path-3``, ... that does not exist."""
    free, number = path, 2
    while os.path.lexists(free):
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


# First bytes of a file -> name of its kind. Longer beginnings come first; see https://en.wikipedia.org/wiki/File_signature.
_BEGINNINGS = (
    (b"version https://git-lfs", "a pointer of Git LFS, without the file itself (run `git lfs pull`)"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"BM", "a BMP image"),
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF document"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
)
# Bytes 8 to 12 of a file in the ISO base media format (ISO 14496-12), which stand after "ftyp".
_MEDIA_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "a HEIC photo"),
    **dict.fromkeys((b"avif", b"avis"), "an AVIF image"),
}


def kind_of_file(path: Path) -> str:
    """Say what a file is by its first bytes, as a noun with its article; ``""`` when they tell nothing.

    Args:
        path: file to examine. Its name is not considered.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(1024)
    if not head:
        return "an empty file (0 bytes)"
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[4:8] == b"ftyp":
        return _MEDIA_BRANDS.get(head[8:12], "a video")
    if head[:4] == b"RIFF":
        return "a WebP image" if head[8:12] == b"WEBP" else "a sound or video"
    if not any(head):
        return "a file of zero bytes only, as an interrupted copy leaves it"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        return "an HTML page, as a failed download leaves it"
    if start.startswith((b"<?xml", b"<svg")):
        return "an SVG drawing" if b"<svg" in start else "an XML document"
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "a JSON text"
    return "a text file" if _is_text(head) else ""


def _is_text(head: bytes) -> bool:
    """Return whether the beginning of a file is text in UTF-8; a character cut off at its end does not count."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f" for character in text)


def read_cached_json(name: str) -> Any:
    """Return the value of the JSON file ``name`` in the cache folder; None when it is missing or damaged."""
    try:
        return json.loads((cache_dir() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_cached_json(name: str, value: Any) -> bool:
    """Write ``value`` to the JSON file ``name`` in the cache folder; return whether that was possible."""
    path = cache_dir() / name
    with suppress(OSError, RunError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(value, indent=1))
        return True
    return False


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table as CSV, in which no text is run as a formula by a spreadsheet (:func:`escape_formula`)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([escape_formula(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return text.getvalue()


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table that :func:`csv_text` wrote, column -> cell, without the apostrophes it added."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: unescape_formula(cell or "") for name, cell in row.items()} for row in csv.DictReader(file)]


def escape_formula(cell: str) -> str:
    """Return a cell with an apostrophe before it where a spreadsheet would take it for a formula; numbers stay.

    Source: OWASP, CSV injection. https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if _is_formula(cell) else cell


def unescape_formula(cell: str) -> str:
    """Return a cell as it was before :func:`escape_formula`."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    # Apostrophes before a formula count as part of it: such a cell gets one more, which can be taken away again.
    return re.match(r"'*[=+\-@\t\r]", cell) is not None and re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell) is None


def finite_values(value: Any) -> Any:
    """Return ``value`` with ``None`` for numbers that are not finite, which JSON cannot hold, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite_values(inner) for key, inner in value.items()}
    return [finite_values(inner) for inner in value] if isinstance(value, list | tuple) else value
