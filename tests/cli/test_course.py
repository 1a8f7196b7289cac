"""``cnnlab course link``."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.helpers import cnnlab


def test_link(tmp_path: Path) -> None:
    result = cnnlab("course", "link", tmp_path)
    assert result.exit_code == 0
    assert str(tmp_path / "cs231n") in result.output
    assert (tmp_path / "cs231n" / "layers.py").is_file()
    values = json.loads(cnnlab("course", "link", tmp_path, "--json").stdout)
    assert values["moved"] is None
    assert "classifiers/fc_net.py" in values["files"]


def test_somebody_s_own_package(tmp_path: Path) -> None:
    (tmp_path / "cs231n").mkdir()
    (tmp_path / "cs231n" / "layers.py").write_text("mine")
    refused = cnnlab("course", "link", tmp_path)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    moved = cnnlab("course", "link", tmp_path, "--force")
    assert moved.exit_code == 0
    assert str(tmp_path / "cs231n-before-link") in moved.output


def test_a_module_of_the_student_s_own_is_named_where_it_is_now(tmp_path: Path) -> None:
    cnnlab("course", "link", tmp_path)
    own = tmp_path / "cs231n" / "layers.py"
    own.write_text("mine")
    assert f"{own}.before-link" in cnnlab("course", "link", tmp_path).output
    own.write_text("mine again")
    values = json.loads(cnnlab("course", "link", tmp_path, "--json").stdout)
    assert values["moved_files"] == [f"{own}.before-link-2"]


def test_wrong_use(tmp_path: Path) -> None:
    assert cnnlab("course", "unlink", tmp_path).exit_code == 2
    assert cnnlab("course", "link", tmp_path / "nowhere").exit_code == 2
