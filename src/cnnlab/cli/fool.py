"""``cnnlab fool``: an adversarial example made from a photo."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cnnlab.cli._options import Device, Json, LooksFolder, Network, Photo, Seed
from cnnlab.cli._output import print_result


class Attack(StrEnum):
    """The attack that changes the image."""

    ascent = "ascent"
    fgsm = "fgsm"
    pgd = "pgd"


def fool(
    run: Network,
    photo: Photo,
    target: Annotated[str, typer.Option(help="The class that the photo is to be taken for.")],
    method: Annotated[Attack, typer.Option(help="Gradient ascent, one step of FGSM, or many of PGD.")] = Attack.ascent,
    steps: Annotated[int | None, typer.Option(min=1, help="At most; 100, and 10 for PGD.")] = None,
    seed: Seed = 0,
    out: LooksFolder = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make an adversarial example: a photo with a hardly visible change, which the network takes for another class.

    The exit code is 1 when the network was not fooled.

    Example: `cnnlab fool efficientnet_lite0 cat.jpg --target goldfish`
    """
    from cnnlab.runs.changed_photos import fool_photo
    from cnnlab.runs.classifier import open_classifier
    from cnnlab.runs.folder import new_folder

    network = open_classifier(run, device, as_trained=False)
    attacked = fool_photo(network, photo, target, method=method.value, steps=steps, seed=seed)
    folder = new_folder(out, f"fool-{network.name}", "looks")
    picture = network.save_input(attacked.pixels[1], photo, folder / "fooled.png")
    figure = attacked.save(folder / "fooling.png")
    answers = {
        word: {"label": network.classes[index], "confidence": share}
        for word, index, share in zip(
            ("before", "after"), (attacked.label, attacked.answer), attacked.confidence, strict=True
        )
    }
    values = {
        "method": method.value, "success": attacked.success, **answers, "steps": attacked.steps,
        "largest_change": attacked.largest, "seconds": attacked.seconds, "picture": str(picture), "figure": str(figure),
    }  # fmt: skip
    lines = [f"{word}: {answer['label']} {answer['confidence']:.1%}" for word, answer in answers.items()]
    lines += [attacked.caption(), f"picture: {picture}", f"before, difference, after: {figure}"]
    print_result(as_json, values, lines)
    if not attacked.success:
        raise typer.Exit(1)
