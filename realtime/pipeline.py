"""A frame in, its faces with their expressions out."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_tf import weights
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.realtime.capture import to_bgr
from fer_tf.realtime.crop import crop_face
from fer_tf.realtime.detect import Detections, FaceDetector
from fer_tf.realtime.track import Tracker
from fer_tf.recognizer import Recognizer


@dataclass(frozen=True)
class Reading:
    """What one model says of one face."""

    model: str
    """Name of the model."""
    probabilities: np.ndarray
    """float32 [7], in the order of `fer_tf.classes.CLASSES`, smoothed over time."""
    raw: np.ndarray
    """float32 [7]: of this frame alone."""
    certain: bool = True
    """Whether the model is as confident as the pipeline asks for."""

    @property
    def label(self) -> str:
        """Name of the most probable expression."""
        return CLASSES[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Probability of that expression, 0 to 1."""
        return float(self.probabilities.max())


@dataclass(frozen=True)
class Face:
    """One face of a frame and the expression that it shows."""

    box: tuple[int, int, int, int]
    """Left, top, width and height in pixels of the frame."""
    track: int
    """Stays with the face from frame to frame; counted from 0 in each stream."""
    crop: np.ndarray
    """uint8 [48, 48], gray: what the models saw. It is turned level if the eye line was tilted by more than 10°."""
    readings: tuple[Reading, ...]
    """One for each model, the main one first."""

    @property
    def probabilities(self) -> np.ndarray:
        """float32 [7]: the main model's, smoothed over time."""
        return self.readings[0].probabilities

    @property
    def raw(self) -> np.ndarray:
        """float32 [7]: the main model's, of this frame alone."""
        return self.readings[0].raw

    @property
    def label(self) -> str:
        """Name of the expression that is most probable by the main model."""
        return self.readings[0].label

    @property
    def confidence(self) -> float:
        """Probability of that expression, 0 to 1."""
        return self.readings[0].confidence

    @property
    def certain(self) -> bool:
        """Whether the main model is as confident as the pipeline asks for."""
        return self.readings[0].certain


class Pipeline:
    """Finds the faces of each frame of one stream and names their expressions, all faces in one call of the model.

    It remembers the faces, so that each keeps its track and its probabilities can be smoothed over time: one pipeline
    belongs to one stream. Recognizers may be shared among pipelines.

    Example:
        >>> import numpy as np
        >>> from fer_tf import FaceDetector, Pipeline
        >>> pipeline = Pipeline(FaceDetector())
        >>> image = np.zeros((480, 640, 3), np.uint8)  # any that cv2.imread or VideoCapture.read gives
        >>> for face in pipeline(image):
        ...     print(face.track, face.box, face.label, f"{face.confidence:.0%}")

    Args:
        detector: uint8 [H, W, 3] BGR to `Detections`, or to int [N, 4] boxes (left, top, width, height) alone; a
            `FaceDetector()` if None.
        recognizer: The main model, or its file; the default one if None.
        compare: A second model, or its file, to be run on the same faces. If it has the name of the first, its
            readings are called `<name> (2)`.
        smoothing: Time constant in seconds of the exponential average of the probabilities; 0 for none.
        detect_every: Run the detector on every Nth frame, and follow the faces between (see
            `fer_tf.realtime.track.Tracker`). Expressions are recognized in every frame.
        min_confidence: A reading is `certain` from this confidence on, 0 to 1.

    Raises:
        UserError: if a number is out of its range, or if there is no such model file.
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
    ):
        if not 0 <= smoothing < float("inf"):
            raise UserError(f"smoothing must be a number of seconds, 0 for none; found {smoothing}")
        if detect_every < 1:
            raise UserError(f"detect_every must be a whole number above 0, found {detect_every}")
        if not 0 <= min_confidence <= 1:
            raise UserError(f"min_confidence must lie between 0 and 1, found {min_confidence}")
        self.smoothing = smoothing
        self.min_confidence = min_confidence
        self._tracker = Tracker(detector or FaceDetector(), detect_every=detect_every)
        models = [recognizer or weights.DEFAULT_MODEL] + [compare] * (compare is not None)
        self._recognizers = [Recognizer(model) if isinstance(model, Path | str) else model for model in models]
        names = [model.card.name for model in self._recognizers]
        self.models = tuple(f"{name} (2)" if name in names[:index] else name for index, name in enumerate(names))
        """Names of the models, in the order of each face's readings."""

    def __call__(self, image: np.ndarray, time_s: float | None = None) -> list[Face]:
        """Returns the faces of the next frame, in the order of their tracks.

        Args:
            image: Any OpenCV image: uint8 or uint16, gray, BGR or BGRA.
            time_s: When it was taken, in seconds of any clock; None for now.

        Raises:
            UserError: if it is no image.
        """
        if image is None or not image.size:
            raise UserError("there is no image to look at; cv2.imread gives None for what it cannot read")
        image = to_bgr(image)
        tracks = self._tracker(image, time.monotonic() if time_s is None else time_s)
        if not tracks:
            return []
        boxes = [tuple(map(int, np.rint(track.box))) for track in tracks]
        crops = np.stack([crop_face(image, box, track.landmarks) for box, track in zip(boxes, tracks, strict=True)])
        rows = np.stack([recognizer(crops) for recognizer in self._recognizers], axis=1)
        faces = []
        for track, box, crop, raw in zip(tracks, boxes, crops, rows, strict=True):
            smoothed = track.smooth(raw, self.smoothing)
            certain = smoothed.max(axis=1) >= self.min_confidence
            readings = tuple(map(Reading, self.models, smoothed, raw, certain.tolist()))
            faces.append(Face(box, track.id, crop, readings))
        return faces

    def reset(self) -> None:
        """Forgets the faces; the next frame begins another stream."""
        self._tracker.reset()
