"""``cnnlab data`` and ``cnnlab doctor`` through typer's runner."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cnnlab.cli import app
from cnnlab.data import data_sets


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CNNLAB_DATA", raising=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("ants", "bees"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
                noise.resize((60 + i, 50), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return tmp_path / "photos"


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_list() -> None:
    result = run("data")
    for entry in data_sets:
        assert entry.name in result.stdout
    assert result.stdout.index("mnist5k") < result.stdout.index("cifar10")  # no download first
    assert "163 MiB" in result.stdout


def test_list_as_json() -> None:
    rows = json.loads(run("data", "--json").stdout)
    assert [row["name"] for row in rows] == data_sets.names()
    by_name = {row["name"]: row for row in rows}
    assert by_name["cifar10"]["counts"] == [50_000, 0, 10_000]
    assert by_name["mnist5k"]["download_bytes"] == 0


def test_one_named() -> None:
    result = run("data", "mnist5k")
    assert "10 classes, train 4500, no val, test 500" in result.stdout
    assert "LeCun" in result.stdout
    assert result.stderr == ""


def test_one_folder_as_json(photos: Path) -> None:
    (photos / "train" / "ants" / "broken.png").write_bytes(b"")
    result = run("data", photos, "--json")
    read = json.loads(result.stdout)
    assert read["classes"] == ["ants", "bees"]
    assert read["counts"]["val"] == {"ants": 2, "bees": 2}
    assert read["skipped"][0]["file"] == "train/ants/broken.png"


@pytest.mark.parametrize("arguments", [[], ["--augmented"], ["cutout=4"], ["augment.flip=true", "--split", "val"]])
def test_figure_of_a_folder(photos: Path, tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "new folder" / "grid.png"
    result = run("data", photos, *arguments, "--figure", path, "--per-class", "3")
    assert f"figure: {path}" in result.stdout
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[0] > 2 * 128
    assert pixels.std() > 20


def test_figure_shows_the_images_themselves(tmp_path: Path) -> None:
    """Without augmentation each sample appears in the figure pixel by pixel, enlarged three times."""
    from cnnlab.data import ArraySplit, load_data

    path = tmp_path / "grid.png"
    run("data", "mnist5k", "-f", path, "--seed", "3", "--per-class", "2")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    train = load_data("mnist5k").train
    assert isinstance(train, ArraySplit)
    rows, columns = np.nonzero(pixels < 5)
    top, left = rows.min(), columns[columns > 20].min()
    known = {image.numpy().tobytes() for image in train.pixels[:, 0]}
    # The first picture: the corner of the black square right of the names is found by trying a few places.
    tries = [
        pixels[y + 1 : y + 84 : 3, x + 1 : x + 84 : 3]
        for y in range(max(0, top - 2), top + 60)
        for x in range(max(0, left - 2), left + 60)
    ]
    assert any(part.tobytes() in known for part in tries)


def test_recipe_decides_what_is_shown(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{i}.png" for i in range(3))
    run("data", "mnist5k", "-f", first)
    run("data", "mnist5k", "-f", second, "--recipe", "lenet5-mnist5k")
    run("data", "mnist5k", "-f", third, "--recipe", "lenet5-mnist5k", "--seed", "0")
    assert first.read_bytes() != second.read_bytes()
    assert second.read_bytes() == third.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar1"], 'Did you mean "cifar10"'),
        (["mnist5k", "cutuot=3", "-f", "x.png"], 'Did you mean "cutout"'),
        (["mnist5k", "cutout=many", "-f", "x.png"], "cutout"),
        (["mnist5k", "--augmented"], "--figure grid.png"),
        (["mnist5k", "digits"], '"digits" is no key=value'),
        (["--augmented"], "Which data set"),
        (["mnist5k", "-f", "x.png", "--split", "val"], 'no split "val", only train, test'),
        (["mnist5k", "-f", "x.gif2"], "Name it .png"),
        (["mnist5k", "-f", "x.png", "--recipe", "lenet"], "lenet5"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("data", *arguments, code=2)
    assert message in result.stderr
    assert result.stdout == ""


def test_missing_path(tmp_path: Path) -> None:
    assert "no folder or CSV file" in run("data", tmp_path / "none", code=1).stderr
    assert "no folder or CSV file" in run("doctor", tmp_path / "none", code=1).stderr


def test_doctor_healthy(photos: Path) -> None:
    result = run("doctor", photos)
    assert "12 images examined" in result.stdout
    assert "Nothing here would hurt training." in result.stdout


def test_doctor_finds_a_leak(photos: Path) -> None:
    shutil.copy(photos / "train" / "ants" / "0.png", photos / "val" / "ants" / "x.png")
    result = run("doctor", photos, code=1)
    assert "duplicates across splits" in result.stdout
    assert "train/ants/0.png = val/ants/x.png" in result.stdout
    assert "1 of these would hurt training." in result.stdout

    result = run("doctor", photos, "--json", code=1)
    read = json.loads(result.stdout)
    assert read["harmful"] is True
    assert read["findings"][0]["groups"] == [["train/ants/0.png", "val/ants/x.png"]]


def test_doctor_shortens_long_lists(photos: Path) -> None:
    for i in range(9):
        (photos / "train" / "bees" / f"broken{i}.png").write_bytes(b"")
    result = run("doctor", photos, code=1)
    assert "... and 4 more" in result.stdout
    assert "broken8" not in result.stdout
    assert len(json.loads(run("doctor", photos, "--json", code=1).stdout)["findings"][0]["files"]) == 9


def test_help_does_not_import_torch() -> None:
    code = "import sys, cnnlab.cli.data; assert not {'torch', 'matplotlib', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
