"""``cnnlab scale``: how long a training takes on more devices than there are here."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cnnlab.cli._options import Json, is_named
from cnnlab.cli._output import print_json
from cnnlab.errors import UsageError

# The options that the estimates are computed from.
_INPUTS = (
    "rate", "decode_rate", "images", "image_kb", "epochs", "batch_size",
    "cores", "per_machine", "disk", "network", "local",
)  # fmt: skip


def scale(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NETWORK]", help="The network.")] = "resnet50",
    devices: Annotated[str, typer.Option(help="Numbers of devices, with commas between them.")] = "1,8,64",
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Images/s of training steps on one device; measured by default."),
    ] = None,
    decode_rate: Annotated[
        float | None, typer.Option(min=0.001, help="Photos/s that a core decodes; measured here by default.")
    ] = None,
    cores: Annotated[float, typer.Option(min=0.1, help="Cores per device, for decoding.")] = 8,
    per_machine: Annotated[int, typer.Option(min=1, help="Devices per machine.")] = 8,
    network: Annotated[float, typer.Option(min=0.001, help="Gbit/s between two machines.")] = 25,
    local: Annotated[float, typer.Option(min=0.001, help="Gbit/s between two devices of a machine.")] = 100,
    disk: Annotated[float, typer.Option(min=0.1, help="MB/s that a machine reads.")] = 2000,
    images: Annotated[int | None, typer.Option(min=1, help="Training images; those of ImageNet by default.")] = None,
    image_kb: Annotated[float | None, typer.Option(min=0.001, help="kB of an image file; 115 by default.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; 90 by default.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step and device.")] = 32,
    device: Annotated[str, typer.Option(help="The device that is measured.")] = "auto",
    as_json: Json = False,
) -> None:
    """Compute how long ImageNet, or another training, takes on 1, 8 and 64 devices, from what one device does.

    What is not given is measured here or assumed; which number is which is printed. Nothing is trained or downloaded.

    Examples: `cnnlab scale` · `cnnlab scale resnet18 --rate 1500 --decode-rate 150 --network 10` ·
    `cnnlab scale --devices 1,2,4 --images 50000 --image-kb 3 --epochs 30`
    """
    from dataclasses import asdict

    from cnnlab.advisor import scale as scaling
    from cnnlab.zoo import models

    numbers = _numbers(devices)
    facts = models.get(name).facts
    origin = {name: "given" if is_named(context, name) else "assumed" for name in _INPUTS}
    origin["image_bytes"] = origin.pop("image_kb")  # by the names of Workload and Hardware
    if rate is None:
        rate, settings = scaling.measure_training(name, batch_size, device)
        origin["rate"] = f"measured: {settings}"
    if decode_rate is None:
        decode_rate, origin["decode_rate"] = scaling.measure_decoding(facts.image_size), "measured here"
    work = scaling.Workload(
        images=images or scaling.IMAGENET_IMAGES,
        image_bytes=1000 * image_kb if image_kb else scaling.IMAGENET_IMAGE_BYTES,
        epochs=epochs or scaling.IMAGENET_EPOCHS,
        parameters=facts.parameters,
        batch_size=batch_size,
    )
    hardware = scaling.Hardware(rate, decode_rate, cores, disk * 1e6, network * 1e9 / 8, local * 1e9 / 8, per_machine)
    results = scaling.estimates(work, hardware, numbers)
    if as_json:
        rows = [asdict(result) | {"limit": result.limit} for result in results]
        print_json({"workload": asdict(work), "hardware": asdict(hardware), "origin": origin, "estimates": rows})
    else:
        _show(name, work, hardware, origin, results)


def _numbers(devices: str) -> list[int]:
    """Return the numbers of devices that a text such as ``"1,8,64"`` names."""
    try:
        numbers = [int(number) for number in devices.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise UsageError(f'--devices is "{devices}"; expected numbers from 1 on, such as 1,8,64.')
    return numbers


def _show(name: str, work: Any, hardware: Any, origin: dict[str, str], results: list[Any]) -> None:
    from rich.console import Console

    from cnnlab.advisor.scale import memory_of_state
    from cnnlab.console import size, table

    numbers = {
        "images": f"{work.images:,} images",
        "image_bytes": f"{work.image_bytes / 1000:g} kB per image",
        "epochs": f"{work.epochs} epochs",
        "batch_size": f"batches of {work.batch_size} per device",
        "cores": f"{hardware.cores:g} cores per device",
        "per_machine": f"{hardware.per_machine} devices per machine",
        "disk": f"{hardware.disk / 1e6:,.0f} MB/s from the disk of each machine",
        "network": f"{8 * hardware.network / 1e9:g} Gbit/s between machines",
        "local": f"{8 * hardware.local / 1e9:g} Gbit/s between devices of a machine",
    }
    given, assumed = ([text for key, text in numbers.items() if origin[key] == word] for word in ("given", "assumed"))
    lines = [
        f"{name}, {work.parameters:,} parameters",
        f"one device: {hardware.rate:,.1f} images/s of training steps ({origin['rate']})",
        f"one core: {hardware.decode_rate:,.0f} photos/s decoded ({origin['decode_rate']})",
        *([f"given: {', '.join(given)}"] if given else []),
        f"assumed: {', '.join([*assumed, 'float32 gradients that are exchanged in a ring'])}",
        "left out: evaluations, the first reading, waiting for the slowest, restarts",
        f"weights, gradients and optimizer take {size(memory_of_state(work.parameters))} on each device with SGD, "
        f"{size(memory_of_state(work.parameters, 'adamw'))} with AdamW",
    ]
    for line in lines:
        typer.echo(line)
    titles = [">devices", ">batch", ">computing", ">network", ">decoding", ">disk", ">training", "limit"]
    rows = []
    for result in results:
        hours = [_number(s / 3600) for s in (result.compute, result.exchange, result.decode, result.read)]
        days = [_number(s / 86400) for s in (result.shortest, result.longest)]
        whole = days[0] if days[0] == days[1] else " to ".join(days)
        rows.append([result.devices, result.batch_size, *hours, whole, result.limit])
    Console().print(table(titles, rows))
    typer.echo("Hours per epoch from computing to disk; days for the whole training.")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"
