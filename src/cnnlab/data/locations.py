"""The search for a named data set on this machine, and its download when no folder has it.

Looked for in this order: the ``data_dir`` argument, the folders of ``$CNNLAB_DATA`` (separated as in ``$PATH``), the
folders where system packages put it, the user cache. Each of them may hold the files directly, in a folder named
after the data set, or in a customary sub-folder (``MNIST/raw``, ``cifar-10-batches-py``, ...).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cnnlab import downloads
from cnnlab.data.facts import data_sets
from cnnlab.downloads import Remote
from cnnlab.errors import DataError, DataNotFoundError
from cnnlab.files import cache_dir

Files = TypeVar("Files")


@dataclass(frozen=True)
class Search:
    """The search for the files of a named data set.

    Args:
        name: name of the data set.
        data_dir: folder that is searched first.
        progress: whether a bar is drawn on stderr while downloading; None draws it on a terminal only.
        download: whether a data set that is not on this machine is downloaded.
    """

    name: str
    data_dir: str | os.PathLike[str] | None = None
    progress: bool | None = None
    download: bool = True

    def folders(self, subfolders: Sequence[str] = (), system: Sequence[str] = ()) -> list[Path]:
        """Return the folders that are searched, in order; not all of them exist.

        Args:
            subfolders: customary sub-folders of its files.
            system: folders where system packages put it.

        Raises:
            DataError: ``data_dir`` is not None and is no folder.
        """
        roots = []
        if self.data_dir is not None:
            roots.append(Path(self.data_dir).expanduser())
            if not roots[0].is_dir():
                raise DataError(
                    f'The data folder "{self.data_dir}" is not there. Name an existing folder with --data-dir.'
                )
        roots += [Path(p).expanduser() for p in os.environ.get("CNNLAB_DATA", "").split(os.pathsep) if p]
        roots += [Path(p) for p in system]
        inner = ("", self.name, *subfolders, *(f"{self.name}/{sub}" for sub in subfolders))
        folders = [root / sub for root in roots for sub in inner]
        return list(dict.fromkeys([*folders, *(self._download_dir / sub for sub in ("", *subfolders))]))

    def files(
        self,
        files_in: Callable[[Path], Files | None],
        remotes: Sequence[Remote],
        subfolders: Sequence[str] = (),
        system: Sequence[str] = (),
    ) -> Files:
        """Find the files of the data set on this machine, else download them.

        Args:
            files_in: function that returns the files of the data set in a folder, or None.
            remotes: the official files.
            subfolders, system: see :meth:`folders`.

        Returns:
            The result of ``files_in`` for the first folder that has the data set.

        Raises:
            DataNotFoundError: it is nowhere and was not downloaded (offline, refused, wrong checksum).
            DataError: ``data_dir`` is no folder.
        """
        searched = self.folders(subfolders, system)
        for folder in searched:
            if folder.is_dir() and (files := files_in(folder)) is not None:
                return files
        target, reason = self._download_dir, "downloading was not asked for"
        if self.download:
            try:
                for remote in remotes:
                    downloads.download(remote, target, progress=self.progress)
            except downloads.DownloadError as error:
                reason = str(error)
            else:
                if (files := files_in(target)) is not None:
                    return files
        embedded = [entry.name for entry in data_sets if entry.facts.download_bytes == 0]
        raise DataNotFoundError(
            f'The data set "{self.name}" is not on this machine and could not be downloaded ({reason}).\n'
            f"Fetch {', '.join(remote.urls[0] for remote in remotes)}\n"
            f"and put {'it' if len(remotes) == 1 else 'them'} into {target}\n"
            "or into a folder that you name with --data-dir or in CNNLAB_DATA.\n"
            f"Looked in: {', '.join(map(str, searched))}.\n"
            f"Data sets that need no download: {', '.join(embedded)}."
        )

    @property
    def _download_dir(self) -> Path:
        return cache_dir() / "data" / self.name
