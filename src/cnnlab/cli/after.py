"""``cnnlab evaluate``, ``predict``, ``compare``, ``runs`` and ``report``: what comes after training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnlab.cli._output import print_json, print_table, write_csv
from cnnlab.console import duration, percent, table

if TYPE_CHECKING:
    from rich.table import Table

    from cnnlab.runs.compare import RunComparison
    from cnnlab.runs.evaluate import Evaluation
    from cnnlab.runs.predict import Prediction

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/lenet5-mnist5k-1.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]


def register(app: typer.Typer) -> None:
    """Attach the commands of this module."""
    app.command()(evaluate)
    app.command()(predict)
    app.command()(compare)
    app.command()(runs)
    app.command()(report)


def evaluate(
    run: RunFolder,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Other data with the same classes.")] = None,
    split: Annotated[str | None, typer.Option(help="test, val or train.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder to look for data sets in.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the per-class table to this file.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the confusion matrix to this file (png, svg, pdf).")] = None,
    device: Device = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images at a time; as in training if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a run: accuracy, per-class precision and recall, confusion, calibration, speed.

    Examples: `cnnlab evaluate runs/lenet5-mnist5k-1` · `cnnlab evaluate RUN --data photos/ --csv classes.csv`
    """
    from cnnlab.runs import open_run
    from cnnlab.runs.evaluate import evaluate as evaluate_run

    result = evaluate_run(open_run(run), data, split=split, data_dir=data_dir, device=device, batch_size=batch_size)
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


def predict(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|MODEL", help="Folder of a run, or a network, for its public ImageNet weights."),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="FILES|FOLDER...", help="Images; folders are searched.")],
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to name per image.")] = 3,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the table to this file.")] = None,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    as_json: Json = False,
) -> None:
    """Say what is in images. Unreadable files are named and left out; the exit code is then 1.

    Examples: `cnnlab predict runs/lenet5-mnist5k-1 digit.png` · `cnnlab predict RUN photos/ --csv answers.csv` ·
    `cnnlab predict efficientnet_lite0 photo.jpg`
    """
    from cnnlab.runs import open_classifier
    from cnnlab.runs.predict import predict as predict_images

    classifier = open_classifier(run, device)
    typer.echo(f"network: {classifier.about}", err=True)
    answers = predict_images(classifier, images, top_k=top_k, batch_size=batch_size)
    k = max((len(answer.top) for answer in answers), default=0)
    if csv_file is not None:
        ranks = [f"{word}_{rank}" for rank in range(1, k + 1) for word in ("label", "confidence")]
        rows = [[answer.file, *(value for pair in answer.top for value in pair)] for answer in answers]
        write_csv(csv_file, ["file", *ranks], rows)
    if as_json:
        failed = [{"file": file, "reason": reason} for file, reason in answers.failed]
        print_json({"predictions": [answer.to_dict() for answer in answers], "failed": failed})
    elif answers:
        print_table(_answer_table(answers, k))
    for file, reason in answers.failed:
        typer.echo(f"left out {file}: {reason}", err=True)
    if answers.failed:
        typer.echo(f"{len(answers.failed)} of {len(answers) + len(answers.failed)} files could not be read.", err=True)
        raise typer.Exit(1)


def _answer_table(answers: Sequence[Prediction], k: int) -> Table:
    """A line per image: its file, the first answer, and the others of ``k`` in a row."""
    rows = []
    for answer in answers:
        others = ", ".join(f"{name} {percent(share)}" for name, share in answer.top[1:])
        rows.append((answer.file, answer.label, percent(answer.confidence), others)[: 4 if k > 1 else 3])
    return table(("file", "prediction", ">confidence", "then")[: 4 if k > 1 else 3], rows)


def compare(
    run: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of two or more runs.")],
    as_json: Json = False,
) -> None:
    """Put runs side by side: metrics with intervals, recipe differences, and a paired test on the same images."""
    from cnnlab.runs import open_run
    from cnnlab.runs.compare import compare as compare_runs

    result = compare_runs(*(open_run(path) for path in run))
    if as_json:
        print_json(result.to_dict())
    else:
        _print_comparison(result)


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of runs.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the runs in a folder, oldest first."""
    from cnnlab.runs import list_runs

    rows = [_run_row(run) for run in list_runs(folder)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo(f"There is no run in {folder}. `cnnlab train` makes one.", err=True)
        return
    titles = ("run", "model", "data", ">accuracy", "split", ">epochs", ">time", "status")
    lines = [
        (
            *(row["run"], row["model"], row["data"], percent(row["accuracy"], 2), row["split"] or "–"),
            *(f"{row['epochs_done'] or 0}/{row['epochs']}", duration(row["seconds"]), row["status"]),
        )
        for row in rows
    ]
    print_table(table(titles, lines))


def report(run: RunFolder) -> None:
    """Write report.html and the figures of a run, and print where the page is."""
    from cnnlab.runs import open_run

    typer.echo(f"report: {open_run(run).report()}")


def _run_row(run: Any) -> dict[str, Any]:
    """The row of a run in the list; one whose files are damaged is listed as such, not hidden and not fatal."""
    from cnnlab.errors import CnnlabError

    row: dict[str, Any] = {"run": str(run.path), "started": run.env.get("started")}
    try:
        summary, recipe = run.summary, run.recipe
        row |= {"model": recipe.model, "data": recipe.data, "status": run.status, "epochs": recipe.total_epochs}
    except CnnlabError as error:
        summary = {}
        row |= {"model": "?", "data": "?", "status": f"damaged: {error}", "epochs": None}
    return row | {key: summary.get(key) for key in ("split", "n", "accuracy", "loss", "epochs_done", "seconds")}


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


def _print_comparison(result: RunComparison) -> None:
    from rich.text import Text

    def interval(bounds: tuple[float, float] | None) -> str:
        return "–" if bounds is None else f"{bounds[0]:.2%} to {bounds[1]:.2%}"

    runs = result.runs
    facts: list[tuple[str, list[str]]] = [
        ("accuracy", [percent(run.accuracy, 2) for run in runs]),
        ("  95% interval", [interval(run.accuracy_interval) for run in runs]),
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
    for key, values in result.differences.items():
        rows.append((key, *("–" if value is None else str(value) for value in values)))
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
