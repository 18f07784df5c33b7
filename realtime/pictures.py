"""Reads pictures, in each form that users have them."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

from fer_tf.errors import UserError
from fer_tf.image_headers import TIFF, kind, pages
from fer_tf.images import check_pixels, decode
from fer_tf.limits import limit
from fer_tf.realtime.capture import SourceError, to_bgr
from fer_tf.text import printable

if TYPE_CHECKING:
    from PIL import Image

Picture: TypeAlias = "np.ndarray | bytes | str | os.PathLike[str] | Image.Image"
"""An image as an array, the content of an image file, its path, or an image of Pillow."""

_BYTES_PER_PIXEL = 8
"""Largest size of a picture's file: that of 16 bits and four channels without compression."""


def to_image(picture: Picture) -> np.ndarray:
    """Returns a picture as uint8 [H, W, 3], BGR.

    Args:
        picture: An array as `to_bgr` takes it, its colors in OpenCV's order (BGR). Or an image of Pillow, the path of
            an image file, or its content; these know the order of their colors, and are turned upright.

    Raises:
        UserError: if it is none of these, is empty, too large, or cannot be read.
    """
    if isinstance(picture, str | os.PathLike):
        return read_image(os.fspath(picture))
    if isinstance(picture, bytes | bytearray | memoryview):
        return read_image("picture in memory", bytes(picture))
    pillow = sys.modules.get("PIL.Image")  # whoever has such an image has imported it
    if pillow and isinstance(picture, pillow.Image):
        return _from_pillow(picture)
    if picture is None or (isinstance(picture, np.ndarray) and not picture.size):
        raise UserError("there is no image; cv2.imread returns None for files that it cannot read")
    if not isinstance(picture, np.ndarray):
        kind_of = type(picture).__name__
        raise UserError(f"expected a picture as array, Pillow image, path or bytes; found {kind_of}")
    return to_bgr(picture)


def read_image(path: str, content: bytes | None = None) -> np.ndarray:
    """Returns an image file as uint8 [H, W, 3], BGR, upright. Of several pages or frames it is the first, with a note.

    Args:
        path: The file.
        content: What is in it, if that was read already.

    Raises:
        SourceError: if there is no such file, if it cannot be decoded completely, or if it is too large.
    """
    name = printable(path)
    try:
        content = _content(path) if content is None else content
        image = None if _is_cut_off(content) else decode(content)
    except UserError as error:
        raise SourceError(f"{name}: {error}") from None
    if image is None:
        raise SourceError(f"{name}: is not a readable picture; it may be cut off or damaged")
    if (count := pages(content)) > 1:
        parts = "pages" if kind(content) == TIFF else "frames"
        print(f"note: {name}: only the first of its {parts} is read ({parts}: {count})", file=sys.stderr)
    return image


def _content(path: str) -> bytes:
    if "\0" in path or not Path(path).is_file():
        raise UserError("no such picture")
    if not os.access(path, os.R_OK):
        raise UserError("may not be read; change its permissions")
    length, most = os.path.getsize(path), _BYTES_PER_PIXEL * limit("PIXELS")
    if length > most:
        raise UserError(f"a file of {length} bytes is too large for a picture; at most {most} are read")
    return Path(path).read_bytes()


def _is_cut_off(data: bytes) -> bool:
    """Returns whether the data is a truncated JPEG, which OpenCV would fill up with gray instead of failing."""
    if not data.startswith(b"\xff\xd8"):
        return False
    place = 2
    # Segments before the image data may contain a thumbnail, which has an end marker of its own.
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        filled = data[place + 1 : place + 2] == b"\xff"  # fill bytes before a marker
        place += 1 if filled else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return b"\xff\xd9" not in data[place:]


def _from_pillow(image: "Image.Image") -> np.ndarray:
    """Returns an image of Pillow as `to_image` does. Transparency is dropped, as with files."""
    from PIL import ImageOps

    check_pixels(*image.size)
    if not all(image.size):
        raise UserError("there is no image; this one has no pixels")
    if image.mode in ("F", "I"):
        raise UserError(f"a Pillow image of mode {image.mode} has no fixed range; convert it to mode L or RGB")
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):  # which Pillow would clip, and not scale
            return to_bgr(np.asarray(upright).astype(np.uint16))
        if upright.mode in ("La", "RGBa"):
            upright = upright.convert(upright.mode.upper())
        return cv2.cvtColor(np.asarray(upright.convert("RGB")), cv2.COLOR_RGB2BGR)
    except Exception as error:  # Pillow's decoders raise of every kind
        raise UserError(f"the Pillow image cannot be read ({error}); it may be cut off or damaged") from None
