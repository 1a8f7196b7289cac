"""How far maps are to be trusted: curves worked out by hand, weights that are shuffled, and a trained network."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnnlab import explain
from cnnlab.data import load_data
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain import Attribution, Probe, attribute, explanations
from cnnlab.explain.faithfulness import randomisation
from cnnlab.explain.faithfulness.curves import perturbation_curve, random_map
from cnnlab.figures import to_png
from cnnlab.zoo import create_model
from tests.explain.helpers_explain import OneConv, awkward, linear, random_image, state_of

IMAGE = torch.tensor([[[3.0, 1.0], [-2.0, 2.0]]], dtype=torch.float64)
WEIGHTS = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]  # contributions 3, 2, -6, 8; the score is 7


def answer(values: Any, method: str = "gradient_x_input", **others: Any) -> Attribution:
    """A made-up map of the image."""
    heat = np.asarray(values, dtype=np.float32)
    known: dict[str, Any] = {"target": 0, "target_name": None, "score": 7.0, "probability": 0.999, "seconds": 0.0}
    known |= {"signed": True, "layer": None, "image": IMAGE.float().numpy()}
    known["facts"] = explanations.get(method).facts if method in explanations else None
    return Attribution(values=heat, method=method, **(known | others))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# Curves --------------------------------------------------------------------------------------------------------------


def test_deletion_by_hand() -> None:
    # The second class has the score 0, so the probability is sigmoid(score). The largest of the map goes first.
    found = explain.deletion(linear(WEIGHTS), IMAGE, answer([[3, 2], [-6, 8]]), steps=4, fill=0.0)
    whole = sigmoid(7)
    expected = [sigmoid(7) / whole, sigmoid(-1) / whole, sigmoid(-4) / whole, sigmoid(-6) / whole, 0.5 / whole]
    np.testing.assert_allclose(found.score, expected)
    np.testing.assert_allclose(found.share, [0, 0.25, 0.5, 0.75, 1])
    assert found.auc == pytest.approx((expected[0] / 2 + sum(expected[1:4]) + expected[4] / 2) / 4)
    assert (found.kind, found.name) == ("deletion", "gradient_x_input")


def test_insertion_by_hand() -> None:
    found = explain.insertion(linear(WEIGHTS), IMAGE, answer([[3, 2], [-6, 8]]), steps=2, fill=0.0)
    whole = sigmoid(7)
    np.testing.assert_allclose(found.score, [0.5 / whole, sigmoid(11) / whole, 1])  # then 8 and 3 are back
    # The mean of the image is 1: the empty image has the score 10, and 10 + 4 (2 - 1) + 1 (3 - 1) = 16 with two pixels.
    found = explain.insertion(linear(WEIGHTS), IMAGE, answer([[3, 2], [-6, 8]]), steps=2)
    np.testing.assert_allclose(found.score, [sigmoid(10) / whole, sigmoid(16) / whole, 1])


def test_no_order_is_better_for_a_linear_network_than_that_of_the_contributions() -> None:
    probe = Probe(linear(WEIGHTS), IMAGE, 0)
    best = explain.gradient_x_input(linear(WEIGHTS), IMAGE, 0).map
    for kind, better in (("deletion", np.less_equal), ("insertion", np.greater_equal)):
        of_all = [
            perturbation_curve(probe, np.reshape(order, (2, 2)), kind, 4, 0.0, "").auc  # type: ignore[arg-type]
            for order in itertools.permutations([0.0, 1.0, 2.0, 3.0])
        ]
        assert better(
            perturbation_curve(probe, best, kind, 4, 0.0, "").auc, np.array(of_all) + 1e-12 * (kind == "deletion")
        ).all()  # type: ignore[arg-type]


def test_pixels_of_equal_importance_go_from_the_upper_left_and_every_pixel_goes_once() -> None:
    model = linear([list(range(1, 37)), [0] * 36], size=6)
    image = torch.ones(1, 6, 6, dtype=torch.float64) / 100
    probe = Probe(model, image, 0)
    found = perturbation_curve(probe, np.zeros((6, 6)), "deletion", 7, 0.0, "")
    gone = np.round(np.arange(8) * 36 / 7)
    scores = [sum(range(int(n) + 1, 37)) / 100 for n in gone]
    np.testing.assert_allclose(found.share, gone / 36)
    np.testing.assert_allclose(found.score, [sigmoid(s) / sigmoid(scores[0]) for s in scores])


def test_one_output_is_a_probability_by_sigmoid() -> None:
    found = explain.deletion(linear(WEIGHTS[:1]), IMAGE, answer([[3, 2], [-6, 8]]), steps=1, fill=0.0)
    np.testing.assert_allclose(found.score, [1, 0.5 / sigmoid(7)])


def test_signs_that_are_directions_do_not_count() -> None:
    guided = answer([[[1.0, -9.0], [2.0, 3.0]], [[1.0, 9.0], [0.0, 0.0]]], method="guided_backprop")
    np.testing.assert_array_equal(guided.importance, [[2, 18], [2, 3]])
    np.testing.assert_array_equal(guided.map, [[2, 0], [2, 3]])
    np.testing.assert_array_equal(answer([[1, -2], [3, 4]]).importance, [[1, -2], [3, 4]])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"steps": 0}, "steps is 0"), ({"fill": "black"}, '"grey" or "blur"')],
)
def test_wrong_options_of_curves(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        explain.deletion(linear(WEIGHTS), IMAGE, answer([[1, 2], [3, 4]]), **options)


def test_the_map_of_another_image() -> None:
    with pytest.raises(UsageError, match=r"map has shape \(2, 3\), the image \(2, 2\)"):
        explain.insertion(linear(WEIGHTS), IMAGE, answer([[1, 2, 3], [3, 4, 5]]))


def test_random_maps_are_smooth_and_differ() -> None:
    generator = np.random.default_rng(0)
    first, second = (random_map(40, 30, generator) for _ in range(2))
    assert first.shape == (40, 30)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.5
    assert np.corrcoef(first[1:].ravel(), first[:-1].ravel())[0, 1] > 0.95, "neighbours are alike"
    assert random_map(3, 2, generator).shape == (3, 2)


# Completeness --------------------------------------------------------------------------------------------------------


def test_completeness() -> None:
    model = linear(WEIGHTS)
    assert explain.completeness(model, IMAGE, answer([[3, 2], [-6, 8]])) == 0
    assert explain.completeness(model, IMAGE, answer([[3, 2], [-6, 1.0]])) == 1  # the sum is 0 and not 7
    # From an image of ones, whose score is 10, the score falls by 3.
    assert explain.completeness(model, IMAGE, answer([[3, 2], [-6, 8]]), baseline=1.0) == pytest.approx(10 / 3)
    integrated = explain.integrated_gradients(model, IMAGE, 0, baseline=1.0)
    assert explain.completeness(model, IMAGE, integrated) == pytest.approx(0, abs=1e-6), "the method's own baseline"
    assert explain.completeness(model, IMAGE * 0, answer([[0, 0], [0, 2.0]])) == 2, "of no change: the gap itself"


# Randomisation -------------------------------------------------------------------------------------------------------


def test_shuffled_weights_give_another_map_and_the_model_stays_as_it_is() -> None:
    model, image = awkward(), random_image()
    before = state_of(model)
    found = explain.saliency(model, image, 1)
    likeness = explain.randomisation(model, image, found)
    assert list(likeness) == ["first"]
    assert abs(likeness["first"]) < 0.6
    assert explain.randomisation(model, image, found) == likeness, "the same seed"
    assert explain.randomisation(model, image, found, seed=1) != likeness
    assert state_of(model) == before


def test_weights_that_are_all_alike_cannot_be_shuffled_and_the_map_stays() -> None:
    model = OneConv(filters=[[[[0.5, 0.5], [0.5, 0.5]]]], head=((0.5,), (0.5,)))
    found = explain.occlusion(model, random_image(1, 6), 1, window=2, stride=1)
    assert explain.randomisation(model, random_image(1, 6), found)["conv"] == pytest.approx(1)


def test_the_cascade_goes_from_the_output_to_the_input() -> None:
    model, image = awkward(), random_image()
    found = explain.saliency(model, image, 1)
    stages = explain.randomisation(model, image, found, cascade=5)
    assert list(stages) == ["fc", "last", "twice", "norm", "first"]
    # All stages together are the same as all weights at once, drawn in the same order.
    assert stages["first"] == explain.randomisation(model, image, found)["first"]
    assert len(explain.randomisation(model, image, found, cascade=99)) == 6
    with pytest.raises(UsageError, match="cascade is 0"):
        explain.randomisation(model, image, found, cascade=0)


def test_the_method_runs_with_its_options_and_layer() -> None:
    model, image = awkward(), random_image()
    found = explain.gradcam(model, image, 1, layer="first", aligned=False)
    assert found.options == {"aligned": False}
    asked: list[tuple[str | None, Any]] = []
    original = randomisation.attribute

    def watched(probe: Probe, name: str, **options: Any) -> Attribution:
        asked.append((probe.layer, options))
        return original(probe, name, **options)  # type: ignore[no-any-return]

    randomisation.attribute = watched
    try:
        explain.randomisation(model, image, found)
    finally:
        randomisation.attribute = original
    assert asked == [("first", {"aligned": False})]


def test_networks_that_cannot_be_shuffled() -> None:
    class Bare(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    with pytest.raises(ModelError, match="no weights"):
        explain.randomisation(Bare(), IMAGE, explain.saliency(Bare(), IMAGE, 0))

    class NotCopied(OneConv):
        def __deepcopy__(self, memo: Any) -> None:
            raise TypeError("not today")

    with pytest.raises(ModelError, match=r"cannot be copied.*not today"):
        explain.randomisation(NotCopied(), IMAGE, explain.saliency(NotCopied(), IMAGE, 0))
    with pytest.raises(UnknownNameError, match="mine"):
        explain.randomisation(OneConv(), IMAGE, answer([[1, 2], [3, 4]], method="mine"))


# All together --------------------------------------------------------------------------------------------------------


def test_trust_fills_the_scores_in() -> None:
    model, image = awkward(), random_image()
    before = state_of(model)
    found = explain.score_faithfulness(
        model, explain.integrated_gradients(model, image, 1, steps=8), steps=5, randoms=2
    )
    assert list(found.faithfulness) == [
        "deletion",
        "insertion",
        "random",
        "completeness gap",
        "randomised agreement",
    ]
    for score in (explain.deletion, explain.insertion):
        assert found.faithfulness[score.__name__] == pytest.approx(score(model, image, found, steps=5).auc)
    assert found.faithfulness["completeness gap"] == explain.completeness(model, image, found)
    assert found.faithfulness["randomised agreement"] == explain.randomisation(model, image, found)["first"]
    generator = np.random.default_rng(0)
    first = random_map(16, 16, generator)
    for score in (explain.deletion, explain.insertion):  # backwards, the one curve is the other
        by_chance = [score(model, image, replace(found, values=heat), steps=3).auc for heat in (first, -first)]
        assert found.faithfulness["random"] == pytest.approx(np.mean(by_chance))
    assert state_of(model) == before
    assert (
        "completeness gap"
        not in explain.score_faithfulness(model, explain.saliency(model, image, 1), randoms=1).faithfulness
    )
    with pytest.raises(UsageError, match="randoms is 0"):
        explain.score_faithfulness(model, found, randoms=0)


def test_a_map_of_somebody_s_own_is_judged_as_far_as_it_can_be() -> None:
    found = explain.score_faithfulness(linear(WEIGHTS), answer([[3, 2], [-6, 8]], method="mine"))
    assert list(found.faithfulness) == ["deletion", "insertion", "random"]


def test_curves_show_themselves() -> None:
    found = explain.deletion(linear(WEIGHTS), IMAGE, answer([[3, 2], [-6, 8]]), steps=4)
    back = explain.insertion(linear(WEIGHTS), IMAGE, answer([[3, 2], [-6, 8]]), steps=4)
    axes = found.figure().axes
    assert [ax.get_title("left") for ax in axes] == ["Deletion: lower is better"]
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), found.score)
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == [f"{found.auc:.2f}  gradient_x_input"]
    assert back._repr_png_().startswith(b"\x89PNG")


# A network that has learned something --------------------------------------------------------------------------------

DIGITS = 12


@pytest.fixture(scope="session")
def digits() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """LeNet-5 with ReLU after a few seconds with 4,500 digits; test images that it names right, and their labels."""
    data = load_data("mnist5k")

    def prepared(pixels: torch.Tensor) -> torch.Tensor:
        return F.pad((pixels.float() / 255 - 0.1307) / 0.3081, (2, 2, 2, 2), value=-0.1307 / 0.3081)

    torch.manual_seed(0)
    model = create_model("lenet5", 10, 1, 32, activation="relu")
    images, labels, rounds, size = prepared(data.train.pixels), data.train.labels, 4, 64
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=rounds * -(-len(images) // size))
    for _ in range(rounds):
        for batch in torch.randperm(len(images)).split(size):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    tests, labels = prepared(data.test.pixels), data.test.labels
    with torch.no_grad():
        right = model(tests).argmax(1) == labels
    assert right.float().mean() > 0.95
    return model, tests[right][:DIGITS], labels[right][:DIGITS]


def deletions(model: nn.Module, image: torch.Tensor, target: int, maps: dict[str, np.ndarray]) -> dict[str, float]:
    probe = Probe(model, image, target)
    return {name: perturbation_curve(probe, heat, "deletion", 16, "mean", name).auc for name, heat in maps.items()}


def test_every_method_s_deletion_is_better_than_random_maps(
    digits: tuple[nn.Module, torch.Tensor, torch.Tensor],
) -> None:
    """n = 12 digits, one random map for each. The real maps win on average, and on most of the digits."""
    model, images, labels = digits
    random = np.random.default_rng(0)
    rows = []
    for image, label in zip(images, labels.tolist(), strict=True):
        probe = Probe(model, image, label)
        quick: dict[str, dict[str, Any]] = {"smoothgrad": {"samples": 8}, "integrated_gradients": {"steps": 8}}
        quick |= {"occlusion": {"window": 5, "stride": 3}}
        maps = {name: attribute(probe, name, **quick.get(name, {})).importance for name in explanations.names()}
        maps |= {"random": random.standard_normal((32, 32)).astype(np.float32), "smooth": random_map(32, 32, random)}
        rows.append(deletions(model, image, label, maps))
    scores = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    table = "\n".join(f"{name}: {values.mean():.3f}" for name, values in scores.items())
    for name in explanations.names():
        assert scores[name].mean() < scores["random"].mean() - 0.05, f"{name}\n{table}"
        assert (scores[name] < scores["random"]).mean() > 0.6, f"{name}\n{table}"
    # Maps of a layer of ten by ten positions are hardly better on digits than smooth random ones; those of pixels are.
    for name in ("gradient_x_input", "guided_backprop", "integrated_gradients", "occlusion", "saliency", "smoothgrad"):
        assert scores[name].mean() < scores["smooth"].mean() - 0.1, f"{name}\n{table}"


def test_every_map_is_a_figure(digits: tuple[nn.Module, torch.Tensor, torch.Tensor]) -> None:
    model, images, labels = digits
    judged = explain.score_faithfulness(model, explain.gradcam(model, images[0], int(labels[0])), steps=4, randoms=1)
    assert to_png(judged.figure(), dpi=40).startswith(b"\x89PNG")
