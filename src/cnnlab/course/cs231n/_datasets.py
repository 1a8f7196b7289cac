"""Where the course's data sets lie: ``cs231n/datasets``, as the notebooks say."""

from __future__ import annotations

import sys
from pathlib import Path

from cnnlab.data.named_sets import data_folders
from cnnlab.errors import DataNotFoundError

DATASETS = Path("cs231n") / "datasets"


def find_dataset(path: Path | None, name: str, advice: str) -> Path:
    """Return the file or folder of a data set of the course.

    Searched are ``path``, ``cs231n/datasets`` of the current folder and beside the package ``cs231n`` that is imported,
    and the folders of ``$CNNLAB_DATA``.

    Args:
        path: path that the notebook names, or None.
        name: name of the file or folder in ``datasets``.
        advice: sentence that says where the data come from.

    Raises:
        DataNotFoundError: it is in none of these places.
    """
    candidates = [] if path is None else [Path(path)]
    candidates.append(DATASETS / name)
    linked = getattr(sys.modules.get("cs231n"), "__file__", None)
    if linked is not None:
        candidates.append(Path(linked).parent / "datasets" / name)
    candidates += [Path(folder).expanduser() / name for folder in data_folders(None)]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = ", ".join(map(str, dict.fromkeys(candidates)))
    raise DataNotFoundError(f"There is no {name}. {advice} Looked for: {looked}; seen from {Path.cwd()}.")
