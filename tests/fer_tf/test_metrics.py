import json

import numpy as np
import pytest
from scipy.special import rel_entr
from scipy.stats import binomtest, entropy, ttest_rel
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
)

from fer_tf.classes import CLASSES

metrics = pytest.importorskip("fer_tf.metrics")


@pytest.fixture
def predictions():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (500, 7))
    labels = np.where(random.random(500) < 0.6, logits.argmax(axis=1), random.integers(0, 7, 500))
    return logits, labels


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_figures_by_hand():
    labels = np.array([0, 0, 1, 1, 3])
    predicted = np.array([0, 1, 1, 1, 0])
    probabilities = np.full((5, 7), 0.05)
    probabilities[np.arange(5), predicted] = 0.7
    figures = metrics.measure(probabilities, labels)
    assert figures["n"] == 5
    assert figures["accuracy"] == pytest.approx(3 / 5)
    # F1 of angry: precision 1/2, recall 1/2; disgust: 2/3 and 1; happy: 0.
    assert figures["macro_f1"] == pytest.approx((0.5 + 0.8 + 0) / 3)
    assert figures["recall"] == {name: {0: 0.5, 1: 1.0, 3: 0.0}.get(i) for i, name in enumerate(CLASSES)}
    assert figures["ece_after"] == pytest.approx(0.1)


def wilson(right, count):
    """The interval by its formula."""
    p, n, z = right / count, count, 1.959963984540054
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return [center - half, center + half]


def test_accuracy_has_a_wilson_interval(predictions):
    logits, labels = predictions
    figures = metrics.measure(softmax(logits), labels)
    assert figures["accuracy_interval"] == pytest.approx(wilson((logits.argmax(axis=1) == labels).sum(), 500))


def test_cross_entropy_is_that_of_scikit_learn(predictions):
    logits, labels = predictions
    probabilities = softmax(logits)
    expected = log_loss(labels, probabilities, labels=range(7))
    assert metrics.measure(probabilities, labels)["cross_entropy"] == pytest.approx(expected)
    never = np.where(np.arange(7) == labels[:, None], 0, probabilities)
    assert np.isfinite(metrics.measure(never, labels)["cross_entropy"])


def test_calibration_error_by_a_loop(predictions):
    logits, labels = predictions
    probabilities = softmax(logits)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = 0.0
    for k in range(15):
        chosen = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if chosen.any():
            expected += chosen.mean() * abs(right[chosen].mean() - confidence[chosen].mean())
    assert metrics.expected_calibration_error(probabilities, labels) == pytest.approx(expected)


def test_error_before_the_temperature_is_that_of_the_raw_softmax(predictions):
    logits, labels = predictions
    figures = metrics.measure(softmax(logits / 2.5), labels, temperature=2.5)
    raw = metrics.expected_calibration_error(softmax(logits), labels)
    assert figures["ece_before"] == pytest.approx(raw, abs=1e-9)


def test_temperature_is_the_least_cross_entropy_of_a_grid(predictions):
    logits, labels = predictions
    rows = np.arange(len(labels))
    grid = np.geomspace(0.1, 10, 2001)
    losses = [-np.log(softmax(logits / t)[rows, labels]).mean() for t in grid]
    assert metrics.fit_temperature(logits, labels) == pytest.approx(grid[int(np.argmin(losses))], rel=5e-3)


def test_temperature_of_a_few_images_that_are_all_right_or_all_wrong_is_not_extreme():
    random = np.random.default_rng(5)
    logits = random.normal(0, 2, (12, 7))
    right, wrong = logits.argmax(axis=1), logits.argmin(axis=1)
    assert 0.2 < metrics.fit_temperature(logits, right) < 1
    assert 1 < metrics.fit_temperature(logits, wrong) < 10


def test_temperature_recovers_a_known_scale():
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (20_000, 7))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from softmax(logits)
    assert metrics.fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)


def test_scikit_learn_agrees_where_classes_are_missing(predictions):
    logits, labels = predictions
    few = np.isin(labels, (0, 3, 4))
    probabilities, labels = softmax(logits[few]), labels[few]
    predicted = probabilities.argmax(axis=1)
    figures = metrics.score(probabilities, labels)
    expected = recall_score(labels, predicted, labels=(0, 3, 4), average="macro")
    assert figures["balanced_accuracy"] == pytest.approx(expected)
    expected = f1_score(labels, predicted, labels=(0, 3, 4), average="macro")
    assert figures["macro_f1"] == pytest.approx(expected)
    np.testing.assert_array_equal(
        metrics.confusion(probabilities, labels), confusion_matrix(labels, predicted, labels=range(7))
    )
    assert list(figures["recall"].values()).count(None) == 4


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (0, 90), (90, 90), (3, 1000), (7123, 10_000)])
def test_intervals_are_scipys(right, count):
    expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert metrics.wilson_interval(right, count) == pytest.approx([expected.low, expected.high], abs=1e-12)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (5, 5), (2, 9), (40, 17), (900, 1100), (3000, 1000)])
def test_mcnemars_p_is_scipys(first, second):
    one, other = (np.repeat([a, b, True], [first, second, 10]) for a, b in ((True, False), (False, True)))
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert metrics.mcnemar(one, other) == (first, second, pytest.approx(expected, rel=1e-9))


def test_scikit_learn_agrees(predictions):
    logits, labels = predictions
    figures = metrics.measure(softmax(logits), labels)
    predicted = logits.argmax(axis=1)
    assert figures["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert np.mean(list(figures["recall"].values())) == pytest.approx(figures["balanced_accuracy"])


def test_votes_are_compared_where_there_is_a_majority():
    random = np.random.default_rng(0)
    probabilities, shares = random.dirichlet(np.ones(7), 40), random.dirichlet(np.ones(7), 40)
    majority = np.where(np.arange(40) % 5, shares.argmax(axis=1), -1)
    shares[::10] = 0  # all votes are for other columns
    known, voted = majority >= 0, np.arange(40) % 10 > 0
    figures = metrics.measure_votes(probabilities, shares, majority)
    assert (figures["n"], figures["n_voted"]) == (32, 36)
    right = accuracy_score(majority[known], probabilities[known].argmax(axis=1), normalize=False)
    assert figures["accuracy"] == right / 32
    assert figures["accuracy_interval"] == pytest.approx(wilson(right, 32))
    # Cross-entropy is what the divergence of the two has beyond the entropy of the votes.
    divergence = rel_entr(shares[voted], probabilities[voted]).sum(axis=1) + entropy(shares[voted], axis=1)
    assert figures["cross_entropy"] == pytest.approx(divergence.mean())
    none = metrics.measure_votes(probabilities, np.zeros((40, 7)), np.full(40, -1))
    assert none == {"n": 0, "accuracy": None, "accuracy_interval": None, "n_voted": 0, "cross_entropy": None}


def test_a_diagnosis_is_that_of_scikit_learn(predictions):
    logits, labels = predictions
    logits, labels = logits[labels != 1], labels[labels != 1]
    probabilities = softmax(logits / 2)
    found = metrics.diagnose(probabilities, labels, temperature=2.0)
    predicted = logits.argmax(axis=1)
    np.testing.assert_array_equal(found["confusion"], confusion_matrix(labels, predicted, labels=range(7)))
    recall = recall_score(labels, predicted, labels=range(7), average=None, zero_division=0)
    assert "disgust" not in found["recall"]
    for index, name in enumerate(CLASSES):
        if index != 1:
            row = found["recall"][name]
            assert (row["n"], row["value"]) == ((labels == index).sum(), pytest.approx(recall[index]))
            assert row["interval"] == pytest.approx(wilson(round(row["value"] * row["n"]), row["n"]))
    for when, other in (("before", softmax(logits)), ("after", probabilities)):
        confidence, accuracy, counts = metrics.reliability(other, labels)
        bins = found[f"reliability_{when}"]
        assert bins["n"] == counts.tolist()
        np.testing.assert_allclose(np.array(bins["accuracy"], float), accuracy)  # None is NaN
        np.testing.assert_allclose(np.array(bins["confidence"], float), confidence)
    assert found["coverage"]["share"][-1] == 1
    assert found["coverage"]["accuracy"][-1] == accuracy_score(labels, predicted)
    json.dumps(found, allow_nan=False)


def test_mcnemar_counts_what_only_one_has_right():
    one = np.array([True] * 10 + [False] * 2 + [True] * 5 + [False] * 3)
    other = np.array([False] * 10 + [True] * 2 + [True] * 5 + [False] * 3)
    first, second, p = metrics.mcnemar(one, other)
    assert (first, second) == (10, 2)
    # Twelve throws of a coin: 0, 1, 2, 10, 11 or 12 heads.
    assert p == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert metrics.mcnemar(one, one) == (0, 0, 1.0)


def test_a_paired_difference_is_that_of_the_paired_t_test(predictions):
    logits, labels = predictions
    one, other = (metrics.negative_log_likelihood(softmax(logits / temperature), labels) for temperature in (1.0, 1.5))
    difference, error = metrics.paired_difference(one, other)
    assert difference == pytest.approx(other.mean() - one.mean())
    assert difference / error == pytest.approx(ttest_rel(other, one).statistic)
    assert metrics.paired_difference(one[:1], other[:1]) == (pytest.approx(other[0] - one[0]), None)


def test_coverage_takes_the_surest():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    labels = np.array([0, 1, 1, 1])
    assert metrics.coverage(probabilities, labels, [0.01, 0.5, 0.75, 1.0]) == pytest.approx([1, 0.5, 2 / 3, 0.5])


def test_reliability_is_that_of_scikit_learn(predictions):
    from sklearn.calibration import calibration_curve

    logits, labels = predictions
    probabilities = softmax(logits)
    confidence, accuracy, counts = metrics.reliability(probabilities, labels)
    right = probabilities.argmax(axis=1) == labels
    expected_accuracy, expected_confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=10)
    np.testing.assert_allclose(accuracy[counts > 0], expected_accuracy)
    np.testing.assert_allclose(confidence[counts > 0], expected_confidence)
    assert counts.sum() == len(labels)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.7, 0.2, 0.1], [0.75, 0.2, 0.05], [1.0, 0.0, 0.0]])
    counts = metrics.reliability(probabilities, np.zeros(4, int))[2]
    assert counts.tolist() == [0, 0, 0, 0, 1, 0, 1, 1, 0, 1]
    # In bins of their own, 0.5 is right by 0.5 too little and 0.6 is wrong by 0.6 too much.
    two = np.array([[0.5, 0.3, 0.2], [0.6, 0.2, 0.2]])
    assert metrics.expected_calibration_error(two, np.array([0, 1]), bins=2) == pytest.approx((0.5 + 0.6) / 2)
