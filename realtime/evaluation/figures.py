"""The figures of models on labeled pictures: for each mixture of expressions, with and without resting faces."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fer_tf.card import ModelCard
from fer_tf.classes import CLASSES
from fer_tf.metrics import compare_to_first, confusion, mcnemar, reliability_diagram, score, wilson_interval
from fer_tf.mixture import correct, expected_shares, log_probabilities, mixture_offset, resting_offset
from fer_tf.realtime.evaluation.labeled import LabeledPicture
from fer_tf.realtime.evaluation.recognized import Recognized

MOST_RESTING = 3
"""How many other neutral pictures of a person make the resting face: as many as `--resting-pictures` is meant for."""

_NEUTRAL = CLASSES.index("neutral")


def measure_mixtures(
    recognized: Recognized, cards: Mapping[str, ModelCard], mixtures: Sequence[str], *, resting_weight: float
) -> dict[str, Any]:
    """Returns the figures of all models, ready for JSON.

    Args:
        recognized: What the models said; there is at least one face.
        cards: The cards of the models, by what the models are called, in the order of `recognized.probabilities`.
        mixtures: What to expect, each as `fer_tf.mixture.expected_shares` takes it.
        resting_weight: How much of a resting face is taken for the person's own, 0 to 1.

    Returns:
        `pictures`, `recognized`, `missed`, `broken` and `several_faces`: numbers of pictures. `missed_by_class` and
        `labeled`: by class, of the pictures that could be read. `missed_pictures`: paths. `broken_pictures`: reasons by
        path. `models`: by model and mixture, the keys of `fer_tf.metrics.score`, and

        - `of_all`: `n`, `accuracy` and `accuracy_interval` if a missed face counts as wrong;
        - `confusion`: a row for each label and a column for each prediction;
        - `reliability`: as `fer_tf.metrics.reliability_diagram` returns it;
        - `mcnemar` and `cross_entropy_difference` to the first model, for the others;
        - `resting`: on the `n` pictures of people with another neutral picture, `without` and `with_resting` face, each
          the keys of `fer_tf.metrics.score`, and `mcnemar`; None if there are no such pictures.
    """
    models: dict[str, dict[str, Any]] = {name: {} for name in cards}
    rest = [resting_faces(rows, recognized.pictures) for rows in recognized.probabilities]
    for mixture in mixtures:
        corrected = []
        for (name, card), trained, faces in zip(cards.items(), recognized.probabilities, rest, strict=True):
            offset = mixture_offset(expected_shares(mixture), card.training_shares)
            corrected.append(correct(trained, offset))
            figures = _figures(corrected[-1], recognized)
            figures["resting"] = _with_resting(trained, corrected[-1], offset, faces, recognized.labels, resting_weight)
            models[name][mixture] = figures
        rows = {name: models[name][mixture] for name in cards}
        compare_to_first(rows, corrected, recognized.labels)
    read = [*recognized.pictures, *recognized.missed]
    return {
        "pictures": len(read) + len(recognized.broken),
        "recognized": len(recognized.pictures),
        "missed": len(recognized.missed),
        "broken": len(recognized.broken),
        "several_faces": recognized.several,
        "labeled": _by_class(read),
        "missed_by_class": _by_class(recognized.missed),
        "missed_pictures": [str(picture.path) for picture in recognized.missed],
        "broken_pictures": recognized.broken,
        "models": models,
    }


def resting_faces(probabilities: np.ndarray, pictures: Sequence[LabeledPicture]) -> np.ndarray:
    """Returns the resting face of the person in each picture, from other pictures of the same person.

    It is the mean of the log-probabilities of up to `MOST_RESTING` pictures that are labeled neutral, the first ones
    listed. The picture itself is never among them.

    Args:
        probabilities: float [N, 7], as trained.
        pictures: N pictures.

    Returns:
        float64 [N, 7]; NaN where the person is unknown or has no other neutral picture.
    """
    neutral = defaultdict(list)
    for index, picture in enumerate(pictures):
        if picture.person and picture.label == _NEUTRAL:
            neutral[picture.person].append(index)
    logs = log_probabilities(probabilities)
    rest = np.full(logs.shape, np.nan)
    for index, picture in enumerate(pictures):
        others = [other for other in neutral[picture.person] if other != index] if picture.person else []
        if others:
            rest[index] = logs[others[:MOST_RESTING]].mean(axis=0)
    return rest


def _figures(probabilities: np.ndarray, recognized: Recognized) -> dict[str, Any]:
    labels = recognized.labels
    right = int((probabilities.argmax(axis=1) == labels).sum())
    count = len(labels) + len(recognized.missed)
    return {
        **score(probabilities, labels),
        "of_all": {"n": count, "accuracy": right / count, "accuracy_interval": wilson_interval(right, count)},
        "confusion": confusion(probabilities, labels).tolist(),
        "reliability": reliability_diagram(probabilities, labels),
    }


def _with_resting(
    trained: np.ndarray, corrected: np.ndarray, offset: np.ndarray, rest: np.ndarray, labels: np.ndarray, weight: float
) -> dict[str, Any] | None:
    known = ~np.isnan(rest[:, 0])
    if not known.any():
        return None
    labels, without = labels[known], corrected[known]
    rested = correct(trained[known], offset + resting_offset(rest[known], weight))
    only_without, only_with, p = mcnemar(without.argmax(axis=1) == labels, rested.argmax(axis=1) == labels)
    return {
        "n": len(labels),
        "without": score(without, labels),
        "with_resting": score(rested, labels),
        "mcnemar": {"only_without": only_without, "only_with": only_with, "p": p},
    }


def _by_class(pictures: Sequence[LabeledPicture]) -> dict[str, int]:
    counts = Counter(picture.label for picture in pictures)
    return {name: counts[index] for index, name in enumerate(CLASSES)}
