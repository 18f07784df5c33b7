"""Recognizes the faces in labeled pictures, one picture after the other."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.realtime.detect import Detections
from fer_tf.realtime.evaluation.labeled import LabeledPicture
from fer_tf.realtime.largest import faces_by_size
from fer_tf.realtime.pictures import read_image
from fer_tf.realtime.sources import check_name
from fer_tf.recognizer import Recognizer
from fer_tf.text import one_line

_BATCH = 64
"""Crops that go through the networks at once. No more are kept, and no more than one picture."""


@dataclass(frozen=True)
class Recognized:
    """What models say of the faces in labeled pictures."""

    pictures: Sequence[LabeledPicture]
    """Those with a face."""
    probabilities: np.ndarray
    """float32 [models, N, 7]: for the largest face of each of these pictures, as the models were trained."""
    missed: Sequence[LabeledPicture]
    """Those in which no face was found."""
    broken: dict[str, str]
    """Paths of those that could not be read, with the reason."""
    several: int
    """How many have more than one face."""

    @property
    def labels(self) -> np.ndarray:
        """int64 [N]: those of `pictures`."""
        return np.array([picture.label for picture in self.pictures], np.int64)


def recognize_pictures(
    pictures: Sequence[LabeledPicture],
    find: Callable[[np.ndarray], Detections],
    recognizers: Sequence[Recognizer],
) -> Recognized:
    """Recognizes the largest face in each picture, under a progress bar.

    A picture that cannot be read is named on stderr and left out.

    Args:
        pictures: The pictures.
        find: Finds the faces of an image, uint8 [H, W, 3], BGR.
        recognizers: The models; each gets the same crops.
    """
    kept, missed, broken, several = [], [], {}, 0
    rows: list[np.ndarray] = [np.zeros((len(recognizers), 0, len(CLASSES)), np.float32)]
    crops: list[np.ndarray] = []
    for picture in tqdm(pictures, desc="recognizing", unit=" pictures", disable=None):
        try:
            check_name(str(picture.path))
            image = read_image(str(picture.path))
        except (UserError, OSError) as error:
            broken[str(picture.path)] = one_line(str(error))
            tqdm.write(f"error: {one_line(str(error))}", file=sys.stderr)
            continue
        faces = faces_by_size(image, find)
        several += len(faces) > 1
        if not faces:
            missed.append(picture)
            continue
        kept.append(picture)
        crops.append(faces[0].crop)
        if len(crops) == _BATCH:
            rows.append(_ask(recognizers, crops))
            crops.clear()
    if crops:
        rows.append(_ask(recognizers, crops))
    return Recognized(kept, np.concatenate(rows, axis=1), missed, broken, several)


def _ask(recognizers: Sequence[Recognizer], crops: list[np.ndarray]) -> np.ndarray:
    faces = np.stack(crops)
    return np.stack([recognizer(faces) for recognizer in recognizers])
