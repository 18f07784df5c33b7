"""What the readers collect before it becomes splits: images with their labels, and what was wrong with the others."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import cv2
import numpy as np

from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.images import decode, middle_square

USAGES = {"training": "train", "publictest": "public", "privatetest": "private"}
"""The challenge's names of the splits, in lower case, and ours."""


@dataclass
class Reading:
    """What has been read so far, and what had to be done to it."""

    rows: defaultdict[str, list[tuple[int, bytes, str]]] = field(default_factory=lambda: defaultdict(list))
    """Label, pixels and name of each image, by the place that its path or row gives it: `train`, `public`, `private`,
    `validation`, `test`, `test-public`, `test-private`, or empty where nothing says."""
    converted: Counter = field(default_factory=Counter)
    """How many images were converted, by how."""
    broken: list[str] = field(default_factory=list)
    """Names of the images that could not be read, with the reason."""
    others: Counter = field(default_factory=Counter)
    """How many files in class folders are of formats that are not read, by suffix."""
    left_out: Counter = field(default_factory=Counter)
    """How many images are of none of our classes, by what they are."""
    notes: list[str] = field(default_factory=list)
    """What else is to be told."""

    def add(self, place: str, label: int, image: np.ndarray, name: str) -> None:
        """Adds an image, uint8 [48, 48]."""
        self.rows[place].append((label, image.tobytes(), name))

    def skip(self, name: str, reason: str) -> None:
        """Notes that an image is broken."""
        self.broken.append(f"{_escaped(name)} ({_escaped(reason)})")

    def add_file(
        self, place: str, label: int, content: bytes, name: str, box: tuple[int, int, int, int] | None = None
    ) -> None:
        """Decodes the content of an image file and adds it as uint8 [48, 48], or notes that it is broken.

        Args:
            place: See `rows`.
            label: Index of its class.
            content: The file's bytes.
            name: What notes call it.
            box: Left, top, right and bottom of the face in pixels; None if it is the whole image.
        """
        image = decode(content)
        if image is None:
            image = _decode_floats(content)
            if image is None:
                self.skip(name, "not a readable image")
                return
            self.converted["of floats were converted to 8 bits"] += 1
        if box:
            left, top, right, bottom = (max(number, 0) for number in box)
            image = image[top:bottom, left:right]
            if not image.size:
                self.skip(name, "the box of its face lies outside")
                return
        if (image != image[..., :1]).any():
            self.converted["in color were converted to gray"] += 1
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # which leaves gray as it is
        if image.shape[0] != image.shape[1]:
            self.converted["that are not square were cut to the square in their middle"] += 1
            image = middle_square(image)
        if image.shape != (IMAGE_SIZE, IMAGE_SIZE):
            self.converted[f"of another size were resized to {IMAGE_SIZE}x{IMAGE_SIZE}"] += 1
            interpolation = cv2.INTER_AREA if len(image) >= IMAGE_SIZE else cv2.INTER_LINEAR
            image = cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=interpolation)
        self.add(place, label, image, name)


def _escaped(text: str) -> str:
    """Returns a text without control characters, which a file's name may hold."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _decode_floats(content: bytes) -> np.ndarray | None:
    """Decodes an image of numbers from 0 to 1, which OpenCV does not convert to 8 bits.

    Returns:
        uint8 [H, W, 3]; None if it is no such image.
    """
    image = decode(content, cv2.IMREAD_UNCHANGED)
    if image is None or not np.issubdtype(image.dtype, np.floating):
        return None
    image = np.clip(np.nan_to_num(image) * 255, 0, 255).round().astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image[..., :3]
