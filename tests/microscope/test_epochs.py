"""The epochs of a run under the microscope."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cnnlab.data import ImageData
from cnnlab.errors import ProtocolError
from cnnlab.microscope.epochs import at_epoch, history
from cnnlab.runs import open_classifier, train
from tests.helpers import tiny_recipe


@pytest.mark.usefixtures("no_report")
def test_the_network_of_an_epoch(tmp_path: Path, bars_data: ImageData) -> None:
    run = train(tiny_recipe(keep_epochs=[0, 2]), out=tmp_path / "run", data=bars_data)
    classifier = open_classifier(run, "cpu", as_trained=False)
    before = {name: tensor.clone() for name, tensor in classifier.model.state_dict().items()}
    early = at_epoch(classifier, run, 2)
    assert early.classes == classifier.classes
    for name, tensor in run.model(2).state_dict().items():
        assert torch.equal(early.model.state_dict()[name], tensor)
        assert torch.equal(classifier.model.state_dict()[name], before[name])
    assert not early.model.training
    with pytest.raises(ProtocolError, match=r"no weights of epoch 1. There are those of the epochs 0, 2") as caught:
        at_epoch(classifier, run, 1)
    assert caught.value.kind == "not_found"
    with pytest.raises(ProtocolError, match="comes from no run"):
        at_epoch(classifier, None, 1)
    file = run.path / "epochs" / "0002.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ProtocolError, match="truncated"):
        at_epoch(classifier, run, 2)
    rows = history(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["val_accuracy"] for row in rows] == [row["val_accuracy"] for row in run.metrics]
    assert history(None) == []
