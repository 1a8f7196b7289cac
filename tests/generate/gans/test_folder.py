"""The run folder of a GAN: what is in it, going on in it, measures of its generator."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from matplotlib.figure import Figure
from PIL import Image

from cnnlab.data import ArraySplit, ImageData
from cnnlab.errors import CheckpointError, RunError, UsageError
from cnnlab.generate.gans.assessment import assess, judge_images
from cnnlab.generate.gans.continuation import resume_gan
from cnnlab.generate.gans.folder import GanFolder
from cnnlab.generate.gans.loop import fit_gan
from cnnlab.generate.gans.pair import generate
from cnnlab.generate.gans.pictures import grid, interpolate, neighbour_figure, write_gif
from cnnlab.generate.gans.recorder import GanRecorder
from cnnlab.generate.gans.session import seeded_noise
from cnnlab.runs import Run, list_runs, open_run
from cnnlab.runs.classifier import Classifier, open_classifier
from cnnlab.runs.training_folder import kind_of_run
from cnnlab.training import Event, StepDone
from tests.generate.gans.helpers_gans import tiny_gan
from tests.helpers import make_bars


def run_all(events: Iterator[Event], recorder: GanRecorder) -> GanFolder:
    for _ in recorder.record(events):
        pass
    assert recorder.run is not None
    return recorder.run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> GanFolder:
    """A finished run. Do not change it: copy it first."""
    folder = tmp_path_factory.mktemp("gan") / "run"
    return run_all(fit_gan(tiny_gan(), data=make_bars()), GanRecorder(folder))


def test_files_of_a_run(finished: GanFolder) -> None:
    assert finished.status == "completed"
    assert finished.recipe == tiny_gan(image_size=8, channels=1)
    assert [row["epoch"] for row in finished.metrics] == [1, 2]
    assert all(math.isfinite(value) for row in finished.metrics for value in row.values())
    assert [path.name for path in finished.sample_files()] == ["epoch-0000.png", "epoch-0001.png", "epoch-0002.png"]
    assert {path.name for path in finished.figures.iterdir()} == {"losses.png", "interpolation.png", "samples.gif"}
    page = finished.report_file.read_text("utf-8")
    assert "2 of 2 epochs" in page
    assert page.count("data:image/png") == 2, "samples and interpolation; nothing is measured yet"
    assert page.count("data:image/gif") == 1
    assert "networks: dcgan32" in page
    assert "http" not in page.replace("http://www.w3.org", ""), "it needs no other file"
    with Image.open(finished.figures / "samples.gif") as gif:
        assert gif.n_frames == 3  # type: ignore[attr-defined]
    events = [json.loads(line)["event"] for line in (finished.path / "events.jsonl").read_text().splitlines()]
    assert events[0] == "Started"
    assert events[-1] == "GanFinished"
    assert events.count("GanEpoch") == 2


def test_the_saved_generator_made_the_last_samples(finished: GanFolder) -> None:
    """It is the moving average; with the fixed noise it makes the picture of the last epoch."""
    noise = seeded_noise(9, 5, 0, 2**40)
    picture = grid(generate(finished.generator(), noise))
    with Image.open(finished.samples_file(2)) as saved:
        assert np.array_equal(np.asarray(saved), picture)


def noted_steps(events: Iterator[Event], made: list[Event]) -> Iterator[Event]:
    """Pass events on, and add those of steps to ``made``."""
    for event in events:
        if isinstance(event, StepDone):
            made.append(event)
        yield event


def test_a_stopped_run_goes_on_to_the_same_files(finished: GanFolder, tmp_path: Path) -> None:
    """Stopped in the middle of the second epoch, as Ctrl-C does."""
    made: list[Event] = []
    recorder = GanRecorder(tmp_path / "run", stop=lambda: len(made) == 4)
    run = run_all(noted_steps(fit_gan(tiny_gan(), data=make_bars()), made), recorder)
    assert recorder.interrupted
    assert (run.status, run.summary["epochs_done"]) == ("interrupted", 1)
    run = run_all(resume_gan(GanFolder(run.path), data=make_bars()), GanRecorder(run=run))
    assert run.finished
    for file in ("model.safetensors", "samples/epoch-0002.png", "figures/interpolation.png"):
        assert (run.path / file).read_bytes() == (finished.path / file).read_bytes(), file
    timed = ("seconds", "images_per_second")
    ours, theirs = ([{k: v for k, v in row.items() if k not in timed} for row in r.metrics] for r in (run, finished))
    assert ours == theirs
    with pytest.raises(RunError, match="finished after 2 epochs"):
        resume_gan(run, data=make_bars())


@pytest.mark.slow
def test_a_killed_process_loses_at_most_an_epoch(tmp_path: Path) -> None:
    """SIGKILL in the middle; resumed, the run ends with the same bits as one that was left in peace."""
    settings = ["stable32", "--data", "digits", "image_size=8", "options.width=8", "epochs=4", "device=cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cnnlab", "gan", *settings, "--out", str(tmp_path / "part"), "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "GanEpoch":
            break
    time.sleep(0.1)  # within the second epoch
    process.kill()
    process.communicate()
    part = GanFolder(tmp_path / "part")
    assert not part.finished
    run_all(resume_gan(part), GanRecorder(run=part))
    whole = run_all(fit_gan(part.recipe), GanRecorder(tmp_path / "whole"))
    tensors = safetensors.torch.load_file(part.state)
    for name, value in safetensors.torch.load_file(whole.state).items():
        assert torch.equal(tensors[name], value), name
    for file in ("model.safetensors", "samples/epoch-0004.png", "figures/interpolation.png"):
        assert (part.path / file).read_bytes() == (whole.path / file).read_bytes(), file


def test_a_damaged_state_names_the_one_before_it(finished: GanFolder, tmp_path: Path) -> None:
    run = GanFolder(shutil.copytree(finished.path, tmp_path / "run"))
    run.update_summary(status="interrupted")
    run.state.write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="--previous"):
        resume_gan(run, data=make_bars())
    assert run_all(resume_gan(run, data=make_bars(), previous=True), GanRecorder(run=run)).finished
    assert (run.path / "model.safetensors").read_bytes() == (finished.path / "model.safetensors").read_bytes()


def test_runs_of_gans_and_of_classifiers_do_not_mix(finished: GanFolder, tiny_run: Run) -> None:
    assert (kind_of_run(finished.path), kind_of_run(tiny_run.path)) == ("GAN", "classifier")
    assert list_runs(finished.path.parent) == []
    with pytest.raises(RunError, match="is the run of a GAN, and the run of a classifier is needed"):
        open_run(finished.path)
    with pytest.raises(RunError, match="is the run of a classifier, and the run of a GAN is needed"):
        GanFolder(tiny_run.path)


# Pictures ------------------------------------------------------------------------------------------------------------


def test_a_grid_has_the_images_in_rows() -> None:
    pixels = torch.arange(5, dtype=torch.uint8).mul(50).view(5, 1, 1, 1).expand(5, 1, 48, 48)
    picture = grid(pixels, columns=3)
    assert picture.shape == (2 * 48 + 2, 3 * 48 + 2 * 2, 3)
    assert [int(picture[10, 50 * column + 10, 0]) for column in range(3)] == [0, 50, 100]
    assert [int(picture[60, 50 * column + 10, 0]) for column in range(3)] == [150, 200, 255]


def test_interpolation_begins_and_ends_at_the_noise(finished: GanFolder) -> None:
    generator, noise = finished.generator(), torch.rand(2, 3, 5) * 2 - 1
    images = interpolate(generator, noise, steps=4)
    assert images.shape == (3, 4, 1, 8, 8)
    between = generate(generator, noise[0] + (noise[1] - noise[0]) / 3)
    for position, expected in ((0, generate(generator, noise[0])), (1, between), (3, generate(generator, noise[1]))):
        assert (images[:, position].int() - expected.int()).abs().max() <= 1


def test_a_gif_shows_at_most_sixty_pictures(tmp_path: Path) -> None:
    files = []
    for number in range(70):
        files.append(tmp_path / f"{number:02d}.png")
        Image.new("RGB", (4, 4), (3 * number, 0, 0)).save(files[-1])
    with Image.open(write_gif(files, tmp_path / "all.gif")) as gif:
        assert gif.n_frames == 60  # type: ignore[attr-defined]
        assert gif.convert("RGB").getpixel((0, 0)) == (0, 0, 0)
        gif.seek(59)
        assert gif.convert("RGB").getpixel((0, 0)) == (207, 0, 0)
        assert gif.info["duration"] == 2000


# Measures ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge(tiny_run: Run) -> Classifier:
    return open_classifier(tiny_run)


def test_a_judge_says_the_same_as_ever(judge: Classifier) -> None:
    """Answers are those of its logits; the features with its last layer give them too."""
    pixels = torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    judged = judge_images(judge, pixels, batch_size=3)
    logits = judge.logits(pixels)
    assert judged.answers.tolist() == logits.argmax(1).tolist()
    head = judge.model.get_submodule(judge.model.last_layer)  # type: ignore[operator, arg-type]
    with torch.no_grad():
        np.testing.assert_allclose(head(torch.from_numpy(judged.features)), logits, rtol=1e-4, atol=1e-5)


def test_measures_of_a_generator(finished: GanFolder, judge: Classifier, tmp_path: Path) -> None:
    run = GanFolder(shutil.copytree(finished.path, tmp_path / "run"))
    data = make_bars()
    data.classes[:] = judge.classes[:3]
    named = ImageData("digits", judge.classes, data.train, None, data.test, "made up")
    values = assess(run, judge, data=named, samples=20)
    assert run.summary["measures"] == values
    assert sum(values["class_counts"].values()) == 20
    assert 1 <= values["effective_classes"] <= 10
    assert values["frechet"] > values["frechet_held_out"] > 0
    assert 0 <= values["median_percentile"] <= 100
    assert (run.figures / "nearest.png").is_file()
    assert (run.figures / "classes.png").is_file()
    page = run.report_file.read_text("utf-8")
    assert f"{values['effective_classes']:.2f} of 10 effective classes" in page
    assert "all classes equally frequent" in page
    with pytest.raises(UsageError, match="classifier that was trained on bars"):
        assess(run, judge, data=make_bars())


def test_what_a_judge_said_of_an_earlier_generator_does_not_hold(
    tmp_path: Path, judge: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the first epoch, judged, gone on with, and measured without a judge."""
    for module in ("assessment.neighbour_figure", "assessment.class_figure", "recorder.loss_curves"):
        monkeypatch.setattr(f"cnnlab.generate.gans.{module}", lambda *_: Figure((1, 1)))
    made: list[Event] = []
    bars = make_bars()
    data = ImageData("digits", judge.classes, bars.train, None, bars.test, "made up")
    recorder = GanRecorder(tmp_path / "run", stop=lambda: len(made) == 4)
    run = run_all(noted_steps(fit_gan(tiny_gan(), data=data), made), recorder)
    judged = assess(run, judge, data=data, samples=20)
    assert judged["epoch"] == 1
    assess(run, data=data, samples=20)
    assert run.measures == judged, "of the same generator, what the judge said still holds"
    run = run_all(resume_gan(GanFolder(run.path), data=data), GanRecorder(run=run))
    assert run.measures == {}
    page = run.report_file.read_text("utf-8")
    assert "2 of 2 epochs" in page
    assert "Are they copies?" not in page
    values = assess(run, data=data, samples=20)
    assert values["epoch"] == 2
    assert run.summary["measures"] == run.measures == values
    assert "frechet" not in values
    assert not (run.figures / "classes.png").exists()
    assert "effective classes" not in run.report_file.read_text("utf-8")


@pytest.mark.parametrize("flip", [True, False])
def test_mirrored_copies_are_told_where_the_recipe_mirrors(
    finished: GanFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flip: bool
) -> None:
    run = GanFolder(shutil.copytree(finished.path, tmp_path / "run"))
    run.write_recipe(run.recipe.with_overrides(flip=flip))
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8, generator=random)
    splits = [ArraySplit(part, torch.zeros(len(part), dtype=torch.int64)) for part in pixels.split((20, 30))]
    data = ImageData("noise", ["noise"], splits[0], None, splits[1], "made up")
    mirrored, drawn = pixels[:10].flip(-1), list[tuple[torch.Tensor, torch.Tensor]]()

    def draw(samples: torch.Tensor, nearest: torch.Tensor, percentiles: np.ndarray) -> Figure:
        drawn.append((samples, nearest))
        return neighbour_figure(samples, nearest, percentiles)

    monkeypatch.setattr("cnnlab.generate.gans.assessment.generate", lambda generator, noise: mirrored[: len(noise)])
    monkeypatch.setattr("cnnlab.generate.gans.assessment.neighbour_figure", draw)
    values = assess(run, data=data, samples=10)
    assert (values["copied"] == 1) == flip
    ((samples, nearest),) = drawn
    assert torch.equal(samples, nearest) == flip


def test_a_generator_that_copies_is_told(finished: GanFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images are the training images: the nearest ones are at distance 0, and all are copies."""
    run = GanFolder(shutil.copytree(finished.path, tmp_path / "run"))
    data = make_bars(n_train=20)
    assert isinstance(data.train, ArraySplit)
    pixels = data.train.pixels
    monkeypatch.setattr("cnnlab.generate.gans.assessment.generate", lambda generator, noise: pixels[: len(noise)])
    values = assess(run, data=data, samples=10)
    assert (values["copied"], values["median_percentile"]) == (1.0, 0.0)
