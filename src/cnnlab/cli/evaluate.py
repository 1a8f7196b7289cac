"""``cnnlab evaluate``: the metrics of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli._options import (
    CsvFile,
    DataDir,
    Device,
    FileColumn,
    Json,
    LabelColumn,
    Layout,
    RunPath,
    figure_option,
    reading_of,
)
from cnnlab.cli._output import print_json, print_table, write_csv
from cnnlab.console import table

if TYPE_CHECKING:
    from cnnlab.runs.evaluate import Evaluation


def evaluate(
    run: RunPath,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Other data with the same classes.")] = None,
    split: Annotated[str | None, typer.Option(help="test, val or train.")] = None,
    data_dir: DataDir = None,
    layout: Layout = None,
    label_column: LabelColumn = None,
    file_column: FileColumn = None,
    csv_file: CsvFile = None,
    figure: Annotated[Path | None, figure_option("the confusion matrix")] = None,
    device: Device = "auto",
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images at a time; as in training by default.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a run: accuracy, per-class precision and recall, confusion, calibration, speed.

    Examples: `cnnlab evaluate runs/lenet5-mnist5k-1` · `cnnlab evaluate RUN --data photos/ --csv classes.csv`
    """
    from cnnlab.runs import open_run
    from cnnlab.runs.evaluate import evaluate as evaluate_run

    reading = reading_of(layout, label_column, file_column)
    result = evaluate_run(
        open_run(run), data, split=split, data_dir=data_dir, device=device, batch_size=batch_size, **reading
    )
    for note in result.notes:
        typer.echo(note, err=True)
    if csv_file is not None:
        from cnnlab.training.metrics import CLASS_COLUMNS

        keys = [column.key for column in CLASS_COLUMNS]
        write_csv(
            csv_file, ["class", *keys], [[c.name, *(getattr(c, key) for key in keys)] for c in result.metrics.per_class]
        )
    if figure is not None:
        from cnnlab import figures

        figures.save(figures.confusion(result.metrics.confusion, result.classes), figure)
        typer.echo(f"figure: {figure}", err=True)
    if as_json:
        print_json(result.to_dict())
    else:
        _print_evaluation(result)


def _print_evaluation(result: Evaluation) -> None:
    from cnnlab.training.metrics import CLASS_COLUMNS

    metrics = result.metrics
    low, high = metrics.accuracy_interval
    facts = [
        ("accuracy", f"{metrics.accuracy:.2%}  (95% interval {low:.2%} to {high:.2%})"),
        *([("top-5 accuracy", f"{metrics.top5:.2%}")] if metrics.top5 is not None else []),
        ("loss", f"{metrics.loss:.4f}"),
        ("balanced accuracy", f"{metrics.balanced_accuracy:.2%}"),
        ("mean F1", f"{metrics.macro_f1:.2%}"),
        ("calibration error", f"{metrics.calibration_error:.2%}"),
        ("images", f"{metrics.n:,} ({result.split} split of {result.source})"),
        ("speed", f"{result.images_per_second:,.0f} images/s ({result.device})"),
    ]
    for name, value in facts:
        typer.echo(f"{name:<18} {value}")
    typer.echo()
    weakest = sorted(metrics.per_class, key=lambda c: (c.f1 is None, c.f1))
    rows = [(c.name, *(column.text(getattr(c, column.key)) for column in CLASS_COLUMNS)) for c in weakest]
    print_table(table(("class (weakest first)", *(f">{column.title}" for column in CLASS_COLUMNS)), rows))
    names = [c.name for c in metrics.per_class]
    if len(names) <= 12:
        typer.echo()
        counts = [(name, *(count or "." for count in row)) for name, row in zip(names, metrics.confusion, strict=True)]
        print_table(table(("true \\ predicted", *(f">{name}" for name in names)), counts))
