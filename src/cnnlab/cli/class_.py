"""``cnnlab class``: a class's submissions to the exercises of ``cnnlab learn``."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli._options import CsvFile, Json
from cnnlab.cli._output import print_json, print_table, write_csv

class_ = typer.Typer(help="A class's submissions to the exercises of `cnnlab learn`.", no_args_is_help=True)


@class_.callback()
def _commands() -> None:
    pass


@class_.command()
def grade(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="STUDENT/EXERCISE.py or STUDENT-EXERCISE.py.")],
    exercise: Annotated[str | None, typer.Option(metavar="NAME", help="Grade this exercise alone.")] = None,
    csv: CsvFile = None,
    time_limit: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds that an answer may take.")] = 10.0,
    memory: Annotated[int, typer.Option(min=16, help="MiB that an answer may use beyond the libraries.")] = 1024,
    jobs: Annotated[int | None, typer.Option(min=1, help="Answers checked at once; one per core by default.")] = None,
    as_json: Json = False,
) -> None:
    """Check every submission in a process that can do no harm, and write a row for each.

    Example: `cnnlab class grade submissions --csv grades.csv`
    """
    from cnnlab.console import duration, table
    from cnnlab.learn.grading import COLUMNS, Limits, read_submissions
    from cnnlab.learn.grading import grade as grades_of

    submissions, unread = read_submissions(folder, exercise)
    limits = Limits(time_limit, memory * 2**20)
    rows = list(grades_of(folder, submissions, limits, jobs or os.cpu_count() or 1))
    for each in unread:
        typer.echo(f"not graded: {each.path}: {each.reason}", err=True)
    protections = sorted({name for row in rows for name in row.active})
    typer.echo(f"protections: {', '.join(protections) or 'none was needed'}", err=True)
    if csv is not None:
        write_csv(csv, COLUMNS, [list(row.as_dict().values()) for row in rows])
    if as_json:
        unread_rows = [{"file": str(each.path), "reason": each.reason} for each in unread]
        print_json({"grades": [row.as_dict() for row in rows], "not_graded": unread_rows, "protections": protections})
        return
    cells = []
    for row in rows:
        message = "; ".join(filter(None, (row.message.removesuffix("."), row.note)))
        time = duration(row.seconds)
        cells.append((row.student, row.exercise, row.status, f"{row.share:.0%}", row.mistake, message, time))
    print_table(table(("student", "exercise", "status", ">holds", "mistake", "message", ">time"), cells))
    counts = Counter(row.status for row in rows)
    typer.echo(
        f"\n{len(rows)} submission{'s' * (len(rows) != 1)}: "
        + ", ".join(f"{count} {status}" for status, count in counts.most_common())
    )
