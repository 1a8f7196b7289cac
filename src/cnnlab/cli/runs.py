"""``cnnlab runs``: the runs in a folder."""

from __future__ import annotations

import contextlib
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
    from cnnlab.runs.training_folder import CLASSIFIER, kind_of_run, run_folders

    rows = [_run_row(run) for run in list_runs(folder)]
    for path in run_folders(folder):
        with contextlib.suppress(CnnlabError):  # an env.json that this version cannot read: left out, as list_runs does
            if (kind := kind_of_run(path)) != CLASSIFIER:
                rows.append(_other_row(path, kind))
    rows.sort(key=lambda row: row["started"] or "")
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


def _other_row(path: Path, kind: str) -> dict[str, Any]:
    """Return the row of a run that is not one of a classifier: it has no accuracy."""
    from cnnlab.training.checkpoint import read_json
    from cnnlab.training.yaml_text import parse_yaml

    row: dict[str, Any] = {"run": str(path), "started": read_json(path / "env.json").get("started")}
    try:
        summary = read_json(path / "summary.json")
        recipe = parse_yaml((path / "recipe.yaml").read_text(encoding="utf-8"), "recipe.yaml")
        row |= {"model": f"{recipe['name'] or kind} ({kind})", "data": recipe["data"], "status": summary["status"]}
        row |= {"epochs": recipe["epochs"]}
    except (CnnlabError, OSError, KeyError, TypeError) as error:
        summary = {}
        row |= {"model": f"? ({kind})", "data": "?", "status": f"damaged: {error}", "epochs": None}
    return row | {key: summary.get(key) for key in ("split", "n", "accuracy", "loss", "epochs_done", "seconds")}
