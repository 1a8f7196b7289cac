"""The course's style transfer, with its numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.errors import ModelError, UsageError
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.generate.cs231n import PRESETS, CourseSettings, course_transfer, extract_features
from cnnlab.generate.events import Finished, Started, StepDone
from cnnlab.generate.extractor import open_network
from tests.generate.helpers_generate import TinyNet, tiny_network, write_picture

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def test_presets_are_those_of_the_notebook() -> None:
    scream = PRESETS["scream"]
    assert (scream.image_size, scream.style_size, scream.content_layer) == (192, 224, 3)
    assert (scream.content_weight, scream.style_layers, scream.tv_weight) == (3e-2, (1, 4, 6, 7), 2e-2)
    assert scream.style_weights == (200_000, 800, 12, 1)
    assert PRESETS["composition-vii"].style_weights == (20_000, 500, 12, 1)
    assert PRESETS["composition-vii"].style_size == 512
    assert PRESETS["starry-night"].style_weights == (300_000, 1000, 15, 3)
    assert (scream.steps, scream.rate, scream.late_rate, scream.late_step) == (200, 3.0, 0.1, 180)


def test_features_are_those_of_the_successive_modules() -> None:
    """In 64x64 pixels: stem with stride 2 to 31, pooling to 15, then 7, then 3."""
    network = open_network("squeezenet1_1", "random", device="cpu")
    outputs = extract_features(network.model, torch.randn(1, 3, 64, 64))
    assert [output.shape[1] for output in outputs] == [64, 64, 64, 128, 128, 128, 256, 256, 256, 384, 384, 512, 512]
    assert [output.shape[2] for output in outputs] == [31, 31, 15, 15, 15, 7, 7, 7, 3, 3, 3, 3, 3]
    assert outputs[0].min() < 0 <= outputs[1].min()
    with pytest.raises(ModelError, match="squeezenet1_1"):
        extract_features(TinyNet(), torch.zeros(1, 3, 8, 8))


def test_losses_of_the_first_step_by_hand(tmp_path: Path) -> None:
    """The losses of the first step are those of the photo clamped to -1.5..1.5, against the photo itself."""
    photo, style = write_picture(tmp_path / "photo.png"), write_picture(tmp_path / "style.png", 40, 40, seed=4)
    network = open_network("squeezenet1_1", "random", device="cpu")
    settings = CourseSettings(image_size=30, style_size=40, steps=2)
    started, first, second, finished = course_transfer(network, photo, style, settings)
    assert isinstance(started, Started)
    assert isinstance(first, StepDone)
    assert isinstance(second, StepDone)
    assert isinstance(finished, Finished)
    assert started.sizes == ((30, 40),)
    pixels = np.asarray(Image.open(photo)) / 255
    values = ((pixels - MEAN) / STD).clip(-1.5, 1.5)
    tv = (np.diff(values, axis=0) ** 2).sum() + (np.diff(values, axis=1) ** 2).sum()
    assert float(first.losses["tv"]) == pytest.approx(2e-2 * tv, rel=1e-3)
    clipped = torch.from_numpy(values).permute(2, 0, 1)[None].float()
    target, start = (
        extract_features(network.model, image.float())[3]
        for image in (torch.from_numpy((pixels - MEAN) / STD).permute(2, 0, 1)[None], clipped)
    )
    assert float(first.losses["content"]) == pytest.approx(6e-2 * (start - target).square().sum().item(), rel=1e-2)
    assert finished.image.shape == (1, 3, 30, 40)


def test_weights_of_the_losses_hold_for_inputs_of_another_range(tmp_path: Path) -> None:
    """Without biases the outputs grow with the inputs: 58 times the range changes no loss."""
    photo, style = write_picture(tmp_path / "photo.png"), write_picture(tmp_path / "style.png", seed=4)
    network = open_network("squeezenet1_1", "random", device="cpu")
    for name, parameter in network.model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    wide = replace(network, pixels=PixelRange(58 * network.pixels.low.flatten(), 58 * network.pixels.high.flatten()))
    settings = CourseSettings(image_size=30, style_size=30, steps=1)
    for event, other in zip(*(course_transfer(each, photo, style, settings) for each in (network, wide)), strict=True):
        if isinstance(event, StepDone) and isinstance(other, StepDone):
            assert event.loss == pytest.approx(other.loss, rel=1e-3)


def test_noise_and_zero_weights_make_inversion_and_texture(tmp_path: Path) -> None:
    photo = write_picture(tmp_path / "photo.png")
    network = open_network("squeezenet1_1", "random", device="cpu")
    for name, zero in (("inversion", "style"), ("texture", "content")):
        settings = replace(PRESETS[name], image_size=30, style_size=30, steps=2)
        *_, finished = course_transfer(network, photo, photo, settings)
        assert isinstance(finished, Finished)
        assert finished.losses[zero] == 0
        assert finished.losses["tv"] > 0


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="as many weights"):
        CourseSettings(style_layers=(1,))
    photo = write_picture(tmp_path / "photo.png")
    with pytest.raises(ModelError, match="features"):
        list(course_transfer(tiny_network(), photo, photo, CourseSettings(image_size=30, style_size=30)))
