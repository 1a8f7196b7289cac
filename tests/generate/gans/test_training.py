"""The training of a GAN: a step as the course writes it, bits after a stop, what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from cnnlab.data import ImageData
from cnnlab.errors import CheckpointError, DivergedError, OtherDataError, RecipeError, TrainingError, UnknownNameError
from cnnlab.generate.gans.events import GanEpoch, GanFinished, GanStep
from cnnlab.generate.gans.loop import fit_gan
from cnnlab.generate.gans.losses import LOSSES
from cnnlab.generate.gans.recipe import LOSS_NAMES, GanRecipe, list_gan_recipes, load_gan_recipe
from cnnlab.generate.gans.session import GanSession, prepare_gan
from cnnlab.generate.gans.state import restore_gan_state, save_gan_state
from cnnlab.generate.gans.step import gan_step
from cnnlab.training import Started
from tests.generate.gans.helpers_gans import tiny_gan
from tests.helpers import make_bars


def weights(session: GanSession) -> dict[str, torch.Tensor]:
    states = {"gan": session.gan, "sampler": session.sampler}
    return {f"{name}.{k}": v.clone() for name, model in states.items() for k, v in model.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_step_is_that_of_the_course(bars_data: ImageData) -> None:
    """The loop of CS231n, assignment 3, written out with its own loss, gives the same weights."""
    recipe = tiny_gan(networks="fully_connected", options={"width": 12, "discriminator_width": 6}, r1=0, ema=0)
    session, copy = prepare_gan(recipe, bars_data), prepare_gan(recipe, bars_data)
    images = next(iter(session.train_loader.epoch(0))).images
    assert (float(images.min()), float(images.max())) >= (-1, -1)
    torch.manual_seed(3)
    sums = gan_step(session, images, penalised=False)

    torch.manual_seed(3)
    G, D, count = copy.gan.generator, copy.gan.discriminator, len(images)
    ones, zeros = torch.ones(count), torch.zeros(count)
    D_solver = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
    G_solver = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    D_solver.zero_grad()
    fake_images = G(2 * torch.rand(count, 5) - 1).detach()
    logits_real, logits_fake = D(images), D(fake_images)
    d_error = binary_cross_entropy_with_logits(logits_real, ones) + binary_cross_entropy_with_logits(logits_fake, zeros)
    d_error.backward()
    D_solver.step()
    G_solver.zero_grad()
    g_error = binary_cross_entropy_with_logits(D(G(2 * torch.rand(count, 5) - 1)), ones)
    g_error.backward()
    G_solver.step()

    for ours, theirs in zip(session.gan.parameters(), copy.gan.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    expected = [d_error.item(), g_error.item(), logits_real.mean().item(), logits_fake.mean().item(), 0, 1, 0]
    assert (sums / count).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_penalty_weighs_as_the_recipe_says(bars_data: ImageData) -> None:
    """Every k-th step it weighs k times as much: the gradient is that of the loss plus r1 k |gradient|^2 / 2."""
    session = prepare_gan(tiny_gan(r1=3.0, r1_every=4), bars_data)
    gan = session.gan
    images = next(iter(session.train_loader.epoch(0))).images
    session.discriminator_optimizer = torch.optim.SGD(gan.discriminator.parameters(), lr=1.0)
    before = [parameter.detach().clone() for parameter in gan.discriminator.parameters()]
    torch.manual_seed(3)
    sums = gan_step(session, images, penalised=True)
    taken = [old - new.detach() for old, new in zip(before, gan.discriminator.parameters(), strict=True)]

    other = prepare_gan(tiny_gan(), bars_data).gan
    torch.manual_seed(3)
    fake = other.generator(2 * torch.rand(len(images), 5) - 1).detach()
    pixels = images.clone().requires_grad_()
    real = other.discriminator(pixels)
    (gradient,) = torch.autograd.grad(real.sum(), pixels, create_graph=True)
    penalty = gradient.square().sum((1, 2, 3)).mean() / 2
    (LOSSES["vanilla"].discriminator(real, other.discriminator(fake)) + 12 * penalty).backward()
    for change, parameter in zip(taken, other.discriminator.parameters(), strict=True):
        torch.testing.assert_close(change, parameter.grad)
    assert float(sums[4] / len(images)) == pytest.approx(penalty.item())
    assert float(sums[6]) == len(images)
    assert all(parameter.requires_grad for parameter in gan.parameters())


def test_events_of_a_training(bars_data: ImageData) -> None:
    """48 images in batches of 16: three steps per epoch; means over the epoch are those of its steps."""
    events = list(fit_gan(tiny_gan(), data=bars_data))
    assert [type(event) for event in events] == [
        Started, GanStep, GanStep, GanStep, GanEpoch, GanStep, GanStep, GanStep, GanEpoch, GanFinished,
    ]  # fmt: skip
    steps, epoch = events[1:4], events[4]
    assert isinstance(epoch, GanEpoch)
    assert epoch.discriminator_loss == pytest.approx(sum(step.loss for step in steps) / 3)  # type: ignore[attr-defined]
    assert epoch.generator_loss == pytest.approx(sum(step.generator_loss for step in steps) / 3)  # type: ignore[attr-defined]
    assert epoch.penalty > 0
    unpenalised = [event for event in fit_gan(tiny_gan(r1=0, epochs=1), data=bars_data) if isinstance(event, GanEpoch)]
    assert math.isnan(unpenalised[0].penalty)


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_stopped_training_goes_on_with_the_same_bits(stop: int, tmp_path: Path, bars_data: ImageData) -> None:
    """Stopped after a step within an epoch, after the last one of an epoch, and in the next epoch."""
    *_, last = fit_gan(tiny_gan(), data=bars_data)
    stream = fit_gan(tiny_gan(), data=bars_data)
    steps = 0
    for event in stream:
        steps += isinstance(event, GanStep)
        if steps == stop:
            save_gan_state(event.session, tmp_path / "state.safetensors")  # type: ignore[arg-type]
            break
    session = prepare_gan(tiny_gan(), bars_data)
    restore_gan_state(session, tmp_path / "state.safetensors")
    rest = list(fit_gan(session.recipe, session=session))
    assert sum(isinstance(event, GanStep) for event in rest) == 6 - stop
    assert_same(weights(session), weights(last.session))  # type: ignore[arg-type]


def test_the_seed_decides_everything(bars_data: ImageData) -> None:
    torch.manual_seed(1)
    *_, first = fit_gan(tiny_gan(epochs=1), data=bars_data)
    torch.manual_seed(2)
    *_, second = fit_gan(tiny_gan(epochs=1), data=bars_data)
    *_, other = fit_gan(tiny_gan(epochs=1, seed=1), data=bars_data)
    assert_same(weights(first.session), weights(second.session))  # type: ignore[arg-type]
    assert not torch.equal(first.session.fixed_noise, other.session.fixed_noise)  # type: ignore[attr-defined]


def test_states_that_do_not_fit(tmp_path: Path, bars_data: ImageData) -> None:
    path = tmp_path / "state.safetensors"
    save_gan_state(prepare_gan(tiny_gan(), bars_data), path)
    with pytest.raises(OtherDataError, match="not what it was"):
        restore_gan_state(prepare_gan(tiny_gan(), make_bars(n_train=32)), path)
    with pytest.raises(CheckpointError, match="networks of the recipe"):
        restore_gan_state(prepare_gan(tiny_gan(options={"width": 5}), bars_data), path)


def test_a_loss_that_is_no_number_stops_the_training(bars_data: ImageData) -> None:
    session = prepare_gan(tiny_gan(), bars_data)
    with torch.no_grad():
        next(session.gan.discriminator.parameters()).fill_(math.nan)
    with pytest.raises(DivergedError, match=r"discriminator became nan in epoch 1, step 1. Try lr=0.0001"):
        list(fit_gan(session.recipe, session=session))


@pytest.mark.parametrize(
    ("batch_size", "advice"), [(16, "Try batch_size=8"), (2, "Try a smaller image_size")], ids=["large", "small"]
)
def test_memory_that_ends_is_said(
    batch_size: int, advice: str, bars_data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("cnnlab.generate.gans.loop.gan_step", full)
    with pytest.raises(TrainingError, match=f"memory of cpu does not suffice for a step of {batch_size} .*{advice}"):
        list(fit_gan(tiny_gan(batch_size=batch_size), data=bars_data))


# Recipes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_gan_recipes())
def test_shipped_recipes_are_built(name: str) -> None:
    recipe = load_gan_recipe(name)
    assert recipe.about.endswith(".")
    assert recipe.name == name
    data = make_bars(8, 0, size=recipe.image_size or 28)
    session = prepare_gan(recipe.with_overrides(device="cpu"), data)
    assert session.recipe.image_size in (28, 32)
    assert session.fixed_noise.abs().max() <= 1


def test_recipes_of_the_course() -> None:
    """Noise of 96 numbers, batches of 128, Adam with 1e-3 and (0.5, 0.999)."""
    for name, loss in (("vanilla", "vanilla"), ("least-squares", "least_squares"), ("dcgan", "vanilla")):
        recipe = load_gan_recipe(name)
        assert (recipe.noise_size, recipe.batch_size, recipe.lr, recipe.betas) == (96, 128, 1e-3, (0.5, 0.999))
        assert recipe.loss == loss


def test_names_of_losses_are_those_of_the_table() -> None:
    assert set(LOSS_NAMES) == set(LOSSES)


def test_wrong_recipes(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r'There is no GAN "dcgam". Did you mean "dcgan"'):
        load_gan_recipe("dcgam")
    with pytest.raises(RecipeError, match="expected vanilla, least_squares, hinge, got 'wgan'"):
        GanRecipe(loss="wgan")
    with pytest.raises(RecipeError, match=r'no recipe key "lrr". Did you mean "lr"'):
        GanRecipe().with_overrides(["lrr=1"])
    path = tmp_path / "mine.yaml"
    path.write_text(tiny_gan(name="").to_yaml())
    assert load_gan_recipe(path) == tiny_gan(name="")
