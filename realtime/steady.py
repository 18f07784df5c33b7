"""Decides which label is shown, so that it does not flicker where two answers are about as good."""

import numpy as np

from fer_tf.classes import CLASSES

UNCERTAIN = "uncertain"
"""Is shown in place of an expression that is not sure enough."""

LABELS = (*CLASSES, UNCERTAIN)
"""What may be shown, by index."""

NOTHING = -1
"""The index of a face that has not been shown yet."""

_HALF_GAP = 0.05
"""A label appears so far above the confidence that is asked for, and goes so far below it."""

_MARGIN = 0.05
"""How much more probable another expression must be before it takes the place of the one that is shown."""


def steady(before: np.ndarray, probabilities: np.ndarray, min_confidence: float) -> np.ndarray:
    """Returns what faces are shown as, given what they were shown as in the frame before.

    Args:
        before: int [...]: indices of `LABELS`, or `NOTHING`.
        probabilities: float [..., 7]: what they are now.
        min_confidence: How probable an expression must be to be shown: this on the first frame; later 0.05 more to
            appear, and 0.05 less to stay.

    Returns:
        int [...]: indices of `LABELS`.
    """
    best, confidence = probabilities.argmax(axis=-1), probabilities.max(axis=-1)
    uncertain = len(CLASSES)
    was_shown = (before != NOTHING) & (before != uncertain)
    threshold = np.where(before == NOTHING, min_confidence, min(1.0, min_confidence + _HALF_GAP))
    threshold = np.where(was_shown, min_confidence - _HALF_GAP, threshold)
    held = np.take_along_axis(probabilities, np.where(was_shown, before, best)[..., None], axis=-1)[..., 0]
    label = np.where(was_shown & (confidence - held <= _MARGIN), before, best)
    return np.where(confidence >= threshold, label, uncertain)
