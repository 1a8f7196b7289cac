"""``cnnlab filters``, ``features``, ``dream``, ``fool``: what a network looks for, sees, dreams of, and falls for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cnnlab.cli._output import print_json

Network = Annotated[
    str, typer.Argument(metavar="RUN|MODEL", help="Folder of a run, or a network, for its public ImageNet weights.")
]
Photo = Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder to write to; looks/COMMAND-MODEL-N if not given. Never overwritten.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]


class View(StrEnum):
    """How feature maps are laid out."""

    grid = "grid"
    strongest = "strongest"
    mean = "mean"


class Attack(StrEnum):
    """How an image is changed."""

    ascent = "ascent"
    fgsm = "fgsm"
    pgd = "pgd"


def register(app: typer.Typer) -> None:
    """Attach the commands of this module."""
    app.command()(filters)
    app.command()(features)
    app.command()(dream)
    app.command()(fool)


def filters(
    run: Network,
    layer: Annotated[str | None, typer.Option(help="A convolution; the first one if not given.")] = None,
    before: Annotated[bool, typer.Option("--before", help="Beside them, what they were before the training.")] = False,
    out: Out = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw the filters of a convolution: in colour where they see colours, slice by slice otherwise.

    Examples: `cnnlab filters runs/lenet5-mnist5k-1 --before` · `cnnlab filters efficientnet_lite0`
    """
    from cnnlab import figures
    from cnnlab.explain.activations.filters import filters as look
    from cnnlab.runs.classifier import initial_model, open_classifier
    from cnnlab.runs.folder import new_folder

    network = open_classifier(run, device, as_trained=False)
    found = look(network.model, layer)
    earlier = look(initial_model(run), found.layer) if before else None
    path = new_folder(out, f"filters-{network.name}", "looks") / f"{found.layer}.png"
    figures.save(found.figure(earlier), path)
    count, channels, height, width = found.weights.shape
    values: dict[str, Any] = {"layer": found.layer, "shape": list(found.weights.shape), "picture": str(path)}
    lines = [f"{found.layer}: {count} filters of {height} x {width} on {channels} channel{'s' * (channels != 1)}"]
    if earlier is not None:
        values["change"] = found.change(earlier)
        lines.append(f"the training moved the weights by {found.change(earlier):.0%} of their length")
    _say(as_json, values, [*lines, f"picture: {path}"])


def features(
    run: Network,
    photo: Photo,
    layer: Annotated[
        str | None, typer.Option(help="A layer with positions; the first convolution if not given.")
    ] = None,
    view: Annotated[View, typer.Option(help="All channels, the eight strongest, or their mean.")] = View.grid,
    channel: Annotated[
        int | None, typer.Option(help="Also work out one number of this channel of a convolution: its largest.")
    ] = None,
    row: Annotated[int | None, typer.Option(help="Row of the number instead.")] = None,
    column: Annotated[int | None, typer.Option(help="Column of the number instead.")] = None,
    out: Out = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw what a layer makes of a photo: a map per channel, and on request where one number comes from.

    Examples: `cnnlab features efficientnet_lite0 cat.jpg` · `cnnlab features RUN digit.png --layer conv2` ·
    `cnnlab features RUN digit.png --channel 3 --row 10 --column 12`
    """
    from cnnlab import figures
    from cnnlab.errors import UsageError
    from cnnlab.explain import layer_pixel
    from cnnlab.explain.activations.features import features as look
    from cnnlab.runs.classifier import open_classifier
    from cnnlab.runs.folder import new_folder

    if channel is None and (row is not None or column is not None):
        raise UsageError("--row and --column say which number of a channel is worked out: give --channel too.")
    network = open_classifier(run, device, as_trained=False)
    image = network.input(photo)
    found = look(network.model, image, layer)
    one = None if channel is None else layer_pixel(network.model, image, found.layer, channel, row, column)
    folder = new_folder(out, f"features-{network.name}", "looks")
    path = folder / f"{found.layer}-{view.value}.png"
    figures.save(found.figure(view.value, network.picture(photo)), path)
    count, height, width = found.maps.shape
    strongest = [int(channel) for channel in found.strongest(5)]
    values: dict[str, Any] = {"layer": found.layer, "shape": [count, height, width]}
    values |= {"strongest": strongest, "silent": found.silent}
    first = f"{found.layer}: {count} channels of {height} x {width}, the strongest: {', '.join(map(str, strongest))}"
    lines = [first, f"{found.silent} of them are zero everywhere in this photo", f"picture: {path}"]
    values |= {"picture": str(path)}
    if one is not None:
        figure = one.save(folder / f"{found.layer}-{channel}-{one.row}-{one.column}.png")
        values["number"] = {"channel": channel, "row": one.row, "column": one.column, "value": one.value}
        values["number"] |= {"sum": one.sum, "bias": one.bias, "picture": str(figure)}
        lines.append(f"channel {channel}, row {one.row}, column {one.column}: {one.value:.4g}, worked out in {figure}")
    _say(as_json, values, lines)


def dream(
    run: Network,
    photo: Photo,
    layer: Annotated[
        str | None, typer.Option(help="The layer to please; the block before the last stage if not given.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Dream of this class instead.")] = None,
    size: Annotated[
        int | None, typer.Option(min=8, help="Side in pixels; what the network takes if not given.")
    ] = None,
    octaves: Annotated[int, typer.Option(min=1, help="How many sizes.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Steps in each size.")] = 10,
    rate: Annotated[float, typer.Option(help="Change of the mean pixel in a step.")] = 0.015,
    seed: Annotated[int, typer.Option(help="Of the shifts.")] = 0,
    out: Out = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Give a photo more of what a network sees in it: a deep dream.

    Examples: `cnnlab dream efficientnet_lite0 clouds.jpg --size 448` ·
    `cnnlab dream efficientnet_lite0 clouds.jpg --target peacock`
    """
    from cnnlab.runs.changed_photos import dream_photo, save_picture
    from cnnlab.runs.classifier import open_classifier
    from cnnlab.runs.folder import new_folder

    network = open_classifier(run, device, as_trained=False)
    found = dream_photo(
        network, photo, layer=layer, target=target, size=size, octaves=octaves, steps=steps, rate=rate, seed=seed
    )
    folder = new_folder(out, f"dream-{network.name}", "looks")
    picture = save_picture(found.pictures[1], folder / "dream.png")
    both = found.save(folder / "before-after.png")
    values = {
        "objective": found.objective, "history": list(found.history), "sizes": [list(size) for size in found.sizes],
        "seconds": found.seconds, "picture": str(picture), "before_after": str(both),
    }  # fmt: skip
    _say(as_json, values, [
        f"more of {found.objective}, in {found.seconds:.2g} s", f"picture: {picture}", f"before and after: {both}",
    ])  # fmt: skip


def fool(
    run: Network,
    photo: Photo,
    target: Annotated[str, typer.Option(help="The class that the photo is to be taken for.")],
    method: Annotated[Attack, typer.Option(help="Gradient ascent, one step of FGSM, or many of PGD.")] = Attack.ascent,
    steps: Annotated[int | None, typer.Option(min=1, help="At most; 100, and 10 for PGD.")] = None,
    seed: Annotated[int, typer.Option(help="Of the start of PGD.")] = 0,
    out: Out = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Change a photo so little that nobody sees it, until the network takes it for something else.

    The exit code is 1 when the network was not fooled.

    Example: `cnnlab fool efficientnet_lite0 cat.jpg --target goldfish`
    """
    from cnnlab.runs.changed_photos import fool_photo
    from cnnlab.runs.classifier import open_classifier
    from cnnlab.runs.folder import new_folder

    network = open_classifier(run, device, as_trained=False)
    found = fool_photo(network, photo, target, method=method.value, steps=steps, seed=seed)
    folder = new_folder(out, f"fool-{network.name}", "looks")
    picture = network.save_input(found.pixels[1], photo, folder / "fooled.png")
    figure = found.save(folder / "fooling.png")
    answers = {
        word: {"label": network.classes[index], "confidence": share}
        for word, index, share in zip(("before", "after"), (found.label, found.answer), found.confidence, strict=True)
    }
    values = {
        "method": method.value, "success": found.success, **answers, "steps": found.steps,
        "largest_change": found.largest, "seconds": found.seconds, "picture": str(picture), "figure": str(figure),
    }  # fmt: skip
    lines = [f"{word}: {answer['label']} {answer['confidence']:.1%}" for word, answer in answers.items()]
    lines += [found.caption(), f"picture: {picture}", f"before, difference, after: {figure}"]
    _say(as_json, values, lines)
    if not found.success:
        raise typer.Exit(1)


def _say(as_json: bool, values: dict[str, Any], lines: list[str]) -> None:
    """Print what was found, for machines or for people."""
    if as_json:
        print_json(values)
    else:
        typer.echo("\n".join(lines))
