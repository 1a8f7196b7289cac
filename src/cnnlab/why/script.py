"""A script as the subject of an examination: its functions by name, and its faults with the line where they happen."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from cnnlab.data import load_data
from cnnlab.errors import ScriptError, did_you_mean
from cnnlab.scripts import compile_source, read_source
from cnnlab.why.subject import Subject, located

FUNCTIONS = ("make_model", "make_data", "make_optimizer", "compute_loss", "train_step", "augment")
_SIDES = (28, 32, 64, 96, 128, 224)  # sizes that a network without data is tried with, in pixels


def script_subject(path: Path, function: str = "make_model") -> Subject:
    """Run a script and return the training that its functions describe.

    Args:
        path: the Python file; it is run under another name than ``__main__``.
        function: the name of the function that makes the network; the others are found by name, see :data:`FUNCTIONS`.

    Raises:
        ScriptError: the file has no such function, a wrong syntax, or fails.
    """
    module = _run(path)
    if not callable(getattr(module, function, None)):
        own = [
            name
            for name, one in vars(module).items()
            if callable(one) and getattr(one, "__module__", None) == module.__name__
        ]
        there = f"It has {', '.join(own)}." if own else "It defines no function."
        raise ScriptError(
            f'{path} has no function "{function}". {did_you_mean(function, own)} {there}'.replace("  ", " ")
        )
    functions = {name: one for name in FUNCTIONS[1:] if callable(one := getattr(module, name, None))}
    make_model = _checked(path, function, getattr(module, function))
    chosen: dict[str, Any] = {name: _located(path, name, one) for name, one in functions.items() if name != "make_data"}
    subject = Subject(
        name=f"{path.name}:{function}", make_model=make_model, train=None, path=path, own=frozenset(functions), **chosen
    )
    if "make_data" in functions:
        data = _located(path, "make_data", functions["make_data"])()
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise ScriptError(
                f"{path}: make_data returned {type(data).__name__}; expected a pair (train, val), each a DataLoader "
                "or a pair (images, labels); val may be None."
            )
        subject.train, subject.val = (tuple(part) if isinstance(part, list) else part for part in data)
    else:
        subject.train, subject.val = train, _ = _digits(make_model())
        subject.notes.append(f"data: {len(train[1]):,} embedded digits, as the script has no make_data")
    return subject


def _run(path: Path) -> ModuleType:
    """Import a script under its own name."""
    if not path.is_file():
        raise ScriptError(f"There is no script {path}. Give the path of a Python file that defines make_model.")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exec(compile_source(read_source(path), os.path.abspath(path)), vars(module))
    except SyntaxError as error:
        line = (error.text or "").rstrip()
        caret = " " * max(0, (error.offset or 1) - 1) + "^"
        raise ScriptError(f"{error.filename}, line {error.lineno}: {error.msg}\n    {line}\n    {caret}") from None
    except Exception as error:
        raise ScriptError(located(error, path, "running the script")) from error
    except SystemExit as error:
        raise ScriptError(
            f"{path} ends with exit code {error.code} when it is imported; keep its training under main."
        ) from None
    return module


def _located(path: Path, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose exceptions name the script's line."""

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except ScriptError:
            raise
        except Exception as error:
            raise ScriptError(located(error, path, name)) from error

    return call


def _checked(path: Path, name: str, function: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def call() -> nn.Module:
        model = _located(path, name, function)()
        if not isinstance(model, nn.Module):
            raise ScriptError(f"{path}: {name} returned {type(model).__name__}; expected a torch.nn.Module.")
        return model

    return call


def _digits(model: nn.Module) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Return the embedded digits in a size and with the channels that a network takes.

    Raises:
        ScriptError: no size fits.
    """
    data = load_data("mnist5k")
    images = data.train.pixels.float() / 255  # type: ignore[attr-defined]
    images = (images - 0.1313) / 0.3086
    first = next((one for one in model.modules() if isinstance(one, nn.Conv2d | nn.Linear)), None)
    channels = first.in_channels if isinstance(first, nn.Conv2d) else 1
    for side in _SIDES:
        fitted = images[:4] if side == 28 else nn.functional.interpolate(images[:4], size=side, mode="bilinear")
        for form in (fitted.expand(-1, channels, -1, -1), fitted.flatten(1)):
            try:
                with torch.no_grad():
                    model.eval()(form)
            except Exception:
                continue
            return _in_form(images, data.train.labels, side, channels, form.ndim), None  # type: ignore[return-value]
    raise ScriptError(
        f"The script has no make_data(), and {type(model).__name__} takes the embedded digits in none of these sizes: "
        f"{', '.join(map(str, _SIDES))} pixels, {channels} channel(s). Add make_data() to the script."
    )


def _in_form(
    images: torch.Tensor, labels: torch.Tensor, side: int, channels: int, ndim: int
) -> tuple[torch.Tensor, torch.Tensor]:
    count = 2000 if side <= 64 else 200
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
    images, labels = images[chosen], labels[chosen]
    if side != 28:
        images = nn.functional.interpolate(images, size=side, mode="bilinear")
    return (images.flatten(1) if ndim == 2 else images.expand(-1, channels, -1, -1).contiguous()), labels
