"""The gap between training and test accuracy is that of the network with all its units."""

from __future__ import annotations

from pathlib import Path

import torch

from cnnlab.experiments.bench import Bench
from cnnlab.experiments.studies.dropout_few_images import DropoutFewImages
from tests.helpers import make_bars


def test_the_gap_is_the_difference_of_two_accuracies_without_dropout(tmp_path: Path) -> None:
    data = make_bars(n_train=200, n_test=60)
    variant = "keep 25 %"
    bench = Bench(0, "tiny", (variant,), data, tmp_path / "seed", checkpoints=tmp_path / "weights")
    DropoutFewImages().measure(bench)
    rows: dict[str, float | int | str] = {}
    for table, row in bench.records.rows:
        if table == "results":
            rows |= row
    assert float(rows["gap"]) == float(rows["clean_train_accuracy"]) - float(rows["accuracy"])
    epochs = [row["epoch"] for table, row in bench.records.rows if table == "gaps"]
    assert epochs == [1, 2, 3]


def test_the_variants_keep_the_share_of_units_that_they_name() -> None:
    from cnnlab.experiments.studies.dropout_few_images import KEEP
    from cnnlab.zoo import create_model

    for variant, keep in KEEP.items():
        assert variant == f"keep {100 * keep:.0f} %"
        model = create_model("mlp", options={"hidden": (500,), "dropout": 1 - keep}).train()
        torch.manual_seed(0)
        with torch.no_grad():
            images = torch.ones(400, 1, 28, 28)
            hidden = model.hidden(images.flatten(1))
            without = model.eval().hidden(images.flatten(1))
        dropped = ((hidden == 0) & (without > 0)).sum() / (without > 0).sum()
        assert abs(float(dropped) - (1 - keep)) < 0.01
