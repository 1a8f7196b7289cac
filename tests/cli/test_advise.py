"""``cnnlab advise`` as a user sees it; the command it prints runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from cnnlab.advisor import screening
from cnnlab.runs import open_run
from tests.cli.helpers import cnnlab


@pytest.fixture(autouse=True)
def few_networks_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(screening, "list_models", lambda: ["convnet", "mlp", "mnist_cnn"])


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_the_printed_command_runs() -> None:
    result = cnnlab("advise", "digits", "--minutes", "0.1", "--budget", "10", "--device", "cpu", "--seed", "3")
    assert result.exit_code == 0, result.stderr
    text = result.stdout
    assert "1,438 images to learn from" in text
    assert "95% interval" in text
    assert "never on test images" in text
    (command, *_) = [line.strip() for line in text.splitlines() if line.strip().startswith("cnnlab train ")]
    trained = cnnlab(*shlex.split(command)[1:], "epochs=1", "--out", "run")
    assert trained.exit_code == 0, trained.stderr
    recipe = open_run("run").recipe
    assert (recipe.data, recipe.seed, recipe.device) == ("digits", 3, "cpu")


@pytest.mark.slow
def test_json_and_nothing_else() -> None:
    result = cnnlab("advise", "digits", "--minutes", "0.1", "--budget", "10", "--goal", "small", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert result.stderr == ""
    assert (answer["goal"], answer["minutes"], answer["data"]["classes"]) == ("small", 0.1, 10)
    for choice in answer["choices"]:
        assert choice["command"].startswith(f"cnnlab train {choice['name']} --data digits")
        assert 0 <= choice["interval"][0] <= choice["accuracy"] <= choice["interval"][1] <= 1
        assert choice["recipe"]["model"] == choice["name"]
    assert {tried["label"] for tried in answer["tried"]} >= {choice["label"] for choice in answer["choices"]}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["digts"], 2, 'Did you mean "digits"?'),
        (["digits", "--goal", "fast"], 2, "choose accuracy, speed or small"),
        (["digits", "--minutes", "0"], 2, "minutes must be above 0"),
        (["./nowhere"], 1, "There is no folder or CSV file"),
        (["digits", "--device", "tpu"], 2, "expected auto, cpu"),
        (["digits", "--layout", "flt"], 2, 'Did you mean "flat"?'),
        (["./labels.csv", "--label-column", "kind"], 2, "kind"),
    ],
)
def test_wrong_input(arguments: list[str], code: int, message: str) -> None:
    Path("labels.csv").write_text("file,label\na.png,cat\nb.png,dog\n")
    result = cnnlab("advise", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
