"""``cnnlab models``: the networks, with their facts and their measurements on this machine."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnlab.cli import OTHERS
from cnnlab.cli._options import CsvFile, Device, Json
from cnnlab.cli._output import print_json, write_csv
from cnnlab.console import amount, size, table
from cnnlab.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from cnnlab.advisor.catalogue import Row

MaxMacs = Annotated[str | None, typer.Option(metavar="N", help="At most this many multiply-adds per image: 1G.")]
Takes = Annotated[
    int | None, typer.Option(min=1, metavar="PIXELS", help="Only those that take images of this side unenlarged.")
]
TimeLimit = Annotated[
    float, typer.Option(min=1, metavar="SECONDS", help="With --measure: for each of a network's two processes.")
]
TimelineFile = Annotated[
    Path | None,
    typer.Option("--timeline", metavar="FIGURE", help="Draw their errors over the years: png, svg, pdf."),
]


def models(
    pattern: Annotated[str, typer.Argument(help='Only names like this; quote wildcards: "res*".')] = "*",
    sort: Annotated[str, typer.Option(help="name, year, parameters, macs, min-size, error, speed or memory.")] = "name",
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    max_params: Annotated[str | None, typer.Option(metavar="N", help="At most this many parameters: 5M.")] = None,
    max_macs: MaxMacs = None,
    takes: Takes = None,
    year: Annotated[str | None, typer.Option(help="2015, 2015:2017, 2015: or :2015.")] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Only those with public ImageNet weights.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure speed and memory of the networks listed, here and now.")
    ] = False,
    image_size: Annotated[
        str, typer.Option(metavar="PIXELS", help="With --measure: side of the images, or `usual`.")
    ] = "32",
    batch_size: Annotated[int, typer.Option(min=2, help="With --measure: images per step.")] = 32,
    time_limit: TimeLimit = 120,
    device: Device = "auto",
    timeline: TimelineFile = None,
    csv_file: CsvFile = None,
    as_json: Json = False,
) -> None:
    """List the networks: year, parameters, multiply-adds, smallest image, reported errors, measured speed and memory.

    Examples: `cnnlab models "res*"` · `cnnlab models --takes 32 --max-params 5M --sort error` ·
    `cnnlab models "mobilenet*" --measure` · `cnnlab models --measure --image-size usual --batch-size 8` ·
    `cnnlab models --timeline history.png`
    """
    from cnnlab.advisor.catalogue import catalogue, parse_count, parse_years

    wanted: dict[str, Any] = {
        "max_params": parse_count(max_params) if max_params else None,
        "max_macs": parse_count(max_macs) if max_macs else None,
        "takes": takes,
        "years": parse_years(year) if year else None,
        "pretrained": pretrained,
    }
    if measure:
        listed = catalogue(pattern, **wanted, sort="macs")
        _measure([row.name for row in listed], image_size, batch_size, device, time_limit)
    rows = catalogue(pattern, **wanted, sort=sort, reverse=reverse)
    if csv_file is not None:
        _write_csv(rows, csv_file)
    if timeline is not None:
        _draw_timeline(rows, timeline)
    if as_json:
        print_json([row.to_dict() for row in rows])
        return
    if not rows:
        typer.echo("No network matches all of that. Ask for less.", err=True)
        return
    from rich.console import Console

    console = Console()
    console.print(_table(rows, console.width))
    _explain(rows)


# --- The table ----------------------------------------------------------------------------------------------------


def _table(rows: list[Row], width: int) -> Table:
    """Return the table, a line per network; columns that do not fit are left out, the least important first."""
    columns = {
        "name": [row.name for row in rows],
        "year": [str(row.facts.year) for row in rows],
        "params": [amount(row.facts.parameters) for row in rows],
        "MACs": [amount(row.facts.macs) for row in rows],
        "min": [str(row.facts.min_size) for row in rows],
        "input": [f"{row.facts.in_channels}x{row.facts.image_size}" for row in rows],
        "top-1": [_number(row.facts.imagenet_top1_error) for row in rows],
        "top-5": [_number(row.facts.imagenet_top5_error) for row in rows],
        "weights": [_weights(row) for row in rows],
    }
    if any(row.measurement for row in rows):
        columns |= {
            "train/s": [amount(row.measurement.train_images_per_second if row.measurement else None) for row in rows],
            "infer/s": [amount(row.measurement.images_per_second if row.measurement else None) for row in rows],
            "memory": [size(row.measurement.train_bytes if row.measurement else None) for row in rows],
        }
    columns = {title: cells for title, cells in columns.items() if any(cell != "–" for cell in cells)}
    needs = {title: max(len(title), *map(len, cells)) + 2 for title, cells in columns.items()}
    for title in ("input", "infer/s", "weights", "top-5", "min", "memory", "year"):
        if sum(needs.values()) - 2 > width and title in columns:
            del columns[title], needs[title]
    left = width - sum(needs.values())
    if left >= 24:  # characters, in which an author and some words of the title fit
        papers = [row.facts.paper for row in rows]
        columns["paper"] = [paper if len(paper) <= left else paper[: left - 1] + "…" for paper in papers]
    titles = [title if title in ("name", "paper") else f">{title}" for title in columns]
    return table(titles, list(zip(*columns.values(), strict=True)), wrap=False)


def _explain(rows: list[Row]) -> None:
    """Say on stderr, below the table, what its columns mean."""
    text = (
        "MACs: multiply-adds of one image of the usual input. min: smallest image in pixels. top-1, top-5: ImageNet "
        "error in percent as the paper reports it. weights: top-1 accuracy of the public weights (weights=imagenet), "
        "or the data of those that come with cnnlab (weights=cifar10).\n"
    )
    if measurement := next((row.measurement for row in rows if row.measurement), None):
        text += (
            "train/s, infer/s: images per second; memory: peak of a training step. Measured "
            f"{measurement.describe_conditions()}; at the network's smallest size where that is larger."
        )
    else:
        text += "Speed and memory on this machine: cnnlab models --measure"
    typer.secho(text, err=True, dim=True)


def _draw_timeline(rows: list[Row], path: Path) -> None:
    """Draw the networks whose papers report a top-5 error, and say on stderr which error is which.

    Raises:
        UsageError: none of the networks has such an error, or matplotlib cannot write the format.
    """
    from cnnlab import figures

    dated = sorted((row for row in rows if row.facts.imagenet_top5_error is not None), key=lambda row: row.facts.year)
    if not dated:
        raise UsageError(
            "None of these networks has a reported top-5 error. Draw more of them, such as `cnnlab models`."
        )
    milestones = [
        figures.Milestone(
            row.name, row.facts.year, row.facts.imagenet_top5_error or 0.0, row.facts.parameters, row.facts.macs,
            tuple(error for error, _ in row.facts.better_top5_errors),
        )
        for row in dated
    ]  # fmt: skip
    path = figures.save(figures.timeline(milestones), path)
    better = [f"{row.name} {error:g} % ({way})" for row in dated for error, way in row.facts.better_top5_errors]
    note = f"\nBeside one network's error, their papers report: {'; '.join(better)}." if better else ""
    typer.echo(f"figure: {path}, with the {len(dated)} networks whose papers report a top-5 error.{note}", err=True)


def _weights(row: Row) -> str:
    """Return the accuracy of the public weights, or the data of those that come with the package."""
    from cnnlab.zoo import trained_networks

    public, own = row.facts.pretrained, trained_networks().get(row.name, {})
    return _number(public.top1) if public else ", ".join(own) or _number(None)


def _number(number: float | None) -> str:
    return "–" if number is None else f"{number:.1f}"


def _write_csv(rows: list[Row], path: Path) -> None:
    """Write a row per network: the facts, and the measurement that the table shows."""
    from cnnlab.advisor.measurements import Measurement

    left_out = ("options", "measured", "aliases", "pretrained")
    records = []
    for row in rows:
        values = {key: value for key, value in row.to_dict().items() if key not in left_out}
        values["weights_top1"] = row.facts.pretrained.top1 if row.facts.pretrained else None
        measured = asdict(row.measurement) if row.measurement else {}
        keys = [field.name for field in fields(Measurement) if field.name != "name"]
        records.append(values | {f"measured_{key}": measured.get(key) for key in keys})
    write_csv(path, list(records[0]) if records else [], [list(record.values()) for record in records])


# --- Work in progress ---------------------------------------------------------------------------------------------


def _measure(names: list[str], image_size: str, batch_size: int, device: str, time_limit: float) -> None:
    """Measure the networks and save the results; a line per network goes to stderr."""
    from cnnlab.advisor.benchmark import measure_all
    from cnnlab.errors import CnnlabError, TrainingError
    from cnnlab.hardware import busy_note

    if image_size != "usual" and not (image_size.isdigit() and int(image_size) > 0):
        raise UsageError(f'--image-size "{image_size}" is neither a number of pixels nor `usual`.')
    if note := busy_note(OTHERS):
        typer.echo(f"note: {note}", err=True)
    side = None if image_size == "usual" else int(image_size)
    results = measure_all(names, image_size=side, batch_size=batch_size, device=device, time_limit=time_limit)
    done = 0
    try:
        for number, result in enumerate(results, 1):
            if isinstance(result, CnnlabError):
                text = str(result)
            else:
                done += 1
                text = (
                    f"{result.name}: {result.train_images_per_second:,.1f} images/s in training, "
                    f"{result.images_per_second:,.1f} in inference, {size(result.train_bytes)}, "
                    f"{result.image_size}x{result.image_size}, {result.settings}"
                )
            typer.echo(f"[{number}/{len(names)}] {text}", err=True)
    except KeyboardInterrupt:
        typer.echo(f"Stopped; {done} of {len(names)} networks were measured and are kept.", err=True)
        raise
    if names and not done:
        raise TrainingError("No network could be measured; the lines above say why.")
