"""Learns how a model sees a person's face at rest, so that answers can be corrected for it. docs/expect.md says how."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.mixture import log_probabilities

WEIGHT = 0.5
"""How much of what a face at rest differs by is taken for this person's own, unless another weight is given."""

KEY_SECONDS = 1.0
"""For how long a face is watched when a user says that it is at rest."""

_LEAST_SECONDS = 1.0
"""How long a face must have been followed before the median of its answers counts as its resting face."""

_STEP = 0.1
_LOWEST = float(log_probabilities(np.zeros(1))[0])
_STEPS = int(-_LOWEST / _STEP) + 1
"""The histogram of log-probabilities: the width of a bin, the lower end of the first, and their number."""

Resting = float | Literal["auto"] | None
"""When a track is at rest: in so many first seconds, in the median (`auto`), or never unless a user says so (None)."""

State = Literal["", "taking", "taken"]
"""Whether a resting face is known: not at all, being learned, or known."""


def check_resting(resting: object, weight: float) -> None:
    """Raises `UserError` unless `resting` is a `Resting` above 0 and `weight` a share."""
    is_number = isinstance(resting, int | float) and not isinstance(resting, bool)
    if not (resting is None or resting == "auto" or (is_number and 0 < resting < float("inf"))):  # type: ignore[operator]
        raise UserError(f"resting must be a number of seconds above 0, auto or None; found {resting!r}")
    if not 0 <= weight <= 1:
        raise UserError(f"resting_weight must lie between 0 and 1, found {weight}")


class RestingFace:
    """The mean or median log-probabilities of one track at rest.

    The mean over some seconds may be asked for again and again, by `take`; then the older one is forgotten at once.

    Args:
        models: Number of models.
        resting: When the track is at rest without being asked for.
        now: When the track began, in seconds.
    """

    def __init__(self, models: int, resting: Resting, now: float):
        self._shape = (models, len(CLASSES))
        self._known: np.ndarray | None = None
        self._sum, self._count, self._end = np.zeros(self._shape), 0, 0.0
        self._taking = False
        self._median: _RunningMedian | None = None
        self._median_from = now + _LEAST_SECONDS
        if resting == "auto":
            self._median = _RunningMedian(self._shape)
        elif resting is not None:
            self.take(resting, now)

    @property
    def state(self) -> State:
        """Whether the resting face is known by now."""
        return "taking" if self._taking else "" if self._known is None else "taken"

    def take(self, seconds: float, now: float) -> None:
        """Takes the frames from now on, for some seconds, as those of a face at rest."""
        self._known, self._median = None, None
        self._sum, self._count, self._end = np.zeros(self._shape), 0, now + seconds
        self._taking = True

    def see(self, probabilities: np.ndarray, now: float) -> np.ndarray | None:
        """Adds the answers about a frame, and returns what the face at rest is known to be by now.

        Args:
            probabilities: float [models, 7]: what the models say of this frame alone.
            now: When it was taken, in seconds.

        Returns:
            float64 [models, 7], the log-probabilities of the face at rest; None as long as it is not known.
        """
        if self._median is not None:
            self._median.add(log_probabilities(probabilities))
            if now >= self._median_from:
                self._known = self._median.value()
        elif self._taking:
            if now < self._end or not self._count:
                self._sum += log_probabilities(probabilities)
                self._count += 1
            else:
                self._known, self._taking = self._sum / self._count, False
        return self._known


class _RunningMedian:
    """The median of ever more numbers for each model and class, to half a `_STEP`, in memory that does not grow."""

    def __init__(self, shape: Sequence[int]):
        self._counts = np.zeros((*shape, _STEPS), np.int32)
        self._places = np.ogrid[tuple(slice(size) for size in shape)]
        self._total = 0

    def add(self, logs: np.ndarray) -> None:
        """Adds a number for each, from `_LOWEST` to 0."""
        bins = ((logs - _LOWEST) / _STEP).astype(np.int64).clip(0, _STEPS - 1)
        self._counts[(*self._places, bins)] += 1
        self._total += 1

    def value(self) -> np.ndarray:
        """Returns the medians, float64 of the shape; at least one number must have been added."""
        below = self._counts.cumsum(axis=-1, dtype=np.int32)
        # The middle number, or both of an even count.
        middle = [(below < rank).sum(axis=-1) for rank in ((self._total + 1) // 2, self._total // 2 + 1)]
        return _LOWEST + _STEP * (0.5 + (middle[0] + middle[1]) / 2)
