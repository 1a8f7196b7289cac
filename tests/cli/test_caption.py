"""``cnnlab caption``: trains, scores, describes photos and images of the data, and says what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from cnnlab.generate.captions.folder import CaptionFolder
from cnnlab.generate.captions.scenes import make_scenes
from cnnlab.runs import Run
from tests.cli.helpers import cnnlab

TINY = ("data_options={count: 60, size: 32}", "epochs=1", "hidden_size=8", "encoder_options.widths=[4, 8]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> CaptionFolder:
    """A finished run. Do not change it."""
    out = tmp_path_factory.mktemp("caption") / "run"
    result = cnnlab("caption", "train", *TINY, "--beam", "1", "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "word loss" in result.stderr
    assert "new images" in result.stdout
    assert "unseen combinations" in result.stdout
    assert f"cnnlab caption sample {out}" in result.stderr
    return CaptionFolder(out)


def test_scores_are_written_into_the_run(run: CaptionFolder) -> None:
    scores = run.summary["scores"]
    assert set(scores) == {"test", "held_out"}
    assert set(scores["test"]["concepts"]) == {"colour", "shape", "pair", "count", "position", "scene"}
    assert (run.path / "captions-test.csv").is_file()
    assert (run.path / "captions-held_out.csv").is_file()


def test_images_of_the_data_are_described(run: CaptionFolder, tmp_path: Path) -> None:
    figure = tmp_path / "grid.png"
    result = cnnlab("caption", "sample", run.path, "--split", "test", "-n", 3, "--json", "-f", figure)
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["captions"]
    assert [row["image"] for row in rows] == [0, 1, 2]
    assert all(len(row["references"]) == 4 and row["log_probability"] < 0 for row in rows)
    assert figure.is_file()
    lines = cnnlab("caption", "sample", run.path, "-n", 2).stdout.splitlines()
    assert lines[0].split() == ["image", "caption", "a", "reference"]
    assert len(lines) == 3


def test_photos_are_described(run: CaptionFolder, tmp_path: Path) -> None:
    pixels, _ = make_scenes(1, 48, seed=5)
    Image.fromarray(pixels[0].transpose(1, 2, 0)).save(tmp_path / "scene.png")
    figure = tmp_path / "attention.png"
    result = cnnlab("caption", "sample", run.path, tmp_path / "scene.png", "-f", figure)
    assert result.exit_code == 0, result.stderr
    assert "scene.png" in result.stdout
    assert figure.is_file()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    result = cnnlab("caption", "sample", run.path, tmp_path / "scene.png", tmp_path / "broken.png", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert [len(answer[key]) for key in ("captions", "failed")] == [1, 1]
    assert "broken.png" in result.stderr


def test_a_run_goes_on(run: CaptionFolder, tmp_path: Path) -> None:
    assert "finished after 1 epochs" in cnnlab("resume", run.path).stderr
    other = tmp_path / "other"
    shutil.copytree(run.path, other)
    CaptionFolder(other).update_summary(status="interrupted")
    result = cnnlab("resume", other, "--json")
    assert result.exit_code == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events] == ["Started", "CaptionsFinished", "Scores"]
    assert (events[-1]["beam"], events[-1]["scores"]) == (1, run.summary["scores"]), "scored as the run was"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "atention"), 'Did you mean "attention"'),
        (("train", "lstm", "rnn"), "One recipe at a time"),
        (("train", "lrr=1"), 'Did you mean "lr"'),
        (("train", "--beam", "0"), "The width of the beam is 0"),
        (("train", "encoder=resnet81"), 'no encoder "resnet81"'),
        (("train", "--data", "nowhere/at/all"), "nowhere/at/all"),
        (("train", "lstm", "coverage=1"), "decoder lstm has none"),
        (("sample", "RUN", "--beam", "0"), "The width of the beam is 0"),
        (("sample", "RUN", "--split", "tests"), 'Did you mean "test"'),
        (("sample", "nowhere"), "there is no such folder"),
    ],
)
def test_wrong_use(
    arguments: tuple[str, ...], message: str, run: CaptionFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cnnlab("caption", *(str(run.path) if argument == "RUN" else argument for argument in arguments))
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_kind(tiny_run: Run) -> None:
    assert "the run of a captioning network is needed" in cnnlab("caption", "sample", tiny_run.path).stderr


def test_keys_are_listed() -> None:
    rows = json.loads(cnnlab("caption", "train", "--keys", "--json").stdout)
    assert {"decoder", "coverage", "captions_per_image"} <= {row["key"] for row in rows}
    assert all(row["meaning"] for row in rows)
