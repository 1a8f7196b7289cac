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

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("year", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("usual input", no_wrap=True)
    table.add_column("classes", justify="right", no_wrap=True)
    table.add_column("min. size", justify="right", no_wrap=True)
    # Cut off where the terminal ends rather than wrapped: a line per network; --json has it in full.
    table.add_column("paper", ratio=1, no_wrap=True, overflow="ellipsis")
    for name in names:
        facts = zoo.models.get(name).facts
        table.add_row(
            name,
            str(facts.year),
            f"{facts.parameters:,}",
            f"{facts.in_channels}x{facts.image_size}x{facts.image_size}",
            str(facts.num_classes),
            str(facts.min_size),
            facts.paper + (f" ({facts.reported})" if facts.reported else ""),
        )
    return table


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(models)
