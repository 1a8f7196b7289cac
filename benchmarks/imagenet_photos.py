"""Public ImageNet weights on labelled photos: how often each network names what is in them.

::

    python benchmarks/imagenet_photos.py --data-dir DIR

DIR/imagenet holds ``photos/`` with ``labels.csv`` (columns file, imagenet_index), ``imagenet_val_25.npz`` (``X`` uint8
(n, 224, 224, 3) and ``y``), and the weights of SqueezeNet and MobileNetV2 that :func:`cases` names; those of
EfficientNet-Lite0 come with the extra ``pretrained``. A network whose file is absent is left out, and the page says so.
Everything goes through ``create_model`` and ``Preprocess``. Writes ``results/imagenet_photos.md``.
"""

from __future__ import annotations

import argparse
import csv
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import cnnlab
from cnnlab.data import Preprocess
from cnnlab.errors import WeightsNotFoundError
from cnnlab.hardware import processor_name
from cnnlab.training.metrics import wilson_interval
from cnnlab.zoo import Network, create_model, imagenet_classes, models, weights_preprocess

Layers = TypeVar("Layers", bound=nn.Module)

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Case:
    """A network with public weights, and how its images are prepared.

    Attributes:
        name: of the network in the zoo.
        weights: what they are, for the table.
        build: makes the network, in eval mode; raises FileNotFoundError or WeightsNotFoundError without its file.
        preprocess: for photos; images that are cut out already are used whole.
        padding: in words.
    """

    name: str
    weights: str
    build: Callable[[], Network]
    preprocess: Preprocess
    padding: str = "the zoo's"


@dataclass(frozen=True)
class Score:
    """How many of ``n`` images were named right, first or among the first five, and what was named first."""

    n: int
    top1: int
    top5: int
    first: list[int]

    def cells(self) -> list[str]:
        """The two accuracies with their 95 % intervals."""
        return [percent(self.top1, self.n), percent(self.top5, self.n)]


def percent(right: int, n: int) -> str:
    """``90 (78 to 95)``: percent right, and the 95 % interval (Wilson 1927)."""
    low, high = wilson_interval(right, n)
    return f"{100 * right / n:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def cases(folder: Path) -> list[Case]:
    """The networks, with weights from ``folder``."""
    # Caffe's input is BGR in 0..255 minus these means; the networks here get RGB.
    caffe = Preprocess(227, 3, (123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3, "crop", 227 / 256)
    mobile = Preprocess(224, 3, (0.5,) * 3, (0.5,) * 3, "crop", 0.875)
    values = weights_preprocess("efficientnet_lite0", "imagenet")
    assert values is not None
    lite = Preprocess.from_dict(values)

    def public() -> Network:
        return create_model("efficientnet_lite0", weights="imagenet").eval()

    def mobilenet() -> Network:
        return mobilenet_v2(existing(folder / "mobilenet_v2_1.0_224_int8.npz"))

    return [
        Case(
            "squeezenet1_0",
            "authors' (Deep Compression), Caffe",
            lambda: squeezenet(existing(folder / "squeezenet1_0_deepcompressed_bgr.npz"), last_padding=1),
            caffe,
            "the zoo's, and 1 in the last convolution",
        ),
        Case(
            "squeezenet1_1",
            "authors', Caffe",
            lambda: squeezenet(existing(folder / "squeezenet1_1_caffe_bgr.npz")),
            caffe,
        ),
        Case("mobilenet_v2", "Google's, 8-bit, as floats", mobilenet, mobile),
        Case(
            "mobilenet_v2", "Google's, 8-bit, as floats", lambda: pad_as_tensorflow(mobilenet()), mobile, "TensorFlow's"
        ),
        Case("efficientnet_lite0", 'weights="imagenet"', public, lite),
        Case("efficientnet_lite0", 'weights="imagenet"', lambda: pad_as_tensorflow(public()), lite, "TensorFlow's"),
    ]


def existing(path: Path) -> Path:
    """Return ``path``, or raise FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(path)
    return path


def squeezenet(path: Path, last_padding: int = 0) -> Network:
    """SqueezeNet from arrays under torchvision's names; the first convolution is turned from BGR to RGB."""
    model = create_model(path.name[: len("squeezenet1_0")], image_size=227, weights=path).eval()
    first, last = model.get_submodule("features.0"), model.get_submodule(model.last_layer)
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    first.weight.data = first.weight.data.flip(1)
    last.padding = (last_padding, last_padding)
    return model


def mobilenet_v2(path: Path) -> Network:
    """MobileNetV2 from 8-bit weights whose BatchNorm is folded into convolutions and biases.

    Each becomes its scale times its whole numbers. BatchNorm is set to add the bias and nothing else, and the class
    "background", the first of 1001, is dropped.
    """
    names = iter(create_model("mobilenet_v2").state_dict())
    state: dict[str, np.ndarray] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for layer in sorted(name.removesuffix(".q") for name in arrays.files if name.endswith(".q")):
            whole, scale, bias = (arrays[f"{layer}.{part}"] for part in ("q", "scale", "bias"))
            weight = whole.astype(np.float32) * scale.reshape(-1, *[1] * (whole.ndim - 1))
            name = next(names)
            if name.startswith("classifier"):
                state |= {name: weight[1:, :, 0, 0], next(names): bias[1:]}
                continue
            one, zero = np.ones_like(bias), np.zeros_like(bias)
            state[name] = weight
            for part, value in (("weight", one), ("bias", bias), ("running_mean", zero), ("running_var", one - 1e-5)):
                name = next(names)
                assert name.endswith(part), (name, part)
                state[name] = value
            next(names)  # the number of batches
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "mobilenet_v2.npz", **state)
        return create_model("mobilenet_v2", weights=Path(folder) / "mobilenet_v2.npz").eval()


def pad_as_tensorflow(model: Layers) -> Layers:
    """Let convolutions of stride 2 pad as TensorFlow's "SAME" does: more at the right and at the bottom.

    Weights from TensorFlow were trained so; torch pads both sides alike, which moves what each output sees by a pixel.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.padding = (0, 0)
            module.register_forward_pre_hook(_pad_same)
    return model


def _pad_same(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    assert isinstance(module, nn.Conv2d)
    (x,) = inputs
    padding: list[int] = []
    for side, kernel, stride in zip(reversed(x.shape[2:]), reversed(module.kernel_size), (2, 2), strict=True):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding)


def photos(folder: Path) -> tuple[list[Path], Tensor]:
    """The labelled photos: paths, and their positions among the 1000 classes."""
    with open(folder / "photos" / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [folder / "photos" / row["file"] for row in rows], torch.tensor([int(row["imagenet_index"]) for row in rows])


def validation_images(folder: Path) -> tuple[list[Image.Image], Tensor]:
    """The validation images of 224x224 pixels, cut out already: pictures and labels."""
    with np.load(folder / "imagenet_val_25.npz", allow_pickle=False) as arrays:
        return [Image.fromarray(pixels) for pixels in arrays["X"]], torch.from_numpy(arrays["y"]).long()


def score(model: nn.Module, batches: Iterator[Tensor], labels: Tensor) -> Score:
    """Run the network on every batch and count."""
    with torch.inference_mode():
        best = torch.cat([model(images).topk(5).indices for images in batches])
    right = best == labels[:, None]
    return Score(len(labels), int(right[:, 0].sum()), int(right.any(1).sum()), best[:, 0].tolist())


def in_batches(preprocess: Preprocess, images: list[Path] | list[Image.Image], size: int = 16) -> Iterator[Tensor]:
    """Yield normalised images, ``size`` at a time."""
    for start in range(0, len(images), size):
        yield preprocess(images[start : start + size])


def measure(case: Case, folder: Path) -> tuple[Score, Score]:
    """Score a case on the photos, and on the validation images."""
    model = case.build()
    files, labels = photos(folder)
    first = score(model, in_batches(case.preprocess, files), labels)
    whole = Preprocess.from_dict(case.preprocess.to_dict() | {"crop_fraction": 1.0})
    pictures, labels = validation_images(folder)
    return first, score(model, in_batches(whole, pictures), labels)


def page(rows: list[tuple[Case, Score, Score]], absent: list[str], folder: Path, seconds: float) -> str:
    """The page of results."""
    n, m = (rows[0][1].n, rows[0][2].n) if rows else (0, 0)
    lines = [
        "# Public ImageNet weights on labelled photos",
        "",
        f"Percent right, with 95 % intervals (Wilson 1927): top-1 and top-5 of {n} photos of {n} ImageNet classes, and "
        f"of {m} ImageNet validation images. Written by `benchmarks/imagenet_photos.py`.",
        "",
        f"| network | weights | padding | photos (n={n}): top-1 | top-5 "
        f"| validation (n={m}): top-1 | top-5 | reported |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for case, first, second in rows:
        error = models.get(case.name).facts.imagenet_top1_error
        reported = "–" if error is None else f"{100 - error:.1f}"
        cells = [f"`{case.name}`", case.weights, case.padding, *first.cells(), *second.cells(), reported]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "What differs from the weights' own setting:",
        "",
        "- With so few images the intervals are wide: the table shows that weights, names and preprocessing are right, "
        "and does not rank networks. The last column is the top-1 accuracy that the paper reports, on 50,000 images.",
        "- The photos are of well-known classes, mostly easy, and may be among those that the networks were trained "
        "on. Their short side is resized to 256 pixels, of which the middle 227 are cut out for SqueezeNet and 224 for "
        "the others. The validation images are cut to 224x224 already: they are used whole, enlarged to 227x227 "
        "for SqueezeNet.",
        "- SqueezeNet: Caffe's weights take BGR in 0..255 minus the mean; the first convolution is turned to RGB, and "
        "`Preprocess` scales. SqueezeNet 1.0 pads its last convolution by 1, as its authors do and torchvision does "
        "not.",
        "- MobileNetV2: 8-bit weights are multiplied out; activations stay floats, where the original rounds them to 8 "
        "bits. The 1001st class, background, is dropped.",
        "- MobileNetV2 and EfficientNet-Lite0 were trained with TensorFlow's padding, which at stride 2 adds more at "
        "the bottom and the right; the zoo pads both sides alike, as torchvision and timm do. Both are measured.",
    ]
    lines += [f"- Left out: {text}." for text in absent]
    lite = [(first, case) for case, first, _ in rows if case.name == "efficientnet_lite0"]
    if lite:
        lines += ["", *misnamed(lite[0][0], folder)]
    lines += [
        "",
        f"Machine: {processor_name()}, {torch.get_num_threads()} thread(s), fp32, {seconds:.0f} s in all. Versions: "
        f"cnnlab {cnnlab.__version__}, torch {torch.__version__}, Python {platform.python_version()}. "
        f"{datetime.now(UTC).date().isoformat()}.",
    ]
    return "\n".join(lines) + "\n"


def misnamed(result: Score, folder: Path) -> list[str]:
    """What `cnnlab predict efficientnet_lite0` calls the photos that it gets wrong."""
    names = imagenet_classes()
    files, labels = photos(folder)
    wrong = [
        f"{names[label]} ({names[found]})"
        for label, found in zip(labels.tolist(), result.first, strict=True)
        if label != found
    ]
    return [
        f"`cnnlab predict efficientnet_lite0` names {result.top1} of the {len(files)} photos right. The others, with "
        f"what it calls them in brackets: {', '.join(wrong) or 'none'}."
    ]


def main(arguments: list[str] | None = None) -> list[tuple[Case, Score, Score]]:
    """Measure every network whose weights are there, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder that holds imagenet/")
    parser.add_argument("--models", help="only these networks, separated by commas")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for imagenet_photos.md")
    options = parser.parse_args(arguments)
    folder = options.data_dir / "imagenet"
    if not (folder / "photos" / "labels.csv").is_file():
        parser.error(f"there is no {folder / 'photos' / 'labels.csv'}")
    wanted = options.models.split(",") if options.models else None
    started = time.perf_counter()
    rows: list[tuple[Case, Score, Score]] = []
    absent: list[str] = []
    for case in cases(folder):
        if wanted is not None and case.name not in wanted:
            continue
        try:
            rows.append((case, *measure(case, folder)))
        except (FileNotFoundError, WeightsNotFoundError) as error:
            absent.append(f"{case.name} (its weights are not on this machine)")
            print(f"{case.name} left out: {error}", flush=True)
            continue
        print(f"{case.name}, padding {case.padding}: {rows[-1][1].cells()}, {rows[-1][2].cells()}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "imagenet_photos.md").write_text(
        page(rows, list(dict.fromkeys(absent)), folder, time.perf_counter() - started), encoding="utf-8"
    )
    return rows


if __name__ == "__main__":
    main()
