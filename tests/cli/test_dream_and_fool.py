"""``cnnlab dream`` and ``fool``: pictures, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from cnnlab.runs import Run
from tests.cli.helpers import cnnlab


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
