"""Make the weights that come with the package from finished runs.

::

    cnnlab train --recipe resnet20-cifar10 --out runs/resnet20
    python benchmarks/trained_weights.py runs/resnet20      # writes src/cnnlab/zoo/trained/resnet20-cifar10

The weights are rounded to 16 bits and evaluated again, rounded, on the test images; ``model.json`` has that accuracy
and the recipe of the run. A file of more than 2 MB is refused.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cnnlab.runs import open_run
from cnnlab.runs.evaluate import evaluate
from cnnlab.training.checkpoint import ModelFile, half_precision
from cnnlab.zoo import TRAINED_FOLDER

LARGEST = 2_000_000


def ship(path: Path, root: Path = TRAINED_FOLDER, data_dir: str | None = None) -> Path:
    """Write the weights of the run at ``path`` into a folder below ``root``, and return the folder.

    Raises:
        SystemExit: the file is too large.
    """
    run = open_run(path)
    file, weights = run.model_file, half_precision(run.model())
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "run"
        shutil.copytree(path, copy)
        file.save(copy, weights)
        metrics = evaluate(open_run(copy), data_dir=data_dir).metrics
    facts = {"split": run.summary["split"], "n": metrics.n, "accuracy": metrics.accuracy}
    folder = root / f"{run.recipe.model}-{run.recipe.data}"
    facts |= {"before_rounding": run.summary["accuracy"], "recipe": run.recipe.changed()}
    for key in ("data_dir", "name", "about", "reproduces", "measured"):
        facts["recipe"].pop(key, None)
    folder.mkdir(parents=True, exist_ok=True)
    ModelFile(file.arch, file.classes, file.preprocess, facts).save(folder, weights)
    size = (folder / "model.safetensors").stat().st_size
    if size > LARGEST:
        shutil.rmtree(folder)
        raise SystemExit(f"The weights of {path} take {size:,} bytes; at most {LARGEST:,} come with the package.")
    print(
        f"{folder.name}: {size:,} bytes, {facts['accuracy']:.2%} right, before rounding {facts['before_rounding']:.2%}"
    )
    return folder


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    """Make the folders, and return them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data-dir", help="folder where data sets are looked for first")
    parser.add_argument("--out", type=Path, default=TRAINED_FOLDER, help="folder of the weights")
    options = parser.parse_args(arguments)
    return [ship(run, options.out, options.data_dir) for run in options.runs]


if __name__ == "__main__":
    main()
