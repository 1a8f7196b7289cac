"""``cnnlab recipes``: the recipes that ship with cnnlab, and the keys that a recipe may have."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnlab.cli._options import Json
from cnnlab.cli._output import print_json, print_table
from cnnlab.console import table


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe as YAML.")] = None,
    keys: Annotated[bool, typer.Option("--keys", help="List every key with its default.")] = False,
    as_json: Json = False,
) -> None:
    """List the recipes that ship with cnnlab, show one, or list the keys a recipe may have."""
    from cnnlab.training import Recipe, list_recipes, load_recipe

    if name:
        recipe = load_recipe(name)
        if as_json:
            print_json(recipe.values())
        else:
            typer.echo(recipe.to_yaml(full=False), nl=False)
        return
    rows: list[tuple[object, ...]]
    titles: tuple[str, ...]
    if keys:
        rows = [*Recipe.describe_keys()]
        titles = ("key", "default", "meaning")
    else:
        shipped = [load_recipe(each) for each in list_recipes()]
        rows = []
        for r in shipped:
            measured = "-"
            if r.measured:
                m = r.measured[0]
                spread = f" ± {m.std:.2f}" if m.std is not None else ""
                measured = f"{m.accuracy:.2f}{spread} % (n={m.n})"
            rows.append((r.name, r.model, r.data, r.epochs, measured, r.about))
        titles = ("recipe", "model", "data", "epochs", "measured", "about")
    if as_json:
        print_json([dict(zip(titles, row, strict=True)) for row in rows])
        return
    print_table(table(titles, rows))
