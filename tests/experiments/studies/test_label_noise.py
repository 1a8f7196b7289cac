"""Which labels are wrong, and what is counted as memorised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab.data import ArraySplit, ImageData
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.studies.label_noise import SHARES, record_answers, with_wrong_labels
from cnnlab.training import EpochDone, fit, prepare
from tests.helpers import make_bars, tiny_recipe


def digits(count: int) -> ImageData:
    labels = torch.arange(count) % 10
    split = ArraySplit(torch.zeros(count, 1, 28, 28, dtype=torch.uint8), labels)
    return ImageData("zeros", [str(digit) for digit in range(10)], split, None, split, "made up")


@pytest.mark.parametrize("share", SHARES.values())
def test_the_share_of_the_labels_that_is_asked_for_is_wrong(share: float) -> None:
    data = digits(1000)
    noisy = with_wrong_labels(data, share, seed=3)
    assert int((noisy.train.labels != data.train.labels).sum()) == 1000 * share
    assert torch.equal(data.train.labels, torch.arange(1000) % 10)  # the data itself is as it was
    assert noisy.test is data.test


def test_larger_shares_change_the_same_labels_and_further_ones() -> None:
    data = digits(1000)
    right = data.train.labels
    half, most = (with_wrong_labels(data, share, seed=0).train.labels for share in (0.5, 0.8))
    changed = half != right
    assert torch.equal(half[changed], most[changed])
    assert not torch.equal(half, with_wrong_labels(data, 0.5, seed=1).train.labels)


def test_wrong_labels_are_uniform_over_the_other_classes() -> None:
    data = digits(20_000)
    noisy = with_wrong_labels(data, 0.9, seed=0).train.labels
    steps = (noisy - data.train.labels) % 10
    counts = np.bincount(steps.numpy(), minlength=10)
    assert counts[0] == 2000
    assert np.abs(counts[1:] - 2000).max() < 5 * np.sqrt(2000)  # five standard deviations


def test_answers_to_changed_and_unchanged_images_are_counted_apart(tmp_path: Path) -> None:
    data = make_bars(n_train=6, n_test=6)
    right = data.train.labels.clone()
    assert right.tolist() == [0, 1, 2, 0, 1, 2]
    data.train.labels[:3] = torch.tensor([1, 2, 0])  # half of the labels are changed
    session = prepare(tiny_recipe(epochs=1), data)
    epoch = next(event for event in fit(session.recipe, session=session) if isinstance(event, EpochDone))
    with torch.no_grad():  # a network that always answers 1: so image 0 was taught, and so image 4 is right
        for parameter in session.model.parameters():
            parameter.zero_()
        last = [module for module in session.model.modules() if isinstance(module, torch.nn.Linear)][-1]
        last.bias[1] = 1.0
    bench = Bench(0, "tiny", ("50 % wrong",), data, tmp_path)
    record_answers(bench, "50 % wrong", epoch, right)
    (first, per_epoch), (second, result) = bench.records.rows
    assert (first, second) == ("answers_given", "results")
    for row in (per_epoch, result):
        assert row["unchanged_accuracy"] == pytest.approx(1 / 3)
        assert row["wrong_label_accuracy"] == pytest.approx(1 / 3)
        assert row["right_class_accuracy"] == pytest.approx(1 / 3)  # image 1 shows a 1 and was taught 2
