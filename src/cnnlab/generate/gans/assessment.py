"""Measure the generator of a run: copying, the classes that it makes, and distances from real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab import figures
from cnnlab.data import ArraySplit, ImageData, Split, load_data
from cnnlab.data.nearest import nearest_images
from cnnlab.errors import UsageError
from cnnlab.generate.gans.folder import GanFolder
from cnnlab.generate.gans.measures import (
    copied_share,
    distance_percentiles,
    effective_classes,
    frechet_distance,
    kernel_distance,
)
from cnnlab.generate.gans.pair import generate
from cnnlab.generate.gans.pictures import class_figure, neighbour_figure
from cnnlab.generate.gans.report import write_gan_report
from cnnlab.generate.gans.session import image_preprocess, seeded_noise
from cnnlab.hardware import choose_device
from cnnlab.runs.classifier import Classifier
from cnnlab.tracing.hooks import evaluating, recording_inputs
from cnnlab.training.feature_cache import Body

SAMPLING = 2**40 + 2  # the position of the random numbers of the measured samples
SHOWN = 10  # samples drawn with their nearest training images


@dataclass(frozen=True, eq=False)
class Judgement:
    """The features and classes that a classifier computes for N images.

    Attributes:
        features: float32 (N, F), the input of the classifier's last layer.
        answers: int64 (N,), index of the class with the highest score.
    """

    features: np.ndarray
    answers: np.ndarray


def judge_images(judge: Classifier, pixels: Tensor, batch_size: int = 250) -> Judgement:
    """Return the features and the predicted classes of a classifier for images of any size.

    Args:
        judge: the classifier.
        pixels: the images, uint8 (N, C, S, S).
        batch_size: number of images that are computed at once.
    """
    split = ArraySplit(pixels, torch.zeros(len(pixels), dtype=torch.int64))
    layer = Body(judge.model).layer  # type: ignore[arg-type]  # the classifiers of runs are networks of the zoo
    features, answers = [], []
    for part in torch.arange(len(pixels)).split(batch_size):
        images = judge.preprocess.normalize(split.fetch(part, judge.preprocess).to(judge.device))
        images = images.contiguous(memory_format=judge.precision.memory_format)
        with torch.inference_mode(), evaluating(judge.model), recording_inputs(judge.model, [layer]) as inputs:
            answers.append(judge.model(images).argmax(1).cpu())
        features.append(inputs[layer].flatten(1).float().cpu())
    return Judgement(torch.cat(features).numpy(), torch.cat(answers).numpy())


def check_judge(judge: Classifier, data: ImageData) -> None:
    """Refuse a classifier whose classes are not those of the data.

    Raises:
        UsageError: the classes differ; the message has the first classes of both.
    """
    if list(judge.classes) != list(data.classes):
        raise UsageError(
            f"{judge.name} tells apart {', '.join(judge.classes[:3])}, ..., and {data.name} has the classes "
            f"{', '.join(data.classes[:3])}, ... Name the run of a classifier that was trained on {data.name}."
        )


def assess(
    run: GanFolder,
    judge: Classifier | None = None,
    *,
    data: ImageData | None = None,
    samples: int = 2000,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure the generator of a run, write the measures into its summary and report, and draw its figures.

    Args:
        run: the run of a GAN.
        judge: a classifier of the same classes, whose features and predicted classes are used; without one only
            copying is measured.
        data: the images of the run; loaded as the recipe says when ``None``.
        samples: number of images that are generated. As many real images are compared with them, or all if there are
            fewer.
        device: the device on which the images are generated.

    Returns:
        The measures by name. Always ``samples``, the number of generated images, and ``epoch``, the number of epochs
        that the generator was trained for. With held-out images ``median_percentile`` (see
        :func:`~cnnlab.generate.gans.measures.distance_percentiles`), ``copied`` (the share of copies, 0..1) and
        ``held_out`` (the number of held-out images); without them ``median_distance``. Where the recipe mirrors the
        training images, these distances are those from the nearest training image or mirrored training image. With a
        judge its name ``judge``, ``class_counts``, ``effective_classes``, and ``frechet`` and ``kernel``, the distances
        of generated from training images; with held-out images also ``frechet_held_out`` and ``kernel_held_out``, the
        distances of held-out from training images.

    Raises:
        UsageError: the judge has other classes than the data.
        CheckpointError: the generator of the run is damaged.
    """
    recipe = run.recipe
    data = data or load_data(recipe.data, data_dir=recipe.data_dir, seed=recipe.seed)
    if recipe.train_limit:
        data = data.limited(recipe.train_limit, seed=recipe.seed)
    if judge:
        check_judge(judge, data)
    chosen = choose_device(device)
    noise = seeded_noise(samples, recipe.noise_size, recipe.seed, SAMPLING).to(chosen)
    generated = generate(run.generator().to(chosen), noise)
    values: dict[str, Any] = {"samples": samples, "epoch": run.generator_epoch}
    training = _pixels(data.train, run, len(data.train))
    if recipe.flip:  # the discriminator was shown both, so the generator may copy either
        training = torch.cat([training, training.flip(-1)])
    held_out_split = data.test or data.val
    held_out = None if held_out_split is None else _pixels(held_out_split, run, samples)
    values |= _copying(run, generated, training, held_out)
    if judge:
        values |= _judged(judge, generated, _pixels(data.train, run, samples), held_out, data.classes)
        figures.save(class_figure(values["class_counts"]), run.figures / "classes.png")
    earlier = run.measures
    # Without a judge, what one has said of the same samples still holds.
    measures = earlier | values if earlier.get("samples") == samples else values
    if "class_counts" not in measures:
        (run.figures / "classes.png").unlink(missing_ok=True)  # that of an earlier generator
    run.update_summary(measures=measures)
    write_gan_report(run)
    return values


def _pixels(split: Split, run: GanFolder, count: int) -> Tensor:
    """Return at most ``count`` images of a split, evenly spaced, as the generator makes them: uint8 (n, C, S, S)."""
    rows = torch.linspace(0, len(split) - 1, min(count, len(split))).round().long()
    return split.fetch(rows, image_preprocess(run.recipe, split))


def _copying(run: GanFolder, generated: Tensor, training: Tensor, held_out: Tensor | None) -> dict[str, Any]:
    neighbours = nearest_images(generated, training)
    if held_out is None:
        return {"median_distance": float(np.median(neighbours.distances)) / 255}
    usual = nearest_images(held_out, training).distances
    percentiles = distance_percentiles(neighbours.distances, usual)
    # The most suspicious ones are drawn.
    order = np.argsort(neighbours.distances, kind="stable")[:SHOWN]
    figure = neighbour_figure(generated[order], training[neighbours.indices[order]], percentiles[order])
    figures.save(figure, run.figures / "nearest.png")
    return {
        "median_percentile": float(np.median(percentiles)),
        "copied": copied_share(neighbours.distances, usual),
        "held_out": len(held_out),
    }


def _judged(
    judge: Classifier, generated: Tensor, training: Tensor, held_out: Tensor | None, classes: list[str]
) -> dict[str, Any]:
    fake, real = judge_images(judge, generated), judge_images(judge, training)
    counts = np.bincount(fake.answers, minlength=len(classes))
    values: dict[str, Any] = {
        "judge": judge.name,
        "class_counts": dict(zip(classes, counts.tolist(), strict=True)),
        "effective_classes": effective_classes(counts),
        "frechet": frechet_distance(fake.features, real.features),
        "kernel": kernel_distance(fake.features, real.features),
    }
    if held_out is not None:
        other = judge_images(judge, held_out)
        values["frechet_held_out"] = frechet_distance(other.features, real.features)
        values["kernel_held_out"] = kernel_distance(other.features, real.features)
    return values
