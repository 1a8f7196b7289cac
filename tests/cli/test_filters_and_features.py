"""``cnnlab filters`` and ``features``: pictures, JSON, the working of one number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnlab.explain import features, filters
from cnnlab.runs import Run, open_classifier
from tests.cli.helpers import cnnlab


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
