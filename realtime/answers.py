"""Turns what models say of each frame into what is said of a face: smoothed, then corrected, and shown steadily."""

from collections.abc import Sequence

import numpy as np

from fer_tf.mixture import correct, resting_offset
from fer_tf.realtime.resting import KEY_SECONDS, Resting, RestingFace, State
from fer_tf.realtime.steady import LABELS, NOTHING, steady
from fer_tf.realtime.track import Track


class Answers:
    """Remembers in each track what was said of it before.

    Args:
        offset: float64 [models, 7]: what the expected mixture adds to the log-probabilities of each model.
        smoothing: Time constant of the moving average, in seconds; 0 turns it off.
        min_confidence: How probable an expression must be to be shown, 0 to 1.
        resting: When each track is at rest.
        resting_weight: How much of a resting face is taken for this person's own, 0 to 1.

    Attributes:
        rest: float64 [models, 7], the mean log-probabilities of the one person at rest that all faces are of; None if
            there is no such person.
    """

    def __init__(
        self, offset: np.ndarray, *, smoothing: float, min_confidence: float, resting: Resting, resting_weight: float
    ):
        self.rest: np.ndarray | None = None
        self._offset, self._smoothing, self._min_confidence = offset, smoothing, min_confidence
        self._resting, self._resting_weight = resting, resting_weight
        self._asked = self._heard = 0

    def ask_for_rest(self) -> None:
        """Has the next call of `hear` take the faces that it gets as resting. Any one thread may call it."""
        self._asked += 1

    def hear(self, tracks: Sequence[Track]) -> None:
        """Takes the next second of these tracks as their resting faces, if that was asked for since the last call."""
        asked = self._asked
        if self._heard != asked:
            self._heard = asked
            for track in tracks:
                self._face_of(track).take(KEY_SECONDS, track.seen_s)

    def __call__(
        self, tracks: Sequence[Track], raw: np.ndarray, *, still: bool = False
    ) -> tuple[np.ndarray, list[tuple[str, ...]], list[State]]:
        """Adds a frame.

        Args:
            tracks: Its faces, at least one.
            raw: float32 [tracks, models, 7]: what the models say of them.
            still: Whether it is a picture by itself, so that nothing can be learned of resting faces.

        Returns:
            The probabilities, float32 [tracks, models, 7], smoothed and then corrected; what is shown for each track
            and model; and whether the resting face of each track is known.
        """
        smoothed = np.stack([track.smooth(rows, self._smoothing) for track, rows in zip(tracks, raw, strict=True)])
        faces = [self._face_of(track, still=still) for track in tracks]
        offsets = np.broadcast_to(self._offset, raw.shape)
        rests = [face.see(rows, track.seen_s) for face, rows, track in zip(faces, raw, tracks, strict=True)]
        if self.rest is not None:
            rests = [self.rest if rest is None else rest for rest in rests]
        known = {index: rest for index, rest in enumerate(rests) if rest is not None}
        if known:
            offsets = offsets.copy()
            offsets[list(known)] += resting_offset(np.stack(list(known.values())), self._resting_weight)
        probabilities = correct(smoothed, offsets)
        nothing = np.full(raw.shape[1], NOTHING)
        before = np.stack([nothing if track.past.shown is None else track.past.shown for track in tracks])
        shown = steady(before, probabilities, self._min_confidence)
        for track, row in zip(tracks, shown, strict=True):
            track.past.shown = row
        labels = [tuple(LABELS[index] for index in row) for row in shown.tolist()]
        states: list[State] = ["taken" if index in known else face.state for index, face in enumerate(faces)]
        return probabilities, labels, states

    def _face_of(self, track: Track, *, still: bool = False) -> RestingFace:
        """Returns what is known of a track's resting face."""
        if track.past.resting is None:
            resting = None if still else self._resting
            track.past.resting = RestingFace(len(self._offset), resting, track.seen_s)
        return track.past.resting
