"""``cnnlab explain``: explain the answer of a network to a photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli._options import Device, Json, LooksFolder, Network, Photos, layer_option
from cnnlab.cli._output import print_json
from cnnlab.hardware import wait_briefly

if TYPE_CHECKING:
    from cnnlab.runs.explain import PhotoExplanation


def explain(
    run: Network,
    photos: Photos,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="A method; may be given several times, or all. Grad-CAM by default."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The class to ask about; the predicted one by default.")] = None,
    layer: Annotated[str | None, layer_option("the last spatial one")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="METHOD.NAME=VALUE, such as occlusion.window=32.")
    ] = None,
    faithfulness: Annotated[
        bool, typer.Option(help="Score the faithfulness of the maps; takes longer than the maps themselves.")
    ] = True,
    trust: Annotated[bool, typer.Option(hidden=True, help="The old name of --faithfulness.")] = True,
    out: LooksFolder = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Explain the answer of a network to a photo: a page, a picture per method, and metrics of faithfulness.

    Examples: `cnnlab explain efficientnet_lite0 cat.jpg` · `cnnlab explain RUN photos/ -m gradcam` ·
    `cnnlab explain efficientnet_lite0 cat.jpg --method all --target "tiger cat"`
    """
    wait_briefly()
    from rich.console import Console

    from cnnlab.data.walk import image_files
    from cnnlab.explain.compare import ExplainSettings
    from cnnlab.runs import open_classifier
    from cnnlab.runs.explain import explain_photos, method_options
    from cnnlab.runs.folder import new_folder

    settings = ExplainSettings(target, layer, method_options(option or []), faithfulness and trust)
    network = open_classifier(run, device, as_trained=False)
    files = image_files(photos)
    typer.echo("\n".join([f"network: {network.about}", *files.ignored.notes()]), err=True)
    folder = new_folder(out, f"explain-{network.name}", "looks")
    with Console(stderr=True).status("opening the first photo") as status:  # drawn on a terminal only
        answers, failed = explain_photos(
            network, files.paths, folder, method, settings,
            begins=lambda name, position, count: status.update(f"{name}, method {position + 1} of {count}"),
            done=lambda answer, page: None if as_json else _print(answer, page),
        )  # fmt: skip
    if as_json:
        values = [answer.to_dict() | {"page": str(page)} for answer, page in answers]
        lost = [{"file": file, "reason": reason} for file, reason in failed]
        print_json({"explanations": values, "failed": lost})
    elif len(answers) > 1:
        typer.echo(f"contact sheet: {folder / 'index.html'}")
    for file, reason in failed:
        typer.echo(f"left out {file}: {reason}", err=True)
    if failed:
        raise typer.Exit(1)


def _print(answer: PhotoExplanation, page: Path) -> None:
    label, share = answer.top[0]
    first = answer.comparison[0]
    asked = "" if answer.target == label else f"; asked about {answer.target} ({first.probability:.1%})"
    typer.echo(f"{answer.photo}: {label} {share:.1%}{asked}")
    typer.echo("\n".join(f"  {line}" for line in repr(answer.comparison).splitlines()))
    typer.echo(f"  page: {page}")
