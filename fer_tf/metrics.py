"""What a classifier is measured by: accuracy with its confidence interval, F1, recall and calibration."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from fer_tf.classes import CLASSES


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns the figures of a classifier on some images, ready for JSON.

    Args:
        probabilities: float [N, 7], N > 0.
        labels: int [N].

    Returns:
        `n`; `accuracy`, with `accuracy_interval`, its 95 % Wilson interval; `balanced_accuracy`, the mean recall, and
        `macro_f1`, both over the classes that occur; `cross_entropy`, the mean of `negative_log_likelihood`; `ece`, the
        `expected_calibration_error`; `recall` by class, None for a class that does not occur.
    """
    counts = confusion(probabilities, labels)
    right, labeled, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    present = labeled > 0
    recall = right / np.maximum(labeled, 1)
    f1 = 2 * right / np.maximum(labeled + predicted, 1)
    return {
        "n": len(labels),
        "accuracy": int(right.sum()) / len(labels),
        "accuracy_interval": wilson_interval(int(right.sum()), len(labels)),
        "balanced_accuracy": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
        "cross_entropy": float(negative_log_likelihood(probabilities, labels).mean()),
        "ece": expected_calibration_error(probabilities, labels),
        "recall": {name: float(recall[i]) if present[i] else None for i, name in enumerate(CLASSES)},
    }


def measure(probabilities: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> dict[str, Any]:
    """Returns the figures of one split, ready for JSON.

    Args:
        probabilities: float [N, 7], calibrated, N > 0.
        labels: int [N].
        temperature: What the calibration divided the logits by; `ece_before` undoes it.

    Returns:
        What `score` returns, with `ece_before` and `ece_after` the temperature instead of `ece`.
    """
    figures = score(probabilities, labels)
    after = figures.pop("ece")
    before = expected_calibration_error(_uncalibrated(probabilities, temperature), labels)
    return {**figures, "ece_before": before, "ece_after": after}


def diagnose(probabilities: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> dict[str, Any]:
    """Returns the confusions and the calibration of a classifier on one split, ready for JSON.

    Args:
        probabilities: float [N, 7], calibrated, N > 0.
        labels: int [N].
        temperature: What the calibration divided the logits by.

    Returns:
        `confusion`: numbers of images, a row for each label and a column for each prediction. `recall`: for each class
        that occurs, `n`, `value` and the 95 % Wilson `interval`. `reliability_before` and `reliability_after` the
        temperature: for each of ten bins of confidence, the mean `confidence`, the `accuracy` (both None if it is
        empty) and `n`. `coverage`: the `accuracy` on each `share` of the images, the most confident first.
    """
    table = confusion(probabilities, labels)
    shares = np.linspace(0.05, 1, 20).round(2)
    report: dict[str, Any] = {"confusion": table.tolist(), "recall": {}}
    for index, name in enumerate(CLASSES):
        if count := int(table[index].sum()):
            right = int(table[index, index])
            report["recall"][name] = {"n": count, "value": right / count, "interval": wilson_interval(right, count)}
    for when, found in (("before", _uncalibrated(probabilities, temperature)), ("after", probabilities)):
        report[f"reliability_{when}"] = reliability_diagram(found, labels)
    report["coverage"] = {"share": shares.tolist(), "accuracy": coverage(probabilities, labels, shares.tolist())}
    return report


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns numbers of images, int [7, 7]: a row for each label and a column for each prediction."""
    size = len(CLASSES)
    return np.bincount(labels * size + probabilities.argmax(axis=1), minlength=size * size).reshape(size, size)


def wilson_interval(right: int, count: int) -> list[float]:
    """Returns the 95 % Wilson interval, low and high, of a share that is `right` of `count`, which is above 0.

    Source: E. B. Wilson: Probable Inference, the Law of Succession, and Statistical Inference. JASA 22, 1927.
    """
    z = NormalDist().inv_cdf(0.975)
    center = (right + z**2 / 2) / (count + z**2)
    reach = z * math.sqrt(right * (count - right) / count + z**2 / 4) / (count + z**2)
    return [max(0.0, center - reach) if right else 0.0, min(1.0, center + reach) if right < count else 1.0]


def _uncalibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns probabilities as they were before the logits were divided by a temperature."""
    powers = np.asarray(probabilities, np.float64) ** temperature
    return powers / powers.sum(axis=1, keepdims=True)


def measure_votes(probabilities: np.ndarray, shares: np.ndarray, majority: np.ndarray) -> dict[str, Any]:
    """Returns how well probabilities agree with votes.

    Args:
        probabilities: float [N, 7].
        shares: float [N, 7]: of the votes for each image, as in `fer_tf.ferplus.Votes`; zeros where there is none.
        majority: int [N]: the class with the most votes; −1 where there is none.

    Returns:
        `accuracy` over the `n` images that have a majority, with its 95 % Wilson `accuracy_interval`; `cross_entropy`
        to the votes, in nats, over the `n_voted` images that have any. None of no images.
    """
    known, voted = majority >= 0, shares.any(axis=1)
    right = int((probabilities.argmax(axis=1) == majority)[known].sum())
    count = int(known.sum())
    log = np.log(np.maximum(probabilities[voted], np.finfo(np.float32).tiny))
    return {
        "n": count,
        "accuracy": right / count if count else None,
        "accuracy_interval": wilson_interval(right, count) if count else None,
        "n_voted": int(voted.sum()),
        "cross_entropy": float(-(shares[voted] * log).sum(axis=1).mean()) if voted.any() else None,
    }


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the loss of each image in nats, float [N], from probabilities, float [N, C], and labels, int [N]."""
    given = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(given, np.finfo(np.float32).tiny))


def paired_difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float | None]:
    """Returns how far the mean of `other` is above the mean of `one`, and the standard error of that difference.

    The same images are hard for most models, so this error is far below that of either mean. Two models can be told
    apart by their `negative_log_likelihood` long before their accuracies differ significantly.

    Args:
        one: float [N], a value for each image, N > 0.
        other: float [N], for the same images.

    Returns:
        The difference and its standard error, which is None for a single image.
    """
    differences = np.subtract(other, one, dtype=np.float64)
    error = float(differences.std(ddof=1) / np.sqrt(len(differences))) if len(differences) > 1 else None
    return float(differences.mean()), error


def mcnemar(one: np.ndarray, other: np.ndarray) -> tuple[int, int, float]:
    """Compares two classifiers on the same images by McNemar's exact test.

    Source: Q. McNemar: Note on the Sampling Error of the Difference Between Correlated Proportions. Psychometrika 12,
    1947.

    Args:
        one: bool [N]: where the first is right.
        other: bool [N]: where the second is right.

    Returns:
        How many images only the first gets right, how many only the second, and the probability (p-value) of a split at
        least as uneven if neither were better.
    """
    first, second = int((one & ~other).sum()), int((~one & other).sum())
    discordant = first + second
    term = total = 1
    for successes in range(min(first, second)):
        term = term * (discordant - successes) // (successes + 1)
        total += term
    return first, second, min(1.0, 2 * total / 2**discordant)


def compare_to_first(rows: dict[str, dict[str, Any]], probabilities: Sequence[np.ndarray], labels: np.ndarray) -> None:
    """Adds `mcnemar` and `cross_entropy_difference` to the figures of each model but the first: how it differs from it.

    Args:
        rows: By the name of each model, what `score` or `measure` returned.
        probabilities: Of each model, float [N, 7] for the same images.
        labels: int [N].
    """
    first, *others = rows
    (right, losses), *rest = (
        (given.argmax(axis=1) == labels, negative_log_likelihood(given, labels)) for given in probabilities
    )
    for name, (also_right, other_losses) in zip(others, rest, strict=True):
        only_first, only_this, p = mcnemar(right, also_right)
        difference, error = paired_difference(losses, other_losses)
        rows[name]["mcnemar"] = {"against": first, "only_first": only_first, "only_this": only_this, "p": p}
        rows[name]["cross_entropy_difference"] = {"against": first, "value": difference, "standard_error": error}


def coverage(probabilities: np.ndarray, labels: np.ndarray, shares: Sequence[float]) -> list[float]:
    """Returns the accuracy on the most confident images, for each share of them.

    Args:
        probabilities: float [N, C].
        labels: int [N].
        shares: Of the images, above 0 to 1; at least one image is taken.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    return [float(right[: max(1, round(share * len(labels)))].mean()) for share in shares]


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> tuple[np.ndarray, ...]:
    """Returns mean confidence, accuracy and number of images of each bin of confidence: float, float and int [bins].

    The bins have equal width over 0 to 1, and each is open on the left. The means of an empty bin are NaN.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = (np.bincount(index, weights=values, minlength=bins) / counts for values in (confidence, right))
        return (*means, counts)


def reliability_diagram(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, list]:
    """Returns `reliability` ready for JSON: `confidence` and `accuracy`, None where a bin is empty, and `n`."""
    *means, counts = reliability(probabilities, labels)
    filled = [[value if count else None for value, count in zip(mean.tolist(), counts, strict=True)] for mean in means]
    return {"confidence": filled[0], "accuracy": filled[1], "n": counts.tolist()}


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Returns the mean gap between confidence and accuracy, over bins of equal width weighted by what lies in them.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, arXiv 1706.04599.

    Args:
        probabilities: float [N, C].
        labels: int [N].
        bins: Number of bins over 0 to 1, each open on the left.
    """
    confidence, accuracy, counts = reliability(probabilities, labels, bins)
    return float(np.nansum(np.abs(accuracy - confidence) * counts) / len(labels))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature, 0.05 to 20, with the least cross-entropy of softmax(logits / temperature).

    On a few images, which may all be right, the optimum can be an extreme temperature. So its logarithm has a prior,
    normal around 0 with a variance of 1/2, which thousands of images outweigh.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, arXiv 1706.04599.

    Args:
        logits: float [N, C].
        labels: int [N].
    """
    from scipy.optimize import minimize_scalar  # which those who only measure do without
    from scipy.special import log_softmax

    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        log_likelihood = log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].sum()
        return (log_temperature**2 - log_likelihood) / len(labels)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))
