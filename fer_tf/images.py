"""Decodes and crops images."""

import io
from importlib import import_module
from importlib.util import find_spec

import cv2
import numpy as np

from fer_tf.errors import UserError
from fer_tf.image_headers import AVIF, HEIC, heif_turns, is_plausible, kind, pnm_maximum, size
from fer_tf.limits import limit
from fer_tf.quiet import muted_stderr

READABLE_SUFFIXES = (
    ".avif",
    ".bmp",
    ".dib",
    ".gif",
    ".jfif",
    ".jp2",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".pam",
    ".pbm",
    ".pgm",
    ".png",
    ".pnm",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
"""Suffixes of the files in a folder that are read as images."""

HEIC_SUFFIXES = (".heic", ".heif", ".hif")
"""Suffixes of images that are read if the extra `heic` is installed."""

HEIC_PROBLEM = "HEIC needs pillow-heif, which is not installed; run: pip install pillow-heif, or convert it to JPEG"


def check_pixels(width: int, height: int) -> None:
    """Raises `UserError` if an image of this size has more pixels than `FER_TF_MAX_PIXELS` allows."""
    if width * height > (most := limit("PIXELS")):
        raise UserError(
            f"an image of {width} x {height} pixels; at most {most} pixels are read; make it smaller, or set "
            f"FER_TF_MAX_PIXELS={width * height}"
        )


def reads_heic() -> bool:
    """Returns whether the extra `heic` is installed."""
    return find_spec("pillow_heif") is not None


def middle_square(image: np.ndarray) -> np.ndarray:
    """Returns the largest square in the middle of an image, [H, W] or [H, W, C], as a view."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def decode(content: bytes, flag: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """Decodes the content of an image file.

    A photograph is rotated as its EXIF data says, except with `IMREAD_UNCHANGED`. This takes the content and not a
    path because on Windows OpenCV cannot open every path.

    Args:
        content: The bytes of the file.
        flag: One of OpenCV's `IMREAD_…`.

    Returns:
        What `cv2.imread` returns: uint8 [H, W, 3], BGR, for `cv2.IMREAD_COLOR`; of several pages or frames the first.
        None if it cannot be decoded.

    Raises:
        UserError: if it has more pixels than `FER_TF_MAX_PIXELS` allows, or if it is HEIC without the extra `heic`.
    """
    form, sides = kind(content), size(content)
    if form == HEIC and not reads_heic():
        raise UserError(HEIC_PROBLEM)
    if form is None or sides is None:
        return None
    check_pixels(*sides)
    if not is_plausible(content):
        return None
    if (white := pnm_maximum(content)) not in (255, 65535):  # OpenCV takes it for one of these
        raise UserError(f"a PGM or PPM whose white is {white}; expected 255 or 65535, so save it as PNG")
    if form == HEIC:
        return _decode_heic(content, flag)
    # OpenCV turns an AVIF by its EXIF data, which does not count there.
    ignored = cv2.IMREAD_IGNORE_ORIENTATION if form == AVIF and flag != cv2.IMREAD_UNCHANGED else 0
    try:
        with muted_stderr():
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flag | ignored)
    except cv2.error:
        return None
    return _turned(image, heif_turns(content)) if ignored and image is not None else image


def _turned(image: np.ndarray, turns: list[tuple[str, int]]) -> np.ndarray:
    """Returns an image turned and mirrored as `heif_turns` says."""
    for name, value in turns:
        image = np.rot90(image, value) if name == "irot" else np.flip(image, value)
    return np.ascontiguousarray(image)


def _decode_heic(content: bytes, flag: int) -> np.ndarray | None:
    pillow_heif = import_module("pillow_heif")
    try:
        picture = pillow_heif.open_heif(io.BytesIO(content), bgr_mode=True)  # libheif turns it upright
        image = np.asarray(picture)
    except (EOFError, LookupError, OSError, RuntimeError, SyntaxError, ValueError):
        return None
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    image = np.ascontiguousarray(image[..., :3])
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if flag == cv2.IMREAD_GRAYSCALE else image
