"""Search spaces: what a file means, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnnlab.errors import CnnlabError, UsageError
from cnnlab.experiments.tuning.space import Choices, Range, list_spaces, load_space, make_space
from cnnlab.training.yaml_text import parse_yaml
from tests.helpers import tiny_recipe


def space_of(text: str, **changes: Any) -> Any:
    return make_space(parse_yaml(text, "space.yaml"), "space.yaml", tiny_recipe(data="digits", **changes))


def test_a_file_is_ranges_choices_and_fixed_values() -> None:
    space = space_of(
        "lr: {low: 1e-4, high: 0.1, log: true}\n"
        "augment.crop: {low: 0, high: 4, step: 2}\n"
        "betas: [[0.9, 0.99], [0.8, 0.999]]\n"
        "schedule: cosine\n"
    )
    assert space.varied == {
        "lr": Range(1e-4, 0.1, log=True),
        "augment.crop": Range(0, 4, step=2, whole=True),
        "betas": Choices(([0.9, 0.99], [0.8, 0.999])),
    }
    recipe = space.apply(tiny_recipe(), {"lr": 0.003, "augment.crop": 2, "betas": [0.8, 0.999]})
    assert (recipe.lr, recipe.augment.crop, recipe.betas, recipe.schedule) == (0.003, 2, (0.8, 0.999), "cosine")
    assert recipe.model_options == {"widths": [4, 8, 8]}


def test_the_key_decides_whether_a_range_has_fractions() -> None:
    space = space_of("lr: {low: 1, high: 2}\nbatch_size: {low: 8, high: 16}\nlabel_smoothing: {low: 0, high: 0.3}")
    assert [part.whole for part in space.varied.values()] == [False, True, False]


def test_a_range_ends_at_its_last_step() -> None:
    assert space_of("label_smoothing: {low: 0, high: 0.2, step: 0.05}").varied["label_smoothing"].values == (
        0.0, 0.05, 0.1, 0.15, 0.2,
    )  # fmt: skip
    assert space_of("batch_size: {low: 8, high: 31, step: 8}").varied["batch_size"] == Range(8, 24, step=8, whole=True)


def test_a_grid_is_every_combination_once() -> None:
    space = space_of("lr: [0.1, 0.2]\naugment.crop: {low: 0, high: 2}")
    assert [tuple(one.values()) for one in space.combinations()] == [(a, b) for a in (0.1, 0.2) for b in (0, 1, 2)]
    with pytest.raises(UsageError, match=r"lr is a range of all numbers from 0\.1 to 0\.2"):
        space_of("lr: {low: 0.1, high: 0.2}").combinations()


def test_another_network_leaves_the_options_of_the_first_behind() -> None:
    space = space_of("model: [convnet, mlp]")
    recipe = tiny_recipe(data="digits")
    assert space.apply(recipe, {"model": "mlp"}).model_options == {}
    assert space.apply(recipe, {"model": "convnet"}).model_options == {"widths": [4, 8, 8]}


def test_a_value_that_is_no_number_comes_back_from_the_database() -> None:
    space = space_of("betas: [[0.9, 0.99], [0.8, 0.999]]\nnesterov: [true, false]")
    values = {"betas": [0.8, 0.999], "nesterov": False}
    assert space.stored(values) == {"betas": "[0.8, 0.999]", "nesterov": False}
    assert space.read(space.stored(values)) == values


@pytest.mark.parametrize("name", list_spaces())
def test_shipped_spaces_fit_the_first_recipe(name: str) -> None:
    from cnnlab.training import load_recipe

    assert "lr" in load_space(name, load_recipe("lenet5-mnist5k")).varied


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: [0.1]", 'there is no recipe key "learning_rate"'),
        ("augment.crp: [1, 2]", 'Did you mean "crop"?'),
        ("btch_size: [1, 2]", 'Did you mean "batch_size"?'),
        ("model_options.width: [[1], [2]]", 'convnet has no option "width". Did you mean "widths"?'),
        ("model: [convnt]", 'Did you mean "convnet"?'),
        ("lr: {low: 0.1, high: 0.1}", "low=0.1 must be smaller than high=0.1"),
        ("lr: {low: 0, high: 0.1, log: true}", "a logarithmic range begins above 0"),
        ("lr: {low: 0.1, high: 1, log: true, step: 0.1}", "a logarithmic range has no step"),
        ("lr: {low: 0.1, high: 1, step: 2}", "step=2 must be above 0 and at most high - low = 0.9"),
        ("lr: {low: 0.1}", "the range lacks high"),
        ("lr: {low: 0.1, hgh: 1}", 'Did you mean "high"?'),
        ("lr: {low: 0.1, high: much}", "high must be a number, got 'much'"),
        ("lr: {low: 0.1, high: .inf}", "high must be a number"),
        ("batch_size: {low: 1.5, high: 4}", "batch_size is a whole number, and the range has 1.5"),
        ("lr: []", "empty list"),
        ("lr: [0.1, 0.1]", "lists 0.1 twice"),
        ("lr: [-1, 0.1]", "lr=-1 is refused. lr: Input should be greater than 0"),
        ("optimizer: [sgd, adm]", 'Did you mean "adam"?'),
        ("lr: {low: -1, high: 1}", "lr=-1.0 is refused"),
        ("seed: [1, 2]", "seed is the same in all trials"),
        ("data: [mnist, cifar10]", "data is the same in all trials"),
        ("about: [a, b]", "about describes a recipe"),
        ("augment: {crop: [0, 2]}", "augment is a group of keys"),
        ("lr: 0.1", "there is nothing to search"),
        ("", "got nothing"),
        ("- lr", "got list"),
        ("lr: [0.1", "not valid YAML"),
    ],
)  # fmt: skip
def test_wrong_spaces(text: str, message: str) -> None:
    with pytest.raises(CnnlabError) as error:
        space_of(text)
    assert message in str(error.value)
    assert error.value.exit_code == 2


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no space file .*basic, rate-and-decay"):
        load_space(tmp_path / "space.yaml", tiny_recipe())
    with pytest.raises(UsageError, match=r'There is no search space "basc"\. Did you mean "basic"'):
        load_space("basc", tiny_recipe())


def test_the_space_in_the_documentation_fits() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n")[1].split("```")[0]
    space = make_space(parse_yaml(text, "docs"), "docs", tiny_recipe(model="resnet18", model_options={}))
    assert list(space.fixed) == ["schedule"]
    assert space.varied["augment.crop"] == Range(0, 4, step=1, whole=True)
