"""Sphinx: pages name modules, the text comes from docstrings.

Four comments in the pages are replaced when the docs are built, so that nothing has to be listed by hand::

    <!-- modules: cnnlab.zoo -->   every public module of a room
    <!-- data sets -->             the named data sets, with their facts
    <!-- commands -->              the command line, from its help texts
    <!-- recipe keys -->           the keys of a recipe, with defaults
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

import cnnlab

project = "cnnlab"
author = "The cnnlab authors"
copyright = author
release = version = cnnlab.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"cnnlab {version}"

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
python_maximum_signature_line_length = 100
myst_heading_anchors = 3


def modules_of(room: str) -> str:
    """An automodule directive for every public module of a room, under a heading."""
    package = importlib.import_module(room)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))
    blocks = []
    for name in names:
        blocks += [f"## `{room}.{name}`", "", "```{eval-rst}", f".. automodule:: {room}.{name}", "```", ""]
    return "\n".join(blocks)


def commands() -> str:
    """Every command with its usage, arguments and options, from the functions that implement them."""
    import click
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from cnnlab.cli import app

    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=click.Context(command), name="cnnlab")
    return text.partition("\n")[2]  # without its title: the page has one


def data_sets() -> str:
    """A table of the named data sets."""
    from cnnlab.data import data_sets as registry

    rows = [
        f"| `{entry.name}` | {entry.facts.title} | {entry.facts.classes} "
        f"| {entry.facts.channels} x {entry.facts.size[0]} x {entry.facts.size[1]} "
        f"| {' / '.join(f'{count:,}' for count in entry.facts.counts)} | [{entry.facts.citation}]({entry.facts.url}) |"
        for entry in registry
    ]
    head = ["| name | | classes | images | train / val / test | source |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def recipe_keys() -> str:
    """A table of the keys of a recipe."""
    from cnnlab.training import Recipe

    defaults = Recipe().values()
    rows = [
        f"| `{key}` | `{defaults[key]!r}` | {(field.description or '').replace('|', ' or ')} |"
        for key, field in Recipe.model_fields.items()
        if key in defaults
    ]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def fill(app: Any, page: str, source: list[str]) -> None:
    """Replace the comments named above."""
    text = re.sub(r"<!-- modules: (\S+) -->", lambda match: modules_of(match[1]), source[0])
    for comment, content in (("data sets", data_sets), ("commands", commands), ("recipe keys", recipe_keys)):
        if f"<!-- {comment} -->" in text:
            text = text.replace(f"<!-- {comment} -->", content())
    source[0] = text


def setup(app: Any) -> None:
    app.connect("source-read", fill)
