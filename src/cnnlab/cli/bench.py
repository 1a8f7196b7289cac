"""``cnnlab bench``: how fast this machine is, and compared with others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli._options import Device, Json
from cnnlab.cli._output import print_json, print_table
from cnnlab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnnlab.advisor.machine import MachineSpeed


def bench(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Files that --out wrote, to be compared.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A fifth of the time for each number, small networks only.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="A JSON file to write.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure how fast this machine trains, in about a minute; or compare machines by the files that were written.

    Examples: `cnnlab bench --out laptop.json` · `cnnlab bench laptop.json server.json` · `cnnlab bench --quick`
    """
    from dataclasses import asdict

    from rich.console import Console

    from cnnlab.advisor.machine import MachineSpeed, compare_machines, measure_machine

    if files:
        if quick or out:
            raise UsageError("Files are compared as they are: --quick and --out belong to a measurement.")
        machines = [MachineSpeed.load(file) for file in files]
        if as_json:
            print_json({"machines": [asdict(one) for one in machines], "compared": compare_machines(machines)})
        else:
            _compare([file.stem for file in files], machines)
        return
    if out and not out.parent.is_dir():  # to be told after a minute would be late
        raise UsageError(f"There is no folder {out.parent} for {out.name}. Make it, or choose another --out.")
    with Console(stderr=True).status("starting") as status:  # drawn on a terminal only
        machine = measure_machine(device, quick=quick, begins=status.update)
    if out:
        machine.save(out)
    if as_json:
        print_json(asdict(machine))
    else:
        _show(machine)


def _show(machine: MachineSpeed) -> None:
    """Print the numbers of one machine; beside a network in plain fp32 stands what cnnlab's choice gains."""
    from cnnlab.console import table

    typer.echo(_about(machine))
    rows = []
    for speed in machine.speeds:
        plain = machine[f"{speed.name}, plain"]
        gain = f"{speed.value / plain.value:.2f} times plain" if plain else ""
        rows.append([speed.name, _number(speed.value), speed.unit, speed.settings, gain])
    print_table(table(["what", ">speed", "unit", "settings", "gain"], rows))


def _compare(names: list[str], machines: Sequence[MachineSpeed]) -> None:
    """Print the numbers of several machines side by side, each as a multiple of the first."""
    from cnnlab.advisor.machine import compare_machines
    from cnnlab.console import table

    for name, machine in zip(names, machines, strict=True):
        typer.echo(f"{name}: {_about(machine)}")
    titles = ["what", "unit"] + [f">{name}" for name in names] + [f">{name} / {names[0]}" for name in names[1:]]
    rows = [
        [row["name"], row["unit"], *map(_number, row["values"]), *map(_number, row["ratios"][1:])]
        for row in compare_machines(machines)
    ]
    print_table(table(titles, rows))


def _about(machine: MachineSpeed) -> str:
    length = ", quick" * machine.quick
    about = (
        f"{machine.device}, {machine.cores} cores, {machine.threads} threads; {machine.system}; {machine.date}{length}"
    )
    return f"{about}\n{machine.note}" if machine.note else about


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
