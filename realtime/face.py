"""What a pipeline says of a face."""

from dataclasses import dataclass

import numpy as np

from fer_tf.classes import CLASSES
from fer_tf.realtime.resting import State
from fer_tf.realtime.steady import UNCERTAIN

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
    shown: str = ""
    """What is shown: an expression, or `uncertain` where none reaches the pipeline's `min_confidence`.

    It changes later than `label`, so that it does not flicker. Where none is given, it is `label`.
    """

    def __post_init__(self) -> None:
        if not self.shown:
            object.__setattr__(self, "shown", self.label)

    @property
    def label(self) -> str:
        """The most probable expression, one of `fer_tf.CLASSES`."""
        return CLASSES[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Probability of `label`, 0 to 1."""
        return float(self.probabilities.max())

    @property
    def certain(self) -> bool:
        """Whether an expression is shown, and not `uncertain`."""
        return self.shown != UNCERTAIN


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
    resting: State = ""
    """`taken` if the answers are corrected for this person's resting face, `taking` while that is learned, or empty."""

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
    def shown(self) -> str:
        """What is shown of the main model: an expression that does not flicker, or `uncertain`."""
        return self.readings[0].shown

    @property
    def certain(self) -> bool:
        """Whether an expression is shown of the main model, and not `uncertain`."""
        return self.readings[0].certain
