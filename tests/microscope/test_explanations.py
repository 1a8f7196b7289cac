"""Explanations for the page: those of cnnlab.explain, with scores, and cancelled at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab.errors import ProtocolError
from cnnlab.explain import deletion, explanations, gradcam, insertion, saliency
from cnnlab.microscope.explanations import explanation, explanation_methods
from cnnlab.microscope.passes import Player
from cnnlab.runs import Classifier
from tests.microscope.conftest import never


@pytest.fixture(scope="module")
def image(classifier: Classifier) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, classifier.preprocess.channels, *[classifier.preprocess.size] * 2, generator=generator)


def test_the_reply_is_the_answer_of_the_method(classifier: Classifier, image: torch.Tensor) -> None:
    reply = explanation(classifier, image, "gradcam", None, False, never)
    with torch.no_grad():
        probabilities = classifier.model(image).softmax(1)[0]
    target = int(probabilities.argmax())
    expected = gradcam(classifier.model, image, target)
    np.testing.assert_allclose(reply["map"], expected.values, rtol=1e-5, atol=1e-7)
    assert reply["map"].shape == tuple(image.shape[2:])
    assert reply["map"].dtype == np.float32
    assert reply["target"] == target
    assert reply["target_name"] == classifier.classes[target]
    assert reply["probability"] == pytest.approx(float(probabilities[target]), rel=1e-5)
    assert reply["layer"] == expected.layer
    assert not reply["signed"]
    assert reply["scores"] is None
    assert f"“{classifier.classes[target]}”" in reply["caption"]


def test_the_class_can_be_chosen(classifier: Classifier, image: torch.Tensor) -> None:
    reply = explanation(classifier, image, "saliency", 3, False, never)
    expected = saliency(classifier.model, image, 3)
    np.testing.assert_allclose(reply["map"], expected.values, rtol=1e-5, atol=1e-7)
    assert (reply["target"], reply["target_name"]) == (3, classifier.classes[3])


def test_scores_are_those_of_the_map(classifier: Classifier, image: torch.Tensor) -> None:
    reply = explanation(classifier, image, "saliency", 3, True, never)
    answer = saliency(classifier.model, image, 3)
    assert set(reply["scores"]) == {"deletion", "insertion", "random"}
    curves = {fill: deletion(classifier.model, image, answer, fill=fill).auc for fill in ("mean", "grey", "blur")}
    fill = min(curves, key=lambda fill: abs(curves[fill] - reply["scores"]["deletion"]))
    assert reply["scores"]["deletion"] == pytest.approx(curves[fill], rel=1e-4)
    assert reply["scores"]["insertion"] == pytest.approx(
        insertion(classifier.model, image, answer, fill=fill).auc, rel=1e-4
    )


def test_methods_that_fit_the_network(classifier: Classifier, image: torch.Tensor) -> None:
    methods = explanation_methods(Player(classifier.model, image).graph)
    assert [method["name"] for method in methods] == explanations.names()
    flat = nn.Sequential(nn.Flatten(), nn.Linear(image[0].numel(), 10)).eval()
    names = [method["name"] for method in explanation_methods(Player(flat, image).graph)]
    assert "saliency" in names
    assert "gradcam" not in names
    for method in methods:
        reply = explanation(classifier, image, method["name"], None, False, never)
        assert reply["signed"] == method["signed"]
        assert reply["title"] == method["title"]
        assert np.isfinite(reply["map"]).all()


def test_what_is_not_there_is_said(classifier: Classifier, image: torch.Tensor) -> None:
    with pytest.raises(ProtocolError, match=r"There is no method 'lime'. Expected one of gradcam, ") as caught:
        explanation(classifier, image, "lime", None, False, never)
    assert caught.value.kind == "not_found"
    with pytest.raises(ProtocolError, match="There are classes 0 to 9, not 10"):
        explanation(classifier, image, "gradcam", 10, False, never)


@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients", "saliency"])
def test_whoever_waits_no_more_ends_it_at_the_next_pass(
    method: str, classifier: Classifier, image: torch.Tensor
) -> None:
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(ProtocolError) as caught:
        explanation(classifier, image, method, None, True, soon)
    assert caught.value.kind == "cancelled"
    assert not any(module._forward_pre_hooks for module in classifier.model.modules())
