"""Pictures on disk while an image grows, and what is said before it is begun."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.errors import UsageError
from cnnlab.generate import forecast
from cnnlab.generate.descent import Descent, Job, optimise
from cnnlab.generate.events import StepDone
from cnnlab.generate.forecast import job_that_fits, step_memory
from cnnlab.generate.photos import as_picture, read_photo, save_gif
from cnnlab.generate.recording import recorded
from cnnlab.generate.style import StyleSettings
from cnnlab.generate.texture import texture_job
from tests.generate.helpers_generate import tiny_network, write_picture

WORKSPACE = 45 << 20


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "painting.png", 64, 48)


def job(painting: Path, size: int = 16) -> Job:
    return texture_job(tiny_network(), painting, StyleSettings(descent=Descent(size, 16, steps=4, first_steps=4)))


def test_a_photo_keeps_its_proportions(painting: Path) -> None:
    assert read_photo(painting, 3, 32).shape == (1, 3, 24, 32)
    assert read_photo(painting, 3, 128).shape == (1, 3, 96, 128)
    assert read_photo(painting, 1, 128, enlarge=False).shape == (1, 1, 48, 64)
    exact = read_photo(painting, 3, 64)
    np.testing.assert_array_equal(as_picture(exact), np.asarray(Image.open(painting)))


def test_the_picture_grows_while_it_is_made_and_is_kept_when_it_is_interrupted(painting: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out" / "made.png"
    stream = recorded(optimise(job(painting)), picture, seconds=0.0)
    for event in stream:
        if isinstance(event, StepDone) and event.step == 2:
            break
    early = np.asarray(Image.open(picture)).copy()
    next(stream)
    stream.close()
    assert isinstance(event, StepDone)
    kept = np.asarray(Image.open(picture))
    assert kept.shape == (16, 16, 3)
    assert not np.array_equal(early, kept)
    np.testing.assert_array_equal(kept, as_picture(event.image))


def test_the_animation_shows_the_steps(painting: Path, tmp_path: Path) -> None:
    list(recorded(optimise(job(painting, 24)), tmp_path / "made.png", tmp_path / "made.gif"))
    with Image.open(tmp_path / "made.gif") as gif:
        assert gif.size == (24, 24)
        assert 2 <= gif.n_frames <= 9
    assert np.asarray(Image.open(tmp_path / "made.png")).shape == (24, 24, 3)


def test_an_animation_is_not_larger_than_asked(tmp_path: Path) -> None:
    frames = [np.full((10, 20), value, np.uint8) for value in (0, 255)] + [np.full((50, 100, 3), 90, np.uint8)]
    with Image.open(save_gif(frames, tmp_path / "a.gif", longer=60)) as gif:
        assert gif.size == (60, 30)


def test_memory_of_a_step_counts_what_autograd_keeps(painting: Path) -> None:
    """What the convolutions take, the image after its normalisation and the output of ReLU; the copies of the two
    outputs that the loss keeps, the second at a quarter of the pixels; and five times the largest."""
    extractor = tiny_network().extractor(["relu1", "conv2"])
    unit = 4 * 64 * 64  # bytes of a channel in float32
    image, relu1, conv2 = 3 * unit, 6 * unit, 8 * unit // 4
    counted = step_memory(extractor, (64, 64)) - WORKSPACE
    assert counted == pytest.approx(1.25 * (image + 2 * relu1 + conv2) + 5 * relu1)
    assert step_memory(extractor, (128, 128)) - WORKSPACE == pytest.approx(4 * counted, rel=0.01)


def test_a_forecast_says_size_time_and_memory(painting: Path) -> None:
    _, expected = job_that_fits(lambda size: job(painting, size), 32)
    assert expected.size == (32, 32)
    assert expected.stages == 3
    assert expected.steps == 12
    assert expected.seconds > 0
    assert expected.memory > step_memory(job(painting, 32).extractor, (32, 32))
    assert "32 x 32 pixels, 12 steps in 3 sizes" in str(expected)


def test_a_size_that_does_not_fit_is_made_smaller(painting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "_WORKSPACE", 0)
    needed = step_memory(job(painting, 64).extractor, (64, 64))
    monkeypatch.setattr(forecast, "available_memory", lambda device: needed)
    made, expected = job_that_fits(lambda size: job(painting, size), 64)
    assert made.sizes[-1] == (48, 48)
    assert "64 pixels need" in expected.note
    monkeypatch.setattr(forecast, "available_memory", lambda device: 100)
    with pytest.raises(UsageError, match="even 32 pixels"):
        job_that_fits(lambda size: job(painting, size), 64)


def test_forecasts_are_of_the_device() -> None:
    assert forecast.available_memory(torch.device("cpu")) > 0
