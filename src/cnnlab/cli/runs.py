"""``cnnlab runs``: the runs in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cnnlab.cli._options import Json
from cnnlab.cli._output import print_json, print_table
from cnnlab.console import duration, percent, table
from cnnlab.errors import CnnlabError


def runs(folder: Annotated[Path, typer.Argument(help="Folder of runs.")] = Path("runs"), as_json: Json = False) -> None:
    """List the runs in a folder, oldest first."""
    from cnnlab.runs import list_runs

    rows = [_run_row(run) for run in list_runs(folder)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo(f"There is no run in {folder}. `cnnlab train` makes one.", err=True)
        return
    titles = ("run", "model", "data", ">accuracy", "split", ">epochs", ">time", "status")
    lines = [
        (
            *(row["run"], row["model"], row["data"], percent(row["accuracy"], 2), row["split"] or "–"),
            *(f"{row['epochs_done'] or 0}/{row['epochs']}", duration(row["seconds"]), row["status"]),
        )
        for row in rows
    ]
    print_table(table(titles, lines))


def _run_row(run: Any) -> dict[str, Any]:
    """Return the row of a run in the list; one whose files are damaged is listed as such, not hidden and not fatal."""
    row: dict[str, Any] = {"run": str(run.path), "started": run.env.get("started")}
    try:
        summary, recipe = run.summary, run.recipe
        row |= {"model": recipe.model, "data": recipe.data, "status": run.status, "epochs": recipe.total_epochs}
    except CnnlabError as error:
        summary = {}
        row |= {"model": "?", "data": "?", "status": f"damaged: {error}", "epochs": None}
    return row | {key: summary.get(key) for key in ("split", "n", "accuracy", "loss", "epochs_done", "seconds")}
