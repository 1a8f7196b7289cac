"""Easy images are left out: which, how often, what the others count, and that a resumed run knows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnnlab.data import ArraySplit, Loader, Preprocess
from cnnlab.errors import TrainingError
from cnnlab.hardware import Precision
from cnnlab.runs import Recorder, open_run, resume
from cnnlab.training import EpochDone, StepDone, distributed, fit, prepare
from cnnlab.training.easy_images import EasyImages
from cnnlab.training.step import Learner, train_step
from tests.helpers import make_bars, tiny_recipe


def test_images_below_the_mean_loss_are_easy() -> None:
    easy = EasyImages(5, 0.75)
    easy.begin_epoch(2, 0.3)
    assert not easy.skipped.any()  # nothing is known
    easy.trained(torch.tensor([3, 0, 1]), torch.tensor([4.0, 1.0, 1.0]))  # mean 2
    easy.begin_epoch(2, 0.3)
    assert easy.skipped.tolist() == [0.75, 0.75, 0, 0, 0]
    assert easy.weights(torch.tensor([4, 1, 3])).tolist() == [1, 4, 1]
    for epoch, done in ((0, 0.0), (1, 0.3), (5, 0.875), (9, 1.2)):
        easy.begin_epoch(epoch, done)
        assert not easy.skipped.any(), (epoch, done)


def loader(images: int = 2000) -> Loader:
    split = ArraySplit(np.zeros((images, 1, 4, 4), np.uint8), np.zeros(images, int))
    return Loader(split, Preprocess(4, 1, (0.0,), (1.0,)), 50, shuffle=True)


def test_an_epoch_without_easy_images_has_as_many_images() -> None:
    """Of 1,000 images 80 % are left out: each pass has about 1,200, and the second one fills up the epoch."""
    skipped = torch.zeros(2000)
    skipped[:1000] = 0.8
    order = loader().order(3, skipped)
    assert len(order) == 2000
    counts = torch.bincount(order, minlength=2000)
    assert counts[1000:].min() == 1
    assert counts.max() <= 2
    # An epoch has 2,000 / 1,200 passes; each has an easy image with probability 0.2. The standard error is 0.018.
    assert counts[:1000].float().mean() == pytest.approx(0.2 * 2000 / 1200, abs=0.07)
    assert torch.equal(loader().order(3, skipped), order)
    assert not torch.equal(loader().order(4, skipped), order)
    assert torch.equal(loader().order(3, torch.zeros(2000)), loader().order(3))
    batches = list(loader().epoch(3, start_step=10, skipped=skipped))
    assert torch.equal(torch.cat([batch.indices for batch in batches]), order[500:])


@pytest.mark.parametrize("parts", [1, 3])
def test_a_weighted_step_has_the_gradient_of_the_weighted_mean(parts: int) -> None:
    torch.manual_seed(0)
    model, images, labels = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.randn(7, 3, 2, 2), torch.arange(7) % 3
    weights = torch.tensor([1.0, 4, 1, 1, 4, 4, 2])
    criterion = nn.CrossEntropyLoss(label_smoothing=0.2, reduction="sum")
    learner = Learner(model, model, criterion, None, Precision(), 0.0)
    loss, correct, losses = train_step(learner, images, labels, parts=parts, weights=weights)
    gradient = model[1].weight.grad
    logits = model(images)
    each = F.cross_entropy(logits, labels, label_smoothing=0.2, reduction="none")
    expected = (each * weights).sum() / weights.sum()
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(losses, each.detach())
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, model[1].weight)[0])
    right = (logits.argmax(1) == labels).float()
    torch.testing.assert_close(correct, 7 * (right * weights).sum() / weights.sum())


def test_a_training_leaves_out_easy_images_between_its_beginning_and_its_end() -> None:
    """The images of each epoch, from the loader itself: whole epochs have every image once."""
    session = prepare(tiny_recipe(epochs=16, skip_easy=0.9), make_bars(n_train=48, n_val=0))
    complete, known = [], []
    for event in fit(session.recipe, session=session):
        if isinstance(event, StepDone) and event.step == 1:
            order = session.train_loader.order(event.epoch - 1, session.easy.skipped if session.easy else None)
            complete.append(len(set(order.tolist())) == 48)
        if isinstance(event, EpochDone):
            assert session.easy
            known.append(int(session.easy.losses.isfinite().sum()))
            assert 0 <= event.train_accuracy <= 1
    assert complete == [True] * 2 + [False] * 12 + [True] * 2
    assert known == [48] * 16


def test_an_interrupted_training_goes_on_without_the_same_images(tmp_path: Path) -> None:
    recipe, data = tiny_recipe(epochs=6, skip_easy=0.8, accumulate=2), make_bars(n_train=48, n_val=0)
    *_, whole = fit(recipe, data=data)

    def after(steps: int) -> Callable[[], bool]:
        left = [steps]

        def stop() -> bool:
            left[0] -= 1
            return left[0] < 0

        return stop

    recorder = Recorder(tmp_path / "run", stop=after(21))  # in the fourth epoch of six steps
    list(recorder.record(fit(recipe, data=data)))
    assert recorder.interrupted
    run = open_run(tmp_path / "run")
    *_, resumed = Recorder(run=run).record(resume(run, data=data))
    np.testing.assert_array_equal(resumed.logits, whole.logits)


def test_the_time_decides_where_the_clock_ends_the_training() -> None:
    *_, finished = fit(tiny_recipe(minutes=0.02, skip_easy=0.5), data=make_bars(n_train=48, n_val=0))
    assert finished.session.easy.losses.isfinite().all()


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 2)
    with pytest.raises(
        TrainingError, match=r"skip_easy=0.5 needs the losses of all images in one process; there are 2"
    ):
        prepare(tiny_recipe(skip_easy=0.5), make_bars(n_train=48, n_val=0))
