"""The loop: it learns, equals a loop written by hand, stops when it must, and leaves the caller's state alone."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab.data import ArraySplit, ImageData, Loader
from cnnlab.errors import DataError, DivergedError, ModelError, RecipeError, TrainingError, UsageError
from cnnlab.tracing import summarise
from cnnlab.training import EpochDone, Finished, Recipe, Started, StepDone, evaluate, fit, prepare
from cnnlab.training.evaluation import EVALUATION_BYTES, evaluation_batch
from cnnlab.training.loop import out_of_memory_error
from cnnlab.training.optim import learning_rate
from cnnlab.training.rules import OPTIMIZERS, SCHEDULES
from cnnlab.zoo import create_model
from tests.helpers import make_bars, tiny_recipe


def last(recipe: Recipe, data: ImageData) -> Finished:
    *_, finished = fit(recipe, data=data)
    assert isinstance(finished, Finished)
    return finished


# Each optimizer and each schedule once; all pairs with -m slow.
@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        pytest.param(optimizer, schedule, marks=[] if number % len(SCHEDULES) == place else pytest.mark.slow)
        for place, schedule in enumerate(SCHEDULES)
        for number, optimizer in enumerate(OPTIMIZERS)
    ],
)
def test_every_optimizer_and_schedule_learns(optimizer: str, schedule: str, bars_data: ImageData) -> None:
    lr = {"sgd": 0.05, "rmsprop": 0.002}.get(optimizer, 0.01)
    finished = last(tiny_recipe(optimizer=optimizer, schedule=schedule, lr=lr, epochs=8), bars_data)
    assert finished.accuracy >= 0.9


@pytest.mark.parametrize(
    "change",
    [
        {"label_smoothing": 0.1},
        {"ema": 0.9},
        {"clip_norm": 0.5},
        {"accumulate": 3},
        {"class_weights": "auto"},
        {"sampling": "balanced"},
        {"augment": {"crop": 1, "cutout": 2}},
        {"augment": {"mixup": 0.2, "cutmix": 1.0}},
        {"precision": "bf16", "channels_last": True},
        {"weight_decay": 0.01},
    ],
    ids=str,
)
def test_every_option_learns(change: dict[str, object], bars_data: ImageData) -> None:
    assert last(tiny_recipe(epochs=8, **change), bars_data).accuracy >= 0.9


def test_overfits_eight_images() -> None:
    data = make_bars(n_train=8, n_test=8)
    data = replace(data, train=ArraySplit(data.train.pixels, torch.tensor([0, 1, 2, 2, 1, 0, 1, 0])))  # type: ignore[attr-defined]
    recipe = tiny_recipe(epochs=60, batch_size=8, lr=0.02, schedule="constant")
    epochs = [event for event in fit(recipe, data=data) if isinstance(event, EpochDone)]
    assert epochs[-1].train_accuracy == 1.0
    assert epochs[-1].train_loss < 0.05


def test_equals_a_loop_written_by_hand(bars_data: ImageData) -> None:
    """The same order, network, optimizer and rates in twenty plain lines give the same weights."""
    recipe = tiny_recipe(optimizer="sgd", lr=0.05, weight_decay=1e-3, clip_norm=1.0, label_smoothing=0.1)
    session = prepare(recipe, bars_data)
    model = create_model("convnet", 3, 1, 8, widths=(4, 8, 8))
    model.load_state_dict(session.model.state_dict())
    decayed = [p for p in model.parameters() if p.ndim > 1]
    spared = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 1e-3}, {"params": spared}],
        lr=0.1,
        momentum=0.9,
        nesterov=True,
        fused=True,  # so that the weights are the same to the last bit
    )
    loader = Loader(bars_data.train, session.preprocess, 8, shuffle=True, seed=recipe.seed)
    step = 0
    for epoch in range(recipe.epochs):
        for batch in loader.epoch(epoch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, len(loader))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.images), batch.labels, label_smoothing=0.1).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
    for _ in fit(recipe, session=session):
        pass
    for ours, theirs in zip(session.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_events_come_in_order_and_add_up(bars_data: ImageData) -> None:
    recipe = tiny_recipe(epochs=2, batch_size=20)
    events = list(fit(recipe, data=bars_data))
    assert [type(event).__name__ for event in events] == (
        ["Started"] + (["StepDone"] * 3 + ["EpochDone"]) * 2 + ["Finished"]
    )
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert (started.epochs, started.steps_per_epoch) == (2, 3)
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [(s.epoch, s.step, s.images) for s in steps] == [
        (e, s, n) for e in (1, 2) for s, n in ((1, 20), (2, 20), (3, 8))
    ]
    epoch = events[4]
    assert isinstance(epoch, EpochDone)
    assert epoch.train_loss == pytest.approx(sum(s.loss * s.images for s in steps[:3]) / 48)
    assert epoch.split == "test"
    assert finished.logits.shape == (24, 3)
    assert finished.accuracy == np.mean(finished.logits.argmax(1) == finished.labels)


def test_same_seed_same_bits_other_seed_other_bits(bars_data: ImageData) -> None:
    recipe = tiny_recipe(augment={"crop": 1, "mixup": 0.2}, model_options={"widths": [4, 8, 8], "dropout": 0.3})
    first, second = last(recipe, bars_data), last(recipe, bars_data)
    assert np.array_equal(first.logits, second.logits)
    other = last(recipe.with_overrides(["seed=1"]), bars_data)
    assert not np.array_equal(first.logits, other.logits)


def test_two_trainings_side_by_side_do_not_disturb_each_other(bars_data: ImageData) -> None:
    recipe = tiny_recipe(model_options={"widths": [4, 8, 8], "dropout": 0.3})
    alone = last(recipe, bars_data)
    other = recipe.with_overrides(["model_options.batch_norm=false"])
    pair = list(zip(fit(recipe, data=bars_data), fit(other, data=bars_data), strict=True))
    together = pair[-1][0]
    assert isinstance(together, Finished)
    assert np.array_equal(alone.logits, together.logits)


def test_the_callers_random_state_is_left_alone(bars_data: ImageData) -> None:
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the global stream is what is tested
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    last(tiny_recipe(epochs=1), bars_data)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_accumulation_gives_the_gradient_of_the_whole_batch(bars_data: ImageData) -> None:
    options = {"widths": [4, 8, 8], "batch_norm": False}
    weights = {"left": 1, "middle": 2, "right": 4}
    for number, more in ((4, {}), (5, {}), (5, {"class_weights": weights})):  # five parts are of unequal sizes
        whole = tiny_recipe(model_options=options, optimizer="sgd", batch_size=24, epochs=2, **more)
        parts = whole.with_overrides([f"accumulate={number}"])
        expected, actual = (list(fit(recipe, data=bars_data)) for recipe in (whole, parts))
        assert np.allclose(expected[-1].logits, actual[-1].logits, atol=1e-5)
        for one, other in zip(expected, actual, strict=True):
            if isinstance(one, EpochDone):
                assert other.train_loss == pytest.approx(one.train_loss, rel=1e-5)
                assert other.train_accuracy == one.train_accuracy


def test_accumulation_never_leaves_a_single_image_to_batchnorm() -> None:
    data = make_bars(n_train=7)
    steps = [e for e in fit(tiny_recipe(batch_size=7, accumulate=7, epochs=1), data=data) if isinstance(e, StepDone)]
    assert [s.images for s in steps] == [7]


def test_val_chooses_the_weights_and_test_is_only_reported() -> None:
    data = make_bars(n_val=30)
    events = list(fit(tiny_recipe(epochs=6, lr=0.03), data=data))
    epochs = [event for event in events if isinstance(event, EpochDone)]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert {event.split for event in epochs} == {"val"}
    best = max(epochs, key=lambda e: (e.val_accuracy, -e.val_loss, -e.epoch))
    assert finished.kept_epoch == best.epoch
    assert finished.split == "test"
    assert epochs[0].is_best


def test_without_val_the_last_weights_are_kept(bars_data: ImageData) -> None:
    finished = last(tiny_recipe(epochs=3), bars_data)
    assert (finished.kept_epoch, finished.split) == (3, "test")


def test_held_out_validation_is_stratified_and_not_trained_on(bars_data: ImageData) -> None:
    session = prepare(tiny_recipe(val_fraction=0.25), bars_data)
    assert session.data.val is not None
    assert (len(session.data.train), len(session.data.val)) == (36, 12)
    assert torch.bincount(session.data.val.labels).tolist() == [4, 4, 4]


def test_early_stopping_stops() -> None:
    data = make_bars(n_val=30)
    # A rate of almost nothing: no epoch after the first is better for long.
    recipe = tiny_recipe(epochs=50, lr=1e-9, schedule="constant", early_stopping=2)
    events = list(fit(recipe, data=data))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "early_stopping"
    assert events[-2].session.epoch - finished.kept_epoch == 2


def test_only_epochs_that_were_evaluated_use_up_patience() -> None:
    recipe = tiny_recipe(epochs=60, lr=1e-9, schedule="constant", early_stopping=3, evaluate_every=5)
    *epochs, finished = (e for e in fit(recipe, data=make_bars(n_val=30)) if isinstance(e, EpochDone | Finished))
    assert isinstance(finished, Finished)
    assert finished.reason == "early_stopping"
    assert [event.epoch for event in epochs if event.split] == list(range(5, len(epochs) + 1, 5))
    assert finished.kept_epoch == len(epochs) - 5


@pytest.mark.parametrize(
    ("batch", "images", "parts", "advice"),
    [
        (64, 64, 1, "of 64 images. Try accumulate=2 (the same batch in smaller parts) or batch_size=32."),
        (64, 64, 16, "of 64 images, 4 at a time. Try accumulate=32 (the same batch in smaller parts) or batch_size=32"),
        (64, 64, 32, "of 64 images, 2 at a time. Try batch_size=32."),  # more parts would be of a single image
        (2, 2, 1, "of 2 images. Try a smaller image_size."),
    ],
)
def test_what_to_try_where_the_memory_does_not_suffice(
    batch: int, images: int, parts: int, advice: str, bars_data: ImageData
) -> None:
    session = prepare(tiny_recipe(batch_size=batch), bars_data)
    assert advice in str(out_of_memory_error(session, images, parts))


def test_early_stopping_without_val_is_refused(bars_data: ImageData) -> None:
    with pytest.raises(TrainingError, match=r"needs a validation split.*val_fraction=0.1"):
        list(fit(tiny_recipe(early_stopping=2), data=bars_data))


def test_a_diverging_loss_stops_with_advice(bars_data: ImageData) -> None:
    recipe = tiny_recipe(optimizer="sgd", lr=1e30, schedule="constant", model_options={"batch_norm": False})
    with pytest.raises(DivergedError, match=r"epoch 1, step \d+.*Try lr=1e\+29, clip_norm=1.0"):
        list(fit(recipe, data=bars_data))


def test_a_last_batch_of_one_does_not_crash_batchnorm() -> None:
    data = make_bars(n_train=17)
    steps = [e for e in fit(tiny_recipe(batch_size=8, epochs=1), data=data) if isinstance(e, StepDone)]
    assert [s.images for s in steps] == [8, 9]


def test_a_batch_of_one_with_batchnorm_is_refused_and_without_is_not() -> None:
    data = make_bars(n_train=6)
    with pytest.raises(TrainingError, match=r"convnet has BatchNorm.*batch_size=1 .*Set batch_size=2"):
        prepare(tiny_recipe(batch_size=1), data)
    plain = tiny_recipe(batch_size=1, epochs=1, model_options={"widths": [4, 8, 8], "batch_norm": False})
    assert len([e for e in fit(plain, data=data) if isinstance(e, StepDone)]) == 6


def test_what_the_labels_tell_is_said() -> None:
    data = make_bars(n_train=48, n_val=6)
    rows = [*range(0, 48, 3), 1]  # sixteen of the first class, one of the second, none of the third
    notes = prepare(tiny_recipe(), replace(data, train=data.train.subset(rows))).notes
    assert any("train has no image of" in note and "right" in note for note in notes)
    assert any('16 images of "left" and 1 of "middle"' in note and "class_weights=auto" in note for note in notes)


def test_a_single_training_image_is_refused() -> None:
    with pytest.raises(DataError, match="1 training images; at least 2"):
        list(fit(tiny_recipe(), data=make_bars(n_train=1)))


def test_small_images_are_enlarged_and_it_is_said(bars_data: ImageData) -> None:
    session = prepare(tiny_recipe(model="lenet5", model_options={}), bars_data)
    assert session.recipe.image_size == 28
    assert any("8x8 images are enlarged to 28x28" in note for note in session.notes)


def test_an_image_size_below_the_minimum_is_refused(bars_data: ImageData) -> None:
    with pytest.raises(ModelError, match="at least 28"):
        list(fit(tiny_recipe(model="lenet5", model_options={}, image_size=20), data=bars_data))


def test_grey_images_for_a_colour_network(bars_data: ImageData) -> None:
    session = prepare(tiny_recipe(in_channels=3), bars_data)
    batch = next(session.train_loader.epoch(0))
    assert batch.images.shape == (8, 3, 8, 8)
    assert torch.equal(batch.images[:, 0], batch.images[:, 2])


def test_train_limit_is_stratified(bars_data: ImageData) -> None:
    session = prepare(tiny_recipe(train_limit=9), bars_data)
    assert torch.bincount(session.data.train.labels).tolist() == [3, 3, 3]
    with pytest.raises(UsageError, match="less than one image for each class"):
        prepare(tiny_recipe(train_limit=2), bars_data)


def test_class_weights_by_name(bars_data: ImageData) -> None:
    session = prepare(tiny_recipe(class_weights={"left": 1, "middle": 2, "right": 4}), bars_data)
    assert session.criterion.weight is not None
    assert session.criterion.weight.tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])  # mean 1 over equal classes
    with pytest.raises(TrainingError, match="Missing: middle, right"):
        prepare(tiny_recipe(class_weights={"left": 1.0}), bars_data)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_with_class_weights_is_the_mean_over_images(mixed: bool, bars_data: ImageData) -> None:
    weights = torch.tensor([3 / 7, 6 / 7, 12 / 7])
    recipe = tiny_recipe(class_weights={"left": 1, "middle": 2, "right": 4}, label_smoothing=0.1)
    logits, targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 2, 2, 1])
    targets = nn.functional.one_hot(targets, 3).float() if mixed else targets
    expected = nn.functional.cross_entropy(logits, targets, weights, label_smoothing=0.1, reduction="none").sum() / 5
    torch.testing.assert_close(prepare(recipe, bars_data).criterion(logits, targets), expected)


def test_evaluate_keeps_mode_and_order(bars_data: ImageData) -> None:
    session = prepare(tiny_recipe(), bars_data)
    assert bars_data.test is not None
    loader = Loader(bars_data.test, session.preprocess, 7)
    session.model.train()
    logits, labels = evaluate(session.model, loader, session.device, session.precision)
    assert session.model.training
    assert np.array_equal(labels, bars_data.test.labels.numpy())
    session.model.eval()
    with torch.no_grad():
        whole = session.model(session.preprocess.normalize(bars_data.test.pixels))  # type: ignore[attr-defined]
    assert np.allclose(logits, whole.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("side", "batch_size", "changes", "images"),
    [
        (28, 32, {}, 256),
        (32, 512, {}, 512),
        (64, 32, {}, 64),  # 2**30 / (4096 * 64 * 64)
        (260, 16, {}, 31),  # 2**30 / (512 * 260 * 260) = 31.02
        (260, 64, {}, 64),
        (224, 1024, {"accumulate": 16}, 64),  # as many as a step computes at a time
        (260, 64, {"freeze": "backbone"}, 31),
        (600, 64, {"freeze": "backbone"}, 8),
    ],
)
def test_an_evaluation_takes_as_many_images_as_fit_into_a_gibibyte(
    side: int, batch_size: int, changes: dict[str, object], images: int
) -> None:
    assert evaluation_batch(tiny_recipe(batch_size=batch_size, **changes), side) == images


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("vgg11", 224), ("resnet50", 64), pytest.param("efficientnet_lite2", 260, marks=pytest.mark.slow),
        *(pytest.param(name, 64, marks=pytest.mark.slow) for name in ("googlenet", "densenet161", "mobilenet_v2")),
    ],
)  # fmt: skip
def test_layer_outputs_of_an_evaluation_fit_into_a_gibibyte(name: str, side: int) -> None:
    with torch.device("meta"):
        model = create_model(name, image_size=side)
    batch = evaluation_batch(tiny_recipe(batch_size=2), side)
    assert batch * summarise(model, (1, 3, side, side)).peak_activation_bytes <= EVALUATION_BYTES


def test_training_accuracy_needs_no_test_split() -> None:
    data = make_bars(n_test=0)
    events = list(fit(tiny_recipe(epochs=1), data=data))
    assert isinstance(events[-2], EpochDone)
    assert math.isnan(events[-2].val_loss)
    assert isinstance(events[-1], Finished)
    assert events[-1].split == "train"


def test_compiled_network_trains(bars_data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    """`compile=true` really goes through torch.compile, and what it compiles is what is kept."""
    seen = []

    def compile_(model: nn.Module) -> nn.Module:
        seen.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compile_)
    finished = last(tiny_recipe(compile=True, epochs=8), bars_data)
    assert seen == [finished.session.model]
    assert finished.accuracy >= 0.9


def test_a_network_that_cannot_be_compiled(bars_data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(graph: object, inputs: object) -> None:
        raise OSError("no compiler here\nwith more lines")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    with pytest.raises(TrainingError, match=r"torch.compile failed \(.*no compiler here\). With compile=false"):
        last(tiny_recipe(compile=True), bars_data)


def test_recipe_is_needed_to_be_valid() -> None:
    with pytest.raises(RecipeError):
        Recipe.make({"epochs": -1})
