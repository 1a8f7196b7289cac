"""Files on disk: written in one step or not at all, the cache folder of this user, JSON.

Nothing here imports torch; it serves the lowest rooms too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cnnlab.errors import RunError


def cache_dir() -> Path:
    """Return the folder of downloads, decoded arrays and measurements: ``$CNNLAB_CACHE``, else this user's."""
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
        RunError: the disk is full or the folder cannot be written; raised for any OSError inside the block.
    """
    # Processes that write the same file at once must not write into each other's temporary file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(
            f"Could not write {path}: {error.strerror or error}. What was saved there before is intact. "
            "Free some space or choose another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` in one step.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
