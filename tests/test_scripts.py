"""Files of users: their source, the line of an error, and a process of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cnnlab.scripts import Line, compile_source, describe, last_line, process_environment, python_command, read_source

SOURCE = "def inner():\n    return [][3]\n\ndef outer():\n    return inner()\n"


def test_the_last_line_in_the_file_is_found_below_other_files() -> None:
    namespace: dict[str, object] = {}
    exec(compile_source(SOURCE + "\nimport json\n\ndef foreign():\n    json.loads('')\n", "mine.py"), namespace)
    with pytest.raises(IndexError) as raised:
        namespace["outer"]()  # type: ignore[operator]
    assert last_line(raised.value, "mine.py") == Line(2, "return [][3]", "inner")
    assert last_line(raised.value, "other.py") == Line()
    with pytest.raises(ValueError, match="Expecting value") as foreign:
        namespace["foreign"]()  # type: ignore[operator]
    assert last_line(foreign.value, "mine.py") == Line(10, "json.loads('')", "foreign")


def test_an_exception_is_described_in_one_line() -> None:
    assert describe(IndexError("list index\n  out of range")) == "IndexError: list index out of range"
    assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbfx = 1\r\n", "x = 1\n"),  # as Windows' editor writes it
        (b"# coding: latin-1\nx = '\xe9'\n", "# coding: latin-1\nx = 'é'\n"),
        ("x = 'é'\n".encode(), "x = 'é'\n"),
    ],
)
def test_a_source_is_decoded_as_python_does(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(content)
    assert read_source(path) == text


@pytest.mark.parametrize("content", [b"x = '\xe9'\n", b"# coding: klingon\n"])
def test_a_file_that_is_no_text_is_an_error_of_value(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"codec|encoding"):
        read_source(path)


def test_a_process_finds_the_same_packages_and_limits_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("/a/folder")
    environment = process_environment(threads=1)
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == "/a/folder"
    assert [environment[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")] == ["1", "1", "1"]
    command = python_command("this")
    assert "Beautiful" in subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
