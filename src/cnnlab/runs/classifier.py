"""A network that knows how to be used: one object for a run, a network with public weights, and a model file."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.data import ImageLike, Preprocess
from cnnlab.data.decoding import decode, to_tensor
from cnnlab.errors import DeviceError, ModelError, RunError, UnknownNameError, UsageError
from cnnlab.hardware import Precision, choose_device
from cnnlab.runs.folder import RunFolder
from cnnlab.runs.training_folder import is_run, run_folders
from cnnlab.tracing.batchnorm_folding import folded
from cnnlab.tracing.hooks import evaluating
from cnnlab.training.build import begin_network
from cnnlab.training.checkpoint import ModelFile
from cnnlab.training.metrics import softmax
from cnnlab.training.precision import saved_precision, to_memory_format
from cnnlab.zoo import TRAINED_FOLDER, create_model, imagenet_classes, models, pretrained, trained_networks

if TYPE_CHECKING:
    from cnnlab.explain.pixel_range import PixelRange

MANY = 64  # pictures from which on a faster form of a network is looked for
DISPLAY_SIZE = 448  # pixels of a photo as people see it


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network with everything that is needed to use it.

    Attributes:
        name: name of the run folder, of the network, or of the model file's folder.
        about: description of the network in a few words.
        model: the network in eval mode, on ``device``.
        preprocess: the preprocessing that turns a picture into the network's input.
        classes: the K class names in the order of the network's outputs.
        device: the device on which it computes.
        precision: the number format and memory layout in which it computes.
    """

    name: str
    about: str
    model: nn.Module
    preprocess: Preprocess
    classes: list[str]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = field(default_factory=Precision)

    def logits(self, pixels: Tensor) -> np.ndarray:
        """Return the scores before the softmax, float32 (N, K).

        Args:
            pixels: decoded pictures, uint8 (N, C, size, size), as :meth:`cnnlab.data.Preprocess.pixels` returns them.

        Raises:
            ModelError: a score is NaN or infinite.
        """
        images = self.preprocess.normalize(pixels.to(self.device))
        with torch.inference_mode(), evaluating(self.model), self.precision.autocast(self.device):
            outputs = self.model(images.contiguous(memory_format=self.precision.memory_format))
        logits = outputs.float().cpu()
        if not torch.isfinite(logits).all():
            raise ModelError(
                f"{self.name} gives scores that are not finite: numbers overflow inside the network. "
                "Train again with a lower learning rate or in fp32."
            )
        return np.asarray(logits.numpy())

    def probabilities(self, pixels: Tensor) -> np.ndarray:
        """Return the probability of each class, float64 (N, K); see :meth:`logits`."""
        return softmax(self.logits(pixels))

    def for_many(self, count: int) -> Classifier:
        """Return a classifier with the same answers that is faster for many pictures; itself for a few.

        Every BatchNorm is folded into the convolution before it (:mod:`cnnlab.tracing.batchnorm_folding`), and weights
        and images are stored as NHWC: on a CPU 1.2 to 1.9 times as fast (``results/LOG.md``). The number format
        stays. To find the pairs takes as long as some dozens of pictures.

        Args:
            count: the number of pictures that will be predicted.
        """
        size, channels = self.preprocess.size, self.preprocess.channels
        if count < MANY:
            return self
        try:
            model, pairs = folded(self.model, (1, channels, size, size))
        except (ModelError, RuntimeError, TypeError):  # it cannot be traced, or not be copied
            return self
        if not pairs:
            return self
        precision = replace(self.precision, channels_last=True)
        return replace(self, model=to_memory_format(model, precision.memory_format), precision=precision)

    def top(self, probabilities: np.ndarray, count: int) -> list[tuple[str, float]]:
        """Return the ``count`` likeliest classes of one picture with their probabilities, the likeliest first.

        Args:
            probabilities: the probability of each class, (K,).
            count: the number of classes; fewer are returned when there are fewer.
        """
        order = np.argsort(-probabilities, kind="stable")[:count].tolist()
        return [(self.classes[index], float(probabilities[index])) for index in order]

    def input(self, photo: ImageLike, size: int | None = None) -> Tensor:
        """Return a photo as the network takes it, float32 (C, size, size) on its device.

        Args:
            photo: path, picture, array or tensor, as :meth:`cnnlab.data.Preprocess.pixels` takes it.
            size: side of the square in pixels; the network's own when ``None``.

        Raises:
            DataError: the photo cannot be read.
        """
        preprocess = self.preprocess if size is None else replace(self.preprocess, size=size)
        return preprocess(photo)[0].to(self.device)

    def see(self, photo: ImageLike, size: int | None = None) -> Tensor:
        """Return :meth:`input`; the old name, which keeps working for one release."""
        warnings.warn("Classifier.see is now Classifier.input.", DeprecationWarning, stacklevel=2)
        return self.input(photo, size)

    def views(self, photo: ImageLike) -> tuple[Tensor, np.ndarray]:
        """Return a photo as the network takes it, and as people see it; it is decoded once.

        Returns:
            What :meth:`input` returns; and the part of the photo that enters the network at its own resolution, uint8
            (H, W, 3) or (H, W).

        Raises:
            DataError: the photo cannot be read.
        """
        size = self.preprocess.size
        decoded = decode(
            photo, self.preprocess.channels, least=2 * self.preprocess.short_side, depth=self.preprocess.depth
        )
        image = self.preprocess.normalize(to_tensor(self.preprocess.fit(decoded))[None])[0].to(self.device)
        # People see the pixels of small images themselves.
        display = replace(self.preprocess, size=max(size, DISPLAY_SIZE)) if size >= 64 else self.preprocess
        return image, np.array(display.fit(decoded))

    def save_input(self, picture: np.ndarray, photo: ImageLike, path: Path) -> Path:
        """Write a picture for the network's input into the photo it comes from, without loss; return the path.

        Opened again, the file is resized and cropped as any photo is, and the picture enters the network unchanged.

        Args:
            picture: the network's input as a picture, (size, size, 3) or (size, size) within 0..1.
            photo: the photo that goes around it, where something of it is cropped.
            path: the file to write; its folder is made.

        Raises:
            DataError: the photo cannot be read.
        """
        from cnnlab.figures.pictures import to_picture  # matplotlib takes half a second, and who predicts needs none

        path.parent.mkdir(parents=True, exist_ok=True)
        self.preprocess.surround(to_picture(picture, "HWC"), photo).save(path)
        return path

    @property
    def pixel_range(self) -> PixelRange:
        """The values of black and white in the network's input."""
        from cnnlab.explain.pixel_range import PixelRange  # all of cnnlab.explain comes with it

        return PixelRange.normalised(self.preprocess.mean, self.preprocess.std)


# Opening -------------------------------------------------------------------------------------------------------------


def open_classifier(
    source: str | os.PathLike[str] | RunFolder | Classifier, device: str = "auto", *, as_trained: bool = True
) -> Classifier:
    """Open a network for use.

    Args:
        source: a run or its folder; the folder of a model file (``model.safetensors`` with ``model.json``), or one of
            these two files; where there is nothing of that name, the name of a network, for its public ImageNet
            weights or those that come with the package. A classifier is returned as it is.
        device: ``"auto"``, ``"cpu"``, ``"cuda:0"``, ``"mps"``.
        as_trained: whether to compute on the device and in the precision of the training when ``device`` is
            ``"auto"``, so that the numbers are those of the run; otherwise on the best device here, in float32. Methods
            that use layer outputs or gradients need the latter. Public weights are always used in float32.

    Raises:
        UnknownNameError: there is neither a run, nor a model file, nor a network of that name.
        RunError: there is something at ``source``, but no run and no model file.
        ModelError: no public weights of the network are known, the weights do not fit, or are not finite.
        DeviceError: the device is not on this machine.
    """
    if isinstance(source, Classifier):
        return source
    if not isinstance(source, RunFolder):
        path = Path(source)
        if not path.exists():
            return _public(os.fspath(source), device)
        folder = path.parent if path.name in ("model.safetensors", "model.json") else path
        if not is_run(folder) and (folder / "model.json").is_file():
            return _from_file(folder, device)
        source = RunFolder(folder)
    return _from_run(source, device, as_trained)


def initial_model(source: str | os.PathLike[str] | RunFolder) -> nn.Module:
    """Build the network of a run as it was before the training, in eval mode on the CPU.

    Its weights are drawn again from the run's seed, or are those that it began with (which then have to be there
    still). They are the same with the same version of torch; ``env.json`` says which it was.

    Raises:
        UsageError: ``source`` is a network with public weights, of which no earlier weights are known.
        RunError: it is no run.
        ModelError: the weights that the run began with are gone.
    """
    if not isinstance(source, RunFolder):
        if not Path(source).exists() and os.fspath(source) in models:
            raise UsageError(f"{source} comes with its weights; only of a run are the weights before training known.")
        source = RunFolder(source)
    return begin_network(source.recipe, source.arch, torch.device("cpu")).eval()


def _from_run(run: RunFolder, device: str, as_trained: bool) -> Classifier:
    recipe, file = run.recipe, run.model_file
    if not run.has_weights:
        raise RunError(
            f"{run.path} has no weights: its file model.safetensors is gone. Copy it back from where the run was made, "
            f"or train again: `cnnlab train --recipe {run.path / 'recipe.yaml'}`."
        )
    about = f"{recipe.model}, trained on {Path(recipe.data).name} ({len(file.classes)} classes)"
    if (accuracy := run.summary.get("accuracy")) is not None:
        about += f"; {accuracy:.2%} right on the {run.summary['split']} split"
    try:
        chosen = choose_device(recipe.device if as_trained and device == "auto" else device)
    except DeviceError:  # the device of the training is not on this machine
        if device != "auto":
            raise
        chosen = choose_device("auto")
    precision = saved_precision(recipe, chosen) if as_trained else Precision()
    model = to_memory_format(run.model().to(chosen), precision.memory_format)
    return Classifier(run.name, about, model, file.preprocess, file.classes, chosen, precision)


def _public(name: str, device: str) -> Classifier:
    if name not in models:
        runs = [str(path) for path in run_folders(Path(name).parent)]
        hint = "`cnnlab runs` lists the runs, `cnnlab models` the networks."
        raise UnknownNameError("run folder or network", name, [*models.names(), *runs], hint)
    name, chosen = models.get(name).name, choose_device(device)
    if models.get(name).facts.pretrained is None and (own := trained_networks().get(name)):
        return _from_file(next(iter(own.values())), device)
    facts = pretrained(name)
    about = f"{name}, trained on ImageNet (1000 classes, {facts.top1:g} % right; {facts.file})"
    preprocess = Preprocess.from_dict(facts.preprocess)
    classes = imagenet_classes()
    sizes = (len(classes), preprocess.channels, preprocess.size)  # what the file has: the network is built once
    model = create_model(name, *sizes, weights="imagenet").eval().to(chosen)
    return Classifier(name, about, model, preprocess, classes, chosen)


def _from_file(folder: Path, device: str) -> Classifier:
    file, name, chosen = ModelFile.load(folder), folder.resolve().name, choose_device(device)
    about = f"{file.arch.get('name', 'network')} of the model file {folder} ({len(file.classes)} classes)"
    if folder.parent == TRAINED_FOLDER:
        network, _, data = name.rpartition("-")
        about = f"{network}, trained on {data} ({len(file.classes)} classes, {file.metrics['accuracy']:.2%} right)"
    return Classifier(name, about, file.model(folder).to(chosen), file.preprocess, file.classes, chosen)
