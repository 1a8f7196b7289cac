"""Turn the authors' SqueezeNet 1.1 for Caffe into a model folder of cnnlab.

::

    python benchmarks/caffe_squeezenet.py DIR/imagenet/squeezenet1_1_caffe_bgr.npz squeezenet1_1
    cnnlab predict squeezenet1_1 photo.jpg
    cnnlab train --recipe squeezenet-cifar10 weights=squeezenet1_1

The file holds arrays under torchvision's parameter names, trained on BGR pixels of 0..255 minus (104, 117, 123). The
first convolution is turned to RGB, and ``model.json`` says how images are normalised, so that neither a recipe nor a
prediction has to.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cnnlab.data import Preprocess
from cnnlab.training.checkpoint import ModelFile
from cnnlab.zoo import create_model, imagenet_classes

# Caffe's means are of BGR pixels in 0..255; Preprocess takes those of RGB pixels in 0..1.
PREPROCESS = Preprocess(227, 3, (123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3, "crop", 227 / 256)


def convert(source: Path, folder: Path) -> None:
    """Write the weights in ``source`` for RGB images into ``folder``, as ``model.safetensors`` and ``model.json``."""
    model = create_model("squeezenet1_1", image_size=PREPROCESS.size, weights=source)
    state = model.state_dict()
    state["features.0.weight"] = state["features.0.weight"].flip(1)
    folder.mkdir(parents=True, exist_ok=True)
    ModelFile(model.arch, list(imagenet_classes()), PREPROCESS, {}).save(folder, state)


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="squeezenet1_1_caffe_bgr.npz")
    parser.add_argument("folder", type=Path, help="folder to write")
    parsed = parser.parse_args(arguments)
    convert(parsed.source, parsed.folder)
    print(f"{parsed.folder}: SqueezeNet 1.1 for RGB images")


if __name__ == "__main__":
    main()
