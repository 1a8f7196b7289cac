"""The output of commands: tables for people, JSON for programs, CSV files on request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cnnlab.errors import RunError
from cnnlab.files import csv_text, finite_values

if TYPE_CHECKING:
    from rich.table import Table

    from cnnlab.training.settings import Settings


def print_table(table: Table) -> None:
    """Print a table; into a file or a pipe nothing is wrapped or cut: one row is one line."""
    from rich.console import Console

    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console = Console(width=Console(width=100_000).measure(table).maximum)
    console.print(table)


def print_json(value: Any) -> None:
    """Print ``value`` as indented JSON; numbers that are not finite become null."""
    typer.echo(json.dumps(finite_values(value), indent=2, ensure_ascii=False, allow_nan=False))


def write_csv(path: Path, titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file with a line of titles and say on stderr where it is.

    Raises:
        RunError: the file cannot be written.
    """
    try:
        path.write_text(csv_text(titles, rows), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}. Choose another file with --csv.") from None
    typer.echo(f"table: {path}", err=True)


def print_result(as_json: bool, values: dict[str, Any], lines: list[str]) -> None:
    """Print a result: ``values`` as JSON or ``lines`` for people."""
    if as_json:
        print_json(values)
    else:
        typer.echo("\n".join(lines))


def list_keys(recipe: type[Settings], as_json: bool) -> None:
    """Print every key of a kind of recipe with its default and its meaning."""
    from cnnlab.console import table

    titles = ("key", "default", "meaning")
    rows = recipe.describe_keys()
    if as_json:
        print_json([dict(zip(titles, row, strict=True)) for row in rows])
        return
    print_table(table(titles, rows))
