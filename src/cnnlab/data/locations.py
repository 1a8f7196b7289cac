"""The search for a named data set on this machine, and its download when no folder has it.

Looked for in this order: the ``data_dir`` argument, the folders of ``$CNNLAB_DATA`` (separated as in ``$PATH``), the
folders where system packages put it, the user cache. Each of them may hold the files directly, in a folder named
after the data set, or in a customary sub-folder (``MNIST/raw``, ``cifar-10-batches-py``, ...).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cnnlab import downloads
from cnnlab.data.facts import data_sets
from cnnlab.downloads import Remote
from cnnlab.errors import DataError, DataNotFoundError
from cnnlab.files import cache_dir

Found = TypeVar("Found")


def download_dir(name: str) -> Path:
    """Return the folder that the data set ``name`` is downloaded to."""
    return cache_dir() / "data" / name


def searched_folders(
    name: str, data_dir: Path | str | None = None, subfolders: Sequence[str] = (), system: Sequence[str] = ()
) -> list[Path]:
    """Return the folders in which the data set ``name`` is looked for, in order; not all of them exist.

    Raises:
        DataError: ``data_dir`` is given and is no folder.
    """
    roots = []
    if data_dir is not None:
        root = Path(data_dir).expanduser()
        if not root.is_dir():
            raise DataError(f'The data folder "{data_dir}" is not there. Name an existing folder with --data-dir.')
        roots.append(root)
    roots += [Path(p).expanduser() for p in os.environ.get("CNNLAB_DATA", "").split(os.pathsep) if p]
    roots += [Path(p) for p in system]
    folders = [root / sub for root in roots for sub in ("", name, *subfolders, *(f"{name}/{s}" for s in subfolders))]
    folders += [download_dir(name) / sub for sub in ("", *subfolders)]
    return list(dict.fromkeys(folders))


def locate(
    name: str,
    holds: Callable[[Path], Found | None],
    remotes: Sequence[Remote],
    *,
    data_dir: Path | str | None = None,
    subfolders: Sequence[str] = (),
    system: Sequence[str] = (),
    progress: bool | None = None,
    download: bool = True,
) -> Found:
    """Find the data set ``name`` on this machine, else download it.

    Args:
        name: the data set.
        holds: function that returns the files of the data set in a folder, or None.
        remotes: the official files.
        data_dir, subfolders, system: see :func:`searched_folders`.
        progress: whether a bar is drawn on stderr while downloading; None draws it on a terminal only.
        download: whether the data set is downloaded when it is not on this machine.

    Returns:
        The result of ``holds`` for the first folder that has the data set.

    Raises:
        DataNotFoundError: it is nowhere and was not downloaded (offline, refused, wrong checksum).
        DataError: ``data_dir`` is no folder.
    """
    searched = searched_folders(name, data_dir, subfolders, system)
    for folder in searched:
        if folder.is_dir() and (files := holds(folder)) is not None:
            return files
    target = download_dir(name)
    if download:
        try:
            for remote in remotes:
                downloads.download(remote, target, progress=progress)
        except downloads.DownloadError as error:
            raise DataNotFoundError(_not_found(name, remotes, target, searched, str(error))) from error
        if (files := holds(target)) is not None:
            return files
    raise DataNotFoundError(_not_found(name, remotes, target, searched, "downloading was not asked for"))


def _not_found(name: str, remotes: Sequence[Remote], target: Path, searched: Sequence[Path], reason: str) -> str:
    embedded = [entry.name for entry in data_sets if entry.facts.download_bytes == 0]
    lines = [
        f'The data set "{name}" is not on this machine and could not be downloaded ({reason}).',
        f"Fetch {', '.join(remote.urls[0] for remote in remotes)}",
        f"and put {'it' if len(remotes) == 1 else 'them'} into {target}",
        "or into a folder that you name with --data-dir or in CNNLAB_DATA.",
        "Looked in: " + ", ".join(str(folder) for folder in searched) + ".",
        f"Data sets that need no download: {', '.join(embedded)}.",
    ]
    return "\n".join(lines)
