"""``cnnlab doctor``: find faults in data."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cnnlab.cli._findings import print_finding
from cnnlab.cli._options import DataDir, DataName, FileColumn, Json, LabelColumn, Layout, reading_of
from cnnlab.cli._output import print_json


def doctor(
    data: DataName,
    tiny: Annotated[int, typer.Option(min=1, help="Report pictures with a shorter side than this, in pixels.")] = 32,
    data_dir: DataDir = None,
    layout: Layout = None,
    label_column: LabelColumn = None,
    file_column: FileColumn = None,
    as_json: Json = False,
) -> None:
    """Examine data for what hurts training: broken files, copies across splits, missing classes, and the like.

    Exit code 1 when something would hurt training.
    """
    from rich.console import Console
    from rich.text import Text

    from cnnlab.data.doctor import examine

    reading = reading_of(layout, label_column, file_column)
    progress = sys.stderr.isatty() and not as_json
    diagnosis = examine(data, data_dir=data_dir, tiny=tiny, progress=progress, **reading)
    if as_json:
        print_json(diagnosis.to_dict())
        raise typer.Exit(int(diagnosis.harmful))
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(f"{diagnosis.name}: {diagnosis.images} images examined", style="bold"))
    for note in diagnosis.notes:
        console.print(Text(f"  {note}"))
    for finding in diagnosis.findings:
        lines = [" = ".join(group) for group in finding.groups] or list(finding.files)
        if len(lines) > 6:
            lines[5:] = [f"... and {len(lines) - 5} more (--json lists them all)"]
        print_finding(console, finding, lines)
    console.print()
    errors = sum(finding.severity == "error" for finding in diagnosis.findings)
    if errors:
        console.print(Text(f"{errors} of these would hurt training.", style="bold red"))
    else:
        console.print(Text("Nothing here would hurt training.", style="bold green"))
    raise typer.Exit(int(diagnosis.harmful))
