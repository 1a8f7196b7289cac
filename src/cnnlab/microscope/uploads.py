"""Pictures that people bring to an open microscope: they are checked before a pixel is decoded."""

from __future__ import annotations

import io

from PIL import Image

from cnnlab.data.decoding import open_image, reason, upright
from cnnlab.errors import ProtocolError

MOST_PIXELS = 64_000_000  # of one picture
# Formats of Pillow that are decoded inside this process; it would start Ghostscript for an EPS file.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM")


def read_upload(contents: bytes, name: str) -> Image.Image:
    """Return the picture of a file that somebody sent, upright.

    Args:
        contents: bytes of the file.
        name: its name, for messages.

    Raises:
        ProtocolError: the picture has too many pixels (``too_large``), or cannot be read (``bad_request``).
    """
    try:
        with open_image(io.BytesIO(contents)) as image:
            if image.format not in FORMATS:
                raise ProtocolError("bad_request", f"{name} is a {image.format} file. Choose a JPEG or PNG file.")
            if image.width * image.height > MOST_PIXELS:
                raise ProtocolError(
                    "too_large",
                    f"{name} has {image.width} x {image.height} pixels; at most {MOST_PIXELS // 10**6} million are "
                    "taken. Save it smaller.",
                )
            picture = upright(image)
            picture.load()
            return picture
    except Image.DecompressionBombError as error:
        raise ProtocolError("too_large", f"{name} cannot be read: {reason(error)}.") from None
    except ProtocolError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ... for broken files
        raise ProtocolError(
            "bad_request", f"{name} is no picture that can be read: {reason(error)}. Choose a JPEG or PNG file."
        ) from None
