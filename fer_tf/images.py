"""Decodes and crops images."""

import cv2
import numpy as np

from fer_tf.quiet import muted_stderr

READABLE_SUFFIXES = (
    ".avif",
    ".bmp",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
"""Suffixes of the files in a folder that are read as images."""


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
        What `cv2.imread` returns: uint8 [H, W, 3], BGR, for `cv2.IMREAD_COLOR`. None if OpenCV cannot decode it, or if
        it has more pixels than OpenCV allows (2^30).
    """
    if not content:
        return None
    try:
        with muted_stderr():
            return cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error:
        return None
