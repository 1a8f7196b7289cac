"""``cnnlab why``: find out why a training does not learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli._findings import print_finding
from cnnlab.cli._options import DataDir, Json, MovedData
from cnnlab.cli._output import print_json


def why(
    target: Annotated[
        str,
        typer.Argument(metavar="RUN|RECIPE|SCRIPT.py:make_model", help="Run folder, recipe, or function in a script."),
    ],
    data: MovedData = None,
    data_dir: DataDir = None,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds after which a script is stopped.")] = 90.0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page (HTML, one file) about it.")] = None,
    as_json: Json = False,
) -> None:
    """Find out why a training does not learn: softmax before the loss, frozen layers, a wrong rate, and the like.

    The finding to mend first stands first. Exit code 1 when something keeps the network from learning.

    Examples: `cnnlab why train.py:make_model` · `cnnlab why lenet5-mnist5k` · `cnnlab why runs/lenet5-mnist5k-1`
    """
    from rich.console import Console
    from rich.text import Text

    from cnnlab.why import examine
    from cnnlab.why.text_plots import text_of

    folder, moved = (None if one is None else str(one) for one in (data_dir, data))
    diagnosis = examine(target, data_dir=folder, data=moved, time_limit=time_limit)
    if out is not None:
        from cnnlab.why import write_page  # matplotlib takes half a second to load

        typer.echo(f"page: {write_page(diagnosis, out)}", err=True)
    if as_json:
        print_json(diagnosis.to_dict())
        raise typer.Exit(int(diagnosis.harmful))
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(f"{diagnosis.name}: examined in {diagnosis.seconds:.0f} s", style="bold"))
    for line in diagnosis.about:
        console.print(Text(f"  {line}"))
    for finding in diagnosis.findings:
        plot = [] if finding.plot is None or finding.severity == "note" else text_of(finding.plot)
        print_finding(console, finding, [*filter(None, [finding.meaning]), *plot], finding.code)
    console.print()
    errors = sum(finding.severity == "error" for finding in diagnosis.findings)
    if errors:
        first = diagnosis.findings[0].kind
        console.print(Text(f"Mend the first finding first ({first}), then run this again.", style="bold red"))
    else:
        console.print(Text("Nothing here keeps the network from learning.", style="bold green"))
    raise typer.Exit(int(diagnosis.harmful))
