"""A frame in, its faces with their expressions out."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from fer_tf.card import IMAGE_SIZE
from fer_tf.emotions import CLASSES
from realtime.capture import Frame


@dataclass(frozen=True)
class Face:
    """One face of a frame and the expression that it shows."""

    box: tuple[int, int, int, int]
    """Left, top, width and height in pixels of the frame."""
    probabilities: np.ndarray
    """float32 [7], in the order of `fer_tf.emotions.CLASSES`."""

    @property
    def label(self) -> str:
        """Name of the most probable expression."""
        return CLASSES[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Probability of that expression, 0 to 1."""
        return float(self.probabilities.max())


class Pipeline:
    """Finds the faces of a frame and names their expressions, all faces in one call of the recognizer.

    Example:
        >>> pipeline = Pipeline(FaceDetector(), Recognizer(weights.DEFAULT_MODEL))
        >>> [face.label for frame in open_source("demo") for face in pipeline(frame)]

    Args:
        detector: uint8 [H, W, 3] BGR to int [N, 4] boxes (left, top, width, height).
        recognizer: uint8 [N, 48, 48] gray faces to float32 [N, 7] probabilities.
    """

    def __init__(
        self,
        detector: Callable[[np.ndarray], np.ndarray],
        recognizer: Callable[[np.ndarray], np.ndarray],
    ):
        self.detector = detector
        self.recognizer = recognizer

    def __call__(self, frame: Frame) -> list[Face]:
        """Returns the faces of `frame` from left to right."""
        boxes = sorted(tuple(map(int, box)) for box in self.detector(frame.image))
        if not boxes:
            return []
        crops = np.stack([crop_face(frame.image, box) for box in boxes])
        return [Face(*pair) for pair in zip(boxes, self.recognizer(crops), strict=True)]


def crop_face(image: np.ndarray, box: tuple[int, int, int, int], *, size: int = IMAGE_SIZE) -> np.ndarray:
    """Cuts a face out of a frame: the square as high as the box and around its centre, never stretched.

    What of the square lies outside the frame repeats the frame's border.

    Args:
        image: uint8 [H, W, 3], BGR.
        box: Left, top, width and height in pixels.
        size: Side of the result in pixels.

    Returns:
        uint8 [size, size], gray.
    """
    left, top, width, height = box
    side = max(1, height)
    rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(side) + left + (width - side) // 2, 0, image.shape[1] - 1)
    inside = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    gray = cv2.cvtColor(inside, cv2.COLOR_BGR2GRAY)
    square = gray[np.ix_(rows - rows[0], columns - columns[0])]
    interpolation = cv2.INTER_AREA if side >= size else cv2.INTER_CUBIC
    return cv2.resize(square, (size, size), interpolation=interpolation)
