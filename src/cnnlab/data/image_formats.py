"""The endings of image files; HEIC photos count where the package that reads them is installed."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

#: Endings of the formats that Pillow reads.
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .tga .avif .jp2".split()  # noqa: SIM905
)

#: Endings of the photos of recent phones; Pillow reads them with the help of the package pillow-heif.
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})

HEIC_ADVICE = 'HEIC photos need a package: pip install "cnnlab[heic]"'


@functools.cache
def register_heic() -> bool:
    """Teach Pillow to read HEIC photos, if pillow-heif is installed; return whether it is."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True


def is_image_name(name: str) -> bool:
    """Return whether a file of this name counts as an image that can be read here."""
    suffix = Path(name).suffix.lower()
    return suffix in IMAGE_SUFFIXES or (suffix in HEIC_SUFFIXES and register_heic())
