"""Advice: what data lead to, the extrapolation, commands that mean what was tried, and one whole advice in seconds."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.advisor import screening
from cnnlab.advisor.advice import Advice, command_for, reasons
from cnnlab.advisor.forecast import Candidate, Forecast, expected_accuracy
from cnnlab.advisor.search import advise, survivors
from cnnlab.advisor.task import AdviceStep, Request, Task
from cnnlab.advisor.trial import Rates, Trial, _plan, _rounded, try_out
from cnnlab.data import ArraySplit, ImageData
from cnnlab.errors import RecipeError, UsageError
from cnnlab.training import Recipe, load_recipe
from cnnlab.training.shipped import choose_recipe
from tests.helpers import bars, make_bars, tiny_recipe


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "cache"))


# --- The data decide the settings ---------------------------------------------------------------------------------


def task_for(data: ImageData, goal: Any = "accuracy", spec: str = "bars") -> Task:
    return Task.of(Request(spec, 600.0, goal, 30.0, {"device": "cpu"}), data)


def images(n: int, channels: int, size: int, labels: list[int] | None = None) -> ImageData:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 255, (n, channels, size, size), dtype=np.uint8))
    given = torch.arange(n) % 2 if labels is None else torch.tensor(labels)
    return ImageData("made up", ["a", "b"], ArraySplit(pixels, given), None, None, "made up")


def test_small_and_large_data_get_different_settings() -> None:
    small, large = (task_for(data).settings for data in (images(300, 1, 28), images(60_000, 1, 8)))
    assert (small.batch_size, small.most_epochs, small.least_epochs) == (32, 60, 10)
    assert (large.batch_size, large.most_epochs, large.least_epochs) == (128, 30, 3)


def test_digits_are_not_mirrored_and_colours_are() -> None:
    grey, colour = (task_for(data).settings for data in (images(300, 1, 28), images(300, 3, 32)))
    assert grey.augment == {"crop": 2}
    assert "not mirrored" in " ".join(grey.notes)
    assert colour.augment == {"flip": True, "crop": 4}


def test_uneven_classes_are_weighted_and_compared_as_equals() -> None:
    even, uneven = task_for(images(300, 1, 28)), task_for(images(300, 1, 28, [0] * 270 + [1] * 30))
    assert even.recipe("mlp").class_weights == "none"
    assert uneven.recipe("mlp").class_weights == "auto"
    assert (even.settings.balanced, uneven.settings.balanced) == (False, True)
    assert "9.0 times" in " ".join(uneven.settings.notes)
    trial = made_up_trial(np.array([True] * 90 + [False] * 10), np.array([0] * 90 + [1] * 10))
    assert Forecast(uneven).score(trial) == pytest.approx(0.5)
    assert Forecast(uneven).is_guessing(trial)
    assert Forecast(even).score(trial) == pytest.approx(0.9)


def test_a_network_that_enlarges_images_shifts_them_as_far() -> None:
    recipe = task_for(images(300, 1, 8)).recipe("lenet5")  # takes 28x28 and more
    assert recipe.augment.crop == round(1 * 28 / 8)


def test_deep_networks_without_normalisation_get_small_steps() -> None:
    task = task_for(images(300, 3, 32))
    assert task.recipe("vgg11").lr < task.recipe("vgg11_bn").lr == task.recipe("mnist_cnn").lr


def test_the_shipped_recipe_of_a_pair_is_kept() -> None:
    task = task_for(images(300, 3, 32), spec="cifar10")
    assert task.recipe("convnet").changed() == load_recipe("convnet-cifar10").changed() | {"device": "cpu"}


def test_held_out_images_are_never_of_the_test_split_nor_learnt_from() -> None:
    pixels, labels = bars(300)
    numbered = pixels.clone()
    numbered[:, 0, 0, 0] = torch.arange(300) % 256
    numbered[:, 0, 0, 1] = torch.arange(300) // 256
    data = ImageData("bars", ["l", "m", "r"], ArraySplit(numbered, labels), None, make_bars().test, "made up")
    task = task_for(data)

    def numbers(split: Any) -> set[int]:
        return set((split.pixels[:, 0, 0, 0].long() + 256 * split.pixels[:, 0, 0, 1].long()).tolist())

    assert task.held_out_from == "train"
    assert len(task.held_out) == 60
    assert numbers(task.held_out) | numbers(task.data.train) == set(range(300))
    assert not numbers(task.held_out) & numbers(task.data.train)
    assert task.data.test is None


def write_photos(root: Path, n: int = 10, size: tuple[int, int] = (100, 150)) -> None:
    rng = np.random.default_rng(0)
    for c, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 80, (*size, 3), dtype=np.uint8)
            pixels[..., c] += 150
            Image.fromarray(pixels).save(root / name / f"{i}.png")


def test_photos_are_cut_and_small_ones_are_not_blown_up(tmp_path: Path) -> None:
    from cnnlab.data import load_data

    write_photos(tmp_path / "photos")
    task = task_for(load_data(tmp_path / "photos"), spec=str(tmp_path / "photos"))
    assert (task.profile.photos, task.profile.short_side, task.settings.image_size) == (True, 100, 96)
    recipe = task.recipe("resnet18")
    assert (recipe.image_size, recipe.augment.crop_scale, recipe.augment.flip) == (96, 0.35, True)
    assert task.image_size(task.recipe("inception_v3")) == 96


def test_how_data_are_read_reaches_the_recipe_and_the_command(tmp_path: Path) -> None:
    write_photos(tmp_path / "in folders")
    for folder in (tmp_path / "in folders").iterdir():
        for photo in folder.iterdir():
            photo.rename(tmp_path / f"{folder.name}.{photo.name}")
        folder.rmdir()
    task = Task.of(Request(str(tmp_path), 600.0, options={"layout": "flat", "device": "cpu"}))
    assert (task.profile.classes, task.profile.train) == (2, 16)  # a fifth is the test split
    recipe = task.recipe("convnet")
    assert recipe.layout == "flat"
    assert meant_by(command_for(recipe, str(tmp_path))).layout == "flat"
    with pytest.raises(RecipeError, match="advise: layout: expected 'auto'"):
        list(advise(tmp_path, layout="flatt"))


# --- The extrapolation --------------------------------------------------------------------------------------------


def test_odds_that_rise_as_a_power_of_time_are_continued() -> None:
    def truth(t: float) -> float:
        odds = 0.5 * t**0.6
        return 0.1 + 0.9 * odds / (1 + odds)

    points = [(t, truth(t), 10**9) for t in (2.0, 5.0, 12.0)]
    assert expected_accuracy(points, 600, 0.1) == pytest.approx(truth(600), abs=1e-3)


def test_one_point_follows_the_usual_slope() -> None:
    expected = expected_accuracy([(10.0, 0.5, 1000)], 10 * np.e, 0.0)
    assert np.log(expected / (1 - expected)) == pytest.approx(0.35)


def test_few_images_promise_little() -> None:
    """The same jump from 40 to 60 %: on a hundred thousand images it is believed, on thirty mostly not."""
    many, few = (expected_accuracy([(5.0, 0.4, n), (10.0, 0.6, n)], 100, 0.1) for n in (100_000, 30))
    assert few < many - 0.1
    assert few > 0.6


@pytest.mark.parametrize("accuracy", [0.0, 0.05, 1.0])
def test_the_extremes_give_numbers(accuracy: float) -> None:
    assert 0.1 <= expected_accuracy([(1.0, accuracy, 50)], 100, 0.1) <= 1


# --- Ranking ------------------------------------------------------------------------------------------------------


def made_up_trial(correct: np.ndarray, labels: np.ndarray | None = None, seconds: float = 10, **more: Any) -> Trial:
    values: dict[str, Any] = {
        "seconds": seconds, "images": 100, "samples": 100, "rates": Rates(100.0, 300.0), "resolved": Recipe(),
    }  # fmt: skip
    return Trial(correct=correct, labels=np.arange(len(correct)) % 2 if labels is None else labels, **values | more)


def candidate(name: str, accuracy: float, parameters: int = 1000, infer: float = 300.0, n: int = 1000) -> Candidate:
    correct = np.arange(n) < accuracy * n
    rng = np.random.default_rng(0)
    trial = made_up_trial(rng.permutation(correct))
    return Candidate(Recipe(model=name), 1, parameters, Rates(100.0, infer), trials=[trial])


@pytest.mark.parametrize(
    ("goal", "order"),
    [
        ("accuracy", ["lenet5", "mlp", "convnet", "mnist_cnn"]),
        ("small", ["convnet", "mlp", "lenet5", "mnist_cnn"]),
        ("speed", ["mlp", "convnet", "lenet5", "mnist_cnn"]),
    ],
)
def test_goals(goal: str, order: list[str]) -> None:
    candidates = [
        candidate("lenet5", 0.90, parameters=3000, infer=100.0),
        candidate("mlp", 0.89, parameters=2000, infer=900.0),
        candidate("convnet", 0.88, parameters=1000, infer=500.0),
        candidate("mnist_cnn", 0.60, parameters=10, infer=9000.0),  # small and fast, but too far behind
    ]
    forecast = Forecast(task_for(images(300, 1, 28), goal), candidates)
    assert [c.name for c in forecast.ranked(candidates)] == order


def test_the_small_and_the_expensive_survive_beside_the_best() -> None:
    candidates = [
        *(candidate(name, 0.9 - i / 100, parameters=9000) for i, name in enumerate(["a", "b", "c", "d"])),
        candidate("light", 0.6, parameters=1000),
        dataclasses.replace(candidate("slow", 0.5, parameters=9000), rates=Rates(1.0, 3.0)),
    ]
    assert [c.name for c in survivors(candidates, 4)] == ["a", "b", "light", "slow"]


def test_reasons_come_from_the_numbers() -> None:
    first, near, far, guess = (
        candidate("lenet5", 0.90, parameters=9000),
        candidate("mlp", 0.895, parameters=1000, infer=900.0),
        candidate("convnet", 0.70),
        candidate("mnist_cnn", 0.51),
    )
    chosen = [first, near, far, guess]
    forecast = Forecast(task_for(images(300, 1, 28)), chosen)
    text = {c.name: "; ".join(reasons(c, chosen, forecast)) for c in chosen}
    assert "not to be told apart" not in text["lenet5"]
    assert "9 times fewer parameters" in text["mlp"]
    assert "answers 3.0 times as fast" in text["mlp"]
    assert "20.0 points behind the first" in text["convnet"]
    assert "no better than guessing" in text["mnist_cnn"]
    assert "no better than guessing" not in text["convnet"]


def test_trials_that_are_not_equally_long_say_how_long_they_were() -> None:
    first, near, far = candidate("lenet5", 0.90), candidate("mlp", 0.895), candidate("convnet", 0.70)  # 10 s each
    chosen = [first, near, far]
    forecast = Forecast(task_for(images(300, 1, 28)), chosen)
    assert "behind the first after an equally long trial (p" in "; ".join(reasons(far, chosen, forecast))
    first.trials = [dataclasses.replace(first.last, seconds=3.0)]
    lengths = "after 10.0 s of training, the first after 3.0 s (p"
    assert f"20.0 points behind the first {lengths}" in "; ".join(reasons(far, chosen, forecast))
    assert f"on these 1,000 images {lengths}" in "; ".join(reasons(near, chosen, forecast))


# --- Screening ----------------------------------------------------------------------------------------------------


def test_networks_that_would_be_far_too_slow_at_the_speed_of_the_reference_are_not_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All compute 10^9 multiplications of forward passes per second of training."""
    names = ["lenet5", "mnist_cnn", "convnet", "vgg11", "resnet18"]
    timed: list[str] = []

    def quick_rates(recipe: Recipe, classes: int, channels: int, size: int, device: torch.device) -> Rates:
        timed.append(recipe.model)
        rate = 1e9 / screening.count_macs(recipe.model, classes, channels, size)
        return Rates(rate, 3 * rate)

    monkeypatch.setattr(screening, "list_models", lambda: names)
    monkeypatch.setattr(screening, "quick_rates", quick_rates)
    data = images(300, 1, 28)
    task = task_for(data)
    macs = {name: screening.count_macs(name, 2, 1, 28) for name in names}
    work = task.profile.train + task.profile.each_epoch / 3  # of an epoch, in images of training
    epoch = {name: macs[name] * work / 1e9 for name in names}  # seconds
    # Half of the epochs that convnet needs fit in: it is too slow, but not by more than the margin.
    seconds = task.settings.least_epochs * epoch["convnet"] / 2
    task = Task.of(Request("bars", seconds, "accuracy", 600.0, {"device": "cpu"}), data)
    assert epoch["vgg11"] / epoch["convnet"] * 2 > screening.MARGIN
    list(screening.Screening(Forecast(task)).choose())
    assert sorted(timed) == ["convnet", "lenet5", "mnist_cnn", "resnet18"]  # resnet18 once, as the reference


# --- Trials -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "plan"), [(30.0, (28, 1)), (100.0, (100, 1)), (340.0, (100, 3))])
def test_a_trial_takes_each_image_once_before_it_takes_any_twice(budget: float, plan: tuple[int, int]) -> None:
    assert _plan(budget, 100) == plan


def test_small_differences_in_speed_do_not_change_the_trial() -> None:
    assert _rounded(1000) == _rounded(1030) != _rounded(1300)


@pytest.mark.slow
def test_a_trial_trains_in_the_time_it_has() -> None:
    data = make_bars(n_train=300, n_val=60)
    assert data.val is not None
    recipe, rates = tiny_recipe(augment={"crop": 1}), Rates(300, 6000)
    trial = try_out(recipe, data, data.val, rates, 10)  # 1 s on a quiet machine: slack for a busy one
    assert trial.n == 60
    assert trial.accuracy > 0.6  # three classes, easy to tell apart
    assert trial.interval[0] < trial.accuracy <= trial.interval[1]
    assert 0 < trial.seconds < 10
    assert trial.images == 300
    assert trial.samples % 300 == 0  # whole epochs
    again = try_out(recipe, data, data.val, rates, 10)
    assert again.samples == trial.samples
    assert np.array_equal(again.correct, trial.correct)


def test_a_pattern_of_tar_files_is_absolute_as_a_path_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = Request("train-{0..1}.tar", 600.0)
    assert request.recipe.data == str(tmp_path.resolve() / "train-{0..1}.tar")
    assert Request("mnist", 600.0).recipe.data == "mnist"


# --- The command --------------------------------------------------------------------------------------------------


def meant_by(command: str) -> Recipe:
    """The recipe that ``cnnlab train`` makes of the command."""
    program, verb, model, *words = shlex.split(command)
    assert (program, verb) == ("cnnlab", "train")
    options = {}
    while words and words[0].startswith("--"):
        options[words[0]], words = words[1], words[2:]
    weights, freeze = options.get("--weights"), options.get("--freeze")
    start = choose_recipe(model, options["--data"], weights=weights, freeze=freeze)
    overrides = [f"{key[2:]}={value}" for key, value in options.items() if key in ("--weights", "--freeze")]
    recipe = start.with_overrides([*words, *overrides])
    return recipe.model_copy(update={"data_dir": options.get("--data-dir")})


@pytest.mark.parametrize("model", ["lenet5", "convnet", "resnet18", "vgg16_bn"])
@pytest.mark.parametrize("data", ["mnist5k", "cifar10", "a folder"])
@pytest.mark.parametrize("weights", [(None, None), ("imagenet", "backbone"), ("imagenet", None)])
def test_the_command_means_the_recipe(
    tmp_path: Path, model: str, data: str, weights: tuple[str | None, str | None]
) -> None:
    source = data
    if data == "a folder":
        source = str(tmp_path / "my photos")
        write_photos(Path(source), n=1)
    start = choose_recipe(model, source, weights=weights[0], freeze=weights[1])
    changes = {
        "epochs": 7, "lr": 3e-4, "seed": 5, "device": "cpu", "class_weights": "auto", "image_size": 96,
        "augment": {"flip": True, "crop": 3, "crop_scale": None}, "train_limit": 50, "data_dir": "/some where",
    }  # fmt: skip
    if weights[0]:
        changes |= {"weights": weights[0], "freeze": weights[1] or "none"}
    wanted = Recipe.make(start.values() | changes)
    ignored = {"name", "about", "reproduces", "measured"}
    meant = meant_by(command_for(wanted, source)).values()
    assert {k: v for k, v in meant.items() if k not in ignored} == {
        k: v for k, v in wanted.values().items() if k not in ignored
    }


def test_a_shipped_recipe_needs_no_words() -> None:
    assert command_for(load_recipe("lenet5-mnist5k"), "mnist5k") == "cnnlab train lenet5 --data mnist5k"


# --- The whole ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_whole_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 8x8 digits, from four networks, in seconds."""
    monkeypatch.setattr(screening, "list_models", lambda: ["convnet", "mlp", "mnist_cnn", "resnet18"])
    events = list(advise("digits", minutes=0.5, budget=12, device="cpu"))
    assert all(isinstance(event, AdviceStep) for event in events[:-1])
    answer = events[-1]
    assert isinstance(answer, Advice)
    assert answer.data.describe().startswith("1,438 images to learn from, 10 classes")
    assert 1 <= len(answer.choices) <= 3
    first = answer.choices[0]
    assert first.name in ("convnet", "mlp", "mnist_cnn")
    assert first.accuracy > 0.3
    assert first.interval[0] <= first.accuracy <= first.interval[1]
    assert meant_by(first.command).epochs == first.epochs
    assert {c.name for c in answer.choices} <= {t["label"] for t in answer.tried}
    assert all(choice.seconds < 60 for choice in answer.choices)


@pytest.mark.parametrize("wrong", [{"minutes": 0}, {"budget": 1}, {"goal": "sped"}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"minutes|speed"):
        list(advise("digits", **wrong))
