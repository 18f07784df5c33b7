"""Corrects probabilities for the mixture of expressions that is expected, and for a person's face at rest.

A model answers as if faces came in the mixture that it was trained on. Where they come in another, multiply the
probabilities by expected share over training share, and normalize (Saerens, Latinne and Decaestecker, "Adjusting the
outputs of a classifier to new a priori probabilities", Neural Computation 14, 2002). `docs/expect.md` derives it.

The correction is one addition to log-probabilities, so that several can be added up:
`log p + mixture_offset(…) + resting_offset(…)`, normalized by a softmax.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fer_tf.classes import ALIASES, CLASSES
from fer_tf.errors import UserError

FER2013_COUNTS = (3995, 436, 4097, 7215, 4965, 4830, 3171)
"""Images of each class in FER-2013's training split, in the order of `CLASSES`."""

_EVERYDAY = (0.06, 0.02, 0.03, 0.30, 0.45, 0.09, 0.05)

PRESETS: dict[str, np.ndarray] = {
    "everyday": np.array(_EVERYDAY),
    "even": np.full(len(CLASSES), 1 / len(CLASSES)),
    "fer2013": np.array(FER2013_COUNTS) / sum(FER2013_COUNTS),
}
"""Mixtures by name: float64 [7], in the order of `CLASSES`; they sum to 1.

`everyday` is a guess at ordinary photographs and recordings, `even` is for posed faces and balanced sets, and `fer2013`
leaves the answers of a model trained on FER-2013 as they are.
"""

DEFAULT = "everyday"

NEUTRAL = np.array((0.04, 0.01, 0.04, 0.06, 0.70, 0.12, 0.03))
"""float64 [7]: what a model is taken to answer about a face at rest; a constant of ours, tried with the default."""

_LEAST = 1e-6
"""Smaller probabilities count as this, so that a logarithm is finite."""

_RAREST = 0.01
"""Smaller training shares count as this, so that a class without training images does not win by division: trained with
label smoothing, a model gives even such a class a probability of a percent or more."""

_ROUNDING = 0.025
"""How far from 1 the shares of all seven classes may sum, if a user has rounded them."""


def expected_shares(expect: str | Mapping[str, float]) -> np.ndarray:
    """Returns the share of each expression in a mixture that a user names.

    Classes that are not named share the rest as FER-2013 has them.

    Example:
        >>> expected_shares("happy=.3,neutral=.5").round(2).tolist()
        [0.05, 0.01, 0.05, 0.3, 0.5, 0.06, 0.04]

    Args:
        expect: A name of `PRESETS`; shares as text, such as `happy=.3,neutral=.5`; or shares by class.

    Returns:
        float64 [7], in the order of `CLASSES`; they sum to 1.

    Raises:
        UserError: if there is no such preset or class, or if the shares are none.
    """
    if isinstance(expect, str):
        name = expect.strip().lower()
        if name in PRESETS:
            return PRESETS[name].copy()
        named: list[tuple[str, object]] = _pairs(expect)
    elif isinstance(expect, Mapping):
        named = list(expect.items())
    else:
        raise UserError(f"expect is {expect!r}; {_EXPECTED}")
    shares = np.full(len(CLASSES), np.nan)
    for name, value in named:
        index = _class_index(name)
        if not np.isnan(shares[index]):
            raise UserError(f"expect names {CLASSES[index]} twice; give each expression one share")
        shares[index] = _share(name, value)
    missing, total = np.isnan(shares), np.nansum(shares)
    if missing.any():
        if total > 1 + 1e-9:
            raise UserError(f"expect: the shares sum to {total:g}; expected at most 1")
        rest = PRESETS["fer2013"][missing]
        shares[missing] = max(0.0, 1 - total) * rest / rest.sum()
    elif abs(total - 1) > _ROUNDING:
        raise UserError(f"expect: the shares of all seven sum to {total:g}; expected 1")
    return shares / shares.sum()


def mixture_offset(expected: np.ndarray, training: Sequence[float] | None = None) -> np.ndarray:
    """Returns what the mixture adds to log-probabilities: log(expected share / training share).

    Args:
        expected: float [7], the shares that are expected; they sum to 1.
        training: The seven shares that the model was trained on; None means FER-2013's.

    Returns:
        float64 [7]; -inf for a class that is not expected at all.
    """
    shares = PRESETS["fer2013"] if training is None else np.maximum(training, _RAREST)
    with np.errstate(divide="ignore"):
        return np.log(expected) - np.log(shares)


def training_shares(labels: np.ndarray) -> tuple[float, ...] | None:
    """Returns the share of each class among training labels, int [N], N > 0, as a model's card has them.

    It is None where none is further from FER-2013's than half a point, so that FER-2013 without its blank images counts
    as FER-2013.
    """
    shares = np.bincount(labels, minlength=len(CLASSES)) / len(labels)
    return None if np.abs(shares - PRESETS["fer2013"]).max() <= 0.005 else tuple(shares.tolist())


def average_shares(members: Sequence[Sequence[float] | None]) -> tuple[float, ...] | None:
    """Returns the training shares of an average of models, each as `mixture_offset` takes them."""
    if all(shares is None for shares in members):
        return None
    rows = [PRESETS["fer2013"] if shares is None else np.array(shares) for shares in members]
    return tuple(np.mean(rows, axis=0).tolist())


def resting_offset(rest: np.ndarray, weight: float) -> np.ndarray:
    """Returns what a person's resting face adds to log-probabilities: -weight · (rest - log `NEUTRAL`).

    Args:
        rest: float [..., 7], the mean of `log_probabilities` of this person at rest.
        weight: How much of the difference is taken for this person's own, 0 to 1.

    Returns:
        float64 [..., 7].
    """
    return -weight * (rest - np.log(NEUTRAL))


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Returns the logarithms of probabilities, float64 [..., 7]; what is below a millionth counts as a millionth."""
    return np.log(np.maximum(probabilities, _LEAST, dtype=np.float64))


def correct(probabilities: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Returns corrected probabilities: softmax(log p + offset).

    Args:
        probabilities: float [..., 7]; rows sum to 1.
        offset: float [..., 7], broadcast to them; the sum of the offsets above. Where it is 0 everywhere, the
            probabilities stay as they are.

    Returns:
        float32 of their shape; rows sum to 1.
    """
    if not offset.any():
        return probabilities.astype(np.float32)
    logits = log_probabilities(probabilities) + offset
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


_EXPECTED = f"expected {', '.join(PRESETS)}, or shares such as happy=.3,neutral=.5"


def _pairs(text: str) -> list[tuple[str, object]]:
    """Splits `happy=.3,neutral=.5`."""
    pairs: list[tuple[str, object]] = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"expect: {part.strip()!r} is neither a preset nor a share; {_EXPECTED}")
        pairs.append((name, value))
    return pairs


def _class_index(name: object) -> int:
    key = str(name).strip().lower()
    key = ALIASES.get(key, key)
    if key not in CLASSES:
        raise UserError(f"expect: {str(name).strip()!r} is no expression; expected some of {', '.join(CLASSES)}")
    return CLASSES.index(key)


def _share(name: object, value: object) -> float:
    try:
        share = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        share = float("nan")
    if not 0 <= share <= 1:
        given = value.strip() if isinstance(value, str) else value
        raise UserError(f"expect: the share of {str(name).strip()} is {given!r}; expected a number from 0 to 1")
    return share
