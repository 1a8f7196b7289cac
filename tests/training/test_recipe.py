"""Recipes: what is refused, how overrides work, and that every shipped one loads and builds."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cnnlab.data import Augment
from cnnlab.errors import RecipeError, UnknownNameError
from cnnlab.training import Recipe, list_recipes, load_recipe, recipe_for
from cnnlab.training.rules import OPTIMIZERS
from cnnlab.training.shipped import choose_recipe
from cnnlab.training.yaml_text import parse_yaml
from cnnlab.zoo import create_model, models


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipe_loads_and_builds(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.about
    assert recipe.reproduces
    facts = models.get(recipe.model).facts
    model = create_model(
        recipe.model, image_size=recipe.image_size or max(32, facts.min_size), options=recipe.model_options
    )
    assert sum(p.numel() for p in model.parameters()) > 0


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipe_says_what_was_measured(name: str) -> None:
    assert load_recipe(name).measured
    for measured in load_recipe(name).measured:
        assert 0 < measured.accuracy <= 100
        assert (measured.std is None) == (measured.n == 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, 'no key "epoch".*Did you mean "epochs"'),
        ({"epochs": "ten"}, "epochs: .*integer.*'ten'"),
        ({"epochs": 0}, "epochs: .*greater than or equal to 1"),
        ({"epochs": 2.5}, "epochs: .*integer"),
        ({"optimizer": "sdg"}, "optimizer: expected 'sgd'.*Did you mean \"sgd\""),
        ({"augment": {"flp": True}}, 'no key "augment.flp".*Did you mean "flip"'),
        ({"augment": {"crop": -1}}, "augment.crop"),
        ({"lr": -1}, "lr: .*greater than 0"),
        ({"image_sizes": 20}, r"image_sizes: expected a list such as \[20\], got 20\."),
        ({"device": "gpu"}, 'expected auto, cpu, cuda.*got "gpu"'),
        ({"batch_size": 4, "accumulate": 8}, "accumulate=8 splits a batch of only 4"),
        ({"milestones": [0.7, 0.2]}, "rising shares"),
        ({"class_weights": "balanced"}, "class_weights"),
        ({"betas": [0.9, 5]}, r"betas\.1: .*less than 1"),
        ({"lr": float("inf")}, "lr: .*finite"),
        ({"image_size": 20_000}, "image_size: .*less than or equal to 2048"),
        ({"keep_epochs": "al"}, "keep_epochs: expected none, all, doubling, or a list.*'al'. Did you mean \"all\""),
        ({"keep_epochs": [-1]}, "keep_epochs: expected none, all, doubling, or a list"),
        ({"keep_epochs": True}, "keep_epochs: expected none, all, doubling, or a list"),
        ({"keep_epochs": [1, 20], "epochs": 10}, r"keep_epochs=\[1, 20\] is not reached in 10 epochs"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as loaded:
        Recipe.make(values, "mine.yaml")
    with pytest.raises(RecipeError) as constructed:
        Recipe(**values)  # type: ignore[arg-type]
    assert str(loaded.value) == f"mine.yaml: {constructed.value}"


def test_what_was_measured_holds_for_any_seed_but_not_for_other_settings() -> None:
    measured = {"split": "test", "accuracy": 98.0, "std": None, "n": 1, "seconds": 1.0}
    measured |= {"machine": "one", "versions": "two", "date": "2026-01-01"}
    recipe = Recipe.make({"reproduces": "a paper", "measured": [measured]})
    assert recipe.with_overrides(["seed=3", "device=cpu"]).measured == recipe.measured
    assert recipe.with_overrides(["epochs=3"]).measured == ()
    assert recipe.with_overrides(["epochs=3"]).reproduces == ""


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ("none", []),
        ("all", list(range(11))),
        ("doubling", [0, 1, 2, 4, 8, 10]),
        ("[5, 1, 5]", [1, 5]),
        ("[0]", [0]),
        ("[]", []),
    ],
)
def test_kept_epochs(text: str, epochs: list[int]) -> None:
    recipe = Recipe(epochs=10).with_overrides([f"keep_epochs={text}"])
    assert [epoch for epoch in range(11) if recipe.keeps_epoch(epoch)] == epochs
    assert Recipe.make(parse_yaml(recipe.to_yaml(), "")) == recipe


def test_overrides_reach_into_groups_and_keep_the_rest() -> None:
    recipe = Recipe().with_overrides(["epochs=5", "lr=1e-3", "augment.crop=2", "model_options.activation=relu"])
    assert (recipe.epochs, recipe.lr, recipe.augment.crop) == (5, 0.001, 2)
    assert recipe.model_options == {"activation": "relu"}
    again = recipe.with_overrides(["augment.flip=true"])
    assert (again.augment.crop, again.augment.flip) == (2, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs", "write key=value"),
        ("=3", "write key=value"),
        ("epocs=3", 'no recipe key "epocs".*Did you mean "epochs"'),
        ("lr.peak=3", "lr is a single value"),
        ("augment.crop.x=1", "crop is a single value; write augment.crop="),
        ("epochs=[1", "not valid YAML"),
    ],
)
def test_wrong_overrides_are_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe().with_overrides([text])


def test_class_weights_by_name_or_number() -> None:
    assert Recipe().with_overrides(["class_weights.cat=2"]).class_weights == {"cat": 2.0}
    assert Recipe.make({"class_weights": {0: 1.0, 1: 2.0}}).class_weights == {"0": 1.0, "1": 2.0}


def test_another_network_is_another_recipe() -> None:
    changed = load_recipe("lenet5-mnist5k").with_overrides(["model=mlp"])
    assert (changed.model, changed.name, changed.about) == ("mlp", "", "")


@given(
    st.sampled_from(sorted(Recipe.model_fields)), st.lists(st.text("abz", max_size=3), max_size=3), st.text(max_size=9)
)
def test_any_dotted_key_is_a_recipe_or_a_recipe_error(key: str, path: list[str], value: str) -> None:
    with contextlib.suppress(RecipeError):
        Recipe().with_overrides([".".join([key, *path]) + "=" + value])


def test_overrides_do_not_change_their_input() -> None:
    values = {"augment": {"crop": 1}}
    Recipe.apply_overrides(values, ["augment.crop=2"])
    assert values == {"augment": {"crop": 1}}


def test_floats_may_be_written_as_everyone_writes_them() -> None:
    assert parse_yaml("1e-3", "test") == 0.001
    assert parse_yaml("5E4", "test") == 5e4
    assert parse_yaml("1e", "test") == "1e"


@given(
    epochs=st.integers(1, 10_000),
    lr=st.floats(1e-9, 1e3),
    optimizer=st.sampled_from(list(OPTIMIZERS)),
    crop=st.integers(0, 9),
    name=st.text(max_size=20),
    options=st.dictionaries(st.text("abc", min_size=1), st.one_of(st.integers(), st.booleans(), st.text("xyz"))),
)
def test_yaml_round_trip(
    epochs: int, lr: float, optimizer: str, crop: int, name: str, options: dict[str, object]
) -> None:
    values = {"epochs": epochs, "lr": lr, "optimizer": optimizer, "augment": {"crop": crop}}
    recipe = Recipe.make(values | {"name": name, "model_options": options})
    for full in (True, False):
        assert Recipe.make(parse_yaml(recipe.to_yaml(full=full), "test") or {}) == recipe


@given(st.text(max_size=60))
def test_any_text_as_override_is_a_recipe_or_a_recipe_error(text: str) -> None:
    with contextlib.suppress(RecipeError):
        Recipe().with_overrides([text])


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: mlp\nepochs: 2\n")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.model, recipe.epochs) == ("mine", "mlp", 2)
    path.write_text("- a\n- b\n")
    with pytest.raises(RecipeError, match="expected `key: value` lines, got list"):
        load_recipe(path)
    path.write_text("model: mlp\nepochs: [1\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml line \d: not valid YAML"):
        load_recipe(path)
    with pytest.raises(RecipeError, match="no recipe file"):
        load_recipe(tmp_path / "other.yaml")
    with pytest.raises(UnknownNameError, match='Did you mean "lenet5-mnist5k"'):
        load_recipe("lenet-mnist5k")


def test_defaults_follow_what_was_named(tmp_path: Path) -> None:
    assert recipe_for().name == "lenet5-mnist5k"
    assert recipe_for("resnet18", "cifar10").name == "resnet18-cifar10"
    assert recipe_for(None, "mnist").data == "mnist"
    for name in ("efficientnet_lite0", "vgg16_bn", "squeezenet1_1"):  # theirs freeze a part or start from weights
        begun = recipe_for(name, "cifar10")
        assert (begun.name, begun.freeze, begun.weights) == ("", "none", None)
    plain = recipe_for("mlp", "digits")
    assert (plain.name, plain.optimizer) == ("", "adamw")
    photos = recipe_for(None, str(tmp_path))
    assert (photos.data, photos.class_weights, photos.measured) == (str(tmp_path), "auto", ())
    assert recipe_for("convnet", str(tmp_path)).model == "convnet"


@pytest.mark.parametrize("where", ["train-{0000..0009}.tar", "shards/*.tar", "x.tar", "~/x.TAR"])
def test_tar_files_get_the_recipe_for_photos(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is a pattern or a file; an absolute path, because a run has to work from any folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    expected = str(tmp_path.resolve() / where.removeprefix("~/"))
    photos = load_recipe("folder")
    chosen = choose_recipe(None, where)
    assert chosen.data == expected
    assert chosen == photos.derived(data=expected)
    assert (chosen.model, chosen.epochs) == (photos.model, photos.epochs)
    assert choose_recipe("resnet20", where) == photos.derived(model="resnet20", data=expected)


def test_a_derived_recipe_forgets_what_was_measured() -> None:
    recipe = load_recipe("lenet5-cifar10-relu")
    other = recipe.derived(model="convnet")
    assert (other.model, other.model_options, other.measured, other.data) == ("convnet", {}, (), "cifar10")
    assert recipe.derived(model="lenet5") is recipe


def test_a_wrong_kind_of_flip_is_answered_with_all_of_them() -> None:
    assert Recipe().with_overrides(["augment.flip=alternate"]).augment.flip == "alternate"
    with pytest.raises(RecipeError, match=r"augment\.flip: expected true, false or alternate, got 'alternating'"):
        Recipe().with_overrides(["augment.flip=alternating"])


def test_every_key_is_documented() -> None:
    rows = {key: (default, meaning) for key, default, meaning in Recipe.describe_keys()}
    assert all(meaning for _, meaning in rows.values())
    assert set(Recipe.model_fields) | {f"augment.{key}" for key in Augment.model_fields} == set(rows)
    assert rows["epochs"] == ("10", "passes over the training split")
    assert rows["augment.crop"][0] == "0"
    assert "pad each side" in rows["augment.crop"][1]
    assert yaml.safe_load(Recipe().to_yaml()).keys() == Recipe.model_fields.keys()
