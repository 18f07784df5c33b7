"""The faces of a picture as the models see them, the largest first."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fer_tf.realtime.detect import Detections
from fer_tf.realtime.face import Box
from fer_tf.realtime.pipeline import cut_out
from fer_tf.realtime.track import Tracker


class CutOut(NamedTuple):
    """A face that was cut out of a picture."""

    box: Box
    """Left, top, width and height in pixels of the picture; it may extend beyond it."""
    crop: np.ndarray
    """uint8 [48, 48], gray: what a `Pipeline` gives to its models."""


def faces_by_size(image: np.ndarray, find: Callable[[np.ndarray], Detections]) -> list[CutOut]:
    """Returns the faces of a picture, cut out as `Pipeline.still` does it, the largest box first.

    Args:
        image: uint8 [H, W, 3], BGR.
        find: Finds the faces of such an image.
    """
    faces = [CutOut(*cut_out(image, track)) for track in Tracker(find)(image, 0.0)]
    return sorted(faces, key=lambda face: -face.box[2] * face.box[3])
