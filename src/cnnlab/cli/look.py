"""``cnnlab look``: the microscope, in the browser or saved as a page."""

from __future__ import annotations

import os
import shlex
import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from cnnlab.cli._options import DataDir

if TYPE_CHECKING:
    from torch import Tensor

    from cnnlab.microscope.session import Microscope

_FROM_SCRIPT = 12  # images of a script's data
_PATIENCE = 5.0  # seconds until a browser that was told to open a page asks for it


def look(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODEL|SCRIPT.py:make_model",
            help="Run folder, network (with its public weights, or those in cnnlab), or function in a script.",
        ),
    ],
    photos: Annotated[
        list[Path] | None, typer.Argument(metavar="[PHOTO]...", help="Photos; by default images of the run's data.")
    ] = None,
    other: Annotated[
        str | None, typer.Option(metavar="RUN|MODEL", help="A second network of the same classes, side by side.")
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Random weights instead of the public ones.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save a page (HTML, one file) that needs no server, and stop.")
    ] = None,
    visualise: Annotated[
        int, typer.Option(min=0, metavar="N", help="Feature visualisations in the saved page; seconds each for photos.")
    ] = 0,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on; a free one by default.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
    data_dir: DataDir = None,
) -> None:
    """Look inside a network: every layer, channel and number for a photo, live in the browser.

    The page is served on this machine only, until Ctrl+C.

    Examples: `cnnlab look runs/lenet5-mnist5k-1` · `cnnlab look efficientnet_lite0 cat.jpg` ·
    `cnnlab look RUN --save lenet.html` · `cnnlab look RUN --other RUN2` · `cnnlab look train.py:make_model`
    """
    from cnnlab.errors import UsageError
    from cnnlab.microscope.foresight import can_be_opened, check_name, check_photo
    from cnnlab.microscope.startup import nothing_collected

    if visualise and save is None:
        raise UsageError("--visualise is for a saved page: add --save page.html. The live page makes them on request.")
    sources = [run, other] if other else [run]
    for source in sources:
        if _script(source) is None:
            check_name(source)
    for photo in photos or []:
        check_photo(photo)

    @cache
    def opened() -> Microscope:
        with nothing_collected():
            return _open(run, photos or [], other=other, random=random, data_dir=data_dir)

    if save is not None:
        command = _command(run, photos or [], other=other, random=random, data_dir=data_dir)
        _save(opened(), save, visualise, command)
        return
    if not can_be_opened(sources, random=random):
        opened()  # what is wrong is said before a browser opens
    _serve(opened, port, browser)


def _serve(opened: Callable[[], Microscope], port: int | None, browser: bool) -> None:
    """Serve the page until Ctrl+C; the network is opened meanwhile."""
    from cnnlab.microscope.server import serve

    is_far = _is_far()

    def announce(address: str) -> None:
        typer.echo(f"open: {address}\nCtrl+C stops it.")
        if is_far:
            typer.echo(_tunnel(address), err=True)
        elif browser:  # a browser of the terminal would not return before it is closed
            threading.Thread(target=_open_browser, args=(address,), daemon=True).start()

    with suppress(KeyboardInterrupt):  # the way to stop it
        serve(lambda: opened().handle, port, announce, patience=_PATIENCE if browser and not is_far else 0.0)
    typer.echo("stopped.", err=True)


def _open_browser(address: str) -> None:
    """Open the browser, and say so where there is none."""
    if not webbrowser.open(address):
        typer.echo("No browser was found on this machine: open the address by hand.", err=True)


def _is_far() -> bool:
    """Return whether somebody sits at another machine (ssh), where a browser of this one would not be seen."""
    shown_here = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(os.environ.get("SSH_CONNECTION")) and not shown_here


def _tunnel(address: str) -> str:
    """Return what to do on the machine where one sits."""
    port = urlsplit(address).port
    return (
        f"You are here over ssh. In a terminal of your own machine run `ssh -N -L {port}:127.0.0.1:{port} "
        f"{socket.gethostname()}` (or the name by which you reach this machine), and open the address there."
    )


def _save(microscope: Microscope, path: Path, visualise: int, command: str) -> None:
    """Save a page, with a bar where a terminal shows it."""
    from rich.console import Console

    from cnnlab.console import TrainingBar
    from cnnlab.microscope.saved import save_page

    with TrainingBar(Console(stderr=True)) as bar:
        part = ""

        def progress(what: str, done: int, total: int) -> None:
            nonlocal part
            if what != part:
                part = what
                bar.begin(total)
            bar.show(done, what, f"{done} of {total}")

        size, notes = save_page(microscope, path, visualise=visualise, command=command, progress=progress)
    typer.echo("\n".join([f"page: {path} ({size / 1e6:.1f} MB)", *notes]))


def _command(run: str, photos: list[Path], **options: Any) -> str:
    """Return the command that opens what is saved."""
    parts = ["cnnlab", "look", run, *map(str, photos)]
    for name, value in options.items():
        if value:
            parts += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(parts)


def _open(target: str, photos: list[Path], **options: Any) -> Microscope:
    """Open the microscope for a run, a network, or the function of a script, and say what it is."""
    microscope = _opened(target, photos, **options)
    for subject in microscope.subjects:
        typer.echo(f"network: {subject.classifier.about}", err=True)
        if subject.run is not None and subject.units is None:
            typer.echo(f"The data of {subject.run.name} is not there: name its folder with --data-dir.", err=True)
    return microscope


def _opened(target: str, photos: list[Path], **options: Any) -> Microscope:
    from cnnlab.microscope.opening import open_microscope

    if (script := _script(target)) is None:
        return open_microscope(target, photos, **options)
    from cnnlab.why.script import script_subject

    subject = script_subject(*script)
    images = _images_of(subject.val if subject.val is not None else subject.train)
    return open_microscope(subject.make_model(), [*photos, *images], **options)


def _script(target: str) -> tuple[Path, str] | None:
    """Return the file and the function of ``SCRIPT.py:make_model``; None for what is no script."""
    path, _, function = target.rpartition(":")
    if path.endswith(".py"):
        return Path(path), function
    return (Path(target), "make_model") if target.endswith(".py") else None


def _images_of(split: Any) -> list[Tensor]:
    """Return the first images (C, H, W) of a script's data."""
    from cnnlab.why.subject import images_and_labels

    images, _ = split if isinstance(split, tuple) else images_and_labels(next(iter(split)))
    return list(images[:_FROM_SCRIPT])
