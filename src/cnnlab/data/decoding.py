"""From a file, picture, array or tensor to 8-bit pixels: the one decoding of training, evaluation and prediction."""

from __future__ import annotations

import functools
import importlib.util
import io
import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from cnnlab.errors import DataError
from cnnlab.files import kind_of_file

#: Endings of the formats that Pillow reads.
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .tga .avif .jp2".split()  # noqa: SIM905
)

#: Endings of the photos of recent phones; Pillow reads them with the help of the package pillow-heif.
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})

HEIC_ADVICE = 'HEIC photos need a package: pip install "cnnlab[heic]"'

#: What :meth:`Preprocess.pixels` takes: a path, a PIL image, an array (H, W) or (H, W, C), a tensor (H, W) or
#: (C, H, W).
ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray | Tensor"

_ORIENTATION_TAG = 0x0112
# EXIF 2.32, table 6: what has to be done to show an image with this orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Pillow's modes without colour; palettes count as colour.
GREY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


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


def open_image(path: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """Open an image file with Pillow: HEIC too where pillow-heif is installed, huge photos without Pillow's warning.

    Pillow still refuses more than twice ``Image.MAX_IMAGE_PIXELS`` (179 million pixels).
    """
    register_heic()
    # Checked at each call: the caller may have changed the filters since.
    if not any(entry[0] == "ignore" and entry[2] is Image.DecompressionBombWarning for entry in warnings.filters):
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    return Image.open(path)


class ImageBytes(io.BytesIO):
    """The bytes of an image file that lies within another file, with the name that messages give it."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def decode(source: ImageLike | ImageBytes, channels: int, *, least: int | None = None, depth: int = 16) -> Image.Image:
    """Return a picture upright, with 8 bits in ``channels`` channels: mode ``L`` (1) or ``RGB`` (3).

    Args:
        source: path, bytes of a file, picture, array or tensor, as :meth:`Preprocess.pixels` takes it; a picture that
            was given is left as it is.
        channels: 1 or 3.
        least: a JPEG file may be decoded at 1/2, 1/4 or 1/8 of its size as long as both sides keep this many pixels;
            much faster for photos of many megapixels, and not bit-identical. ``None`` decodes exactly.
        depth: number of bits that grey pixels stored in 16 bits use; see :attr:`Preprocess.depth`.

    Raises:
        DataError: it cannot be read or is no picture; the message has the path.
    """
    if isinstance(source, str | os.PathLike | ImageBytes):
        inner = isinstance(source, ImageBytes)
        path = source.name if isinstance(source, ImageBytes) else os.fspath(source)
        try:
            with open_image(source) as image:
                if least is not None:
                    image.draft(None, (least, least))
                return to_channels(upright(image), channels, depth)
        except Exception as error:
            # Pillow raises OSError, SyntaxError, ValueError, struct.error, ... for broken files.
            advice = "Remove or replace it; `cnnlab doctor` on the data set lists every unreadable image."
            if isinstance(error, FileNotFoundError):
                advice = "Check the path."
            why = reason(error, None if inner else path)
            raise DataError(f"Cannot read the image {path}: {why}. {advice}") from error
    if isinstance(source, Image.Image):
        try:
            return to_channels(upright(source), channels, depth)
        except (OSError, SyntaxError, ValueError) as error:  # truncated, or a mode that Pillow cannot convert
            name = getattr(source, "filename", "") or "given"
            raise DataError(f"Cannot read the image {name}: {reason(error)}. Open it again or replace it.") from error
    if isinstance(source, Tensor):
        array = source.detach().cpu().numpy()
        if array.ndim == 3:
            if array.shape[0] > 4:
                raise DataError(f"A tensor of shape {array.shape} is no image; expected (H, W) or (C, H, W).")
            array = array.transpose(1, 2, 0)
        return to_channels(_from_array(array), channels)
    if isinstance(source, np.ndarray):
        return to_channels(_from_array(source), channels)
    raise DataError(
        f"A {type(source).__name__} is no image; give a path, a PIL image, an array (H, W, C) or a tensor (C, H, W)."
    )


def reason(error: BaseException, path: str | os.PathLike[str] | None = None) -> str:
    """Say in a few words why Pillow could not read a file, and what the file is where it is no image.

    Args:
        error: exception that Pillow raised.
        path: the file.
    """
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        return f"it has more than {limit:.0f} million pixels, or claims to; save it smaller"
    if isinstance(error, UnidentifiedImageError):
        kind = ""
        with suppress(OSError):
            kind = "" if path is None else kind_of_file(Path(path))
        if kind == "a HEIC photo":
            return f"it is a HEIC photo. {HEIC_ADVICE}"
        if kind.endswith(" image"):
            return f"it begins like {kind} but is damaged, or Pillow cannot read this kind"
        return f"it is {kind}, not an image" if kind else "it is not an image that Pillow knows"
    return str(error).rstrip(".") or type(error).__name__


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 when there is none or it is broken."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # broken EXIF data does not make the pixels unreadable
        return 1
    return value if value in _UPRIGHT else 1


def upright(image: Image.Image) -> Image.Image:
    """Turn a photo upright as its EXIF orientation says; a photo without one is returned unchanged."""
    image.load()  # first: Pillow turns TIFF files by itself while loading, and then takes the tag away
    turn = _UPRIGHT.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def to_channels(image: Image.Image, channels: int, depth: int = 16) -> Image.Image:
    """Make 8-bit grey (``channels`` 1) or RGB (3) of any Pillow mode.

    Transparency is laid on white. Grey of 16 bits is scaled by 1/257, or so that the largest number of ``depth`` bits
    becomes white; see :func:`to_bytes` for integers of 32 bits and floats. RGB becomes grey by the luma of ITU-R 601-2,
    as in Pillow. Colour of 16 bits arrives here as 8: Pillow keeps the high byte of each number and drops the low one.
    """
    mode = "L" if channels == 1 else "RGB"
    if depth < 16 and is_deep(image.mode):
        scaled = np.asarray(image, dtype=np.float64) * (255 / (2**depth - 1))
        image = Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))
    elif image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().astype(np.uint8))
    elif image.mode in ("I", "F"):
        image = Image.fromarray(to_bytes(np.asarray(image), stretch=True))
    elif image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    elif image.mode == "LAB":  # Pillow converts it to RGB only
        image = image.convert("RGB")
    if image.mode == mode:
        image.load()
        return image
    return image.convert(mode)


def is_deep(mode: str) -> bool:
    """Return whether a Pillow mode stores grey in more than 8 bits, as integers."""
    return mode == "I" or mode.startswith("I;16")


def to_bytes(values: np.ndarray, *, stretch: bool = False) -> np.ndarray:
    """Turn the pixel values of any number type into uint8, rounding half to even.

    uint8 stays. uint16 is scaled by 1/257 (65535 becomes 255). bool becomes 0 and 255. Floats within 0..1 are scaled
    by 255. Other integers and floats within 0..255 keep their value, integers within 0..65535 count as 16 bits.

    Args:
        values: array of any shape.
        stretch: scale values out of these ranges from their minimum..maximum to 0..255 (scientific TIFF files);
            refuse them otherwise.

    Raises:
        DataError: values out of range, not finite, or not numbers.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise DataError(f"An array of {values.dtype} is no image; expected uint8, or floats in 0..1.")
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not np.isfinite([low, high]).all():
        raise DataError("The image holds NaN or infinite values; expected uint8, or floats in 0..1.")
    scaled, whole = values.astype(np.float64), values.dtype.kind in "iu"
    if values.dtype == np.uint16 or (whole and low >= 0 and 255 < high <= 65535):
        scaled /= 257
    elif low >= 0 and high <= 1 and not whole:
        scaled *= 255
    elif low < 0 or high > 255:
        if not stretch:
            raise DataError(
                f"The image has values from {low:g} to {high:g}; expected uint8 (0..255), uint16, or floats in 0..1. "
                "Give the picture before normalisation."
            )
        scaled = (scaled - low) * (255 / ((high - low) or 1))  # a blank frame is black
    return scaled.round().astype(np.uint8)


def _from_array(array: np.ndarray) -> Image.Image:
    """Return (H, W) or (H, W, 1..4) as a picture of mode L, LA, RGB or RGBA."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)) or 0 in array.shape:
        raise DataError(
            f"An array of shape {array.shape} is no image; expected (H, W) or (H, W, C) with 1 to 4 channels. "
            "Transpose channels-first arrays, or give them as tensors (C, H, W)."
        )
    return Image.fromarray(np.ascontiguousarray(to_bytes(array)))


def to_tensor(image: Image.Image) -> Tensor:
    """Return a picture of mode ``L`` or ``RGB`` as uint8 (C, H, W)."""
    array = np.array(image)  # a copy: the memory of the picture is read-only
    return torch.from_numpy(array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))
