"""A network, an image and a class: what every method needs of them, computed once and shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import CnnlabError, ModelError, UsageError
from cnnlab.explain.batch_size import BatchSize
from cnnlab.explain.inputs import as_batch, check_logits, find_class
from cnnlab.tracing.hooks import find_layer, recording, uncompiled, untouched
from cnnlab.tracing.layers import Layer
from cnnlab.tracing.target_layer import list_layers


class Probe:
    """What methods ask of a network about one image; each answer is computed when first asked for, and kept.

    Activation, gradient and input gradient come from one forward and one backward pass, in eval mode. The model is
    left as it was (see :func:`~cnnlab.tracing.hooks.untouched`).

    Args:
        model: any module that takes images (N, C, H, W) and returns logits (N, K).
        image: (C, H, W) or (1, C, H, W) as the model takes it: tensor or array, on any device.
        target: the class that is asked about: its index, or its name in ``classes``; the predicted one when ``None``.
        layer: dotted name of the layer to look at; the last spatial layer when ``None``.
        classes: the names of the K classes.
        look_inside: whether the layer will be asked for; where not, the time to find it is saved.

    Raises:
        UsageError: an image of another shape or of whole numbers or with values that are not finite; a target that is
            no class.
        UnknownNameError: no such layer or class name; the nearest ones are listed.
        ModelError: the weights were made in inference mode; or, when first computed: the model cannot take the image,
            returns no logits, or values or gradients that are not finite.

    Attributes:
        model: the module.
        image: (1, C, H, W) on the model's device and in its precision.
        classes: the names, or None.
        notes: what methods said since the session began.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Any,
        target: int | str | None = None,
        layer: str | None = None,
        classes: Sequence[str] | None = None,
        *,
        look_inside: bool = True,
    ) -> None:
        self.model = model = uncompiled(model)
        self.image = as_batch(model, image)
        self.classes = None if classes is None else list(classes)
        self.notes: list[str] = []
        self._asked = None if target is None else find_class(target, self.classes)
        self._layer = layer
        self._look_inside = look_inside
        self._depth = 0
        self._graph: tuple[Tensor, Tensor | None, Tensor] | None = None
        self._seen: Tensor | None = None
        self._not_followed = ""
        on_cpu = self.image.device.type == "cpu"
        # A single image takes the overhead of a batch; a few large ones may take the memory.
        start = 4 if self.image[0, 0].numel() <= 512 * 512 else 1
        self._batch = BatchSize(start, 64 if on_cpu else 256)
        self._backward_batch = BatchSize(start, 8 if on_cpu else 64)  # a graph takes memory
        if layer is not None:
            find_layer(model, layer)
        if any(parameter.is_inference() for parameter in model.parameters()):
            raise ModelError(
                f"The weights of {type(model).__name__} were made inside torch.inference_mode, and no gradient passes "
                "them. Build or load the model outside of it."
            )

    @contextmanager
    def session(self) -> Iterator[list[str]]:
        """While open, the model computes as at evaluation; yields the list that :meth:`note` fills."""
        if self._depth:
            yield self.notes
            return
        self.notes = []
        with untouched(self.model):
            self._depth += 1
            try:
                yield self.notes
            finally:
                self._depth -= 1

    def note(self, text: str) -> None:
        """Say something beside the map; it is kept in ``Attribution.notes``."""
        if text not in self.notes:
            self.notes.append(text)

    # What the network says

    @cached_property
    def logits(self) -> Tensor:
        """(1, K), detached."""
        with self.session():
            return self._forward_pass()[2].detach()

    @cached_property
    def target(self) -> int:
        """Index of the class that is asked about."""
        count = self.logits.shape[1]
        if self.classes is not None and len(self.classes) != count:
            raise UsageError(f"There are {len(self.classes)} names of classes, but {count} outputs. Give one for each.")
        if self._asked is None:
            return int(self.logits[0].argmax())
        return find_class(self._asked, count=count)

    @property
    def target_name(self) -> str | None:
        """Name of the class that is asked about, where names were given."""
        return None if self.classes is None else self.classes[self.target]

    @property
    def score(self) -> float:
        """The logit of the target."""
        return float(self.logits[0, self.target])

    @property
    def probability(self) -> float:
        """The probability of the target: softmax of the logits, sigmoid where there is one only."""
        logits = self.logits[0].double()
        return float(logits.sigmoid()[0] if len(logits) == 1 else logits.softmax(0)[self.target])

    # What it does inside

    @cached_property
    def found(self) -> Layer | None:
        """The layer that is looked at: the one named, else the last spatial one; None where there is none."""
        try:
            rows = list_layers(self.model, self.image)
        except CnnlabError as error:
            # Its forward cannot be followed: a layer that is named can be looked at all the same.
            self._not_followed = str(error)
            with self.session(), torch.no_grad():
                self.run(self.image)  # raises when it is the image that does not fit
            if self._layer is None:
                return None
            kind = type(find_layer(self.model, self._layer)).__name__
            return Layer(self._layer, kind, layout="NCHW")
        if self._layer is None:
            return rows.default
        row = next((row for row in rows if row.name == self._layer), None)
        if row is None:
            raise ModelError(
                f'The layer "{self._layer}" does not run. `cnnlab.tracing.list_layers` lists those that do.'
            )
        return row

    @property
    def layer(self) -> str:
        """Dotted name of the layer that is looked at.

        Raises:
            ModelError: no layer has positions on the image.
        """
        kind = type(self.model).__name__
        if self.found is None:
            if self._not_followed:
                raise ModelError(
                    f"Which layer of {kind} is the last spatial one cannot be told. Name it: layer=... "
                    f"(What went wrong: {self._not_followed})"
                )
            raise ModelError(
                f"{kind} has no spatial layer: nothing in it keeps apart where on the image something is. "
                "Methods that look at the pixels do without: saliency, smoothgrad, integrated_gradients, occlusion."
            )
        if not self.found.spatial:
            raise ModelError(
                f'The layer "{self.found.name}" of {kind} is not spatial: its output of shape {self.found.output} has '
                "one position only. `cnnlab.tracing.list_layers(model, image)` lists those with more."
            )
        return self.found.name

    @property
    def centres(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Where the layer's positions look, in pixels: (the first one, the step to the next), down and across.

        None where that cannot be told.
        """
        seen = self.found.field if self.found is not None else None
        if seen is None or len(seen.stride) != 2 or seen.stride[0] is None or seen.stride[1] is None:
            return None
        return (seen.centre[0], seen.stride[0]), (seen.centre[1], seen.stride[1])

    @property
    def activation(self) -> Tensor:
        """What leaves the layer, (1, C, h, w); it needs no gradient."""
        return self._as_map(self._activation)

    @property
    def gradient(self) -> Tensor:
        """Gradient of the score with respect to :attr:`activation`, (1, C, h, w)."""
        gradient = self._layer_gradient
        if gradient is None:
            raise ModelError(f'The score does not depend on the layer "{self.layer}" in a way that has a gradient.')
        return self._as_map(gradient)

    @property
    def input_gradient(self) -> Tensor:
        """Gradient of the score with respect to the image, (1, C, H, W)."""
        return self._gradients[0]

    @cached_property
    def _layer_gradient(self) -> Tensor | None:
        """That of the layer's output; the way back ends there, unless the image's gradient was asked for before."""
        if "_gradients" in self.__dict__:
            return self._gradients[1]
        with self.session():
            _, activation, logits = self._forward_pass()
            if activation is None:
                return None
            return gradients_of(logits[0, self.target], [activation], keep_graph=True)[0]

    @cached_property
    def _activation(self) -> Tensor:
        name = self.layer
        with self.session():
            if "_gradients" not in self.__dict__:
                self._forward_pass()
        if self._seen is None:
            raise ModelError(f'The layer "{name}" did not run, or what it returns is no tensor.')
        return self._seen

    def _as_map(self, output: Tensor) -> Tensor:
        row = self.found
        if row is not None and output.ndim == (3 if row.layout == "tokens" else 4):
            return row.as_map(output)
        raise ModelError(
            f'The output of the layer "{self.layer}" has shape {tuple(output.shape)}, which is no map (N, C, h, w).'
        )

    def _forward_pass(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return image, activation and logits with their graph, until gradients were taken."""
        if self._graph is None:
            image = self.image.clone().requires_grad_()
            found = self.found if self._look_inside else None
            names = [found.name] if found is not None and found.spatial else []
            with recording(self.model, names) as seen:
                logits = self.run(image)
            activation = seen[names[0]] if names else None
            self._seen = None if activation is None else activation.detach()
            self._graph = image, activation, logits
        return self._graph

    @cached_property
    def _gradients(self) -> tuple[Tensor, Tensor | None]:
        """Gradients of the image and of the layer's output, from one backward pass."""
        with self.session():
            target = self.target
            image, activation, logits = self._forward_pass()
            gradients = gradients_of(logits[0, target], [image] if activation is None else [image, activation])
            self._graph = None
            if gradients[0] is None:
                raise ModelError("The score does not depend on the image in a way that has a gradient.")
            return gradients[0], gradients[1] if activation is not None else None

    # What it says about other images

    def run(self, images: Tensor) -> Tensor:
        """Run the model on images (B, C, H, W), with the graph where one is wanted; return the logits (B, K).

        Raises:
            ModelError: the model cannot take the images, or returns no logits, or logits that are not finite.
        """
        kind = type(self.model).__name__
        try:
            # A copy: a network may begin with a layer that works in place.
            outputs = self.model(images.clone())
        except (CnnlabError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ModelError(
                f"{kind} cannot take images of shape {tuple(images.shape)}: {error} Give the image as the model takes "
                "it: size, channels, normalised."
            ) from error
        return check_logits(outputs, len(images), kind)

    def forward(self, images: Tensor) -> Tensor:
        """Return the score of the target for images (B, C, H, W), (B,); any number, run in batches without graph."""
        return self.logits_of(images)[:, self.target]

    def logits_of(self, images: Tensor) -> Tensor:
        """Return the logits for images (B, C, H, W), (B, K); any number, run in batches without graph."""
        return self.logits_for(len(images), lambda start, end: images[start:end])

    def logits_for(self, count: int, make: Callable[[int, int], Tensor]) -> Tensor:
        """Return the logits (count, K) of images that are made when they are needed, so that memory stays bounded.

        Args:
            count: how many images there are.
            make: from ``start`` and ``end`` to those images (end - start, C, H, W). The sizes of batches are found by
                measuring.
        """
        parts, start = [], 0
        with self.session(), torch.inference_mode():
            while start < count:
                end = min(count, start + self._batch.next())
                images = make(start, end)
                with self._batch.timing(end - start):
                    parts.append(self.run(images))
                start = end
        return torch.cat(parts).clone()

    def gradients_for(self, count: int, make: Callable[[int, int], Tensor]) -> Iterator[Tensor]:
        """Yield the gradients (b, C, H, W) of the target's score for images that are made when they are needed.

        Args:
            count, make: as in :meth:`logits_for`.
        """
        target, start = self.target, 0
        with self.session():
            while start < count:
                end = min(count, start + self._backward_batch.next())
                images = make(start, end).detach().requires_grad_()
                with self._backward_batch.timing(end - start):
                    (gradients,) = gradients_of(self.run(images)[:, target].sum(), [images])
                if gradients is None:
                    raise ModelError("The score does not depend on the image in a way that has a gradient.")
                yield gradients
                start = end


def gradients_of(score: Tensor, inputs: Sequence[Tensor], keep_graph: bool = False) -> list[Tensor | None]:
    """Return the gradients of a score (a scalar, or a sum of scores) with respect to tensors; None: no dependence.

    Args:
        score: of one image or several.
        inputs: that it depends on.
        keep_graph: other gradients will be asked for.

    Raises:
        ModelError: there is no gradient, or it is not finite.
    """
    if not score.requires_grad:
        raise ModelError(
            "The score has no gradient: the model computes it without autograd, or detaches it. Methods that need "
            "none: occlusion, scorecam."
        )
    try:
        gradients = torch.autograd.grad(score, list(inputs), retain_graph=keep_graph, allow_unused=True)
    except RuntimeError as error:
        raise ModelError(f"The gradient cannot be computed: {error}") from error
    if any(gradient is not None and not torch.isfinite(gradient).all() for gradient in gradients):
        raise ModelError("The gradient is not finite. Look for NaN or infinite numbers in the weights, or use float64.")
    return list(gradients)
