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
            subfolders: customary sub-folders of the files.
            system: folders where system packages put the data set.

        Returns:
            The result of ``files_in`` for the first folder that has the data set.

        Raises:
            DataNotFoundError: it is nowhere and was not downloaded (offline, refused, wrong checksum).
            DataError: ``data_dir`` is no folder.
        """
        if self.data_dir is not None and not Path(self.data_dir).expanduser().is_dir():
            raise DataError(f'The data folder "{self.data_dir}" is not there. Name an existing folder with --data-dir.')
        own = [] if self.data_dir is None else [os.fspath(self.data_dir)]
        environment = [path for path in os.environ.get("CNNLAB_DATA", "").split(os.pathsep) if path]
        inner = ("", self.name, *subfolders, *(f"{self.name}/{sub}" for sub in subfolders))
        target = cache_dir() / "data" / self.name
        folders = [Path(root).expanduser() / sub for root in (*own, *environment, *system) for sub in inner]
        folders = list(dict.fromkeys([*folders, *(target / sub for sub in ("", *subfolders))]))
        for folder in folders:
            if folder.is_dir() and (files := files_in(folder)) is not None:
                return files
        reason = "downloading was not asked for"
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
            f"Looked in: {', '.join(map(str, folders))}.\n"
            f"Data sets that need no download: {', '.join(embedded)}."
        )
