import itertools

import numpy as np

from fer_tf.classes import CLASSES
from fer_tf.realtime.steady import LABELS, NOTHING, steady

HAPPY, SAD = CLASSES.index("happy"), CLASSES.index("sad")


def play(happy, sad, min_confidence=0.4):
    """Returns what a face is shown as while the probabilities of two expressions change; the others share the rest."""
    shown, index = [], np.array([NOTHING])
    for pair in zip(happy, sad, strict=True):
        row = np.full(7, (1 - sum(pair)) / 5)
        row[[HAPPY, SAD]] = pair
        index = steady(index, row[None], min_confidence)
        shown.append(LABELS[index[0]])
    return shown


def test_the_first_frame_goes_by_the_confidence_asked_for():
    assert play([0.4], [0.1]) == ["happy"]
    assert play([0.39], [0.1]) == ["uncertain"]
    assert play([0.3], [0.1], min_confidence=0) == ["happy"]
    assert play([1.0], [0.0], min_confidence=1) == ["happy"]


def test_a_label_appears_higher_than_it_goes():
    happy = [0.39, 0.41, 0.44, 0.46, 0.44, 0.38, 0.36, 0.34, 0.36, 0.44, 0.46]
    shown = play(happy, [0.1] * len(happy))
    assert shown == ["uncertain"] * 3 + ["happy"] * 4 + ["uncertain"] * 3 + ["happy"]


def test_another_label_must_be_better_by_a_margin():
    happy = [0.5, 0.44, 0.43, 0.40, 0.43, 0.44, 0.49]
    sad = [0.3, 0.46, 0.47, 0.50, 0.47, 0.46, 0.41]
    assert play(happy, sad) == ["happy", "happy", "happy", "sad", "sad", "sad", "happy"]


def test_a_doubtful_face_gets_the_best_label_once_it_is_sure_and_not_the_former_one():
    assert play([0.5, 0.30, 0.45], [0.3, 0.32, 0.47]) == ["happy", "uncertain", "sad"]


def test_doubt_is_about_the_most_probable_expression():
    assert play([0.5, 0.33, 0.33], [0.1, 0.36, 0.34]) == ["happy", "happy", "uncertain"]


def test_extreme_thresholds():
    assert play([0.9, 0.99, 1.0, 0.96, 0.94], [0.0] * 5, min_confidence=1) == ["uncertain"] * 2 + ["happy"] * 2 + [
        "uncertain"
    ]
    assert play([0.2, 0.16], [0.15, 0.15], min_confidence=0) == ["happy"] * 2


def test_many_faces_and_models_at_once_are_as_each_alone():
    random = np.random.default_rng(0)
    rows = random.dirichlet(np.full(7, 0.5), (60, 3, 2))
    rows = np.cumsum(rows, axis=0) / np.arange(1, 61)[:, None, None, None]
    together = alone = np.full((3, 2), NOTHING)
    for row in rows:
        together = steady(together, row, 0.3)
        alone = np.array([[steady(alone[i, j], row[i, j], 0.3) for j in range(2)] for i in range(3)])
        np.testing.assert_array_equal(together, alone)


def changes(labels):
    return sum(one != other for one, other in itertools.pairwise(labels))


def test_noise_around_a_threshold_or_between_two_labels_is_not_seen():
    noise = np.random.default_rng(0).normal(0, 0.015, 500)
    for happy, sad in ((0.4 + noise, np.full(500, 0.1)), (0.45 + noise / 2, 0.45 - noise / 2)):
        best = np.where(happy > sad, "happy", "sad")
        assert changes(np.where(np.maximum(happy, sad) >= 0.4, best, "uncertain")) > 100
        assert changes(play(happy, sad)) <= 2
