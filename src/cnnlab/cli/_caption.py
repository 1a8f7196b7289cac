"""The shared part of ``caption train``, ``caption sample`` and ``resume``: run, score, print."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cnnlab.cli._output import print_json, print_table
from cnnlab.console import duration, percent, table
from cnnlab.errors import DataError, UnknownNameError
from cnnlab.files import finite_values

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from cnnlab.generate.captions.assessment import SplitScores
    from cnnlab.generate.captions.captioner import Captioner
    from cnnlab.generate.captions.decode import Decoded
    from cnnlab.generate.captions.folder import CaptionFolder
    from cnnlab.generate.captions.recorder import CaptionRecorder
    from cnnlab.training import Event

_TITLES = {"test": "new images", "held_out": "unseen combinations", "val": "validation"}


def train_captions(events: Iterator[Event], recorder: CaptionRecorder, beam: int, as_json: bool) -> None:
    """Run the stream to its end through recorder and display, then score the sentences and print the result."""
    from rich.console import Console

    from cnnlab.cli._progress import show
    from cnnlab.cli._training import Interrupt
    from cnnlab.generate.captions.assessment import assess_captions
    from cnnlab.generate.captions.events import CaptionsFinished
    from cnnlab.generate.captions.recorder import caption_event_values
    from cnnlab.training import Started

    interrupt = Interrupt()
    recorder.stop = interrupt.asked
    stream = interrupt.watch(recorder.record(events), Started)
    finished: CaptionsFinished | None = None
    displayed = show(
        stream, Console(stderr=True), as_json=as_json, line=caption_epoch_line, values=caption_event_values
    )
    for event in displayed:
        assert recorder.run is not None
        run = recorder.run
        if isinstance(event, Started):
            run.update_summary(beam=beam)  # a run that goes on is scored likewise
        elif isinstance(event, CaptionsFinished):
            finished = event
    path = shlex.quote(str(run.path))
    if finished is None:
        epochs = run.summary.get("epochs_done", 0)
        typer.echo(f"Stopped after {epochs} epochs; saved. Go on with: cnnlab resume {path}", err=True)
        raise typer.Exit(130)
    typer.echo("scoring sentences about images that the training has not used ...", err=True)
    data = finished.session.data
    scores = assess_captions(run.captioner(run.recipe.device), data, width=beam)
    values = {name: score.to_dict() for name, score in scores.items()}
    run.update_summary(scores=values)
    for name, score in scores.items():
        split = data.splits()[name]
        rows = zip(score.images, score.sentences, strict=True)
        run.write_captions(name, ((image, sentence, split.references(image)) for image, sentence in rows))
    if as_json:
        record = {"event": "Scores", "run": str(run.path), "beam": beam, "scores": values}
        typer.echo(json.dumps(finite_values(record), ensure_ascii=False))
        return
    recipe = run.recipe
    typer.echo(
        f"{recipe.decoder} on {data.name}: weights of epoch {finished.kept_epoch}, trained in "
        f"{duration(finished.seconds)}"
    )
    print_table(scores_table(scores))
    typer.echo(f"run: {run.path}")
    typer.echo(f"Try next:\n  cnnlab caption sample {path}", err=True)
    if run.recipe.encoder != "given":
        typer.echo(f"  cnnlab caption sample {path} PHOTO --figure attention.png", err=True)


def scores_table(scores: Mapping[str, SplitScores]) -> Table:
    """Return the scores of a network as a table for people, a row for each split."""
    concepts = list(dict.fromkeys(name for score in scores.values() for name in score.concepts))
    titles = ("", ">images", ">BLEU", *(f">{name}" for name in concepts))
    return table(titles, (
        (_TITLES[name], f"{len(score.images):,}", f"{score.bleu:.3f}",
         *(percent(score.concepts.get(concept)) for concept in concepts))
        for name, score in scores.items()
    ))  # fmt: skip


def caption_epoch_line(event: Event) -> str:
    """Return one line about the end of an epoch, and ``""`` for another event."""
    from cnnlab.generate.captions.events import CaptionEpoch

    if not isinstance(event, CaptionEpoch):
        return ""
    return (
        f"epoch {event.epoch:>3}  word loss {event.train_loss:.3f}, val {event.val_loss:.3f}  BLEU "
        f"{event.val_bleu:.3f}  {event.images_per_second:,.0f} images/s  {duration(event.seconds)}"
    )


# Sampling ------------------------------------------------------------------------------------------------------------


def sample_photos(captioner: Captioner, photos: Sequence[Path], beam: int, figure: Path | None, as_json: bool) -> None:
    """Describe photos, and print and draw the sentences."""
    from cnnlab.data.walk import image_files

    files = image_files(photos)
    for note in files.ignored.notes():
        typer.echo(note, err=True)
    rows: list[dict[str, Any]] = []
    pictures, last, failed = [], None, []
    for path in files.paths:
        try:
            described = captioner.describe_photos([path], beam)
        except DataError as error:
            failed.append((str(path), str(error)))
            continue
        last = described.decoded
        values = {"file": str(path), "caption": described.sentences[0]}
        rows.append(values | {"log_probability": float(last.log_probability[0])})
        if figure is not None:
            pictures.append(captioner.display.pixels(path))
    if as_json:
        print_json({"captions": rows, "failed": [{"file": file, "reason": reason} for file, reason in failed]})
    elif rows:
        print_table(table(("file", "caption"), ((row["file"], row["caption"]) for row in rows)))
    _draw(figure, pictures, [row["caption"] for row in rows], last)
    for file, reason in failed:
        typer.echo(f"left out {file}: {reason}", err=True)
    if failed:
        raise typer.Exit(1)


def sample_data(
    run: CaptionFolder,
    captioner: Captioner,
    chosen: tuple[str, int],
    data: Path | None,
    beam: int,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Describe the first images of a split of the run's data, and print and draw the sentences beside references.

    Args:
        run: the run of a captioning network.
        captioner: its network.
        chosen: name of the split, and number of images.
        data: path of the data, where it was moved.
        beam: width of the beam.
        figure: file of the figure; None draws none.
        as_json: whether the sentences are printed as JSON.
    """
    import torch

    from cnnlab.generate.captions.session import load_recipe_data

    name, count = chosen
    loaded = load_recipe_data(run.recipe, str(data) if data else None)
    splits = loaded.splits()
    if name not in splits:
        raise UnknownNameError(f"split of {loaded.name}", name, splits)
    split = splits[name]
    rows: list[dict[str, Any]] = []
    last: Decoded | None = None
    for images, described in captioner.describe_split(split, torch.arange(min(count, len(split))), beam):
        last = described.decoded
        for n, sentence, score in zip(images.tolist(), described.sentences, last.log_probability.tolist(), strict=True):
            values = {"image": n, "caption": sentence, "log_probability": score, "references": split.references(n)}
            rows.append(values | ({"url": split.urls[n]} if split.urls else {}))
    if as_json:
        print_json({"split": name, "captions": rows})
    else:
        cells = ((row["image"], row["caption"], (row["references"] or [""])[0]) for row in rows)
        print_table(table((">image", "caption", "a reference"), cells))
    if figure is not None:
        pictures = captioner.pictures(split, torch.tensor([row["image"] for row in rows]))
        _draw(figure, list(pictures), [row["caption"] for row in rows], last)


def _draw(figure: Path | None, pictures: Sequence[Tensor], sentences: Sequence[str], decoded: Decoded | None) -> None:
    """Draw a single image with its attention, or several images with their sentences, where a file is named."""
    if figure is None or not pictures:
        return
    from cnnlab import figures
    from cnnlab.generate.captions.pictures import attention_figure, caption_grid

    if len(pictures) == 1 and decoded is not None and decoded.attention is not None:
        drawn = attention_figure(pictures[0], sentences[0].split(), decoded.attention[0])
    else:
        drawn = caption_grid(pictures, sentences)
    typer.echo(f"figure: {figures.save(drawn, figure)}", err=True)
