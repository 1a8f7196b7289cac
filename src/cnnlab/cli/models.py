"""``cnnlab models``: the networks there are, with their facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table


def models(
    pattern: Annotated[str, typer.Argument(help='Only names like this; quote wildcards: "res*".')] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")] = False,
) -> None:
    """List the networks: year, parameters, smallest image, reported error, paper."""
    import dataclasses
    import json

    from rich.console import Console

    from cnnlab import zoo
    from cnnlab.errors import UnknownNameError

    names = zoo.list_models(pattern)
    if not names:
        raise UnknownNameError("model matching", pattern, zoo.list_models(), "`cnnlab models` lists them all.")
    if as_json:
        rows = [
            {
                "name": name,
                **dataclasses.asdict(zoo.models.get(name).facts),
                "summary": zoo.models.get(name).summary,
                "options": zoo.model_options(name),
            }
            for name in names
        ]
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    console = Console()
    console.print(_table(names, console.width))


def _table(names: list[str], width: int) -> Table:
    from rich.table import Table

    from cnnlab import zoo

    rows = []
    for name in names:
        facts = zoo.models.get(name).facts
        rows.append(
            (
                name,
                str(facts.year),
                f"{facts.parameters:,}",
                f"{facts.in_channels}x{facts.image_size}x{facts.image_size}",
                str(facts.num_classes),
                str(facts.min_size),
                facts.paper + (f" ({facts.reported})" if facts.reported else ""),
            )
        )
    titles = ("name", "year", "parameters", "usual input", "classes", "min. size", "paper")
    columns = list(zip(titles, *rows, strict=True))
    # A line per network: the paper is cut off where the terminal ends, and --json has it in full.
    left = max(10, width - sum(max(map(len, cells)) + 2 for cells in columns[:-1]))
    table = Table(*titles, box=None, header_style="bold", pad_edge=False)
    for column in table.columns[2:6]:
        column.justify = "right"
    for *facts_cells, paper in rows:
        table.add_row(*facts_cells, paper if len(paper) <= left else paper[: left - 1] + "…")
    return table


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(models)
