"""``cnnlab models`` as typer's runner sees it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cnnlab import zoo
from cnnlab.cli import app


@pytest.mark.parametrize("columns", [80, 200])
def test_table_has_a_line_per_network(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len(lines) == 1 + len(zoo.models)
    for entry, line in zip(zoo.models, lines[1:], strict=True):
        assert line.split()[:3] == [entry.name, str(entry.facts.year), f"{entry.facts.parameters:,}"]
        assert entry.facts.paper[:15] in line


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
