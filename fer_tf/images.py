"""Decoding image files."""

import cv2
import numpy as np

from fer_tf.command import muted_stderr


def decode(content: bytes, flag: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """Returns the image in a file's content; a photograph turned as its camera was held, but for `IMREAD_UNCHANGED`.

    The content and not a path, since on Windows OpenCV opens no path with letters beyond the system's own.

    Args:
        content: Of the file.
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
