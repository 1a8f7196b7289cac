"""``cnnlab filters``, ``features``, ``dream``, ``fool``: what a network looks for, sees, dreams of, and falls for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Network = Annotated[
    str, typer.Argument(metavar="RUN|MODEL", help="Folder of a run, or a network, for its public ImageNet weights.")
]
Photo = Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder to write to; looks/COMMAND-MODEL-N if not given. Never overwritten.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]


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
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Draw the filters of a convolution: in colour where they see colours, slice by slice otherwise.

    Examples: `cnnlab filters runs/lenet5-mnist5k-1` · `cnnlab filters efficientnet_lite0`
    """
    from cnnlab.explain.filters import filters as look
    from cnnlab.runs.inside import new_folder, open_network

    network = open_network(run, device)
    found = look(network.model, layer)
    path = found.save(new_folder(out, f"filters-{network.name}") / f"{found.layer}.png")
    count, channels, height, width = found.weights.shape
    typer.echo(f"{found.layer}: {count} filters of {height} x {width} on {channels} channel{'s' * (channels != 1)}")
    typer.echo(f"picture: {path}")


def features(
    run: Network,
    photo: Photo,
    layer: Annotated[
        str | None, typer.Option(help="A layer with positions; the first convolution if not given.")
    ] = None,
    view: Annotated[View, typer.Option(help="All channels, the eight strongest, or their mean.")] = View.grid,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Draw what a layer makes of a photo: a map per channel.

    Examples: `cnnlab features efficientnet_lite0 cat.jpg` · `cnnlab features RUN digit.png --layer conv2`
    """
    from cnnlab import figures
    from cnnlab.explain.features import features as look
    from cnnlab.runs.inside import new_folder, open_network

    network = open_network(run, device)
    found = look(network.model, network.see(photo), layer)
    path = new_folder(out, f"features-{network.name}") / f"{found.layer}-{view.value}.png"
    figures.save(found.figure(view.value, network.picture(photo)), path)
    count, height, width = found.maps.shape
    strongest = ", ".join(map(str, found.strongest(5)))
    typer.echo(f"{found.layer}: {count} channels of {height} x {width}, the strongest: {strongest}")
    typer.echo(f"{found.silent} of them are zero everywhere in this photo")
    typer.echo(f"picture: {path}")


def dream(
    run: Network,
    photo: Photo,
    layer: Annotated[
        str | None, typer.Option(help="The layer to please; one before the last stage if not given.")
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
) -> None:
    """Give a photo more of what a network sees in it: a deep dream.

    Examples: `cnnlab dream efficientnet_lite0 clouds.jpg --size 448` ·
    `cnnlab dream efficientnet_lite0 clouds.jpg --target peacock`
    """
    from cnnlab.runs.inside import dream_of, new_folder, open_network

    network = open_network(run, device)
    found = dream_of(
        network, photo, layer=layer, target=target, size=size, octaves=octaves, steps=steps, rate=rate, seed=seed
    )
    folder = new_folder(out, f"dream-{network.name}")
    typer.echo(f"more of {found.objective}, in {found.seconds:.2g} s")
    typer.echo(f"picture: {network.save_picture(found.pictures[1], folder / 'dream.png')}")
    typer.echo(f"before and after: {found.save(folder / 'before-after.png')}")


def fool(
    run: Network,
    photo: Photo,
    target: Annotated[str, typer.Option(help="The class that the photo is to be taken for.")],
    method: Annotated[Attack, typer.Option(help="Gradient ascent, one step of FGSM, or many of PGD.")] = Attack.ascent,
    steps: Annotated[int | None, typer.Option(min=1, help="At most; 100, and 10 for PGD.")] = None,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Change a photo so little that nobody sees it, until the network takes it for something else.

    The exit code is 1 when the network was not fooled.

    Example: `cnnlab fool efficientnet_lite0 cat.jpg --target goldfish`
    """
    from cnnlab.runs.inside import fool_with, new_folder, open_network

    network = open_network(run, device)
    found = fool_with(network, photo, target, method=method.value, steps=steps)
    folder = new_folder(out, f"fool-{network.name}")
    for word, index, share in zip(("before", "after"), (found.label, found.answer), found.confidence, strict=True):
        typer.echo(f"{word}: {network.classes[index]} {share:.1%}")
    typer.echo(found.caption())
    typer.echo(f"picture: {network.save_picture(found.pixels[1], folder / 'fooled.png')}")
    typer.echo(f"before, difference, after: {found.save(folder / 'fooling.png')}")
    if not found.success:
        raise typer.Exit(1)
