"""``cnnlab models``: the networks there are, with their facts."""

from __future__ import annotations

from typing import Annotated

import typer


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


def _table(names: list[str]) -> object:
    from rich.table import Table

    from cnnlab import zoo

    table = Table(title=f"{len(names)} networks", caption="Parameters are counted at the usual input and classes.")
    table.add_column("name", no_wrap=True, style="bold")
    table.add_column("year", justify="right")
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("usual input", no_wrap=True)
    table.add_column("classes", justify="right")
    table.add_column("min. size", justify="right")
    table.add_column("reported")
    table.add_column("paper")
    for name in names:
        facts = zoo.models.get(name).facts
        table.add_row(
            name,
            str(facts.year),
            f"{facts.parameters:,}",
            f"{facts.in_channels} x {facts.image_size} x {facts.image_size}",
            str(facts.num_classes),
            str(facts.min_size),
            facts.reported,
            facts.paper,
        )
    return table


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(models)
