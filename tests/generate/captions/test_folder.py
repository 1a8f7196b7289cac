"""The run folder of a captioning network: what is in it, going on in it, using its network, pictures."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.data import ArraySplit
from cnnlab.errors import CheckpointError, DataError, RunError, ShapeError, UsageError
from cnnlab.generate.captions.assessment import score_split
from cnnlab.generate.captions.captioner import Captioner
from cnnlab.generate.captions.continuation import resume_captions
from cnnlab.generate.captions.data import CaptionData, CaptionSplit
from cnnlab.generate.captions.decode import greedy
from cnnlab.generate.captions.folder import CaptionFolder
from cnnlab.generate.captions.loop import fit_captions
from cnnlab.generate.captions.pictures import attention_figure, caption_grid, shaded
from cnnlab.generate.captions.recorder import CaptionRecorder
from cnnlab.generate.captions.vocabulary import Vocabulary
from cnnlab.runs import Run, list_runs, open_run
from cnnlab.runs.training_folder import kind_of_run
from cnnlab.training import Event, StepDone
from tests.generate.captions.helpers_captions import make_squares, tiny_captions, with_features


def run_all(events: Iterator[Event], recorder: CaptionRecorder) -> CaptionFolder:
    for _ in recorder.record(events):
        pass
    assert recorder.run is not None
    return recorder.run


@pytest.fixture(scope="module")
def data() -> CaptionData:
    return make_squares()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: CaptionData) -> CaptionFolder:
    """A finished run. Do not change it: copy it first."""
    folder = tmp_path_factory.mktemp("captions") / "run"
    return run_all(fit_captions(tiny_captions(), data=data), CaptionRecorder(folder))


def test_files_of_a_run(finished: CaptionFolder) -> None:
    assert finished.status == "completed"
    assert finished.recipe == tiny_captions(image_size=16)
    assert [row["epoch"] for row in finished.metrics] == [1, 2]
    assert all(math.isfinite(value) for row in finished.metrics for value in row.values())
    assert {path.name for path in finished.figures.iterdir()} == {"training.png", "captions.png", "attention.png"}
    events = [json.loads(line)["event"] for line in (finished.path / "events.jsonl").read_text().splitlines()]
    assert (events[0], events[-1]) == ("Started", "CaptionsFinished")
    assert events.count("CaptionEpoch") == 2


def test_the_saved_network_says_what_the_trained_one_says(finished: CaptionFolder, data: CaptionData) -> None:
    *_, last = fit_captions(tiny_captions(), data=data)
    session = last.session
    captioner = finished.captioner("cpu")
    assert captioner.vocabulary == data.vocabulary
    (_, described), *_ = captioner.describe_split(data.val, torch.arange(8), width=1)
    network = session.network.eval()  # type: ignore[attr-defined]
    with torch.no_grad():
        features = network.encoder(captioner.inputs(data.val, torch.arange(8)))
    expected = greedy(network.decoder, features, data.vocabulary, captioner.max_length)
    assert torch.equal(described.decoded.captions, expected.captions)
    assert described.sentences == data.vocabulary.decode(expected.captions)


def test_photos_are_described_as_images_of_the_data(finished: CaptionFolder, data: CaptionData, tmp_path: Path) -> None:
    """From a file, an array or a tensor: the same sentence."""
    captioner = finished.captioner("cpu")
    assert isinstance(data.val.images, ArraySplit)
    pixels = data.val.images.pixels[0]
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    (_, expected), *_ = captioner.describe_split(data.val, torch.tensor([0]))
    for photo in (tmp_path / "a.png", pixels, pixels.permute(1, 2, 0).numpy()):
        described = captioner.describe_photos([photo])
        assert described.sentences == expected.sentences
        torch.testing.assert_close(described.decoded.log_probability, expected.decoded.log_probability)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        captioner.describe_photos([tmp_path / "broken.png"])


def test_a_stopped_run_goes_on_to_the_same_files(finished: CaptionFolder, data: CaptionData, tmp_path: Path) -> None:
    """Stopped in the middle of the second epoch, as Ctrl-C does."""
    made = 0

    def count(events: Iterator[Event]) -> Iterator[Event]:
        nonlocal made
        for event in events:
            made += isinstance(event, StepDone)
            yield event

    recorder = CaptionRecorder(tmp_path / "run", stop=lambda: made == 4)
    run = run_all(count(fit_captions(tiny_captions(), data=data)), recorder)
    assert recorder.interrupted
    assert (run.status, run.summary["epochs_done"]) == ("interrupted", 1)
    run = run_all(resume_captions(CaptionFolder(run.path), data=data), CaptionRecorder(run=run))
    assert run.finished
    for file in ("model.safetensors", "model.json", "figures/captions.png"):
        assert (run.path / file).read_bytes() == (finished.path / file).read_bytes(), file
    timed = ("seconds", "images_per_second")
    ours, theirs = ([{k: v for k, v in row.items() if k not in timed} for row in r.metrics] for r in (run, finished))
    assert ours == theirs
    with pytest.raises(RunError, match="finished after 2 epochs"):
        resume_captions(run, data=data)


def test_a_damaged_state_names_the_one_before_it(finished: CaptionFolder, data: CaptionData, tmp_path: Path) -> None:
    run = CaptionFolder(shutil.copytree(finished.path, tmp_path / "run"))
    run.update_summary(status="interrupted")
    run.state.write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="--previous"):
        resume_captions(run, data=data)
    assert run_all(resume_captions(run, data=data, previous=True), CaptionRecorder(run=run)).finished
    assert (run.path / "model.safetensors").read_bytes() == (finished.path / "model.safetensors").read_bytes()


def test_runs_of_captions_and_of_classifiers_do_not_mix(finished: CaptionFolder, tiny_run: Run) -> None:
    assert kind_of_run(finished.path) == "captioning network"
    assert list_runs(finished.path.parent) == []
    with pytest.raises(RunError, match="a classifier is needed"):
        open_run(finished.path)
    with pytest.raises(RunError, match="is the run of a classifier"):
        CaptionFolder(tiny_run.path)


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """SIGKILL in the middle of a real training on scenes; what was saved is enough."""
    settings = ["data_options={count: 400, size: 32}", "epochs=3", "hidden_size=32", "val_limit=50", "device=cpu"]
    command = [sys.executable, "-m", "cnnlab", "caption", "train", *settings, "--beam", "1", "--out"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, tmp_path / "whole"], check=True, env=environment, capture_output=True)
    process = subprocess.Popen([*command, tmp_path / "killed"], env=environment, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "killed" / "metrics.csv"
    while not metrics.is_file() or len(metrics.read_text().splitlines()) < 2:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not CaptionFolder(tmp_path / "killed").finished
    resume = [sys.executable, "-m", "cnnlab", "resume", tmp_path / "killed"]
    subprocess.run(resume, check=True, env=environment, capture_output=True)
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


# Scores --------------------------------------------------------------------------------------------------------------


def test_sentences_are_written_beside_their_references(
    finished: CaptionFolder, data: CaptionData, tmp_path: Path
) -> None:
    run = CaptionFolder(shutil.copytree(finished.path, tmp_path / "run"))
    score = score_split(run.captioner("cpu"), data.val, width=1, limit=5)
    assert (score.images, len(score.sentences), score.concepts) == ([0, 1, 2, 3, 4], 5, {})
    assert 0 <= score.bleu <= 1
    path = run.write_captions("val", [(n, text, data.val.references(n)) for n, text in enumerate(score.sentences)])
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["caption"] for row in rows] == score.sentences
    assert rows[0]["references"] == " | ".join(data.val.references(0))


def test_data_that_a_network_cannot_describe(finished: CaptionFolder, data: CaptionData) -> None:
    captioner, rows = finished.captioner("cpu"), torch.arange(2)
    with pytest.raises(UsageError, match="the data has features only"):
        captioner.inputs(with_features(data).val, rows)
    words = [*data.vocabulary.words[:6], "cat", *data.vocabulary.words[7:]]
    other = CaptionSplit(Vocabulary(words), data.val.captions, data.val.image_of, images=data.val.images)
    with pytest.raises(DataError, match=f'position 6 they have "cat" and "{data.vocabulary.words[6]}"'):
        next(captioner.describe_split(other, rows))


def test_features_of_another_width_are_refused(data: CaptionData, tmp_path: Path) -> None:
    features = with_features(data)
    recipe = tiny_captions(encoder="given", encoder_options={}, decoder="rnn", coverage=0.0, epochs=1)
    run = run_all(fit_captions(recipe, data=features), CaptionRecorder(tmp_path / "run"))
    assert {path.name for path in run.figures.iterdir()} == {"training.png"}
    captioner: Captioner = run.captioner("cpu")
    assert len(captioner.describe(captioner.inputs(features.val, torch.arange(3))).sentences) == 3
    assert features.val.features is not None
    narrow = CaptionSplit(
        data.vocabulary, data.val.captions, data.val.image_of, features=np.asarray(features.val.features)[:, :40]
    )
    with pytest.raises(ShapeError, match=r"shape \(40,\) per image, and run was trained on \(48,\)"):
        captioner.inputs(narrow, torch.arange(2))
    with pytest.raises(UsageError, match="a photo has none"):
        captioner.describe_photos([np.zeros((8, 8, 3), np.uint8)])


# Pictures ------------------------------------------------------------------------------------------------------------


def test_the_place_that_is_looked_at_is_bright() -> None:
    picture = np.full((40, 40, 3), 200, np.uint8)
    attention = np.zeros((4, 4))
    attention[0, 3] = 0.5
    result = shaded(picture, attention)
    assert result[3, 36, 0] == 200, "the most is looked at in the upper right corner"
    assert result[36, 3, 0] == 50, "a quarter of the brightness where nothing is looked at"


def test_figures_have_a_picture_for_each_word_and_each_image() -> None:
    pixels = torch.zeros(3, 16, 16, dtype=torch.uint8)
    figure = attention_figure(pixels, ["a", "red", "square"], torch.rand(6, 4, 4))
    assert [text.get_text() for text in figure.axes[0].texts] == ["", "a", "red", "square"]
    grid = caption_grid([pixels, pixels], ["a red square on the left of a blue one", ""], ["x", "y"])
    texts = [text.get_text().split("\n") for text in grid.axes[0].texts]
    assert texts == [["a red square on the left of", "a blue one", "—", "x"], ["(nothing)", "—", "y"]]
