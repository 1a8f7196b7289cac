"""Sphinx: pages name modules, the text comes from docstrings.

Six comments in the pages are replaced when the docs are built, so that nothing has to be listed by hand::

    <!-- modules: cnnlab.zoo -->   every public module of a room; "without what they hand on": its own names only
    <!-- data sets -->             the named data sets, with their facts
    <!-- commands -->              the command line, from its help texts
    <!-- recipe keys -->           the keys of a recipe, with defaults
    <!-- checks of trainings -->   what `cnnlab why` looks at, in its order
    <!-- exercises -->             the exercises of `cnnlab learn` with the functions that solve them

The pages of the lessons are made from ``lessons/`` by sphinx-gallery. Nothing is run for them: their pictures and
numbers are those that ``benchmarks/lessons.py`` measured at full scale, and ``benchmarks/museum.py`` for the museum.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from pathlib import Path
from typing import Any

import cnnlab

project = "cnnlab"
author = "The cnnlab authors"
copyright = author
release = version = cnnlab.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "images/lessons/**", "images/museum/**"]
html_theme = "furo"
html_title = f"cnnlab {version}"

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
napoleon_custom_sections = [("Options", "params_style")]  # the keyword-only arguments of a network
python_maximum_signature_line_length = 100
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../lessons",
    "gallery_dirs": "lessons",
    "plot_gallery": False,
    "ignore_pattern": r"(common|exhibit|notebook)\.py$",
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "first_notebook_cell": (
        '# Options of the lesson, as on the command line: "--quick" is a small scale that takes seconds.\n'
        "# The notebook belongs into the folder lessons of the repository, beside common.py.\n"
        'import os\n\nos.environ["CNNLAB_LESSON_OPTIONS"] = ""'
    ),
    "min_reported_time": 10**6,  # no running times: nothing is run
}
# A class that a room offers under its own name and its file's is found under either.
suppress_warnings = ["config.cache", "ref.python"]


def modules_of(room: str, own_names: bool) -> str:
    """Return an automodule directive for every public module of a room and of the rooms in it, under a heading.

    Args:
        room: dotted name of the package.
        own_names: whether a module is described without the names that it hands on from other rooms.
    """
    package = importlib.import_module(room)
    modules = pkgutil.walk_packages(package.__path__, f"{room}.")
    names = sorted(module.name for module in modules if "._" not in module.name)
    options = ["   :ignore-module-all:"] if own_names else []
    blocks = []
    for name in names:
        blocks += [f"## `{name}`", "", "```{eval-rst}", f".. automodule:: {name}", *options, "```", ""]
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

    rows = [
        f"| `{key}` | {f'`{default}`' if default else ''} | {meaning.replace('|', ' or ')} |"
        for key, default, meaning in Recipe.describe_keys()
    ]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def checks_of_trainings() -> str:
    """A list of what the doctor for trainings looks at, causes before symptoms."""
    from cnnlab.why.check import checks

    return "\n".join(f"- {entry.facts.title}" for entry in sorted(checks, key=lambda entry: entry.facts.place))


def exercises() -> str:
    """A table of the exercises, by chapter, with the functions of the package that they are cut from."""
    from cnnlab.learn import list_exercises

    rows, chapter = [], ""
    for exercise in list_exercises():
        title = "" if exercise.chapter == chapter else exercise.chapter
        chapter = exercise.chapter
        rows.append(f"| {title} | `{exercise.name}` | {exercise.title} | `{exercise.path.replace(':', '.')}` |")
    return "\n".join(["| chapter | exercise | | solution |", "|---|---|---|---|", *rows])


def lesson_results(name: str) -> str:
    """What a lesson gave at full scale, as reStructuredText: its numbers in a table and its pictures with captions."""
    file = Path(__file__).parents[1] / "results" / "lessons.json"
    lessons = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    lesson = next((lesson for lesson in lessons if lesson["lesson"] == name), None)
    if lesson is None:
        return ""
    text = ["What comes out", "--------------", ""]
    text += [f"At full scale, {lesson['seconds']:.0f} seconds on {lesson['machine']}; n = {lesson['n']}.", ""]
    text += [".. list-table::", "   :header-rows: 1", "", "   * - number", "     - reached", "     - goal"]
    for number in lesson["numbers"]:
        spread = "" if number["std"] is None else f" ± {number['std']:.2g}"
        sign = "≤" if number["below"] else "≥"
        goal = "" if number["goal"] is None else f"{sign} {number['goal']:.4g}"
        text += [f"   * - {number['name']}", f"     - {number['mean']:.4g}{spread}", f"     - {goal}"]
    for figure in lesson["figures"]:
        text += ["", f".. figure:: /images/lessons/{name}/{figure['file']}", "", f"   {figure['caption']}"]
    return "\n".join([*text, "", ""])


def museum_results(name: str) -> str:
    """What a script of the museum gave with and without its bug, as reStructuredText."""
    file = Path(__file__).parents[1] / "results" / "museum.json"
    rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    row = next((row for row in rows if row["script"] == name), None)
    if row is None:
        return ""
    with_bug, fixed, reported = (sum(row[key]) / row["n"] for key in ("with_bug", "fixed", "with_bug_reported"))
    believed = "" if reported == with_bug else f" (the script believes in {reported:.1%})"
    caption = f"Held-out accuracy {with_bug:.1%} with the bug{believed}, {fixed:.1%} without; n = {row['n']}."
    return "\n".join(
        ["What comes out", "--------------", "", f".. figure:: /images/museum/{name}.png", "", f"   {caption}", "", ""]
    )


def fill_lesson(app: Any, page: str, source: list[str]) -> None:
    """Put what a lesson gave before the links to its files."""
    folder, _, name = page.rpartition("/")
    results = {"lessons": lesson_results, "lessons/museum": museum_results}.get(folder)
    if results is not None:
        end = ".. _sphx_glr_download"
        source[0] = source[0].replace(end, f"{results(name)}\n{end}", 1)


CONTENTS = {
    "data sets": data_sets,
    "commands": commands,
    "recipe keys": recipe_keys,
    "checks of trainings": checks_of_trainings,
    "exercises": exercises,
}


def fill(app: Any, page: str, source: list[str]) -> None:
    """Replace the comments named above."""
    modules = r"<!-- modules: (\S+)( without what they hand on)? -->"
    text = re.sub(modules, lambda match: modules_of(match[1], bool(match[2])), source[0])
    for comment, content in CONTENTS.items():
        if f"<!-- {comment} -->" in text:
            text = text.replace(f"<!-- {comment} -->", content())
    source[0] = text


def setup(app: Any) -> None:
    app.connect("source-read", fill)
    app.connect("source-read", fill_lesson)
