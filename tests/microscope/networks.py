"""Networks of the zoo under the microscope, at the smallest size that they take, and requests for their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cnnlab.data import Preprocess
from cnnlab.errors import CnnlabError
from cnnlab.microscope.pictures import picture_of
from cnnlab.microscope.protocol import complete
from cnnlab.microscope.session import Microscope, Subject
from cnnlab.runs.classifier import Classifier
from cnnlab.zoo import create_model, models
from tests.microscope.arithmetic.test_networks import settle


def small_microscope(name: str) -> Microscope:
    """Return a network of the zoo with random weights, at the smallest size that it takes, and an image of noise."""
    torch.manual_seed(0)
    channels = models.get(name).facts.in_channels
    for size in (28, 32, 64, 96, 128, 224):
        try:
            model = create_model(name, image_size=size, in_channels=channels, num_classes=10)
            settle(model, 4 * torch.rand(8, channels, size, size) - 2)  # noise, normalised as the image is
            break
        except (CnnlabError, RuntimeError, ValueError):
            continue
    preprocess = Preprocess(size, channels, (0.5,) * channels, (0.25,) * channels)
    classifier = Classifier(name, name, model, preprocess, [f"class {number}" for number in range(10)])
    noise = np.random.default_rng(0).integers(0, 256, (size, size, channels), np.uint8)
    spread_evenly(model, as_batch(noise))
    return Microscope([Subject(classifier)], [picture_of("noise", noise)])


def as_batch(noise: np.ndarray) -> torch.Tensor:
    """Return an image of noise, uint8 (S, S, C), as a batch for a network of :func:`small_microscope`."""
    return torch.from_numpy((noise.astype(np.float32) / 255 - 0.5) / 0.25).permute(2, 0, 1)[None]


def spread_evenly(model: torch.nn.Module, image: torch.Tensor) -> None:
    """Scale the last dense layer so that the answer is not certain: changes inside then show in the probabilities."""
    dense = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    if dense:
        with torch.no_grad():
            dense[-1].weight /= model(image).std()


def scene_of(microscope: Microscope) -> dict[str, Any]:
    """Return the scene of the first image, with nothing changed."""
    image = microscope.handle(complete("open"))["images"][0]["id"]
    return {"model": 0, "epoch": None, "image": image, "changes": []}


def numbers_of(microscope: Microscope, count: int) -> list[dict[str, Any]]:
    """Return requests for random numbers of a network, of every node at least one."""
    generator = np.random.default_rng(0)
    nodes = list(microscope.player()[1].graph.nodes.values())
    scene = scene_of(microscope)
    chosen = nodes + [nodes[i] for i in generator.integers(0, len(nodes), max(0, count - len(nodes)))]
    return [
        complete(
            "number", scene=scene, node=node.id,
            at=[int(generator.integers(0, side)) for side in (*node.shape, 1, 1)[:3]],
        )
        for node in chosen
    ]  # fmt: skip


def network_and_input(microscope: Microscope) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return the network of a microscope, and its first image as a batch that the network takes."""
    classifier = microscope.subjects[0].classifier
    view = microscope.pictures.views(0, classifier, scene_of(microscope)["image"])[0]
    return classifier.model, view


def module_outputs(microscope: Microscope) -> dict[str, np.ndarray]:
    """Return the outputs (C, ...) of the modules that are called once, recorded by plain hooks of torch."""
    model, image = network_and_input(microscope)
    outputs: dict[str, list[np.ndarray]] = {}
    hooks = []
    for name, module in model.named_modules():
        if name and not list(module.children()):

            def keep(module: torch.nn.Module, inputs: Any, output: torch.Tensor, name: str = name) -> None:
                outputs.setdefault(name, []).append(output[0].clone().numpy())  # a later layer may change it in place

            hooks.append(module.register_forward_hook(keep))
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    return {name: calls[0] for name, calls in outputs.items() if len(calls) == 1}
