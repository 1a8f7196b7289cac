"""``cnnlab look``: what it opens, where it serves, what it saves."""

from __future__ import annotations

import shutil
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from cnnlab.cli.look import _open_browser
from cnnlab.microscope import server
from tests.cli.helpers import cnnlab

SCRIPT = """
from torch import nn


def make_model():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 10))
"""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Instead of a server: what the microscope answers to ``open``, with the port."""
    replies: list[dict[str, Any]] = []

    def serve(opening: Any, port: int | None, announce: Any, *, patience: float) -> None:
        replies.append({**opening()({"do": "open"}, lambda: False), "port": port})
        announce("http://127.0.0.1:1/?token=x")
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "serve", serve)

    def open_browser(address: str) -> bool:
        replies[-1]["opened"] = address
        return True

    monkeypatch.setattr(webbrowser, "open", open_browser)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return replies


def test_a_network_is_served_with_the_photos_that_come_with_scikit_learn(served: list[dict[str, Any]]) -> None:
    result = cnnlab("look", "lenet5", "--random", "--port", 8123, "--no-browser")
    assert (result.exit_code, result.stdout) == (0, "open: http://127.0.0.1:1/?token=x\nCtrl+C stops it.\n")
    assert "network: lenet5 with random weights\nstopped.\n" in result.stderr
    (reply,) = served
    assert reply["port"] == 8123
    assert "opened" not in reply
    assert [image["name"] for image in reply["images"]] == ["china.jpg", "flower.jpg"]


def test_photos_are_opened_and_the_browser_is_told(served: list[dict[str, Any]], digit: Path) -> None:
    assert cnnlab("look", "lenet5", digit, "--random").exit_code == 0
    assert [image["name"] for image in served[0]["images"]] == ["digit.png"]
    assert served[0]["opened"] == "http://127.0.0.1:1/?token=x"


def test_without_a_browser_the_address_is_to_be_opened_by_hand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    _open_browser("http://127.0.0.1:1/?token=x")
    assert capsys.readouterr().err == "No browser was found on this machine: open the address by hand.\n"


@pytest.mark.parametrize("display", ["", ":0"])
def test_over_ssh_the_tunnel_is_named_and_no_browser_opens(
    served: list[dict[str, Any]], digit: Path, monkeypatch: pytest.MonkeyPatch, display: str
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    result = cnnlab("look", "lenet5", digit, "--random")
    assert ("ssh -N -L 1:127.0.0.1:1 " in result.stderr) == (not display)
    assert ("opened" in served[0]) == bool(display)  # windows of an X server are seen


def test_a_run_whose_data_is_gone_says_so_and_opens(
    served: list[dict[str, Any]], tiny_run: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.path, folder)
    recipe = (folder / "recipe.yaml").read_text().replace("data: digits", f"data: {tmp_path / 'gone'}")
    (folder / "recipe.yaml").write_text(recipe)
    result = cnnlab("look", folder, "--no-browser")
    assert result.exit_code == 0
    assert "The data of copy is not there: name its folder with --data-dir." in result.stderr
    assert [image["name"] for image in served[0]["images"]] == ["china.jpg", "flower.jpg"]


def test_two_networks_are_side_by_side(served: list[dict[str, Any]]) -> None:
    assert cnnlab("look", "lenet5", "--random", "--other", "lenet5").exit_code == 0
    assert [model["name"] for model in served[0]["models"]] == ["lenet5", "lenet5"]


@pytest.mark.parametrize("function", ["", ":make_model"])
def test_the_network_of_a_script_is_looked_at_with_its_data(
    served: list[dict[str, Any]], tmp_path: Path, function: str
) -> None:
    (tmp_path / "net.py").write_text(SCRIPT)
    assert cnnlab("look", f"{tmp_path / 'net.py'}{function}", "--no-browser").exit_code == 0
    (reply,) = served
    assert len(reply["images"]) == 12
    assert [node["kind"] for node in reply["models"][0]["graph"]["nodes"]] == ["conv", "activation", "move", "dense"]


def test_a_page_is_saved(served: list[dict[str, Any]], digit: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = cnnlab("look", "lenet5", digit, "--random", "--save", page)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"page: {page} (")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert served == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["runs/lenet9"], 2, 'There is no run folder or network "runs/lenet9"'),
        (["mnist_cnn"], 1, "weights"),
        (["lenet5", "none.png", "--random"], 1, "There is no photo none.png: it is not there."),
        (["lenet5", "--random", "--other", "resnet18"], 2, "cannot be looked at side by side"),
        (["none.py:make_model"], 2, "There is no script none.py."),
        (["lenet5", "--random", "--port", "0"], 2, "--port"),
    ],
    ids=str,
)
def test_what_cannot_be_opened_is_named(
    served: list[dict[str, Any]], arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    result = cnnlab("look", *arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert served == []
