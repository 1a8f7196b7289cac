"""The study of captions: what its variants share, and what its numbers are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cnnlab.errors import UsageError
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.drawing import seed_dots
from cnnlab.experiments.runner import run_study
from cnnlab.experiments.studies import captions
from cnnlab.experiments.studies.captions import Captions
from cnnlab.experiments.tables import Row
from cnnlab.generate.captions.data import CaptionData
from cnnlab.generate.captions.recipe import CaptionRecipe
from cnnlab.generate.captions.scenes import UNSEEN_PAIRS
from cnnlab.generate.captions.session import prepare_captions


def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int) -> list[tuple[CaptionRecipe, CaptionData]]:
    """Return recipe and data of each variant of a seed, without a training."""
    trainings: list[tuple[CaptionRecipe, CaptionData]] = []
    monkeypatch.setattr(captions, "train", lambda bench, variant, recipe, data: trainings.append((recipe, data)))
    monkeypatch.setattr(captions, "describe", lambda *_: None)
    Captions().measure(Bench(seed, "tiny", Captions.variants, None, tmp_path))
    return trainings


def test_variants_share_scenes_and_convolutions_and_seeds_share_only_what_is_described(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = (measured(monkeypatch, tmp_path, seed) for seed in (0, 1))
    sessions = [prepare_captions(recipe, data) for recipe, data in first]
    weights = [next(session.network.encoder.parameters()) for session in sessions]
    assert all(torch.equal(weights[0], other) for other in weights)
    assert [recipe.decoder for recipe, _ in first] == ["rnn", "lstm", "attention"]
    assert all(data is first[0][1] for _, data in first)
    (_, one), (_, other) = first[0], second[0]
    assert one.train.fingerprint() != other.train.fingerprint()
    assert one.test is other.test
    assert one.held_out is other.held_out
    orders = [next(session.train_loader.epoch(0)).indices for session in sessions]
    assert all(torch.equal(orders[0], order) for order in orders)
    assert one.train.scenes is not None
    pairs = {(group.colour, group.shape) for scene in one.train.scenes for group in scene.groups}
    assert not pairs & set(UNSEEN_PAIRS)


def test_other_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='makes its own data, "scenes"'):
        run_study("captions", "tiny", seeds=(0, 1), data="mnist5k", out=tmp_path)


def test_dots_have_the_values_of_the_seeds_and_dashes_their_means() -> None:
    rows: list[Row] = [
        {"seed": 0, "variant": "a", "pair": 0.2}, {"seed": 1, "variant": "a", "pair": 0.4},
        {"seed": 0, "variant": "b", "pair": 0.9, "bleu": 0.5}, {"seed": 1, "variant": "b", "diverged": 1},
    ]  # fmt: skip
    axes = seed_dots(rows, ("a", "b", "c"), {"unseen": {"pair": "pair", "BLEU": "bleu"}}).axes[0]
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.2, 0.4], [0.9], [0.5]]
    means = [float(dash.get_segments()[0][0, 1]) for dash in axes.collections]  # type: ignore[attr-defined]
    assert means == pytest.approx([0.3, 0.9, 0.5])
