"""``cnnlab learn``: exercises that tell you your mistake."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli._options import Json, figure_option
from cnnlab.cli._output import print_json

if TYPE_CHECKING:
    from cnnlab.learn.exercise import Exercise
    from cnnlab.learn.verdict import Verdict

learn = typer.Typer(help="Exercises cut from this package: write a function and be told your mistake.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of an exercise, as `cnnlab learn` lists it.")]
_Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="File to write; NAME.py here by default.")]
_Watch = Annotated[
    bool | None, typer.Option("--watch/--no-watch", help="Check on each save; by default on a terminal.")
]
_Figure = Annotated[Path | None, figure_option("expected value, actual value and difference")]


@learn.callback(invoke_without_command=True)
def list_exercises(context: typer.Context, as_json: Json = False) -> None:
    """List the exercises by chapter, with what is done.

    Example: `cnnlab learn start affine_forward`
    """
    if context.invoked_subcommand is not None:
        return
    from cnnlab.learn import list_exercises
    from cnnlab.learn.progress import Progress, load_progress

    progress = load_progress()
    rows = []
    for exercise in list_exercises():
        entry = progress.get(exercise.name, Progress())
        status = "done" if entry.passed else "started" if entry.attempts or entry.file else ""
        values = {"chapter": exercise.chapter, "exercise": exercise.name, "title": exercise.title, "status": status}
        rows.append({**values, "attempts": entry.attempts, "torch": exercise.uses_torch})
    if as_json:
        print_json(rows)
        return
    width = max(len(row["exercise"]) for row in rows)
    for chapter, exercises in itertools.groupby(rows, key=lambda row: row["chapter"]):
        typer.secho(f"\n{chapter}", bold=True)
        for row in exercises:
            mark = {"done": "✓", "started": "…"}.get(row["status"], " ")
            typer.echo(f"  {mark} {row['exercise']:{width}}  {row['title']}")
    done, started = (sum(row["status"] == status for row in rows) for status in ("done", "started"))
    typer.echo(f"\n{done} of {len(rows)} done (✓), {started} started (…). `cnnlab learn next` starts the next one.")


@learn.command()
def start(name: _Name, out: _Out = None, watch: _Watch = None) -> None:
    """Write the file of an exercise, and check it each time you save it.

    Example: `cnnlab learn start affine_backward`
    """
    from cnnlab.learn import get_exercise

    _start(get_exercise(name), out, watch)


@learn.command("next")
def next_exercise(out: _Out = None, watch: _Watch = None) -> None:
    """Start the next exercise that is not done."""
    from cnnlab.learn import list_exercises
    from cnnlab.learn.progress import Progress, load_progress

    progress = load_progress()
    left = [exercise for exercise in list_exercises() if not progress.get(exercise.name, Progress()).passed]
    if not left:
        typer.echo("All exercises are done.")
        return
    _start(left[0], out, watch)


@learn.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Name of an exercise, or the file of an answer.")],
    figure: _Figure = None,
    as_json: Json = False,
) -> None:
    """Check an answer: is it right, and if not, what is the mistake?

    Exit code 1 when it is not right. Example: `cnnlab learn check affine_backward`
    """
    from cnnlab.learn.files_of_answers import find_answer
    from cnnlab.learn.process import check_isolated
    from cnnlab.learn.progress import record

    exercise, path = find_answer(name)
    verdict = check_isolated(path, exercise)
    record(verdict)
    if as_json:
        print_json(verdict.as_dict())
    else:
        _show(verdict)
    if figure is not None and verdict.comparison is not None:
        from cnnlab.figures.style import save

        save(verdict.figure(), figure)
        typer.echo(f"figure: {figure}", err=True)
    raise typer.Exit(0 if verdict.passed else 1)


@learn.command()
def hint(
    name: _Name, all_hints: Annotated[bool, typer.Option("--all", help="Show all hints at once.")] = False
) -> None:
    """Show the next hint of an exercise, from general to particular."""
    from cnnlab.learn import get_exercise
    from cnnlab.learn.progress import Progress, load_progress, save_progress

    exercise = get_exercise(name)
    progress = load_progress()
    entry = progress.setdefault(exercise.name, Progress())
    count = len(exercise.hints)
    entry.hints = count if all_hints else min(entry.hints + 1, count)
    save_progress(progress)
    for i, text in enumerate(exercise.hints[: entry.hints], 1):
        typer.echo(f"Hint {i} of {count}: {text}")
    if entry.hints == count:
        typer.echo(
            f"That was the last hint. `cnnlab learn solution {exercise.name}` shows the function of the package."
        )


@learn.command()
def solution(name: _Name) -> None:
    """Show the solution: the function of the package, with the imports that it needs."""
    from cnnlab.learn import get_exercise, solution_text

    exercise = get_exercise(name)
    typer.echo(f"# {exercise.path.replace(':', '.')}\n{solution_text(exercise)}", nl=False)


def _start(exercise: Exercise, out: Path | None, watch: bool | None) -> None:
    from cnnlab.learn.files_of_answers import start

    path, is_new = start(exercise, out)
    typer.echo(f"{path} is written." if is_new else f"{path} is there already; go on with it.")
    if watch if watch is not None else sys.stdout.isatty():
        _watch(path, exercise)
    else:
        typer.echo(f"Edit it, then `cnnlab learn check {path}`. Stuck? `cnnlab learn hint {exercise.name}`.")


def _watch(path: Path, exercise: Exercise) -> None:
    """Show a verdict on each save, until the answer is right or the user stops it."""
    from cnnlab.learn.watching import watch

    try:
        for verdict in watch(path, exercise):
            _show(verdict)
            if not verdict.passed:
                typer.echo(f"\nWatching {path}: save it to check again. Ctrl+C ends.")
    except KeyboardInterrupt:
        typer.echo(f"\n`cnnlab learn start {exercise.name}` goes on.")
        return
    typer.echo("`cnnlab learn next` starts the next exercise.")


def _show(verdict: Verdict) -> None:
    lines = str(verdict).splitlines()
    typer.echo()
    typer.secho(lines[0], fg="green" if verdict.passed else "red", bold=True)
    typer.echo("\n".join(lines[1:]))
