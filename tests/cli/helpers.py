"""Running commands in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from cnnlab.cli import app


def cnnlab(*arguments: object) -> Result:
    """Run ``cnnlab ARGUMENTS``; what it printed and its exit code."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
