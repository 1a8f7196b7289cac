"""The training of a captioning network: a step written out, bits after a stop, what is learned, what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cnnlab.errors import (
    CheckpointError,
    DivergedError,
    OtherDataError,
    RecipeError,
    TrainingError,
    UnknownNameError,
    UsageError,
)
from cnnlab.generate.captions import loop as loop_module
from cnnlab.generate.captions.captioner import Captioner
from cnnlab.generate.captions.data import CaptionData
from cnnlab.generate.captions.encoder import SmallConvNet
from cnnlab.generate.captions.events import CaptionEpoch, CaptionsFinished, CaptionStep
from cnnlab.generate.captions.loader import CaptionLoader
from cnnlab.generate.captions.loop import caption_step, fit_captions, learning_rate
from cnnlab.generate.captions.recipe import CaptionRecipe, list_caption_recipes, load_caption_recipe
from cnnlab.generate.captions.session import CaptionSession, limited, prepare_captions
from cnnlab.generate.captions.state import restore_caption_state, save_caption_state
from cnnlab.training import FeaturesComputed, Started
from tests.generate.captions.helpers_captions import make_squares, tiny_captions, with_features

NETWORK = {"encoder": "lenet5", "encoder_options": {}, "image_size": 32}


@pytest.fixture(scope="module")
def data() -> CaptionData:
    return make_squares()


def weights(session: CaptionSession) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in session.network.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


# Batches -------------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_every_image_once_with_captions_of_its_own(data: CaptionData) -> None:
    loader = CaptionLoader(data.train, lambda rows: rows, 7, 2, 0, torch.device("cpu"))
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 4
    indices = torch.cat([batch.indices for batch in batches])
    assert sorted(indices.tolist()) == list(range(24))
    for batch in batches:
        assert torch.equal(batch.inputs, batch.indices)
        for n, image in enumerate(batch.indices.tolist()):
            said = data.vocabulary.decode(batch.captions[2 * n : 2 * n + 2])
            assert sorted(said) == sorted(data.train.references(image)), "two captions, each once"
    assert [b.indices.tolist() for b in loader.epoch(0, start_step=2)] == [b.indices.tolist() for b in batches[2:]]
    assert [b.indices.tolist() for b in loader.epoch(1)] != [b.indices.tolist() for b in batches]


def test_a_last_batch_of_one_image_joins_the_one_before(data: CaptionData) -> None:
    loader = CaptionLoader(data.train, lambda rows: rows, 23, 1, 0, torch.device("cpu"))
    assert [len(batch) for batch in loader.epoch(0)] == [24]


def test_every_caption_of_an_image_gets_its_turn(data: CaptionData) -> None:
    loader = CaptionLoader(data.train, lambda rows: rows, 24, 1, 0, torch.device("cpu"))
    said = {n: set() for n in range(24)}  # type: ignore[var-annotated]
    for epoch in range(12):
        for batch in loader.epoch(epoch):
            for n, sentence in zip(batch.indices.tolist(), data.vocabulary.decode(batch.captions), strict=True):
                said[n].add(sentence)
    assert all(len(sentences) == 2 for sentences in said.values())


# Steps ---------------------------------------------------------------------------------------------------------------


def test_a_step_is_teacher_forcing_with_the_penalty(data: CaptionData) -> None:
    """The objective written out gives the same weights: cross-entropy per word + coverage * penalty per caption."""
    recipe = tiny_captions(captions_per_image=2, clip_norm=0.0, weight_decay=0.0)
    session, copy = prepare_captions(recipe, data), prepare_captions(recipe, data)
    session.optimizer = torch.optim.SGD(session.network.parameters(), lr=1.0)
    batch = next(session.train_loader.epoch(0))
    sums = caption_step(session, batch)

    network, captions = copy.network, batch.captions
    features = network.encoder(batch.inputs)
    twice = torch.stack([features, features], 1).flatten(0, 1)
    scores, attention = network.decoder(twice, captions)
    assert attention is not None
    total, penalty, words = torch.zeros(()), torch.zeros(()), 0
    for n, caption in enumerate(captions):
        covered = torch.zeros(attention.shape[2:])
        for t, word in enumerate(caption[1:].tolist()):
            if word != 0:
                total = total - scores[n, t].log_softmax(0)[word]
                covered = covered + attention[n, t]
                words += 1
        penalty = penalty + (1 - covered).square().sum()
    (total / words + 0.1 * penalty / len(captions)).backward()
    for (name, ours), theirs in zip(session.network.named_parameters(), network.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(ours, theirs - theirs.grad, msg=name)
    assert sums.tolist() == pytest.approx([total.item(), words, len(batch)], rel=1e-5)


def test_events_of_a_training(data: CaptionData) -> None:
    """24 images in batches of 8: three steps per epoch; the loss of an epoch is the mean over its words."""
    events = list(fit_captions(tiny_captions(), data=data))
    steps = [CaptionStep] * 3
    assert [type(e) for e in events] == [Started, *steps, CaptionEpoch, *steps, CaptionEpoch, CaptionsFinished]
    last = events[-1]
    assert isinstance(last, CaptionsFinished)
    epochs = [event for event in events if isinstance(event, CaptionEpoch)]
    assert last.kept_epoch == min(epochs, key=lambda event: event.val_loss).epoch
    assert (epochs[0].step, epochs[1].step) == (3, 6)
    first = events[1:4]
    assert min(e.loss for e in first) < epochs[0].train_loss < max(e.loss for e in first)  # type: ignore[attr-defined]
    assert 0 <= epochs[0].val_bleu <= 1


def test_the_validation_loss_is_that_of_all_captions(data: CaptionData) -> None:
    *_, last = fit_captions(tiny_captions(epochs=1), data=data)
    session: CaptionSession = last.session  # type: ignore[assignment]
    assert isinstance(last, CaptionsFinished)
    network, val = session.network.eval(), data.val
    assert val.images is not None
    assert session.preprocess is not None
    images = session.preprocess.normalize(val.images.fetch(torch.arange(8), session.preprocess))
    with torch.no_grad():
        scores, _ = network.decoder(network.encoder(images)[val.image_of], val.captions)
    right = scores.log_softmax(2).gather(2, val.captions[:, 1:, None]).squeeze(2)
    expected = -right[val.captions[:, 1:] != 0].mean()
    assert last.val_loss == pytest.approx(expected.item(), rel=1e-5)


def test_the_learning_rate_rises_and_falls() -> None:
    recipe = tiny_captions(epochs=4, lr=0.1, warmup_fraction=0.25)
    rates = [learning_rate(recipe, step, 5) for step in range(20)]
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 4
    assert rates[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert rates[-1] < 0.01


# Bits ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_stopped_training_goes_on_with_the_same_bits(stop: int, tmp_path: Path, data: CaptionData) -> None:
    """Stopped after a step within an epoch, after the last one of an epoch, and in the next epoch."""
    *_, last = fit_captions(tiny_captions(dropout=0.3), data=data)
    steps = 0
    for event in fit_captions(tiny_captions(dropout=0.3), data=data):
        steps += isinstance(event, CaptionStep)
        if steps == stop:
            save_caption_state(event.session, tmp_path / "state.safetensors")  # type: ignore[arg-type]
            break
    session = prepare_captions(tiny_captions(dropout=0.3), data)
    restore_caption_state(session, tmp_path / "state.safetensors")
    rest = list(fit_captions(session.recipe, session=session))
    assert sum(isinstance(event, CaptionStep) for event in rest) == 6 - stop
    assert_same(weights(session), weights(last.session))  # type: ignore[arg-type]
    assert session.best.loss == last.session.best.loss  # type: ignore[attr-defined]


def test_the_seed_decides_everything(data: CaptionData) -> None:
    torch.manual_seed(1)
    *_, first = fit_captions(tiny_captions(epochs=1), data=data)
    torch.manual_seed(2)
    *_, second = fit_captions(tiny_captions(epochs=1), data=data)
    *_, other = fit_captions(tiny_captions(epochs=1, seed=1), data=data)
    assert_same(weights(first.session), weights(second.session))  # type: ignore[arg-type]
    name = "decoder.embed.weight"
    assert not torch.equal(weights(first.session)[name], weights(other.session)[name])  # type: ignore[arg-type]


def test_states_that_do_not_fit(tmp_path: Path, data: CaptionData) -> None:
    path = tmp_path / "state.safetensors"
    save_caption_state(prepare_captions(tiny_captions(), data), path)
    with pytest.raises(OtherDataError, match="images, captions or vocabulary differ"):
        restore_caption_state(prepare_captions(tiny_captions(), make_squares(16)), path)
    with pytest.raises(CheckpointError, match="network of the recipe"):
        restore_caption_state(prepare_captions(tiny_captions(hidden_size=9), data), path)


# Encoders ------------------------------------------------------------------------------------------------------------


def test_positions_of_the_map_lie_in_the_middle_of_their_pixels() -> None:
    """A mirrored image gives the mirrored map, where the weights are mirrored too."""
    torch.manual_seed(0)
    encoder = SmallConvNet(3, 16, [4, 8]).eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data += module.weight.data.flip(3)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(encoder(images.flip(3)), encoder(images).flip(3))
    assert encoder(images).shape[1:] == encoder.feature_shape == (8, 4, 4)


def test_features_of_a_frozen_network_are_computed_once(data: CaptionData) -> None:
    """They are the outputs of the layer, the network stays as it is, and the rest learns from them."""
    events = list(fit_captions(tiny_captions(**NETWORK, layer="s2"), data=data))
    computed = [event for event in events if isinstance(event, FeaturesComputed)]
    assert (computed[-1].done, computed[-1].total) == (32, 32)
    session: CaptionSession = events[-1].session  # type: ignore[assignment]
    encoder = session.network.encoder
    assert not encoder.training
    assert encoder.feature_shape == (6, 14, 14)
    fresh = prepare_captions(tiny_captions(**NETWORK, layer="s2"), data)
    assert_same(encoder.state_dict(), fresh.network.encoder.state_dict())
    captioner = Captioner("run", session.network, session.preprocess, 12)
    rows = torch.arange(5)
    with torch.no_grad():
        expected = encoder(captioner.inputs(data.val, rows))
    torch.testing.assert_close(session.fetch("val")(rows), expected)


# Learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", ["rnn", "lstm", "attention"])
def test_captions_are_learned_by_heart(decoder: str) -> None:
    """One caption of each image: the loss goes to zero, and greedy sentences are the captions."""
    data = make_squares(12)
    changes: dict[str, object] = {"decoder": decoder, "coverage": 0.0}
    if decoder != "attention":
        data, changes = with_features(data), changes | {"encoder": "given", "encoder_options": {}}
    split = replace(data.train, captions=data.train.captions[::2], image_of=torch.arange(12), sentences=None)
    recipe = tiny_captions(**changes, epochs=40, lr=0.02, hidden_size=32, batch_size=3)
    *_, last = fit_captions(recipe, data=replace(data, train=split, val=split))
    assert isinstance(last, CaptionsFinished)
    assert last.val_loss < 0.05
    assert last.val_bleu == pytest.approx(1)
    session: CaptionSession = last.session  # type: ignore[assignment]
    captioner = Captioner("run", session.network, session.preprocess, 12)
    described = captioner.describe(captioner.inputs(split, torch.arange(12)), width=1)
    assert described.sentences == [split.references(n)[0] for n in range(12)]


# What is refused -----------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_training(data: CaptionData) -> None:
    session = prepare_captions(tiny_captions(), data)
    with torch.no_grad():
        next(session.network.decoder.parameters()).fill_(math.nan)
    with pytest.raises(DivergedError, match=r"loss became nan in epoch 1, step 1. Try lr=0.0002"):
        list(fit_captions(session.recipe, session=session))


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_names_a_batch_that_fits(
    error: Exception, data: CaptionData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(session: CaptionSession, batch: object) -> None:
        raise error

    monkeypatch.setattr(loop_module, "caption_step", too_much)
    with pytest.raises(TrainingError, match="Try batch_size=4"):
        list(fit_captions(tiny_captions(), data=data))


def test_features_that_do_not_fit_in_memory_are_refused(data: CaptionData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnlab.generate.captions.session.feature_limit", lambda device: 4 * 6 * 14 * 14 * 20)
    with pytest.raises(TrainingError, match=r"those of 20 do. Set train_limit=12"):
        list(fit_captions(tiny_captions(**NETWORK, layer="s2"), data=data))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"encoder": "lenet55"}, UnknownNameError, 'Did you mean "lenet5"'),
        ({**NETWORK, "layer": "s9"}, UnknownNameError, 'no layer of LeNet5 called "s9"'),
        ({**NETWORK, "layer": "f6"}, UsageError, '"f6" has no positions on the image'),
        ({"image_size": 18}, UsageError, "multiple of 4"),
        ({"encoder_options": {"width": 3}}, UsageError, "It has the option widths"),
        ({"encoder": "given", "decoder": "lstm", "coverage": 0.0}, UsageError, "take encoder=small"),
    ],
)
def test_networks_that_cannot_be_built(
    changes: dict[str, object], error: type[Exception], message: str, data: CaptionData
) -> None:
    with pytest.raises(error, match=message):
        prepare_captions(tiny_captions(**changes), data)


def test_options_of_the_data_are_checked() -> None:
    with pytest.raises(UnknownNameError, match=r'option of the data "cuont". Did you mean "count"'):
        prepare_captions(tiny_captions(data="scenes", data_options={"cuont": 3}))


def test_images_are_needed_for_an_encoder(data: CaptionData) -> None:
    with pytest.raises(UsageError, match="take encoder=given"):
        prepare_captions(tiny_captions(), with_features(data))


def test_a_limit_of_training_images_keeps_their_captions(data: CaptionData) -> None:
    fewer = limited(data, 5, seed=0)
    assert (len(fewer.train), len(fewer.train.captions), len(fewer.val)) == (5, 10, 8)
    assert prepare_captions(tiny_captions(train_limit=5), data).data.train.fingerprint() == fewer.train.fingerprint()


# Recipes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_caption_recipes())
def test_shipped_recipes_are_valid(name: str) -> None:
    recipe = load_caption_recipe(name)
    assert recipe.about.endswith(".")
    assert recipe.name == name


def test_wrong_recipes(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r'There is no recipe of captions "atention". Did you mean "attention"'):
        load_caption_recipe("atention")
    with pytest.raises(RecipeError, match=r'no recipe key "lrr". Did you mean "lr"'):
        CaptionRecipe().with_overrides(["lrr=1"])
    with pytest.raises(RecipeError, match="decoder lstm has none"):
        CaptionRecipe(decoder="lstm", coverage=1.0)
    with pytest.raises(RecipeError, match="is for a network as the encoder"):
        CaptionRecipe(layer="features")
    with pytest.raises(RecipeError, match="take lstm"):
        CaptionRecipe(encoder="given")
    path = tmp_path / "mine.yaml"
    path.write_text(tiny_captions(name="").to_yaml())
    assert load_caption_recipe(path) == tiny_captions(name="")
