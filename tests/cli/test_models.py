"""``cnnlab models`` as typer's runner sees it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cnnlab import zoo
from cnnlab.cli import app


def test_table_names_every_network_and_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 0
    for entry in zoo.models:
        assert entry.name in result.output
        assert f"{entry.facts.parameters:,}" in result.output


def test_pattern_and_json() -> None:
    result = CliRunner().invoke(app, ["models", "resnet2*", "--json"])
    assert result.exit_code == 0
    (row,) = json.loads(result.output)
    assert (row["name"], row["year"], row["parameters"], row["min_size"]) == ("resnet20", 2015, 269_722, 4)
    assert row["options"] == {}
    assert "arxiv.org" in row["url"]


def test_pattern_that_matches_nothing_is_wrong_use() -> None:
    result = CliRunner().invoke(app, ["models", "resnt18"])
    assert result.exit_code == 2
    assert 'Did you mean "resnet18"?' in result.stderr
    assert result.stdout == ""
