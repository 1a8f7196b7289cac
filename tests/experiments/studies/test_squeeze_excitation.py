"""The share between classes, the gates and the equal weights of the study ``squeeze_excitation``."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from cnnlab.data import load_data
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.studies import squeeze_excitation
from cnnlab.experiments.studies.squeeze_excitation import (
    WITH,
    WITHOUT,
    SqueezeExcitationStudy,
    between_classes,
    networks,
    record_gates,
)


def test_the_share_between_classes_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    # Class means 1 and 3 around 2: between 4 * 1. Within: 4 * 1 of the first channel.
    gates = torch.tensor([[0.0], [2.0], [2.0], [4.0]])
    assert between_classes(gates, labels) == pytest.approx(4 / 8)
    # A second channel that differs between the classes alone adds 4 * 0.25 to both.
    gates = torch.cat([gates, torch.tensor([[0.0], [0.0], [1.0], [1.0]])], 1)
    assert between_classes(gates, labels) == pytest.approx(5 / 9)
    assert between_classes(gates[:, 1:], labels) == pytest.approx(1)
    assert between_classes(gates[[0, 1, 0, 1]], labels) == pytest.approx(0)


def test_all_weights_but_those_of_the_gates_begin_equal() -> None:
    models = networks(2, 10, 3, 16)
    plain, gated = models[WITHOUT].state_dict(), models[WITH].state_dict()
    assert all(torch.equal(gated[name], tensor) for name, tensor in plain.items())
    assert {name.rsplit(".", 2)[0] for name in gated.keys() - plain.keys()} == {f"block{b}.7" for b in (1, 2, 3)}


def test_the_recorded_gates_are_those_of_the_first_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_data("mnist5k").limited(train=20, test=40)
    assert data.test is not None
    images = torch.randn(40, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(squeeze_excitation, "probe_images", lambda session, count: images)
    model = networks(0, 10, 1, 16)[WITH]
    bench = Bench(0, "tiny", (WITHOUT, WITH), data, tmp_path, checkpoints=tmp_path)
    session: Any = SimpleNamespace(model=model, data=data)
    record_gates(bench, session)
    block = model.get_submodule("block1").eval()
    with torch.no_grad():
        maps = images
        for convolution, norm in ((block[0], block[1]), (block[3], block[4])):  # type: ignore[index]
            maps = F.relu(norm(F.conv2d(maps, convolution.weight, padding=1)))
        means = F.max_pool2d(maps, 2).mean((2, 3))
        se = block[7]  # type: ignore[index]
        hidden = F.relu(means @ se.fc1.weight.flatten(1).T + se.fc1.bias)
        gates = (hidden @ se.fc2.weight.flatten(1).T + se.fc2.bias).sigmoid()
    rows = [row for table, row in bench.records.rows if table == "gates" and row["block"] == 1]
    assert len(rows) == 10 * 16
    first = [float(row["gate"]) for row in rows if row["label"] == data.classes[3]]
    assert first == pytest.approx(gates[data.test.labels == 3].mean(0).tolist(), rel=1e-4)
    shares = [row for table, row in bench.records.rows if table == "shares"]
    assert shares[0]["between_classes"] == pytest.approx(between_classes(gates.double(), data.test.labels), rel=1e-4)


def test_effects_are_percentage_points() -> None:
    measures: dict[str, Any] = {
        WITHOUT: {"accuracy": 0.60},
        WITH: {"accuracy": 0.62, "between_classes_1": 0.1, "between_classes_3": 0.45},
    }
    assert [claim.effect(measures) for claim in SqueezeExcitationStudy.claims] == pytest.approx([2, 35])
    measures[WITH] = {"diverged": 1}
    assert SqueezeExcitationStudy.claims[0].effect(measures) == pytest.approx(-50)
    assert math.isnan(SqueezeExcitationStudy.claims[1].effect(measures))
