"""Training images of growing sizes, rarer evaluations, test-time augmentation, and weights that begin from images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cnnlab.data import ArraySplit, ImageData, Loader, Preprocess
from cnnlab.errors import RecipeError, TrainingError
from cnnlab.runs import Recorder, open_run, resume
from cnnlab.training import EpochDone, Event, Finished, Recipe, StepDone, fit, prepare
from cnnlab.training.evaluation import SixViews
from cnnlab.training.loop import tta_logits
from cnnlab.training.session import evaluation_loader
from tests.helpers import make_bars, tiny_recipe


def bars(size: int = 16) -> ImageData:
    return make_bars(n_train=48, n_val=0, size=size)


def sides_seen(recipe: Recipe, data: ImageData) -> list[int]:
    """The side of the training images of each step."""
    session = prepare(recipe, data)
    seen: list[int] = []
    session.model.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].shape[-1]) if module.training else None
    )
    for _ in fit(recipe, session=session):
        pass
    return seen


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], [16] * 36),
        ([8, 12, 16], [8] * 12 + [12] * 12 + [16] * 12),
        ([8, 20, 8, 16, 9], [8] * 8 + [20] * 7 + [8] * 7 + [16] * 7 + [9] * 7),  # within an epoch, too
        ([9], [9] * 36),
    ],
)
def test_sizes_share_out_the_steps(sizes: list[int], expected: list[int]) -> None:
    assert sides_seen(tiny_recipe(epochs=6, image_sizes=sizes), bars()) == expected  # six steps in an epoch


def test_sizes_share_out_the_time() -> None:
    seen = sides_seen(tiny_recipe(minutes=0.02, image_sizes=[8, 16]), bars())
    assert (seen[0], seen[-1]) == (8, 16)
    assert seen == sorted(seen)


def test_images_are_resized_as_pillow_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 16, 16), dtype=np.uint8)
    split = ArraySplit(pixels, np.array([0, 1, 2]))
    loader = Loader(split, Preprocess(16, 1, (0.0,), (1.0,)), 3)
    (batch,) = loader.epoch(0, side=lambda step: 10)
    for image, made in zip(pixels, batch.images, strict=True):
        expected = Image.fromarray(image[0]).resize((10, 10), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(made[0].numpy() * 255, np.asarray(expected, dtype=float), atol=1.01)
    assert next(loader.epoch(0)).images.shape == (3, 1, 16, 16)


def test_a_size_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"image_sizes: convnet here takes images of 8 pixels and more, not of 4"):
        prepare(tiny_recipe(image_sizes=[4, 8]), bars())
    with pytest.raises(TrainingError, match=r"mnist_cnn here takes images of 16 pixels only, not of 12"):
        prepare(tiny_recipe(model="mnist_cnn", model_options={}, image_sizes=[12, 16]), bars())
    with pytest.raises(RecipeError, match=r"image_sizes"):
        tiny_recipe(image_sizes=[0])


def test_an_interrupted_training_goes_on_with_its_sizes(tmp_path: Path) -> None:
    recipe, data = (
        tiny_recipe(epochs=4, image_sizes=[10, 16], model="airbench", model_options={"widths": [8, 8, 8]}),
        bars(),
    )
    *_, whole = fit(recipe, data=data)
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps > 14  # in the third epoch

    recorder = Recorder(tmp_path / "run", stop=stop)
    list(recorder.record(fit(recipe, data=data)))
    assert recorder.interrupted
    run = open_run(tmp_path / "run")
    *_, resumed = Recorder(run=run).record(resume(run, data=data))
    np.testing.assert_array_equal(resumed.logits, whole.logits)


def evaluated(events: Iterator[Event]) -> list[int]:
    return [e.epoch for e in events if isinstance(e, EpochDone) and not math.isnan(e.val_accuracy)]


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (100, [5])])
def test_evaluations_may_be_rarer(every: int, epochs: list[int], bars_data: ImageData) -> None:
    assert evaluated(fit(tiny_recipe(epochs=5, evaluate_every=every), data=bars_data)) == epochs


def test_the_weights_that_are_kept_come_from_evaluated_epochs(bars_data: ImageData) -> None:
    *_, finished = fit(tiny_recipe(epochs=5, evaluate_every=2, val_fraction=0.3), data=bars_data)
    assert isinstance(finished, Finished)
    assert finished.kept_epoch in (2, 4, 5)


class Corner(nn.Module):
    """Logits that are the two pixels at the top of the image, so that every view gives others."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :2].to(torch.bfloat16)


def test_views_by_hand() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)  # rows 0 1 2, 3 4 5, 6 7 8
    # In place (0 1) and mirrored (2 1). Shifted down and right the border is mirrored around the first pixel: rows
    # 4 3 4, 1 0 1, 4 3 4, so (4 3) and mirrored (4 3). Shifted up and left: rows 4 5 4, 7 8 7, 4 5 4, so twice (4 5).
    expected = (torch.tensor([0.0, 1]) + torch.tensor([2.0, 1])) / 4 + (
        2 * torch.tensor([4.0, 3]) + 2 * torch.tensor([4.0, 5])
    ) / 8
    torch.testing.assert_close(SixViews(Corner())(image)[0], expected)


@pytest.mark.parametrize("below", [0.4, 0.6, 1.0])
def test_only_unsure_answers_are_looked_at_again(below: float, bars_data: ImageData) -> None:
    *_, finished = fit(tiny_recipe(epochs=1, tta=below), data=bars_data)
    assert isinstance(finished, Finished)
    session, test = finished.session, bars_data.test
    assert test is not None
    images = torch.cat([batch.images for batch in evaluation_loader(session, test).epoch(0)])
    with torch.no_grad():
        plain, mean = session.model.eval()(images), SixViews(session.model)(images)
    unsure = plain.softmax(1).amax(1) < below
    assert (below == 1.0) == bool(unsure.all())
    expected = torch.where(unsure[:, None], mean, plain)
    found = torch.from_numpy(tta_logits(session, test, finished.logits))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert finished.tta_accuracy == pytest.approx(float((expected.argmax(1) == test.labels).double().mean()))


def test_a_training_reports_both_accuracies(tmp_path: Path, bars_data: ImageData) -> None:
    recipe = tiny_recipe(epochs=1, tta=1.0)
    *_, finished = Recorder(tmp_path / "run").record(fit(recipe, data=bars_data))
    *_, plain = fit(tiny_recipe(epochs=1), data=bars_data)
    assert (finished.accuracy, plain.tta_accuracy) == (plain.accuracy, None)
    summary = open_run(tmp_path / "run").summary
    assert summary["tta_accuracy"] == finished.tta_accuracy
    model, loader = finished.session.model.eval(), finished.session.val_loader
    assert loader is not None
    with torch.no_grad():
        right = [SixViews(model)(batch.images).argmax(1) == batch.labels for batch in loader.epoch(0)]
    assert finished.tta_accuracy == pytest.approx(float(torch.cat(right).double().mean()))


def test_a_training_whitens_with_its_images_and_keeps_that(bars_data: ImageData) -> None:
    recipe = tiny_recipe(model="airbench", model_options={"widths": [8, 8, 8]}, epochs=1)
    session = prepare(recipe, bars_data)
    outputs = session.model.whiten(
        session.preprocess.normalize(session.data.train.fetch(torch.arange(30), session.preprocess))
    )
    first = session.model.whiten.weight.clone()
    variances = outputs.detach().square().mean((0, 2, 3))
    assert variances.max() < 1.5  # whitened: random filters are far from that
    steps = [event for event in fit(recipe, session=session) if isinstance(event, StepDone)]
    assert steps
    torch.testing.assert_close(session.model.whiten.weight, first)
    again = prepare(recipe, bars_data, load_weights=False)
    assert not torch.equal(again.model.whiten.weight, first)  # a saved state brings its own
