"""The command line: a command is a typed function that calls the rooms below; there is no logic in it.

A module of this package whose name has no underscore in front adds its commands through ``register(app)``. Results
go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import Any

import typer
from typer.core import TyperGroup

import cnnlab
from cnnlab.errors import CnnlabError


class _Commands(TyperGroup):
    """Turns cnnlab's errors into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CnnlabError as error:
            typer.echo(f"cnnlab: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("cnnlab: interrupted.", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    name="cnnlab",
    help="A laboratory for convolutional networks. `cnnlab train` alone trains LeNet-5 on real digits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cnnlab {cnnlab.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


# The help lists commands in this order: training first, then by name of the module.
for _module in sorted((module.name for module in pkgutil.iter_modules(__path__)), key=lambda n: (n != "train", n)):
    if not _module.startswith("_"):
        importlib.import_module(f"{__name__}.{_module}").register(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    app(args=arguments if arguments is not None else sys.argv[1:], prog_name="cnnlab")
