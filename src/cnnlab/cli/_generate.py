"""The shared part of the commands that make images: options, the display of the steps, and the files they write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnlab.cli import OTHERS
from cnnlab.cli._output import print_result

if TYPE_CHECKING:
    from rich.console import Console

    from cnnlab.generate.descent import Job
    from cnnlab.generate.events import Event, Finished
    from cnnlab.generate.extractor import FeatureNetwork

NetworkName = Annotated[
    str, typer.Option("--network", "-n", metavar="RUN|MODEL", help="Folder of a run, or a network of `cnnlab models`.")
]
WeightsFile = Annotated[
    str | None,
    typer.Option("--weights", help="File with weights of the network; the public ImageNet weights by default."),
]
Inputs = Annotated[
    str | None,
    typer.Option(
        "--inputs",
        help="How images were prepared for the weights: imagenet, caffe (BGR 0..255), half (-1..1) or unit (0..1).",
    ),
]
# The photo itself must fit into the memory before it can be known which size fits.
Size = Annotated[
    int,
    typer.Option(
        min=32, max=8192, help="Longer side of the image in pixels; reduced where the memory does not suffice."
    ),
]
Steps = Annotated[int, typer.Option(min=1, help="Steps at each size; twice as many at the first.")]
Kind = Annotated[str, typer.Option("--loss", help="Style loss: wasserstein, swag or gram.")]
Layers = Annotated[
    list[str] | None,
    typer.Option("--layer", "-l", help="Layer whose output is compared; repeat it. By default chosen for the network."),
]
Gif = Annotated[bool, typer.Option("--gif", help="Also write an animation of the steps.")]


def open_for_images(
    photos: Sequence[Path], network: str, weights: str | None, inputs: str | None, device: str, as_json: bool
) -> FeatureNetwork:
    """Open the network of a command, and print on stderr the remark about its weights, if there is one.

    A photo that cannot be read is refused first, since opening a network takes seconds.
    """
    from cnnlab.data.decoding import decode
    from cnnlab.generate.extractor import open_network

    for photo in photos:
        decode(photo, 3)
    opened = open_network(network, weights, inputs=inputs, device=device)
    if opened.note and not as_json:
        typer.echo(opened.note, err=True)
    return opened


def make_image(job: Job, path: Path, gif: bool, as_json: bool) -> Finished:
    """Run a job, show its progress on stderr, and write the image while it grows and at the end.

    Args:
        job: the job.
        path: the PNG file to write; the animation is written beside it.
        gif: whether the animation is written.
        as_json: whether no progress is shown.
    """
    from cnnlab.generate.descent import optimise

    return run_to_end(optimise(job), path, gif, as_json)


def run_to_end(events: Iterator[Event], path: Path, gif: bool, as_json: bool) -> Finished:
    """Consume the events of an image that is being made; see :func:`make_image`."""
    from rich.console import Console

    from cnnlab.generate.events import Finished
    from cnnlab.generate.recording import recorded

    stream = recorded(events, path, path.with_suffix(".gif") if gif else None)
    try:
        for event in stream if as_json else _shown(stream, Console(stderr=True)):
            if isinstance(event, Finished):
                return event
    except KeyboardInterrupt:
        stream.close()
        typer.echo(f"interrupted; the image so far: {path}", err=True)
        raise
    raise AssertionError("the events end with Finished")


def _shown(events: Iterator[Event], console: Console) -> Iterator[Event]:
    """Pass events on and show them: as a bar on a terminal, else as a line per size."""
    from cnnlab.console import TrainingBar
    from cnnlab.generate.events import Finished, Started, StepDone

    if not console.is_terminal:
        size = None
        for event in events:
            if isinstance(event, StepDone) and event.size != size:
                size = event.size
                console.print(f"  {size[1]} x {size[0]} pixels, loss {event.loss:.4g}", highlight=False)
            yield event
        return
    with TrainingBar(console) as bar:
        for event in events:
            if isinstance(event, Started):
                bar.begin(event.steps)
            elif isinstance(event, StepDone) and bar.due():
                bar.show(event.step, f"{event.size[1]} x {event.size[0]}", f"loss {event.loss:.4g}")
            elif isinstance(event, Finished):
                bar.stop()
            yield event


def fitting(make_job: Callable[[int], Job], size: int, as_json: bool) -> tuple[Job, dict[str, Any]]:
    """Return a job of a size that fits into memory, and its forecast for JSON; print the forecast on stderr.

    Args:
        make_job: a function from the longer side in pixels to the job.
        size: the longer side that was asked for, in pixels.
        as_json: whether nothing is printed.
    """
    from dataclasses import asdict

    from cnnlab.generate.forecast import job_that_fits
    from cnnlab.hardware import busy_note

    job, expected = job_that_fits(make_job, size)
    if not as_json:
        for line in filter(None, (expected.note, str(expected), busy_note(OTHERS))):
            typer.echo(line, err=True)
    return job, asdict(expected)


def print_image(as_json: bool, path: Path, finished: Finished, gif: bool, **values: Any) -> None:
    """Print the losses of an image, its file, and the time that it took in seconds."""
    losses = ", ".join(f"{name} {value:.3g}" for name, value in finished.losses.items())
    lines = [f"losses: {losses}", f"picture: {path}, in {finished.seconds:.3g} s"]
    lines += [f"animation: {path.with_suffix('.gif')}"] if gif else []
    answer = {"picture": str(path), "seconds": finished.seconds, "losses": dict(finished.losses), **values}
    print_result(as_json, answer, lines)
