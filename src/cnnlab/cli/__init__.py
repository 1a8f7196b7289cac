"""The command line: the command ``cnnlab X`` is the function ``X`` in the module ``X`` of this package.

A command is a typed function that calls the rooms below; there is no logic in it. Modules whose names begin with an
underscore hold what commands share. Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed,
2 wrong use, 130 interrupted.
"""

from __future__ import annotations

import importlib
import io
import pkgutil
import sys
import time
from functools import cache
from typing import Any

import typer
from typer.core import TyperGroup

from cnnlab.cli._errors import refuse_addresses, said_by_another_process
from cnnlab.errors import CnnlabError
from cnnlab.hardware import OtherPrograms, collect_rarely, keep_freed_memory

STARTED = time.perf_counter()
"""The moment at which the command began, for a training that may take so many minutes in all."""
OTHERS = OtherPrograms()
"""Watches other programs from that moment on."""


class _Commands(TyperGroup):
    """Turns cnnlab's errors into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CnnlabError as error:
            if not said_by_another_process(str(error)):
                typer.echo(f"cnnlab: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("cnnlab: interrupted.", err=True)
            raise typer.Exit(130) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        refuse_addresses(args)
        return super().resolve_command(ctx, args)


def _version(wanted: bool) -> None:
    if wanted:
        import cnnlab

        typer.echo(f"cnnlab {cnnlab.__version__}")
        raise typer.Exit


def _global_options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


# Name of a command -> its module, in the order of the help: training first, then by name. The module of `class`, a
# keyword of Python, is `class_`.
_MODULES = {
    module.name.removesuffix("_"): module.name
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: (module.name != "train", module.name))
    if not module.name.startswith("_")
}


@cache
def _app(names: tuple[str, ...]) -> typer.Typer:
    """Return the command line with these commands."""
    app = typer.Typer(
        cls=_Commands,
        name="cnnlab",
        help="A laboratory for convolutional networks. `cnnlab train` alone trains LeNet-5 on real digits.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for name in names:
        command = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), _MODULES[name])
        if isinstance(command, typer.Typer):  # several commands under one name
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def __getattr__(name: str) -> Any:
    """Return ``app``, the command line with all commands."""
    if name == "app":
        return _app(tuple(_MODULES))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    collect_rarely()
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show must not end the command
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else arguments
    # A command that is named is imported alone: to import all and to read their options takes a tenth of a second.
    named = tuple(arguments[:1]) if arguments and arguments[0] in _MODULES else tuple(_MODULES)
    _app(named)(args=arguments, prog_name="cnnlab")
