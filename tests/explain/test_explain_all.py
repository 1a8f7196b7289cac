"""All methods on one image: they share what they can, leave out what cannot be, and stand side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnlab import explain
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain import ExplainSettings, MethodComparison, explain_all, explanations
from cnnlab.figures import comparison, faithfulness_curves, to_png
from cnnlab.figures.style import GREEN, INK, ORANGE
from tests.explain.helpers_explain import Awkward, OneConv, awkward, linear, random_image, state_of

NAMES = ["a", "b", "c", "d"]
QUICK: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 8},
    "smoothgrad": {"samples": 2},
    "integrated_gradients": {"steps": 4},
}

UNSCORED = ExplainSettings(faithfulness=False)
WRONG_OPTION = ExplainSettings(options={"occlusion": {"windows": 3}})


@pytest.fixture(scope="module")
def compared() -> MethodComparison:
    return explain_all(awkward(), random_image(), settings=ExplainSettings("c", options=QUICK), classes=NAMES)


def test_every_method_answers_as_on_its_own(compared: MethodComparison) -> None:
    assert sorted(answer.method for answer in compared) == explanations.names()
    assert len(compared) == len(explanations)
    assert compared.skipped == {}
    for answer in compared:
        method = getattr(explain, answer.method)
        alone = method(awkward(), random_image(), "c", classes=NAMES, **QUICK.get(answer.method, {}))
        np.testing.assert_allclose(answer.values, alone.values, rtol=1e-4, atol=1e-6)
        assert (answer.target, answer.target_name, answer.layer) == (2, "c", alone.layer)
        assert answer.notes == alone.notes
        assert answer.options == QUICK.get(answer.method, {})
        judged = explain.score_faithfulness(awkward(), alone).faithfulness
        assert answer.faithfulness == pytest.approx(judged, rel=1e-3, abs=1e-3)
    assert compared["gradcam"].method == "gradcam"
    assert compared[0] is next(iter(compared))
    assert compared.seconds > compared.shared_seconds > 0


def test_the_best_stand_first(compared: MethodComparison) -> None:
    gains = [answer.faithfulness["insertion"] - answer.faithfulness["deletion"] for answer in compared]
    assert gains == sorted(gains, reverse=True)
    plain = explain_all(awkward(), random_image(), methods=["saliency", "gradcam"], settings=UNSCORED)
    assert [answer.method for answer in plain] == ["saliency", "gradcam"]
    assert [answer.faithfulness for answer in plain] == [{}, {}]


def test_they_share_one_forward_and_one_backward_pass() -> None:
    class Watched(Awkward):
        passes = 0

        def forward(self, x: Tensor) -> Tensor:
            Watched.passes += len(x) * (x.device.type != "meta")  # where only shapes are followed
            return super().forward(x)

    explain_all(
        Watched(),
        random_image(),
        methods=["saliency", "gradcam", "gradcam_pp", "layercam"],
        settings=UNSCORED,
    )
    assert Watched.passes == 1


def test_the_backward_pass_of_a_single_method_ends_at_its_layer() -> None:
    class Counting(OneConv):
        backwards = 0

        def forward(self, x: Tensor) -> Tensor:
            if x.requires_grad:
                x.register_hook(self.count)
            return super().forward(x)

        def count(self, gradient: Tensor) -> None:
            self.backwards += 1

    model, image = Counting(), random_image(1, 12, dtype=torch.float64)
    compared = explain_all(model, image, ["gradcam"], ExplainSettings(0, faithfulness=False))
    assert model.backwards == 0
    both = explain_all(model, image, ["gradcam", "saliency"], ExplainSettings(0, faithfulness=False))
    assert model.backwards == 1
    np.testing.assert_array_equal(compared[0].values, both[0].values)


def test_the_model_is_left_as_it_was() -> None:
    model = awkward()
    before = state_of(model)
    explain_all(model, random_image(), methods=["saliency", "gradcam"])
    assert state_of(model) == before
    model.broken = True
    with pytest.raises(ModelError, match="broken on purpose"):
        explain_all(model, random_image())
    assert state_of(model) == before


def test_methods_that_a_network_does_not_allow() -> None:
    model, image = linear([[1, 2, 3, 4], [4, 3, 2, 1]]), torch.ones(1, 2, 2).double()
    found = explain_all(model, image, settings=ExplainSettings(options=QUICK | {"occlusion": {"window": 1}}))
    assert set(found.skipped) == {entry.name for entry in explanations if entry.facts.needs_layer}
    assert "no spatial layer" in found.skipped["gradcam"]
    assert "gradcam: Sequential has no spatial layer" in repr(found)
    with pytest.raises(UnknownNameError, match="no spatial layer"):
        found["gradcam"]
    with pytest.raises(ModelError, match="no spatial layer"):
        explain_all(model, image, methods=["saliency", "gradcam"])


def test_without_gradients() -> None:
    class NoGradient(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().mean((2, 3))

    found = explain_all(NoGradient(), random_image(), settings=ExplainSettings(options=QUICK))
    assert [answer.method for answer in found] == ["occlusion"]
    assert "no gradient" in found.skipped["saliency"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["gradcan"]}, 'Did you mean "gradcam"'),
        ({"settings": ExplainSettings(options={"oclusion": {}})}, 'Did you mean "occlusion"'),
        (
            {"methods": ["occlusion"], "settings": WRONG_OPTION},
            'Did you mean "window"',
        ),
        ({"settings": ExplainSettings("e"), "classes": NAMES}, '"e"'),
        ({"settings": ExplainSettings(layer="frist")}, 'Did you mean "first"'),
    ],
)
def test_unknown_names(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        explain_all(awkward(), random_image(), **options)


def test_the_table(compared: MethodComparison) -> None:
    lines = repr(compared).split("\n")
    assert re.split(r"  +", lines[0]) == [
        "method",
        *max((answer.faithfulness for answer in compared), key=len),
        "seconds",
    ]
    first = compared[0]
    row = next(line for line in lines if line.startswith(first.method))
    assert f"{first.faithfulness['deletion']:.3f}" in row
    assert f"{first.seconds:.2f}" in row


def test_the_figure_says_what_is_better_than_chance(compared: MethodComparison, tmp_path: Path) -> None:
    figure = compared.figure()
    texts = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    for answer in compared:
        assert answer.method_title in texts
        line = f"deletion {answer.faithfulness['deletion']:.2f} (random {answer.faithfulness['random']:.2f})"
        gain = round(answer.faithfulness["random"], 2) - round(answer.faithfulness["deletion"], 2)
        assert texts[line] == (GREEN if gain > 0 else ORANGE if gain < 0 else INK)
    assert "“c”: " + f"{compared[0].probability:.1%}" in texts
    assert len(figure.axes[0].images) == len(compared) + 1
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    assert compared.save(tmp_path / "all.png", picture).stat().st_size > 1000
    assert compared._repr_png_().startswith(b"\x89PNG")


def test_the_curves_of_all_and_of_random_maps(compared: MethodComparison) -> None:
    figure = compared.curves_figure()
    assert [axes.get_title("left")[:9] for axes in figure.axes] == ["Deletion:", "Insertion"]
    for axes in figure.axes:
        assert axes.get_legend().get_title().get_color() == INK, "a page turns it light in the dark"
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        assert len(names) == len(compared) + 1
        areas = [float(name.split()[0]) for name in names]
        assert areas == sorted(areas, reverse=axes.get_title("left").startswith("Insertion"))
        assert sum("random maps" in name for name in names) == 1
    assert to_png(figure, dpi=40).startswith(b"\x89PNG")


def test_figures_of_nothing() -> None:
    with pytest.raises(UsageError, match="no method has an answer"):
        comparison([])
    with pytest.raises(UsageError, match="faithfulness=True"):
        faithfulness_curves([])


@pytest.mark.parametrize("shape", [(12, 36), (36, 12), (3, 3)])
def test_images_of_any_shape(shape: tuple[int, int]) -> None:
    found = explain_all(
        awkward(),
        random_image(3, 36)[:, : shape[0], : shape[1]],
        methods=["saliency"],
        settings=UNSCORED,
    )
    assert to_png(found.figure(), dpi=40).startswith(b"\x89PNG")


def test_a_class_that_an_empty_image_gets_too_is_warned_of() -> None:
    """The score of the first class does not depend on the image, so that its probability hardly does."""
    model = OneConv(head=((0.0, 0.0), (0.1, 0.0)))
    image = random_image(1, 12, dtype=torch.float64)
    found = explain.explain_all(model, image, ["saliency"], ExplainSettings(0), classes=["always", "never"])
    assert found.warning.startswith("Even an empty image keeps")
    assert "“always”" in found.warning
    assert found.warning in repr(found)
    assert explain.explain_all(model, image, ["saliency"], settings=UNSCORED).warning == ""
