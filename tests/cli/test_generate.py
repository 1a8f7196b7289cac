"""``cnnlab style``, ``texture`` and ``invert``: pictures, JSON, exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cnnlab.generate.cs231n import PRESETS
from cnnlab.runs import Run
from tests.cli.helpers import cnnlab
from tests.generate.helpers_generate import write_picture


def size_of(path: str | Path) -> tuple[int, int]:
    """Return width and height of a picture."""
    with Image.open(path) as image:
        return image.size


SMALL = ("--size", 32, "--steps", 2)


def test_a_style_transfer_says_what_it_takes_and_writes_picture_and_animation(tiny_run: Run, tmp_path: Path) -> None:
    photo, style = write_picture(tmp_path / "photo.png"), write_picture(tmp_path / "style.png", seed=2)
    result = cnnlab("style", photo, style, *SMALL, "-n", tiny_run.path, "--gif", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "32 x 24 pixels, 4 steps in 1 size: about" in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"styled.png", "styled.gif"}
    assert size_of(tmp_path / "out" / "styled.png") == (32, 24)


def test_what_cannot_be_made_is_said_with_the_next_step(tiny_run: Run, tmp_path: Path) -> None:
    photo, options = write_picture(tmp_path / "photo.png"), (*SMALL, "-n", tiny_run.path, "--out", tmp_path / "out")
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    write_picture(tmp_path / "dot.png", 1, 1)

    def refused(*arguments: object) -> tuple[int, str]:
        result = cnnlab(arguments[0], *options, *arguments[1:])
        return result.exit_code, " ".join(result.stderr.split())

    assert refused("style", photo, tmp_path / "none.png") == (
        1, f"cnnlab: Cannot read the image {tmp_path / 'none.png'}: there is no such file. Check the path."
    )  # fmt: skip
    code, message = refused("style", photo, tmp_path / "text.jpg")
    assert code == 1
    assert "text.jpg: it is a text file, not an image" in message
    code, message = refused("style", photo, tmp_path / "dot.png")
    assert code == 1
    assert "dot.png has 1 x 1 pixels" in message
    assert "Take a larger image, or earlier layers." in message
    code, message = refused("style", photo, photo, "--layer", "conv9")
    assert code == 2
    assert 'called "conv9"' in message
    code, message = refused("style", photo, photo, "--size", "0")
    assert code == 2
    assert "32" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["style", "texture", "invert"])
def test_a_photo_is_looked_at_before_the_network_is_opened(command: str, tmp_path: Path) -> None:
    paintings = [tmp_path / "painting.png"] if command == "style" else []
    result = cnnlab(command, tmp_path / "none.png", *paintings, "-n", "no_such_network")
    assert result.exit_code == 1
    assert "there is no such file" in result.stderr


def test_the_course_and_its_network(tmp_path: Path) -> None:
    photo = write_picture(tmp_path / "photo.png")
    options = ("-n", "squeezenet1_1", "--weights", "random", "--json")
    result = cnnlab("style", photo, photo, *SMALL, *options, "--out", tmp_path / "plain")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["forecast"]["steps"] == 4
    result = cnnlab("style", photo, photo, *options, "--course", "stary-night")
    assert result.exit_code == 2
    assert 'Did you mean "starry-night"' in result.stderr
    assert cnnlab("style", photo, photo, photo, *options, "--course", "scream").exit_code == 2
    result = cnnlab("style", photo, photo, *options, "--course", "scream", "--steps", 3, "--style-scale", 2)
    assert result.exit_code == 2
    assert "takes no --steps, --style-scale." in result.stderr


def test_the_course_takes_its_own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "scream", replace(PRESETS["scream"], image_size=32, style_size=32, steps=2))
    photo = write_picture(tmp_path / "photo.png")
    result = cnnlab("style", photo, photo, "--weights", "random", "--course", "scream", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert min(size_of(tmp_path / "out" / "styled.png")) == 32


def test_texture(tiny_run: Run, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "picture.png")
    result = cnnlab("texture", picture, *SMALL, "--width", 2, "-n", tiny_run.path, "--json", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert size_of(json.loads(result.stdout)["picture"]) == (32, 16)


def test_inversion_draws_early_to_late_layers(tiny_run: Run, tmp_path: Path) -> None:
    photo = write_picture(tmp_path / "photo.png")
    result = cnnlab("invert", photo, *SMALL, "-n", tiny_run.path, "--json", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    assert len(values["missed"]) >= 1
    assert Path(values["figure"]).name == "inversion.png"
    assert cnnlab("invert", photo, *SMALL, "-n", tiny_run.path, "-l", "nothing").exit_code == 2
