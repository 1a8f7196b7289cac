"""What holds for all commands: one module each, exit codes, addresses, what messages name, several processes."""

from __future__ import annotations

import ast
import io
import os
import pkgutil
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import cnnlab.cli
from cnnlab.cli import _errors, app
from cnnlab.errors import UsageError
from tests.cli.helpers import cnnlab as run

SOURCE = Path(cnnlab.cli.__file__).parents[1]


def options_of(command: Any) -> set[str]:
    """Return the options of a command, and of the commands under its name."""
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(options_of(inner) for inner in getattr(command, "commands", {}).values()))


COMMANDS = {name: options_of(command) for name, command in typer.main.get_command(app).commands.items()}  # type: ignore[attr-defined]
EVERYWHERE = {"--help", "-h", "--version"}
# Options of pip and git, and colours of pages.
FOREIGN = {"--force-reinstall", "--abbrev", "--always", "--dirty", "--max-restarts"}
FOREIGN |= {"--muted", "--grid", "--blue", "--orange", "--green", "--font"}


def test_a_command_is_the_function_of_its_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(cnnlab.cli.__path__) if not module.name.startswith("_")}
    assert set(COMMANDS) == {name.removesuffix("_") for name in modules}
    assert {"train", "predict", "doctor", "models", "recipes"} <= modules


def texts() -> Iterator[tuple[str, str]]:
    """Every text in the sources, with its file; what an f-string puts in is written ``X``."""
    for path in sorted([*SOURCE.rglob("*.py"), *SOURCE.rglob("*.yaml")]):
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".py":
            yield path.name, text
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
                yield path.name, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path.name, node.value


def test_every_command_that_a_text_names_exists() -> None:
    # In backticks, after a colon, or at the beginning of a line: elsewhere "cnnlab" is the package.
    named = {(file, name) for file, text in texts() for name in re.findall(r"(?:`|: |^ *)cnnlab ([a-z]+)", text, re.M)}
    assert {command for _, command in named} >= {"train", "predict", "doctor", "resume", "models", "summary"}
    assert [(file, command) for file, command in sorted(named) if command not in COMMANDS] == []


def test_every_option_that_a_text_names_exists() -> None:
    options = set().union(*COMMANDS.values()) | EVERYWHERE | FOREIGN
    wrong = []
    for file, text in texts():
        wrong += [
            (file, option)
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*(?<!-)\b(?!-)", text)
            if option not in options
        ]
        for command, rest in re.findall(r"`cnnlab ([a-z]+) ([^`]*)`", text):
            allowed = COMMANDS.get(command, set()) | EVERYWHERE
            named = re.findall(r"(?<!\S)--?[a-z][\w-]*", rest)
            wrong += [(file, f"{command} {option}") for option in named if option not in allowed]
    assert not wrong, sorted(set(wrong))


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "RUN", "https://example.org/cat.jpg"],
        ["explain", "RUN", "http://example.org/cat.jpg"],
        ["evaluate", "RUN", "--data=s3://bucket/photos"],
        ["train", "--data", "https://example.org/photos.zip"],
        ["train", "weights=https://example.org/w.pth"],
        ["train", "--recipe", "https://example.org/recipe.yaml"],
        ["doctor", "file:///photos"],
        ["summary", "https://example.org/run", "--csv", "x.csv"],
        ["models", "--csv", "ftp://example.org/x.csv"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_addresses_are_not_fetched(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    (address,) = [text.rpartition("=")[2] for text in arguments if "://" in text]
    assert f"Addresses are not fetched: {address}." in result.stderr
    assert f"`curl -LO {address}`" in result.stderr


def test_settings_that_are_no_files_may_hold_addresses() -> None:
    _errors.refuse_addresses(["train", "reproduces=https://arxiv.org/abs/1512.03385", "a:b", "C:\\photos"])
    with pytest.raises(UsageError):
        _errors.refuse_addresses(["data=https://x.org"])


def test_processes_on_one_machine_say_an_error_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_errors.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("RANK", raising=False)
    assert [_errors.said_by_another_process("same") for _ in range(2)] == [False, False]
    monkeypatch.setenv("RANK", "1")
    assert [_errors.said_by_another_process(text) for text in ("same", "same", "other", "same")] == [
        False, True, False, True,
    ]  # fmt: skip
    for path in tmp_path.iterdir():
        os.utime(path, (0, time.time() - 120))  # said by an earlier training
    assert not _errors.said_by_another_process("same")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 2), (["--help"], 0), (["trian"], 2), (["train", "--epochs"], 2), (["recipes", "nothing"], 2)],
    ids=str,
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert run(*arguments).exit_code == code


def test_a_module_of_a_command_may_be_imported_before_the_command_line() -> None:
    code = "import cnnlab.cli.look, cnnlab.cli; cnnlab.cli.main(['--version'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.split()[:1]) == (0, ["cnnlab"]), result.stderr


def test_what_a_terminal_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", shown)
    with pytest.raises(SystemExit):
        cnnlab.cli.main(["--version"])
    print("a → b", os.fsdecode(b"caf\xe9"))
    shown.flush()
    assert shown.buffer.getvalue().splitlines()[-1] == b"a \\u2192 b caf\\udce9"  # type: ignore[attr-defined]
