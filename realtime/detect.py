"""Finds faces in a frame."""

from pathlib import Path

import cv2
import numpy as np


class FaceDetector:
    """OpenCV's Haar cascade for frontal faces. Not for use by several threads at once.

    A frame is searched at a reduced size, since the cost grows with its area: at 400 pixels all but distant
    faces are found, in some tens of milliseconds.

    Example:
        >>> detector = FaceDetector()
        >>> detector(np.zeros((480, 640, 3), np.uint8)).shape
        (0, 4)

    Args:
        scale: Step between the face sizes that are searched, above 1; smaller finds more and takes longer.
        neighbours: How many overlapping hits make a face; more of them gives fewer false faces.
        smallest: Height of the smallest face, as a share of the frame's shorter side.
        longest_side: Frames are searched at a size of at most this many pixels.
    """

    def __init__(self, *, scale: float = 1.2, neighbours: int = 5, smallest: float = 0.1, longest_side: int = 400):
        self.scale = scale
        self.neighbours = neighbours
        self.smallest = smallest
        self.longest_side = longest_side
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns the boxes of the faces.

        Args:
            image: uint8 [H, W, 3], BGR.

        Returns:
            int32 [N, 4]: left, top, width and height in pixels of `image`.
        """
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        reduction = min(1.0, self.longest_side / max(gray.shape))
        if reduction < 1:
            size = [max(1, round(side * reduction)) for side in gray.shape[::-1]]
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        smallest = max(1, round(self.smallest * min(gray.shape)))
        boxes = self._cascade.detectMultiScale(gray, self.scale, self.neighbours, minSize=(smallest, smallest))
        return np.rint(np.reshape(boxes, (-1, 4)) / reduction).astype(np.int32)
