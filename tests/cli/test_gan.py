"""``cnnlab gan``: trains, measures, goes on with ``resume``, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from cnnlab.generate.gans.folder import GanFolder
from cnnlab.runs import Run
from tests.cli.helpers import cnnlab

TINY = ("networks=dcgan32", "options.width=2", "noise_size=4", "image_size=8", "train_limit=100", "epochs=1")


@pytest.mark.slow
def test_train_measure_and_resume(tmp_path: Path, tiny_run: Run) -> None:
    out = tmp_path / "run"
    result = cnnlab("gan", "vanilla", *TINY, "--data", "digits", "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "loss discriminator" in result.stderr
    assert "copies of training images" in result.stdout
    assert f"cnnlab gan {out} --judge RUN" in result.stderr
    result = cnnlab("gan", out, "--judge", tiny_run.path, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "effective classes" in result.stdout
    assert "Fréchet distance" in result.stdout
    rows = json.loads(cnnlab("runs", tmp_path, "--json").stdout)
    assert [(row["model"], row["data"], row["status"]) for row in rows] == [("vanilla (GAN)", "digits", "completed")]
    result = cnnlab("report", out)
    assert result.stdout == f"report: {out / 'report.html'}\n"
    result = cnnlab("resume", out)
    assert result.exit_code == 1
    assert "finished after 1 epochs" in result.stderr
    run = GanFolder(out)
    run.update_summary(status="interrupted")
    result = cnnlab("resume", out, "--json")
    assert result.exit_code == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events] == ["Started", "GanFinished", "Measures"]
    assert run.finished


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name one GAN: dcgan, least-squares, stable32, vanilla"),
        (("dcgan", "vanilla"), "Name one GAN"),
        (("dcgam",), 'Did you mean "dcgan"'),
        (("dcgan", "loss=wgan"), "expected vanilla, least_squares, hinge, got 'wgan'.\n"),
        (("dcgan", "lrr=1"), 'Did you mean "lr"'),
        (("dcgan", "--data", "digits"), "a multiple of 4 and at least 16, not 8"),
        (("stable32", "--data", "digits", "image_size=28"), "image_size=32"),
        (("dcgan", "options.width=3", "--data", "digits", "image_size=16"), 'no option of dcgan28 "width"'),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cnnlab("gan", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_recipe_goes_before_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dcgan").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "got 'wgan'" in cnnlab("gan", "dcgan", "loss=wgan").stderr
    assert "no run" in cnnlab("gan", "./dcgan").stderr.lower()


def test_a_judge_of_other_classes_is_refused_before_the_training(
    tmp_path: Path, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (16, 16), (80 * number, 0, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    result = cnnlab("gan", "dcgan", "image_size=16", "--data", "photos", "--judge", tiny_run.path)
    assert result.exit_code == 2
    assert "tells apart 0, 1, 2, ..., and" in result.stderr
    assert "has the classes cat, dog" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_is_no_gan(tmp_path: Path, tiny_run: Run) -> None:
    assert "no run folder" in cnnlab("gan", tmp_path).stderr
    assert "the run of a GAN is needed" in cnnlab("gan", tiny_run.path).stderr
    assert "it takes no settings (epochs=3, --seed)" in cnnlab("gan", tiny_run.path, "epochs=3", "--seed", 1).stderr


def test_keys_are_listed() -> None:
    rows = json.loads(cnnlab("gan", "--keys", "--json").stdout)
    assert {"key": "noise_size", "default": "96"}.items() <= rows[
        2 + [r["key"] for r in rows].index("networks")
    ].items()
    assert all(row["meaning"] for row in rows)
