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
    Console().print(_table(names))


def _table(names: list[str]) -> Table:
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
    *titles, last = ("name", "year", "parameters", "usual input", "classes", "min. size", "paper")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, *cells in zip(titles, *rows, strict=False):
        justify = "left" if title in ("name", "usual input") else "right"
        table.add_column(title, justify=justify, min_width=max(len(cell) for cell in (title, *cells)))
    # A line per network: the paper is cut off where the terminal ends, and --json has it in full.
    table.add_column(last, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    return table


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(models)
