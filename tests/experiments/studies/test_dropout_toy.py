"""The toy data and the fit, against formulas and a forward pass by hand."""

from __future__ import annotations

from pathlib import Path

import torch

from cnnlab.experiments.bench import Bench
from cnnlab.experiments.studies.dropout_toy import NOISE, DropoutToy, noisy_points, record_fit, small_network
from tests.helpers import make_bars


def test_the_points_scatter_around_the_line_and_belong_to_the_seed() -> None:
    residuals = torch.cat([y - x for x, y in map(noisy_points, range(200))])
    assert abs(float(residuals.mean())) < 0.01
    assert abs(float(residuals.std()) - NOISE) < 0.01
    assert torch.equal(noisy_points(3)[1], noisy_points(3)[1])
    assert not torch.equal(noisy_points(3)[1], noisy_points(4)[1])


def test_errors_are_those_of_the_network_with_all_units(tmp_path: Path) -> None:
    network, (x, y) = small_network(0.5), noisy_points(0)
    bench = Bench(0, "tiny", ("dropout",), make_bars(), tmp_path)
    record_fit(bench, "dropout", network, 0, (x, y))
    first, second, last = network[0], network[3], network[6]
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    answers = (hidden @ second.weight.T + second.bias).clamp(min=0) @ last.weight.T + last.bias
    recorded = next(row for table, row in bench.records.rows if table == "errors")
    assert abs(float(recorded["error_at_points"]) - float((answers - y).detach().pow(2).mean()) ** 0.5) < 1e-6
    assert network.training


def test_both_networks_begin_with_the_same_fit(tmp_path: Path) -> None:
    bench = Bench(5, "tiny", DropoutToy.variants, make_bars(), tmp_path)
    DropoutToy().measure(bench)
    begin = [row["error_to_line"] for table, row in bench.records.rows if table == "errors" and row["step"] == 0]
    end = [row["error_to_line"] for table, row in bench.records.rows if table == "errors" and row["step"] == 50]
    assert len(begin) == 2
    assert begin[0] == begin[1]
    assert end[0] != end[1]
