"""Takes frames and returns their faces with the expressions that they show."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_tf import mixture, weights
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.realtime.capture import to_bgr
from fer_tf.realtime.crop import crop_face
from fer_tf.realtime.detect import Detections, FaceDetector
from fer_tf.realtime.track import Track, Tracker
from fer_tf.recognizer import Recognizer

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True)
class Reading:
    """The prediction of one model for one face."""

    model: str
    """Name of the model, from its card."""
    probabilities: np.ndarray
    """float32 [7], in the order of `fer_tf.CLASSES`, 0 to 1: smoothed over time, then corrected; they sum to 1."""
    raw: np.ndarray
    """float32 [7]: what the model said of this frame, neither smoothed nor corrected."""
    certain: bool = True
    """Whether the confidence reaches the pipeline's `min_confidence`."""

    @property
    def label(self) -> str:
        """The most probable expression, one of `fer_tf.CLASSES`."""
        return CLASSES[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Probability of `label`, 0 to 1."""
        return float(self.probabilities.max())


@dataclass(frozen=True)
class Face:
    """A face in a frame, and the expression that it shows."""

    box: Box
    """Left, top, width and height in pixels of the frame; it may extend beyond the frame."""
    track: int
    """Id that stays with the face from frame to frame, from 0 in each stream."""
    crop: np.ndarray
    """uint8 [48, 48], gray: the input of the models. It is turned level if the eye line is tilted by more than 10°."""
    readings: tuple[Reading, ...]
    """One reading for each model, the main model first."""

    @property
    def probabilities(self) -> np.ndarray:
        """float32 [7]: the main model's probabilities, smoothed over time, then corrected."""
        return self.readings[0].probabilities

    @property
    def raw(self) -> np.ndarray:
        """float32 [7]: what the main model said of this frame, neither smoothed nor corrected."""
        return self.readings[0].raw

    @property
    def label(self) -> str:
        """The main model's most probable expression, one of `fer_tf.CLASSES`."""
        return self.readings[0].label

    @property
    def confidence(self) -> float:
        """Probability of `label`, 0 to 1."""
        return self.readings[0].confidence

    @property
    def certain(self) -> bool:
        """Whether the main model's confidence reaches the pipeline's `min_confidence`."""
        return self.readings[0].certain


class Pipeline:
    """Finds the faces in each frame of a stream and recognizes their expressions, in one batch per frame.

    A pipeline remembers faces from frame to frame, to give each an id and to smooth its probabilities over time. So use
    one pipeline for each stream, or call `reset` in between. Pipelines may share recognizers.

    A call is `track`, then `recognize`. Two threads may share this work: one tracks the faces of the next frames while
    the other recognizes those of a frame before. If both take the frames in order, the results are the same.

    Example:
        >>> import numpy as np
        >>> from fer_tf import FaceDetector, Pipeline
        >>> pipeline = Pipeline(FaceDetector())
        >>> image = np.zeros((480, 640, 3), np.uint8)  # any image from cv2.imread or VideoCapture.read
        >>> for face in pipeline(image):
        ...     print(face.track, face.box, face.label, f"{face.confidence:.0%}")

    Args:
        detector: Function from an image, uint8 [H, W, 3], BGR, to `Detections`, or to boxes alone, int [N, 4]: left,
            top, width and height in pixels. None is a `FaceDetector()`.
        recognizer: The main model: a `Recognizer`, the path of a model file, or the name of a model that is present,
            such as `base_cnn-stack_sharpen`. None is the default model.
        compare: A second model, run on the same faces. If both have the same name, the readings of this one are called
            `<name> (2)`.
        smoothing: Time constant in seconds of the exponential moving average of the probabilities; 0 turns it off.
        detect_every: Run the detector on every Nth frame only, and follow the faces by optical flow in between.
            Expressions are recognized in every frame.
        min_confidence: Readings are `certain` from this confidence on, 0 to 1.
        expect: The mixture of expressions that is expected, which the answers are corrected for: `everyday`, `even`
            (for posed faces and balanced sets), `fer2013` (which the shipped models learned from), or shares, as in
            `happy=.3,neutral=.5` or in a mapping. See `fer_tf.mixture.expected_shares`.

    Attributes:
        models: Names of the models, in the order of each face's readings.

    Raises:
        UserError: if a number is out of range, if `expect` is no mixture, or if there is no such model.
    """

    def __init__(
        self,
        detector: Callable[[np.ndarray], Detections | np.ndarray] | None = None,
        recognizer: Recognizer | Path | str | None = None,
        *,
        compare: Recognizer | Path | str | None = None,
        smoothing: float = 0.3,
        detect_every: int = 1,
        min_confidence: float = 0.4,
        expect: str | Mapping[str, float] = mixture.DEFAULT,
    ):
        if not 0 <= smoothing < float("inf"):
            raise UserError(f"smoothing must be a number of seconds, 0 for none; found {smoothing}")
        if detect_every < 1:
            raise UserError(f"detect_every must be a whole number above 0, found {detect_every}")
        if not 0 <= min_confidence <= 1:
            raise UserError(f"min_confidence must lie between 0 and 1, found {min_confidence}")
        expected = mixture.expected_shares(expect)
        self.smoothing = smoothing
        self.min_confidence = min_confidence
        self._tracker = Tracker(detector or FaceDetector(), detect_every=detect_every)
        models = [weights.DEFAULT_MODEL if recognizer is None else recognizer]
        if compare is not None:
            models.append(compare)
        self._recognizers = [
            Recognizer(weights.find(model)) if isinstance(model, Path | str) else model for model in models
        ]
        self._offset = np.stack(
            [mixture.mixture_offset(expected, model.card.training_shares) for model in self._recognizers]
        )
        names = [model.card.name for model in self._recognizers]
        self.models = tuple(f"{name} (2)" if name in names[:index] else name for index, name in enumerate(names))

    def __call__(self, image: np.ndarray, time_s: float | None = None) -> list[Face]:
        """Analyzes the next frame of the stream.

        Args:
            image: uint8 or uint16; gray [H, W] or [H, W, 1], BGR [H, W, 3], or BGRA [H, W, 4].
            time_s: When the frame was taken, in seconds of any clock; None means now.

        Returns:
            The faces, ordered by track.

        Raises:
            UserError: if `image` is None, empty, or of another shape or dtype.
        """
        if image is None or not image.size:
            raise UserError("there is no image; cv2.imread returns None for files that it cannot read")
        image = to_bgr(image)
        return self.recognize(image, self.track(image, time.monotonic() if time_s is None else time_s))

    def track(self, image: np.ndarray, time_s: float) -> list[Track]:
        """Finds the faces of the next frame of the stream: the first half of a call.

        Args:
            image: uint8 [H, W, 3], BGR.
            time_s: When the frame was taken, in seconds of any clock.

        Returns:
            The tracks of the faces, ordered by id.
        """
        return self._tracker(image, time_s)

    def recognize(self, image: np.ndarray, tracks: Sequence[Track]) -> list[Face]:
        """Recognizes the expressions in a frame: the second half of a call.

        Args:
            image: The image that `track` was given.
            tracks: What it returned.

        Returns:
            The faces, ordered by track.
        """
        if not tracks:
            return []
        boxes = [_rounded(track.box) for track in tracks]
        crops = np.stack([crop_face(image, box, track.landmarks) for box, track in zip(boxes, tracks, strict=True)])
        rows = np.stack([recognizer(crops) for recognizer in self._recognizers], axis=1)
        smoothed = np.stack([track.smooth(raw, self.smoothing) for track, raw in zip(tracks, rows, strict=True)])
        corrected = mixture.correct(smoothed, self._offset)
        faces = []
        for track, box, crop, raw, answer in zip(tracks, boxes, crops, rows, corrected, strict=True):
            certain = answer.max(axis=1) >= self.min_confidence
            readings = tuple(map(Reading, self.models, answer, raw, certain.tolist()))
            faces.append(Face(box, track.id, crop, readings))
        return faces

    def reset(self) -> None:
        """Forgets all faces; the next frame starts a new stream."""
        self._tracker.reset()


def _rounded(box: np.ndarray) -> Box:
    left, top, width, height = np.rint(box).astype(int).tolist()
    return left, top, width, height
