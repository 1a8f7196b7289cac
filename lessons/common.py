"""What every lesson needs: its options, its images, a place for its numbers and figures."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib import get_data_path
from matplotlib.figure import Figure
from PIL import Image

import cnnlab
from cnnlab.data import ArraySplit, ImageData, course_split
from cnnlab.figures import save, save_animation

T = TypeVar("T")


class Lesson:
    """The frame of a lesson: options from the command line, a seed, results in a folder.

    Args:
        name: name of the lesson, which is that of its file.
        arguments: command-line arguments that replace those of the process.
        files: options of this lesson alone: their names, and what their help says.

    Attributes:
        files: values of the options of this lesson alone; ``None`` where they are not given.
        quick: whether the lesson runs at small scale, to be tried in seconds; the numbers are those of toys then.
        seed: seed of NumPy's global random stream, which the layers draw from, and of ``rng``.
        out: folder for figures and ``numbers.json``.
    """

    def __init__(self, name: str, arguments: Sequence[str] | None = None, **files: str) -> None:
        parser = argparse.ArgumentParser(
            prog=f"python lessons/{name}.py", description=f"cnnlab, lesson {name.replace('_', ' ')}"
        )
        parser.add_argument("--quick", action="store_true", help="small scale: seconds, with the numbers of a toy")
        parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default 0)")
        parser.add_argument("--data", choices=["cifar10", "mnist5k"], default="cifar10", help="the images")
        parser.add_argument("--data-dir", type=Path, help="folder where CIFAR-10 is looked for first")
        parser.add_argument("--out", type=Path, help="folder for results (default: lessons_out/NAME)")
        for option, text in files.items():
            parser.add_argument(f"--{option}", help=text)
        if arguments is None and "ipykernel" in sys.modules:
            # A notebook's command line is Jupyter's; its first cell says the options.
            arguments = split_options(os.environ.get("CNNLAB_LESSON_OPTIONS", ""))
        options = parser.parse_args(arguments)
        self.name, self.quick, self.seed = name, options.quick, options.seed
        self.out = options.out or Path("lessons_out") / name
        self.files: dict[str, str | None] = {option: getattr(options, option) for option in files}
        self._data, self._data_dir = options.data, options.data_dir
        self._results: dict[str, Any] = {"lesson": name, "quick": self.quick, "seed": self.seed, "data": self._data}
        self._results |= {"numbers": [], "figures": []}
        self.rng = np.random.default_rng(self.seed)
        np.random.seed(self.seed)

    def scale(self, full: T, quick: T) -> T:
        """Return ``full``, or ``quick`` in a quick run."""
        return quick if self.quick else full

    def images(self, training: int, validation: int, test: int, **options: Any) -> dict[str, Any]:
        """Return images in the course's split (:func:`cnnlab.data.course_split`), with the names of the ``classes``.

        MNIST's digits are laid into 3x32x32 pixels, so that they fit wherever CIFAR-10 does.
        """
        data = cnnlab.load_data(self._data, data_dir=self._data_dir)
        if self._data == "mnist5k":
            data = _as_cifar(data)
        return {**course_split(data, training, validation, test, **options), "classes": data.classes}

    def number(self, name: str, value: float, goal: float | None = None, below: bool = False) -> None:
        """Print a result and keep it in ``numbers.json``.

        Args:
            name: name of the number.
            value: the number; a share of 0..1 for accuracies.
            goal: value that should be reached at full scale.
            below: whether smaller values are better.
        """
        reached = None if goal is None else bool(value <= goal if below else value >= goal)
        sign = "at most" if below else "at least"
        aim = "" if goal is None else f" (full scale: {sign} {goal:g})"
        print(f"{name}: {value:.4g}{aim}")
        number = {"name": name, "value": float(value), "goal": goal, "below": below, "reached": reached}
        self._results["numbers"].append(number)
        self._write()

    def figure(self, figure: Figure, name: str, caption: str) -> None:
        """Write a figure to ``<out>/<name>.png`` and say what one sees on it."""
        self._keep(save(figure, self.out / f"{name}.png"), caption)

    def animation(self, frames: Sequence[Figure], name: str, caption: str, seconds: float = 0.5) -> None:
        """Write figures of one size to ``<out>/<name>.gif``, each shown for some seconds, and say what one sees."""
        self.out.mkdir(parents=True, exist_ok=True)
        self._keep(save_animation(frames, self.out / f"{name}.gif", seconds), caption)

    def _keep(self, path: Path, caption: str) -> None:
        if "ipykernel" in sys.modules:
            from IPython.display import Image as Displayed
            from IPython.display import display

            display(Displayed(data=path.read_bytes(), format=path.suffix[1:]))
        print(f"{path}: {caption}")
        self._results["figures"].append({"file": path.name, "caption": caption})
        self._write()

    def _write(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "numbers.json").write_text(json.dumps(self._results, indent=2) + "\n", encoding="utf-8")


def split_options(options: str, windows: bool = os.name == "nt") -> list[str]:
    """Return options as on a command line; on Windows a backslash stands between folders and quotes nothing."""
    return shlex.split(options.replace("\\", "\\\\") if windows else options)


def read_photos(folder: str | None = None) -> list[Image.Image]:
    """Return the photos of a folder, or three that come with matplotlib and scikit-learn, in RGB and of any size."""
    if folder is not None:
        endings = {".jpg", ".jpeg", ".png"}
        paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in endings)
        if not paths:
            raise SystemExit(f"There are no photos (.jpg, .jpeg, .png) in {folder}; name a folder that holds some.")
        return [_read(path) for path in paths]
    from sklearn.datasets import load_sample_images  # takes a second to load

    portrait = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return [_read(portrait), *(Image.fromarray(pixels) for pixels in load_sample_images().images)]


def _read(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        return photo.convert("RGB")


def _as_cifar(data: ImageData) -> ImageData:
    """Return digits (N, 1, 28, 28) as images (N, 3, 32, 32); they are shuffled, in the same way each time."""

    def changed(split: Any) -> ArraySplit:
        order = np.random.RandomState(0).permutation(len(split))
        pixels = np.pad(split.pixels.numpy()[order], ((0, 0), (0, 0), (2, 2), (2, 2)))
        return ArraySplit(pixels.repeat(3, axis=1), split.labels.numpy()[order])

    return ImageData(data.name, data.classes, changed(data.train), None, changed(data.test), data.source)
