"""``cnnlab compare``: runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

from cnnlab.runs import Run
from tests.cli.helpers import cnnlab
from tests.runs.helpers_runs import copy_run


def test_compare(tiny_run: Run, tmp_path: Path) -> None:
    other = copy_run(tiny_run, tmp_path / "other")
    (other.path / "recipe.yaml").write_text(other.recipe.model_copy(update={"lr": 0.25}).to_yaml())
    result = cnnlab("compare", tiny_run.path, other.path)
    assert result.exit_code == 0, result.stderr
    assert "McNemar p = 1" in result.stdout
    assert "0.25" in result.stdout
    assert "within what chance gives" in result.stdout
    values = json.loads(cnnlab("compare", tiny_run.path, other.path, "--json").stdout)
    assert list(values["differences"]) == ["lr"]
    assert cnnlab("compare", tiny_run.path).exit_code == 2
