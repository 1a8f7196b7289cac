"""Transfer learning: what is frozen stays to the bit, what is cached changes nothing, rates follow the stages."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from cnnlab.data import ImageData
from cnnlab.errors import RecipeError, TrainingError, UsageError
from cnnlab.runs import Recorder, Run, extend, open_run, resume, train
from cnnlab.runs import recorder as recorder_module
from cnnlab.training import (
    EpochDone,
    FeaturesComputed,
    Finished,
    Recipe,
    Session,
    Started,
    StepDone,
    feature_cache,
    fit,
    prepare,
)
from cnnlab.training.feature_cache import Body
from cnnlab.training.seeding import seeded
from cnnlab.training.shipped import load_recipe, recipe_for
from cnnlab.training.step import train_step
from cnnlab.training.transfer import module_stages, trained_tail
from cnnlab.zoo import create_model, split_outputs
from tests.helpers import make_bars, tiny_recipe

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture
def bars() -> ImageData:
    return make_bars()


def run_out(recipe: Recipe, data: ImageData) -> tuple[Session, Finished, list[EpochDone]]:
    events = list(fit(recipe, data=data))
    assert isinstance(events[-1], Finished)
    return events[-1].session, events[-1], [event for event in events if isinstance(event, EpochDone)]


def changed(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}


# Stages ----------------------------------------------------------------------------------------------------------


def test_stages_of_modules_and_parameters() -> None:
    model = create_model("resnet18", 10, 3, 32).train()
    stages = module_stages(model, (3, 32, 32))
    expected = {
        "conv1": "stem", "bn1": "stem", "maxpool": "stem", "layer1.0.conv1": "stage1", "layer1": "stage1",
        "layer2.0.downsample.0": "stage2", "layer4.1.bn2": "stage4", "avgpool": "head", "fc": "head",
    }  # fmt: skip
    assert {name: stages[name] for name in expected} == expected
    assert set(stages) == {name for name, _ in model.named_modules()}
    assert all(module.training for module in model.modules())
    assert int(model.get_buffer("bn1.num_batches_tracked")) == 0


def test_the_tail_is_what_follows_the_last_frozen_layer() -> None:
    vgg = create_model("vgg11_bn", 10, 3, 65)
    assert [type(m) for m in trained_tail(vgg).children()][-1] is nn.Linear
    assert sum(p.numel() for p in trained_tail(vgg).parameters()) == 4096 * 10 + 10
    squeezenet = create_model("squeezenet1_1", 10, 3, 64)
    assert [type(m) for m in trained_tail(squeezenet).children()][:2] == [nn.Dropout, nn.Conv2d]
    resnet = create_model("resnet20")
    assert trained_tail(resnet) is resnet.linear


@pytest.mark.parametrize("name", ["vgg11_bn", "squeezenet1_1", "resnet20", "mobilenet_v2", "mlp"])
def test_body_and_tail_make_the_network(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, 10, 3, 32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(trained_tail(model)(Body(model)(images)), model(images))
    assert not any(module._forward_hooks for module in model.modules())


# Frozen parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("name", ["resnet20", "convnet", "squeezenet1_1"])
def test_a_frozen_backbone_does_not_change_by_a_bit(
    name: str, cached: bool, bars: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, and the running statistics of BatchNorm, whether or not features are cached."""
    if not cached:
        monkeypatch.setattr(feature_cache, "feature_limit", lambda device: 0)
    recipe = tiny_recipe(model=name, model_options={}, image_size=32, freeze="backbone", epochs=2)
    before = copy.deepcopy(prepare(recipe, bars).model.state_dict())
    session, _, _ = run_out(recipe, bars)
    last = session.model.last_layer
    assert changed(before, session.model) == {f"{last}.weight", f"{last}.bias"}
    assert session.on_features is cached


def test_freezing_up_to_a_stage(bars: ImageData) -> None:
    recipe = tiny_recipe(model="resnet20", model_options={}, freeze="stage1", epochs=1)
    before = copy.deepcopy(prepare(recipe, bars).model.state_dict())
    session, _, _ = run_out(recipe, bars)
    frozen = {name for name in before if name.startswith(("conv1", "bn1", "layer1"))}
    assert changed(before, session.model) == set(before) - frozen


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_unfrozen_after_an_epoch(optimizer: str, bars: ImageData) -> None:
    recipe = tiny_recipe(optimizer=optimizer, freeze="backbone", unfreeze_at=2, epochs=3)
    before = copy.deepcopy(prepare(recipe, bars).model.state_dict())
    epochs = (event for event in fit(recipe, data=bars) if isinstance(event, EpochDone))
    seen = [changed(before, event.session.model) for event in epochs]
    assert seen[0] == seen[1] == {"fc.weight", "fc.bias"}
    assert seen[2] == set(before)


@pytest.mark.parametrize("freeze", ["backbone", "stem"])
def test_what_a_network_never_trains_stays_as_it_is(freeze: str, bars: ImageData) -> None:
    """Whitening filters and scales of BatchNorm of ``airbench``, while the rest is frozen and after."""
    recipe = tiny_recipe(
        model="airbench", model_options={"widths": [8, 8, 8]}, freeze=freeze, unfreeze_at=1, epochs=2, lr=0.1
    )
    session = prepare(recipe, bars)
    assert any("random weights" in note for note in session.notes) == (freeze == "backbone")  # not those of whitening
    never = {"whiten.weight"} | {f"block{i}.{j}.weight" for i in (1, 2, 3) for j in (2, 5)}
    before = copy.deepcopy(session.model.state_dict())
    *_, finished = fit(recipe, session=session)
    parameters = dict(finished.session.model.named_parameters())
    assert {name for name, parameter in parameters.items() if not parameter.requires_grad} == never
    assert changed(before, finished.session.model) & set(parameters) == set(parameters) - never


def test_early_stopping_waits_until_all_was_trained(bars: ImageData) -> None:
    """With such a rate nothing improves: patience begins when the rest is unfrozen."""
    recipe = tiny_recipe(freeze="backbone", unfreeze_at=4, epochs=9, early_stopping=2, lr=1e-9, schedule="constant")
    session, finished, _ = run_out(recipe, make_bars(n_val=12))
    assert (finished.reason, session.epoch, session.freeze) == ("early_stopping", 6, None)
    longer = recipe.values() | {"stopped_at": 3, "extensions": [{"epochs": 1, "lr": 0.1}]}
    assert Recipe.make(longer).total_epochs == 4


def test_frozen_training_equals_logistic_regression_on_the_features(bars: ImageData) -> None:
    """The dense layer trained on features by a loop written here gives the same weights."""
    recipe = tiny_recipe(freeze="backbone", optimizer="sgd", lr=0.1, momentum=0.0, schedule="constant", epochs=2)
    start = prepare(recipe, bars)
    layer = copy.deepcopy(start.model.get_submodule("fc"))
    with torch.no_grad():
        features = Body(start.model.eval())(start.preprocess.normalize(bars.train.pixels))  # type: ignore[attr-defined]
    for epoch in range(2):
        for indices in start.train_loader.order(epoch).split(8):  # type: ignore[union-attr]
            layer.zero_grad()
            F.cross_entropy(layer(features[indices]), bars.train.labels[indices]).backward()
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter -= 0.1 * parameter.grad
    session, _, _ = run_out(recipe, bars)
    torch.testing.assert_close(session.model.get_submodule("fc").weight, layer.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [{}, {"ema": 0.9}, {"accumulate": 2}, {"sampling": "balanced"}, {"clip_norm": 0.1}])
def test_cached_features_change_nothing(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_bars(n_val=12)
    recipe = tiny_recipe(freeze="backbone", epochs=3, **change)
    session, finished, epochs = run_out(recipe, data)
    assert session.on_features
    monkeypatch.setattr(feature_cache, "feature_limit", lambda device: 0)
    session, plain, plain_epochs = run_out(recipe, data)
    assert not session.on_features
    np.testing.assert_allclose(finished.logits, plain.logits, rtol=1e-4, atol=1e-5)
    for one, other in zip(epochs, plain_epochs, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-4)


def test_features_are_announced_and_computed_once(bars: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    forward = Body.forward
    monkeypatch.setattr(Body, "forward", lambda self, images: calls.append(len(images)) or forward(self, images))
    events = list(fit(tiny_recipe(freeze="backbone", epochs=4), data=bars))
    assert isinstance(events[0], Started)
    assert any("computed once" in note for note in events[0].notes)
    computed = [event for event in events if isinstance(event, FeaturesComputed)]
    assert (computed[-1].done, computed[-1].total) == (72, 72)  # 48 to train on, 24 to show
    assert (calls[0], sum(calls[1:])) == (1, 72)  # one to learn the shape


def test_on_features_the_state_is_saved_now_and_then(
    tmp_path: Path, bars: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start, and the last epoch, from which the run can be extended; all epochs where it is time."""
    saved: list[int] = []
    save = recorder_module.save_state
    monkeypatch.setattr(recorder_module, "save_state", lambda s, path: saved.append(s.epoch) or save(s, path))
    recipe = tiny_recipe(freeze="backbone", epochs=4)
    run = train(recipe, out=tmp_path / "run", data=bars)
    assert saved == [0, 4]
    for _ in Recorder(run=run).record(extend(run, 1, data=bars)):
        pass
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3, 4, 5]
    saved.clear()
    monkeypatch.setattr(recorder_module, "FEATURE_SAVE_SECONDS", 0.0)
    train(recipe, out=tmp_path / "slow", data=bars)
    assert saved == [0, 1, 2, 3, 4]


def test_features_are_kept_where_they_fit(bars: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    """72 images of 8 numbers of 4 bytes; what will happen is said before it begins."""
    for limit, fits in ((72 * 8 * 4, True), (72 * 8 * 4 - 1, False)):
        monkeypatch.setattr(feature_cache, "feature_limit", lambda device, limit=limit: limit)
        started, *_, finished = fit(tiny_recipe(freeze="backbone", epochs=1), data=bars)
        assert any("computed once" in note for note in started.notes) is fits
        assert any("would not fit into memory" in note for note in started.notes) is not fits
        assert finished.session.on_features is fits


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"augment": {"crop": 1}}, "images are augmented"),
        ({"augment": {"mixup": 0.2}}, "images are augmented"),
        ({"image_sizes": [8, 12]}, "image_sizes changes the images"),
        ({"unfreeze_at": 1}, ""),
    ],
)
def test_nothing_is_cached_where_features_change(change: dict[str, Any], reason: str, bars: ImageData) -> None:
    session, _, _ = run_out(tiny_recipe(freeze="backbone", epochs=2, **change), bars)
    assert not session.on_features
    reasons = [note.partition(",")[0] for note in session.notes if "runs in every epoch" in note]
    assert reasons == ([reason] if reason else [])


FREEZES: list[dict[str, Any]] = [
    {"freeze": "backbone"},
    {"freeze": "backbone", "unfreeze_at": 2, "layer_decay": 0.5},
    {"freeze": "backbone", "unfreeze_at": 1, "optimizer": "sgd"},
    {"freeze": "stage1", "augment": {"crop": 1}},
]
STOPS = [4, 9, 14]  # steps: in the first epoch, in the second, in the third


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        pytest.param(change, steps, marks=[] if STOPS.index(steps) == number else [pytest.mark.slow])
        for number, change in enumerate(FREEZES)
        for steps in STOPS
    ],
)
def test_resumed_equals_uninterrupted(change: dict[str, Any], steps: int, tmp_path: Path, bars: ImageData) -> None:
    recipe = tiny_recipe(model="resnet20", model_options={}, **change)
    whole = train(recipe, out=tmp_path / "whole", data=bars)
    recorder = Recorder(tmp_path / "part")
    stream = recorder.record(fit(recipe, data=bars))
    for count, _ in enumerate((e for e in stream if isinstance(e, StepDone)), start=1):
        if count == steps:
            stream.close()
            break
    part = open_run(tmp_path / "part")
    assert part.status == "interrupted"
    for _ in Recorder(run=part).record(resume(part, data=bars)):
        pass
    one, other = whole.model().state_dict(), part.model().state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


# Rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decay", "bias", "head"), [(0.5, 1.0, 1.0), (1.0, 8.0, 1.0), (1.0, 1.0, 4.0), (0.5, 8.0, 4.0)]
)
def test_each_parameter_learns_at_its_own_rate(decay: float, bias: float, head: float, bars: ImageData) -> None:
    """A step of plain SGD moves each parameter by lr * decay ** (stages above it) * its factor * gradient."""
    recipe = tiny_recipe(
        model="resnet20", model_options={}, optimizer="sgd", momentum=0.0, lr=0.1, schedule="constant",
        layer_decay=decay, bias_factor=bias, head_factor=head,
    )  # fmt: skip
    session = prepare(recipe, bars)
    before = {name: p.detach().clone() for name, p in session.model.named_parameters()}
    event = next(event for event in fit(recipe, session=session) if isinstance(event, StepDone))
    depth = {"conv1": 4, "bn1": 4, "layer1": 3, "layer2": 2, "layer3": 1, "linear": 0}
    for name, parameter in event.session.model.named_parameters():
        factor = bias if parameter.ndim == 1 else head if name == "linear.weight" else 1
        rate = 0.1 * decay ** depth[name.split(".")[0]] * factor
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.detach(), before[name] - rate * parameter.grad, rtol=1e-5, atol=1e-7)


# Auxiliary heads -------------------------------------------------------------------------------------------------


def test_auxiliary_losses_have_their_weights(bars: ImageData) -> None:
    recipe = tiny_recipe(model="googlenet", model_options={"dropout": 0.0}, image_size=16, optimizer="sgd", lr=0.01)
    session = prepare(recipe, bars)
    model = copy.deepcopy(session.model).train()
    batch = next(session.train_loader.epoch(0))
    with seeded(torch.device("cpu"), 0):
        logits, (first, second) = split_outputs(model(batch.images))
        loss = F.cross_entropy(logits, batch.labels)
        loss = loss + 0.3 * F.cross_entropy(first, batch.labels) + 0.3 * F.cross_entropy(second, batch.labels)
        loss.backward()
    with seeded(torch.device("cpu"), 0):
        session.set_modes()
        reported, _ = train_step(session, batch.images, batch.targets)
    assert float(reported) == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(session.model.get_parameter(name).grad, parameter.grad, rtol=1e-3, atol=1e-5)


def test_a_frozen_backbone_leaves_auxiliary_heads_out(bars: ImageData) -> None:
    recipe = tiny_recipe(model="googlenet", model_options={}, image_size=16, freeze="backbone")
    session = prepare(recipe, bars)
    batch = next(session.train_loader.epoch(0))
    model = copy.deepcopy(session.model).eval()
    with torch.no_grad():
        expected = F.cross_entropy(model(batch.images), batch.labels).item()
    session.set_modes()
    assert train_step(session, batch.images, batch.targets)[0].item() == pytest.approx(expected, rel=1e-4)
    assert changed(model.state_dict(), session.model) == {"fc.weight", "fc.bias"}


# Weights ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    for _ in Recorder(folder / "run").record(fit(tiny_recipe(epochs=6), data=make_bars())):
        pass
    return folder / "run"


@pytest.fixture
def source(trained_once: Path, tmp_path: Path) -> Path:
    """A run to start from, which a test may change."""
    return shutil.copytree(trained_once, tmp_path / "source")


def test_from_a_run_with_its_normalisation(source: Path, tmp_path: Path) -> None:
    other = make_bars(n_train=24, classes=2)
    run = train(tiny_recipe(weights=str(source), freeze="backbone", epochs=2), out=tmp_path / "run", data=other)
    before, after = open_run(source), run
    assert after.preprocess.mean == before.preprocess.mean
    assert list(run.recipe.mean or ()) == pytest.approx(before.preprocess.mean)
    old, new = before.model().state_dict(), after.model().state_dict()
    assert new["fc.weight"].shape == (2, old["fc.weight"].shape[1])
    assert all(torch.equal(old[key], new[key]) for key in old if not key.startswith("fc."))


def interrupted(recipe: Recipe, out: Path, data: ImageData) -> Run:
    """A run that was stopped after an epoch."""
    stream = Recorder(out).record(fit(recipe, data=data))
    next(event for event in stream if isinstance(event, EpochDone))
    stream.close()
    return open_run(out)


def test_resume_does_not_need_the_weights_again(source: Path, tmp_path: Path, bars: ImageData) -> None:
    recipe = tiny_recipe(weights=str(source), freeze="backbone")
    part = interrupted(recipe, tmp_path / "part", bars)
    shutil.rmtree(source)
    for _ in Recorder(run=part).record(resume(part, data=bars)):
        pass
    assert open_run(tmp_path / "part").finished


def test_resume_does_not_need_a_bare_file_again(tmp_path: Path, bars: ImageData) -> None:
    """Nothing is known of its images, so nothing is asked of it a second time."""
    weights = tmp_path / "w.safetensors"
    save_file(create_model("convnet", 3, 1, 8, widths=(4, 8, 8)).state_dict(), weights)
    part = interrupted(tiny_recipe(weights=str(weights)), tmp_path / "part", bars)
    weights.unlink()
    for _ in Recorder(run=part).record(resume(part, data=bars)):
        pass
    assert open_run(tmp_path / "part").finished


def test_the_options_of_the_run_are_written_down(source: Path, tmp_path: Path, bars: ImageData) -> None:
    """The recipe leaves them open; without them the network could not be built again when the run is resumed."""
    recipe = tiny_recipe(weights=str(source), model_options={})
    part = interrupted(recipe, tmp_path / "part", bars)
    assert part.recipe.model_options == {"widths": [4, 8, 8]}
    for _ in Recorder(run=part).record(resume(part, data=bars)):
        pass
    assert open_run(tmp_path / "part").finished


def test_the_interpolation_of_the_weights_is_kept_where_mean_and_std_are_given(source: Path, bars: ImageData) -> None:
    facts = json.loads((source / "model.json").read_text(encoding="utf-8"))
    facts["preprocess"]["interpolation"] = "bicubic"
    (source / "model.json").write_text(json.dumps(facts), encoding="utf-8")
    session = prepare(tiny_recipe(weights=str(source), mean=[0.5], std=[0.25]), bars)
    assert (session.preprocess.mean, session.preprocess.interpolation) == ((0.5,), "bicubic")


def test_what_was_written_down_for_some_weights_does_not_hold_for_others() -> None:
    settled = Recipe(weights="a.pth", mean=(0.5,), std=(0.25,), interpolation="bicubic")
    for change in ("weights=b.pth", "weights=null", "data=cifar10", "model=resnet18"):
        assert settled.with_overrides([change]).mean is settled.with_overrides([change]).std is None
        assert settled.with_overrides([change]).interpolation is None
    assert settled.with_overrides(["lr=1"]).mean == (0.5,)
    given = settled.with_overrides(["weights=b.pth", "mean=[0.5]", "std=[0.25]"])
    assert (given.mean, given.std, given.interpolation) == ((0.5,), (0.25,), None)
    by_hand = Recipe(mean=(0.5,), std=(0.25,))
    assert by_hand.with_overrides(["weights=b.pth"]).mean == (0.5,)


def test_the_head_is_new_or_kept(source: Path, bars: ImageData) -> None:
    old = open_run(source).model().state_dict()
    reset = prepare(tiny_recipe(weights=str(source)), bars).model.state_dict()
    kept = prepare(tiny_recipe(weights=str(source), head="keep"), bars).model.state_dict()
    assert not torch.equal(reset["fc.weight"], old["fc.weight"])
    assert torch.equal(reset["block1.0.weight"], old["block1.0.weight"])
    assert all(torch.equal(kept[key], old[key]) for key in old)
    with pytest.raises(RecipeError, match=r"3 classes.*2 classes"):
        prepare(tiny_recipe(weights=str(source), head="keep"), make_bars(classes=2))


def test_a_file_without_facts_leaves_the_statistics_to_the_data(tmp_path: Path, bars: ImageData) -> None:
    model = create_model("convnet", 3, 1, 8, widths=(4, 8, 8))
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    session = prepare(tiny_recipe(weights=str(tmp_path / "w.safetensors")), bars)
    assert session.recipe.mean is None
    assert session.preprocess.mean == prepare(tiny_recipe(), bars).preprocess.mean


def test_mean_and_std_can_be_given(bars: ImageData) -> None:
    session = prepare(tiny_recipe(mean=[0.5], std=[0.25]), bars)
    assert (session.preprocess.mean, session.preprocess.std) == ((0.5,), (0.25,))


# Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"freeze": "stage9"}, r'freeze="stage9": convnet has no such part.*stage1'),
        ({"freeze": "head"}, r'freeze="head"'),
        ({"unfreeze_at": 2}, "nothing is frozen"),
        ({"freeze": "backbone", "unfreeze_at": 3}, "not reached in 3 epochs"),
        ({"mean": [0.5]}, "go together"),
        ({"mean": [0.5], "std": [0.0]}, "above 0"),
        ({"mean": [], "std": []}, "a number per channel"),
        ({"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}, "mean has 3 and std 3 values for 1 channels"),
        ({"layer_decay": 0.0}, "layer_decay"),
    ],
)
def test_what_cannot_be(change: dict[str, Any], message: str, bars: ImageData) -> None:
    with pytest.raises((RecipeError, UsageError), match=message):
        prepare(tiny_recipe(**change), bars)


def test_random_frozen_weights_are_warned_of(bars: ImageData) -> None:
    assert any("random weights" in note for note in prepare(tiny_recipe(freeze="backbone"), bars).notes)


def test_a_kept_head_must_mean_the_same_classes(source: Path, bars: ImageData) -> None:
    turned = dataclasses.replace(bars, classes=["middle", "left", "right"])
    with pytest.raises(RecipeError, match=r"left, middle, right.*middle, left, right.*head=reset"):
        prepare(tiny_recipe(weights=str(source), head="keep"), turned)
    prepare(tiny_recipe(weights=str(source)), turned)


def test_weights_of_a_run_name_their_network(source: Path) -> None:
    assert recipe_for(data="cifar10", weights=str(source)).model == "convnet"
    assert recipe_for("resnet18", "cifar10", weights="imagenet").model == "resnet18"


def test_where_a_training_from_weights_starts(tmp_path: Path) -> None:
    """Photos have recipes of their own; on small images nothing is mirrored or cut that would not be anyway."""
    photos = str(tmp_path)
    assert recipe_for(data=photos, weights="imagenet", freeze="backbone").freeze == "backbone"
    assert recipe_for(data=photos, weights="imagenet").layer_decay == load_recipe("finetune").layer_decay
    plain, gentle = recipe_for("lenet5", "mnist5k"), recipe_for("lenet5", "mnist5k", weights="w.pth")
    assert gentle.augment == plain.augment
    assert gentle.lr == pytest.approx(plain.lr / 10)
    assert recipe_for("lenet5", "mnist5k", weights="w.pth", freeze="backbone").lr == plain.lr


def test_single_images_are_fine_where_every_batchnorm_is_frozen(bars: ImageData) -> None:
    prepare(tiny_recipe(freeze="backbone", batch_size=1), bars)
    with pytest.raises(TrainingError, match="BatchNorm"):
        prepare(tiny_recipe(freeze="backbone", batch_size=1, unfreeze_at=1), bars)
