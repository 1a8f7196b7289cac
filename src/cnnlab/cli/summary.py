"""``cnnlab summary``: the layers of a network and their cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cnnlab.cli._options import CsvFile, Json, figure_option
from cnnlab.cli._output import print_json, write_csv
from cnnlab.errors import UsageError


def summary(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A network, or the folder of a run.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[OPTION=VALUE]...", help="Options of the network.")
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=1, help="Classes; the network's own number by default.")
    ] = None,
    in_channels: Annotated[int | None, typer.Option(min=1, help="Channels of the images: 1 grey, 3 colour.")] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Height and width of the images in pixels.")] = None,
    depth: Annotated[
        int | None, typer.Option(min=0, help="How deep to go into blocks; as fits 50 lines by default.")
    ] = None,
    csv_file: CsvFile = None,
    figure: Annotated[Path | None, figure_option("the blocks")] = None,
    as_json: Json = False,
) -> None:
    """Show the layers of a network: shapes, parameters, multiply-adds, memory, receptive field and stride per stage.

    Nothing is trained, downloaded or computed. MACs are multiply-adds of convolutions and matrix products.

    Examples: `cnnlab summary resnet18` · `cnnlab summary vgg16 --image-size 32 --num-classes 10 --figure vgg.svg` ·
    `cnnlab summary runs/lenet5-mnist5k-1` · `cnnlab summary convnet batch_norm=false --depth 2`
    """
    import yaml

    from cnnlab import zoo

    if wrong := [text for text in options or [] if "=" not in text]:
        raise UsageError(f'"{wrong[0]}" is no option=value. One network at a time; its options are as in dropout=0.1.')
    sizes = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    sizes = {key: value for key, value in sizes.items() if value is not None}
    written = (text.partition("=") for text in options or [])
    arch: dict[str, Any] = {"name": name, "options": {key: yaml.safe_load(value) for key, _, value in written}}
    if name not in zoo.models and Path(name).is_dir():
        from cnnlab.training.checkpoint import ModelFile

        run = ModelFile.load(Path(name)).arch
        arch = run | {"options": run["options"] | arch["options"]}
    result = zoo.summary(arch.pop("name"), **arch | sizes)
    if csv_file is not None:
        rows = result.rows()
        write_csv(csv_file, list(rows[0]), [list(row.values()) for row in rows])
    if figure is not None:
        from cnnlab import figures
        from cnnlab.diagram import draw

        figures.save(draw(result), figure)
        typer.echo(f"figure: {figure}", err=True)
    if as_json:
        print_json(result.to_dict())
        return
    from rich.console import Console

    console = Console()
    for part in result.tables(depth, console.width):
        console.print(part, highlight=False)
