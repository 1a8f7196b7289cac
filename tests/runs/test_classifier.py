"""A network that knows how to be used: from a run, a model file, or public weights, and never one that answers NaN."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from typer.testing import CliRunner

from cnnlab.cli import app
from cnnlab.data import Preprocess
from cnnlab.errors import CheckpointError, ModelError, RunError, UsageError
from cnnlab.runs import Classifier, Run, open_classifier
from cnnlab.runs.classifier import initial_model
from cnnlab.runs.predict import predict
from tests.runs.helpers_runs import copy_run


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    path = tmp_path / "three.png"
    Image.fromarray((load_digits().images[3] * 15).astype(np.uint8)).save(path)
    return path


def break_weights(run: Run, value: float) -> str:
    """Put ``value`` into one weight of a run and return the weight's name."""
    path = run.path / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    weights[name].view(-1)[0] = value
    safetensors.torch.save_file(weights, path)
    return name


def test_a_run_a_model_file_and_either_of_its_files_are_the_same_network(
    tiny_run: Run, tmp_path: Path, digit: Path
) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    for name in ("model.safetensors", "model.json"):
        shutil.copy(tiny_run.path / name, folder)
    want = tiny_run.predict(digit)[0].top
    for source in (tiny_run.path, folder, folder / "model.safetensors", folder / "model.json"):
        classifier = open_classifier(source)
        assert classifier.classes == tiny_run.classes
        assert not classifier.model.training
        top = predict(classifier, digit)[0].top
        assert [label for label, _ in top] == [label for label, _ in want]
        # A GPU may choose another kernel the second time, so the last bits are not compared.
        np.testing.assert_allclose([chance for _, chance in top], [chance for _, chance in want], rtol=1e-6)
    assert open_classifier(folder).name == "exported"
    assert open_classifier(classifier) is classifier
    (folder / "model.json").unlink()
    with pytest.raises(RunError, match="no run folder"):
        open_classifier(folder / "model.safetensors")


def test_scores_and_probabilities_are_those_of_the_network(tiny_run: Run, digit: Path) -> None:
    classifier = tiny_run.classifier()
    pixels = tiny_run.preprocess.pixels(digit)[None]
    with torch.no_grad():
        logits = tiny_run.model()(tiny_run.preprocess(digit))
    np.testing.assert_allclose(classifier.logits(pixels), logits.numpy(), rtol=1e-5, atol=1e-5)
    probabilities = classifier.probabilities(pixels)
    np.testing.assert_allclose(probabilities, logits.double().softmax(1).numpy(), rtol=1e-5)
    label, share = classifier.top(probabilities[0], 2)[0]
    assert (label, share) == (tiny_run.classes[int(logits.argmax())], probabilities.max())


def test_a_run_computes_as_it_was_trained_and_explanations_in_float32(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    run.write_recipe(run.recipe.model_copy(update={"precision": "bf16", "channels_last": True}))
    assert open_classifier(run).precision.label == "bf16 channels_last"
    assert open_classifier(run, as_trained=False).precision.label == "fp32"


def test_one_photo_is_decoded_once_for_the_network_and_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    preprocess = Preprocess(64, 3, (0.5,) * 3, (0.5,) * 3, resize="crop")
    classifier = Classifier("c", "", nn.Identity(), preprocess, ["a"])
    image, picture = classifier.views(photo)
    assert torch.equal(image, preprocess(photo)[0])
    assert picture.shape == (448, 448, 3)
    assert np.array_equal(picture, replace(preprocess, size=448).pixels(photo).permute(1, 2, 0))
    assert torch.equal(image, classifier.input(photo))
    with pytest.warns(DeprecationWarning, match=r"Classifier\.input"):
        assert torch.equal(classifier.see(photo), image)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_every_command(
    tiny_run: Run, tmp_path: Path, digit: Path, value: float
) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    name = break_weights(run, value)
    with pytest.raises(CheckpointError, match=rf'NaN or infinite values \(\d+\), the first of them in "{name}"'):
        run.predict(digit)
    for command in (
        ["predict", run.path, digit, "--json"],
        ["evaluate", run.path, "--json"],
        ["explain", run.path, digit],
    ):
        result = CliRunner().invoke(app, [str(part) for part in command])
        assert result.exit_code == 1
        assert result.stdout == ""


def test_scores_that_overflow_are_an_error() -> None:
    class Overflowing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :2] * torch.inf

    classifier = Classifier("huge", "", Overflowing().eval(), Preprocess(4, 1, (0.0,), (1.0,)), ["a", "b"])
    with pytest.raises(ModelError, match="huge gives scores that are not finite"):
        classifier.logits(torch.full((1, 1, 4, 4), 9, dtype=torch.uint8))


def test_a_damaged_model_file_is_named(tiny_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"format": 1, "classes": []}))
    with pytest.raises(CheckpointError, match=r"model\.json lacks"):
        open_classifier(folder)


def test_only_of_a_run_the_weights_before_training_are_known(tiny_run: Run) -> None:
    with pytest.raises(UsageError, match="comes with its weights"):
        initial_model("efficientnet_lite0")
    assert not initial_model(tiny_run.path).training


def test_the_old_name_still_opens(tiny_run: Run) -> None:
    from cnnlab.runs import inside

    with pytest.warns(DeprecationWarning, match="open_classifier"):
        assert inside.open_network(tiny_run).classes == tiny_run.classes


def test_who_predicts_loads_nothing_that_draws() -> None:
    code = "import sys, cnnlab.runs; print(*{'matplotlib', 'jinja2', 'cnnlab.explain'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
