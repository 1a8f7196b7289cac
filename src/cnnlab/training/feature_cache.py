"""Features of a frozen network, computed once instead of in every epoch.

When everything but the last layer is frozen and images are not augmented, the features that reach that layer are the
same in every epoch. They are computed before the first step and kept in memory; from then on steps and evaluations run
only the last layer, and an epoch takes as long as a dense layer does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from cnnlab.data import Batch, ImageData, Loader
from cnnlab.tracing.hooks import evaluating, recording_inputs
from cnnlab.training import distributed
from cnnlab.training.recipe import Recipe
from cnnlab.training.transfer import tail_start
from cnnlab.zoo import Network

FEATURE_SHARE = 4  # cached features may take one part in so many of the memory


def plan_cache(
    recipe: Recipe, data: ImageData, model: Network, input_shape: tuple[int, int, int], device: torch.device
) -> tuple[int, ...] | None:
    """Return the shape of an image's features where they are the same in every epoch and those of all images fit.

    Args:
        recipe: the recipe of the training.
        data: the images; those of train, and of the split that is evaluated after every epoch, are counted.
        model: the network; left as it was.
        input_shape: shape (C, H, W) of an image.
        device: the device on which the features would be kept.
    """
    if not caches_features(recipe):
        return None
    parameter = next(model.parameters())
    black = torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype)
    with evaluating(model), torch.no_grad():
        shape = tuple(Body(model)(black).shape[1:])
    images = len(data.train) + len(data.val or data.test or ())
    fit = 4 * math.prod(shape) * images <= feature_limit(device)
    return None if distributed.any_process(not fit) else shape


class Body(nn.Module):
    """The frozen part of the network: from images (N, C, S, S) to the features that :func:`trained_tail` takes."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model
        self.layer = model.stages["head"]
        head = model.get_submodule(self.layer)
        if isinstance(head, nn.Sequential):
            self.layer += "." + list(head._modules)[tail_start(head)]

    def forward(self, images: Tensor) -> Tensor:
        with recording_inputs(self.model, [self.layer]) as features:
            self.model(images)
        return features[self.layer]


def caches_features(recipe: Recipe) -> bool:
    """Whether the features of an image are the same in every epoch."""
    same_images = not recipe.augment.active and not recipe.image_sizes
    return recipe.freeze == "backbone" and recipe.unfreeze_at is None and same_images


def feature_limit(device: torch.device) -> int:
    """Return how many bytes of features a process may keep on ``device``.

    It is a share of the free memory of a GPU; on other devices a share of the memory of this machine, which is taken to
    be 8 GiB where the system does not tell. Each of the processes on a machine keeps all features.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // FEATURE_SHARE
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        memory = 8 * 2**30
    return memory // FEATURE_SHARE // distributed.on_this_machine()


class FeatureLoader(Loader):
    """Batches of features instead of images, in the order and with the batches of the loader they replace.

    Args:
        loader: the loader over the images.
        features: the features of all images of the split in its order, (N, ...) float32.
    """

    def __init__(self, loader: Loader, features: Tensor) -> None:
        vars(self).update(vars(loader))
        self.features, self.labels = features, loader.split.labels.to(features.device)

    def epoch(
        self, epoch: int, start_step: int = 0, side: Callable[[int], int | None] | None = None
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch from ``start_step`` on; features have no other size."""
        order = self.order(epoch)
        for step in range(start_step, len(self)):
            indices = self.share_of(order, step)
            if len(indices):
                rows = indices.to(self.features.device)
                yield Batch(self.features[rows], self.labels[rows], self.labels[rows], indices)
