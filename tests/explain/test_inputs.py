"""Models, images and layers as people give them: what is understood, and what is refused with a hint."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab import explain
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain import ExplainSettings, Probe
from tests.explain.helpers_explain import OneConv, awkward, random_image

IMAGE = random_image()


@pytest.mark.parametrize("method", ["gradcam", "saliency", "occlusion", "integrated_gradients"])
@pytest.mark.parametrize("functional", [False, True])
def test_a_network_that_ends_in_softmax_is_explained_by_the_logarithm(method: str, functional: bool) -> None:
    """Softmax of the logarithm is the softmax: probabilities agree, and so do maps with those of log_softmax."""

    class Ends(nn.Module):
        def __init__(self, log: bool) -> None:
            super().__init__()
            self.inner, self.log = awkward(), log
            self.softmax = nn.Softmax(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.inner(x)
            if self.log:
                return logits.log_softmax(1)
            return torch.softmax(logits, 1) if functional else self.softmax(logits)

    call = getattr(explain, method)
    plain, log, answer = call(awkward(), IMAGE, 1), call(Ends(True), IMAGE, 1), call(Ends(False), IMAGE, 1)
    assert answer.probability == pytest.approx(plain.probability, rel=1e-5)
    assert answer.score == pytest.approx(np.log(plain.probability), rel=1e-5)
    np.testing.assert_allclose(answer.values, log.values, atol=2e-5 * np.abs(log.values).max())
    assert any("ends in softmax" in note for note in answer.notes)
    assert not any("ends in softmax" in note for note in (*plain.notes, *log.notes))


def test_a_certain_softmax_without_a_graph_is_not_put_through_softmax_again() -> None:
    class Certain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = awkward()

        @torch.no_grad()
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (1e5 * self.inner(x)).softmax(1)

    assert sorted(Certain().eval()(IMAGE[None])[0].tolist()) == [0, 0, 0, 1]
    answer = explain.occlusion(Certain(), IMAGE, window=8, stride=8)
    assert answer.probability == pytest.approx(1)
    assert any("ends in softmax" in note for note in answer.notes)


def test_logits_that_add_up_to_one_by_chance_stay_logits() -> None:
    model = OneConv(head=((1.0, 0.0), (0.5, 0.0)))
    answer = explain.saliency(model, np.full((1, 4, 4), 2 / 3), 0)
    assert answer.score == pytest.approx(2 / 3)
    assert answer.notes == ()


def test_layers_are_names_modules_or_lists_of_them() -> None:
    model = awkward()
    named = explain.gradcam(model, IMAGE, 1, layer="first")
    for layer in (model.first, [model.first], ["first"]):
        answer = explain.gradcam(model, IMAGE, 1, layer=layer)
        assert answer.layer == "first"
        np.testing.assert_array_equal(answer.values, named.values)
    compared = explain.explain_all(model, IMAGE, ["gradcam"], ExplainSettings(1, model.first, faithfulness=False))
    np.testing.assert_allclose(compared[0].values, named.values, atol=1e-6)


def test_several_layers_give_the_mean_of_their_scaled_maps() -> None:
    model = awkward()
    maps = [explain.layercam(model, IMAGE, 1, layer=name).values for name in ("first", "last")]
    answer = explain.layercam(model, IMAGE, 1, layer=["first", model.last])
    np.testing.assert_allclose(answer.values, sum(heat / heat.max() for heat in maps) / 2, rtol=1e-5)
    assert answer.layer == "first, last"
    assert "mean over 2 layers" in answer.notes[-1]
    assert "randomised agreement" in explain.score_faithfulness(model, answer, steps=2, randoms=1).faithfulness
    with pytest.raises(UsageError, match="Only one layer fits here, got 2: first, last"):
        Probe(model, IMAGE, 1, ["first", "last"])


def test_layers_that_are_none_are_refused_in_a_line() -> None:
    model = awkward()
    with pytest.raises(UsageError, match=r"^The ReLU given as layer is not a layer of this Awkward\."):
        explain.gradcam(model, IMAGE, layer=nn.ReLU())
    with pytest.raises(UsageError, match=r"^A layer is its dotted name or a module of the network, not int\.$"):
        explain.gradcam(model, IMAGE, layer=3)
    with pytest.raises(UsageError, match="list of layers is empty"):
        explain.gradcam(model, IMAGE, layer=[])
    with pytest.raises(UnknownNameError, match='Did you mean "first"'):
        explain.gradcam(model, IMAGE, layer=["frist"])


def test_the_order_of_axes_is_named_instead_of_torch_s_text() -> None:
    image = IMAGE.permute(1, 2, 0)
    with pytest.raises(ModelError, match=r"looks like \(H, W, C\); give \(C, H, W\)") as caught:
        explain.gradcam(awkward(), image)
    assert "weight of size" not in str(caught.value)
    with pytest.raises(UsageError, match=r"torch.uint8.*looks like \(H, W, C\)"):
        explain.gradcam(awkward(), torch.zeros(16, 16, 3, dtype=torch.uint8))


def test_torchscript_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it will go
        scripted = torch.jit.trace(awkward().eval(), IMAGE[None])
    with pytest.raises(ModelError, match="Awkward is a TorchScript module"):
        explain.saliency(scripted, IMAGE)


def test_old_names_work_and_name_the_new_ones() -> None:
    model = awkward()
    with pytest.warns(DeprecationWarning, match="score_faithfulness"):
        old = explain.trust
    assert old is explain.score_faithfulness
    answer = old(model, explain.saliency(model, IMAGE, 1), steps=2, randoms=1)
    with pytest.warns(DeprecationWarning, match=r"Attribution\.faithfulness"):
        assert answer.trust == answer.faithfulness
