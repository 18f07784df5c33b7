"""Takes frames and returns their faces with the expressions that they show."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fer_tf import mixture, weights
from fer_tf.errors import UserError
from fer_tf.realtime.answers import Answers
from fer_tf.realtime.crop import crop_face
from fer_tf.realtime.detect import Detections, FaceDetector
from fer_tf.realtime.exclusive import Exclusive
from fer_tf.realtime.face import Box, Face, Reading
from fer_tf.realtime.pictures import Picture, to_image
from fer_tf.realtime.resting import WEIGHT, Resting, check_resting
from fer_tf.realtime.track import Track, Tracker
from fer_tf.recognizer import Recognizer
from fer_tf.text import printable

_SECOND_USER = (
    "a second thread uses this pipeline, which follows the faces of one stream; make a Pipeline for each stream and "
    "call it from one thread, or call still(picture) for separate pictures, which threads may share"
)


class Pipeline:
    """Finds the faces in pictures or in the frames of a stream, and recognizes their expressions, in one batch each.

    `still` looks at a picture by itself. A call with a time takes the next frame of a stream: it remembers the faces,
    gives each an id that stays, and smooths its probabilities over time. So use one pipeline for each stream, or call
    `reset` in between. Pipelines may share recognizers and detectors.

    Any number of threads may call `still`. The frames of a stream belong to one thread, until `reset`; another one gets
    an error. A call is `track`, then `recognize`, and two threads may share this work: one tracks the faces of the next
    frames while the other recognizes those of a frame before. If both take the frames in order, the results are the
    same.

    Example:
        >>> import numpy as np
        >>> from fer_tf import Pipeline
        >>> pipeline = Pipeline()
        >>> image = np.zeros((480, 640, 3), np.uint8)  # or the path of a picture, or an image of Pillow
        >>> for face in pipeline.still(image):
        ...     print(face.box, face.label, f"{face.confidence:.0%}")
        >>> for index in range(3):  # frames from VideoCapture.read, 25 per second
        ...     for face in pipeline(image, index / 25):
        ...         print(face.track, face.box, face.label, f"{face.confidence:.0%}")

    Args:
        detector: A `FaceDetector`, or the name of its backend, such as `haar`; None is a `FaceDetector()`. Or a
            function from an image, uint8 [H, W, 3], BGR, to `Detections`, or to boxes alone, int [N, 4]: left, top,
            width and height in pixels.
        recognizer: The main model: a `Recognizer`, the path of a model file, or the name of a model that is present,
            such as `base_cnn-stack_sharpen`. None is the default model.
        compare: A second model, run on the same faces. If both have the same name, the readings of this one are called
            `<name> (2)`.
        smoothing: Time constant in seconds of the exponential moving average of the probabilities; 0 turns it off.
        detect_every: Run the detector on every Nth frame only, and follow the faces by optical flow in between.
            Expressions are recognized in every frame.
        min_confidence: Less probable expressions are shown as `uncertain`, 0 to 1. So that labels do not flicker, they
            appear 0.05 above and go 0.05 below.
        expect: The mixture of expressions that is expected, which the answers are corrected for: `everyday`, `even`
            (for posed faces and balanced sets), `fer2013` (which the shipped models learned from), or shares, as in
            `happy=.3,neutral=.5` or in a mapping. See `fer_tf.mixture.expected_shares`.
        resting: When each face is at rest, which its answers are corrected for, too: in so many first seconds of its
            track, or in the median of its track so far (`auto`, for long streams). None is never, unless `take_rest`
            or `rest` says so.
        resting_weight: How much of what is particular in a resting face is taken away, 0 to 1.

    Attributes:
        models: Names of the models, in the order of each face's readings.

    Raises:
        UserError: if a number is out of range, if `expect` is no mixture, or if there is no such model or detector.
    """

    def __init__(
        self,
        detector: Callable[[np.ndarray], Detections | np.ndarray] | str | None = None,
        recognizer: Recognizer | Path | str | None = None,
        *,
        compare: Recognizer | Path | str | None = None,
        smoothing: float = 0.3,
        detect_every: int = 1,
        min_confidence: float = 0.4,
        expect: str | Mapping[str, float] = mixture.DEFAULT,
        resting: Resting = None,
        resting_weight: float = WEIGHT,
    ):
        if not 0 <= smoothing < float("inf"):
            raise UserError(f"smoothing must be a number of seconds, 0 for none; found {smoothing}")
        if detect_every < 1:
            raise UserError(f"detect_every must be a whole number above 0, found {detect_every}")
        if not 0 <= min_confidence <= 1:
            raise UserError(f"min_confidence must lie between 0 and 1, found {min_confidence}")
        check_resting(resting, resting_weight)
        expected = mixture.expected_shares(expect)
        if detector is None or isinstance(detector, str):
            detector = FaceDetector("auto" if detector is None else detector)
        if not callable(detector):
            raise UserError(f"detector must be a FaceDetector, its backend's name or a function, found {detector!r}")
        self._tracker = Tracker(detector, detect_every=detect_every)
        self._find_in_still = detector.still if isinstance(detector, FaceDetector) else detector
        self._tracking, self._recognizing = Exclusive(_SECOND_USER), Exclusive(_SECOND_USER)
        models = [weights.DEFAULT_MODEL if recognizer is None else recognizer]
        if compare is not None:
            models.append(compare)
        self._recognizers = [
            Recognizer(weights.find(model)) if isinstance(model, Path | str) else model for model in models
        ]
        self._resting = resting
        self._answers = Answers(
            np.stack([mixture.mixture_offset(expected, model.card.training_shares) for model in self._recognizers]),
            smoothing=smoothing,
            min_confidence=min_confidence,
            resting=resting,
            resting_weight=resting_weight,
        )
        names = [model.card.name for model in self._recognizers]
        self.models = tuple(f"{name} (2)" if name in names[:index] else name for index, name in enumerate(names))

    def still(self, picture: Picture) -> list[Face]:
        """Analyzes a picture by itself: nothing is smoothed, and nothing remembered. Threads may share this.

        A `FaceDetector` searches pictures more closely than frames, unless it was given a `search_size`.

        Args:
            picture: An array, uint8 or uint16; gray [H, W] or [H, W, 1], BGR [H, W, 3], or BGRA [H, W, 4]. Or an image
                of Pillow, the path of an image file, or its content as bytes; these are turned upright.

        Returns:
            The faces, from left to right. Their `track` counts them from 0.

        Raises:
            UserError: if the picture is None, empty, too large, of another kind, or cannot be read.
        """
        image = to_image(picture)
        return self._recognized(image, Tracker(self._find_in_still)(image, 0.0), still=True)

    def __call__(self, picture: Picture, time_s: float | None = None) -> list[Face]:
        """Analyzes the next frame of the stream.

        Args:
            picture: The frame, as in `still`.
            time_s: When the frame was taken, in seconds of any clock: needed, since it decides how much is smoothed.

        Returns:
            The faces, ordered by track.

        Raises:
            UserError: as in `still`; if there is no time; or if another thread has used this pipeline since `reset`.
        """
        if time_s is None:
            raise UserError(
                "a frame of a stream needs its time in seconds: pipeline(frame, time_s), for a camera "
                "time.monotonic(); for separate pictures call pipeline.still(picture)"
            )
        image = to_image(picture)
        return self.recognize(image, self.track(image, time_s))

    def track(self, image: np.ndarray, time_s: float) -> list[Track]:
        """Finds the faces of the next frame of the stream: the first half of a call.

        Args:
            image: uint8 [H, W, 3], BGR.
            time_s: When the frame was taken, in seconds of any clock.

        Returns:
            The tracks of the faces, ordered by id.

        Raises:
            UserError: if the time is no number, or if another thread has tracked faces here since `reset`.
        """
        if not _is_finite(time_s):
            raise UserError(f"time_s must be a number of seconds, found {time_s!r}")
        with self._tracking:
            return self._tracker(image, time_s)

    def recognize(self, image: np.ndarray, tracks: Sequence[Track]) -> list[Face]:
        """Recognizes the expressions in a frame: the second half of a call.

        Args:
            image: The image that `track` was given.
            tracks: What it returned.

        Returns:
            The faces, ordered by track.

        Raises:
            UserError: if another thread has recognized faces here since `reset`.
        """
        with self._recognizing:
            self._answers.hear(tracks)
            return self._recognized(image, tracks)

    def _recognized(self, image: np.ndarray, tracks: Sequence[Track], *, still: bool = False) -> list[Face]:
        if not tracks:
            return []
        boxes, crops = zip(*(cut_out(image, track) for track in tracks), strict=True)
        rows = np.stack([recognizer(np.stack(crops)) for recognizer in self._recognizers], axis=1)
        faces = []
        answers = self._answers(tracks, rows, still=still)
        for track, box, crop, raw, probabilities, shown, resting in zip(
            tracks, boxes, crops, rows, *answers, strict=True
        ):
            readings = tuple(map(Reading, self.models, probabilities, raw, shown))
            faces.append(Face(box, track.id, crop, readings, resting))
        return faces

    def take_rest(self) -> None:
        """Takes the next second of each face that is visible then as its resting face, until its track ends.

        Called again, it takes a new one. Another thread than that of the stream may call it.
        """
        self._answers.ask_for_rest()

    def rest(self, pictures: Sequence[Picture]) -> None:
        """Takes pictures of one person at rest, and corrects the answers about all faces for it from now on.

        It is for recordings and pictures of this person alone. One to three pictures do.

        Args:
            pictures: Each as in `still`, with one face in it.

        Raises:
            UserError: if there is none, if one shows no face or several, or if the pipeline is to learn the resting
                faces from the stream.
        """
        if self._resting is not None:
            raise UserError("a resting face comes from pictures or from the stream (resting=…), not from both")
        logs = []
        for number, picture in enumerate(pictures, start=1):
            faces = self.still(picture)
            if len(faces) != 1:
                name = printable(str(picture)) if isinstance(picture, str | Path) else f"resting picture {number}"
                raise UserError(f"{name}: shows {len(faces) or 'no'} faces; expected one, at rest")
            logs.append(mixture.log_probabilities(np.stack([reading.raw for reading in faces[0].readings])))
        if not logs:
            raise UserError("there is no picture of a resting face; expected one to three")
        self._answers.rest = np.mean(logs, axis=0)

    def reset(self) -> None:
        """Forgets all faces; the next frame starts a new stream, in any thread.

        Raises:
            UserError: if another thread is at work in this pipeline.
        """
        self._tracking.release()
        self._recognizing.release()
        self._tracker.reset()


def _is_finite(number: object) -> bool:
    try:
        return math.isfinite(number)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):
        return False


def cut_out(image: np.ndarray, track: Track) -> tuple[Box, np.ndarray]:
    """Returns the box of a face in an image, uint8 [H, W, 3], BGR, and its crop: the input of the models."""
    left, top, width, height = np.rint(track.box).astype(int).tolist()
    box = (left, top, width, height)
    return box, crop_face(image, box, track.landmarks)
