"""``cnnlab course``: the notebooks of Stanford's CS231n, run with cnnlab."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli._options import Json
from cnnlab.cli._output import print_result


class _Action(StrEnum):
    link = "link"


def course(
    action: Annotated[_Action, typer.Argument(help="link: write a package cs231n that imports cnnlab into FOLDER.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the course's notebooks.")],
    force: Annotated[bool, typer.Option("--force", help="Move a package cs231n of your own aside.")] = False,
    as_json: Json = False,
) -> None:
    """Let the notebooks of CS231n, assignments 1 to 3, run with cnnlab behind `import cs231n`.

    Example: `cnnlab course link assignment1`
    """
    from cnnlab.course.link import link_course

    assert action is _Action.link
    link = link_course(folder, force=force)
    values = {
        "package": str(link.package), "files": list(link.files),
        "moved": None if link.moved is None else str(link.moved),
        "moved_files": [str(path) for path in link.moved_files],
    }  # fmt: skip
    lines = [
        f"{link.package}: {len(link.files)} files; a module without a counterpart in cnnlab says so when it is imported"
    ]
    if link.moved is not None:
        lines.append(f"your own package is in {link.moved}")
    lines += [f"a file of your own was in the way, and is now {path}" for path in link.moved_files]
    print_result(as_json, values, [*lines, f"notebooks in {folder} now import cnnlab: `from cs231n.layers import *`"])
