"""``cnnlab compare``: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli._options import Json
from cnnlab.cli._output import print_json, print_table
from cnnlab.console import duration, percent, table


def compare(
    run: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of two or more runs.")],
    as_json: Json = False,
) -> None:
    """Put runs side by side: metrics with intervals, recipe differences, and a paired test on the same images."""
    from rich.text import Text

    from cnnlab.runs import open_run
    from cnnlab.runs.compare import compare as compare_runs

    result = compare_runs(*(open_run(path) for path in run))
    if as_json:
        print_json(result.to_dict())
        return
    runs = result.runs
    intervals = ["–" if (i := run.accuracy_interval) is None else f"{i[0]:.2%} to {i[1]:.2%}" for run in runs]
    facts: list[tuple[str, list[str]]] = [
        ("accuracy", [percent(run.accuracy, 2) for run in runs]),
        ("  95% interval", intervals),
        ("top-5 accuracy", [percent(run.top5, 2) for run in runs]),
        ("loss", ["–" if run.loss is None else f"{run.loss:.4f}" for run in runs]),
        ("mean F1", [percent(run.macro_f1, 2) for run in runs]),
        ("calibration error", [percent(run.calibration_error, 2) for run in runs]),
        ("split", [f"{run.split} ({run.n:,})" if run.n else "–" for run in runs]),
        ("parameters", [f"{run.parameters:,}" if run.parameters else "–" for run in runs]),
        ("epochs", [str(run.epochs or "–") for run in runs]),
        ("training time", [duration(run.seconds) for run in runs]),
        ("status", [run.status for run in runs]),
    ]
    rows: list[tuple[str | Text, ...]] = [(name, *cells) for name, cells in facts if set(cells) != {"–"}]
    if result.differences:
        rows += [("",), (Text("recipe", style="bold"),)]
        rows += [
            (key, *("–" if value is None else str(value) for value in values))
            for key, values in result.differences.items()
        ]
    print_table(table(("", *(f">{run.name}" for run in runs)), rows))
    if not result.differences:
        typer.echo("The recipes are the same.")
    for pair in result.pairs:
        typer.echo()
        if pair.test is None:
            typer.echo(f"{pair.b} against {pair.a}: no paired test, {pair.why_not}")
            continue
        test, (low, high) = pair.test, pair.test.interval
        verdict = "more than chance would give" if test.significant else "within what chance gives"
        typer.echo(
            f"{pair.b} against {pair.a} on the same {test.n:,} images: {100 * test.difference:+.2f} percentage points "
            f"(95% interval {100 * low:+.2f} to {100 * high:+.2f}), McNemar p = {test.p_value:.2g}: {verdict}."
        )
        typer.echo(f"  only {pair.b} right: {test.only_b:,}; only {pair.a} right: {test.only_a:,}")
