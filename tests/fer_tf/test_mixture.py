import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from fer_tf import fer2013
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.mixture import (
    FER2013_COUNTS,
    NEUTRAL,
    PRESETS,
    average_shares,
    correct,
    expected_shares,
    log_probabilities,
    mixture_offset,
    resting_offset,
    training_shares,
)

FER2013 = np.array([3995, 436, 4097, 7215, 4965, 4830, 3171]) / 28709
EVERYDAY = [0.06, 0.02, 0.03, 0.30, 0.45, 0.09, 0.05]


@pytest.fixture
def rows():
    return np.random.default_rng(0).dirichlet(np.ones(7), 50).astype(np.float32)


@pytest.fixture
def points():
    """Points of seven overlapping classes, which are as frequent as in FER-2013, and others to ask about."""
    random = np.random.default_rng(0)
    labels = random.choice(7, 20_000, p=FER2013)
    return random.normal(random.normal(0, 1.5, (7, 3))[labels], 1), labels, random.normal(0, 2, (500, 3))


def test_the_counts_are_those_of_the_training_split(fer2013_path):
    labels = fer2013.load(fer2013_path).train.labels
    assert tuple(np.bincount(labels, minlength=7)) == FER2013_COUNTS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_mixtures(name):
    shares = expected_shares(name)
    assert shares.sum() == pytest.approx(1)
    assert shares.min() > 0
    shares[:] = 0
    assert expected_shares(f" {name.upper()} ").sum() == pytest.approx(1)


def test_the_presets_are_those_of_the_page():
    np.testing.assert_allclose(expected_shares("everyday"), EVERYDAY)
    np.testing.assert_allclose(expected_shares("even"), np.full(7, 1 / 7))
    np.testing.assert_allclose(expected_shares("fer2013"), FER2013)


@pytest.mark.parametrize(
    "expect", ["happy=.3,neutral=.5", " Neutral = 0.5 , happiness=0.30", {"happy": 0.3, "neutral": 0.5}]
)
def test_classes_that_are_not_named_share_the_rest_as_fer2013_has_them(expect):
    shares = expected_shares(expect)
    assert shares[CLASSES.index("happy")] == pytest.approx(0.3)
    assert shares[CLASSES.index("neutral")] == pytest.approx(0.5)
    others = [0, 1, 2, 5, 6]
    np.testing.assert_allclose(shares[others], 0.2 * FER2013[others] / FER2013[others].sum())


def test_all_seven_may_be_named_and_rounded():
    text = ",".join(f"{name}={share:.2f}" for name, share in zip(CLASSES, np.full(7, 1 / 7), strict=True))
    np.testing.assert_allclose(expected_shares(text), np.full(7, 1 / 7))


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("", "expected everyday, even, fer2013, or shares such as"),
        ("studio", "'studio' is neither a preset nor a share"),
        ("happy", "'happy' is neither"),
        ("happy=.3,", "'' is neither"),
        ("smile=.3", "'smile' is no expression; expected some of angry, disgust"),
        ("=.3", "'' is no expression"),
        ("happy=30", "share of happy is '30'; expected a number from 0 to 1"),
        ("happy=30%", "share of happy is '30%'"),
        ("happy=-.1", "'-.1'"),
        ("happy=nan", "'nan'"),
        ("happy=", "''"),
        ("happy=.3=.4", "'.3=.4'"),
        ("happy=.3,happiness=.3", "names happy twice"),
        ("happy=.6,sad=.6", "sum to 1.2; expected at most 1"),
        (dict.fromkeys(CLASSES, 0.1), "all seven sum to 0.7; expected 1"),
        ({"happy": None}, "share of happy is None"),
        (0.3, "expect is 0.3"),
        (None, "expect is None"),
    ],
)
def test_what_is_no_mixture_is_said_in_one_line(expect, message):
    with pytest.raises(UserError, match=r"^expect") as caught:
        expected_shares(expect)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_correction_by_hand():
    """Two classes at even odds; the first is expected twice as often as it was trained on, the second half as often."""
    training, expected = np.full(7, 1 / 7), np.array([2, 0.5, 0.9, 0.9, 0.9, 0.9, 0.9]) / 7
    answer = correct(np.array([0.5, 0.5, 0, 0, 0, 0, 0]), mixture_offset(expected, training))
    np.testing.assert_allclose(answer, [0.8, 0.2, 0, 0, 0, 0, 0], atol=1e-5)
    assert answer.dtype == np.float32


def test_probabilities_times_expected_share_over_training_share(rows):
    weighted = rows * EVERYDAY / FER2013
    expected = weighted / weighted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(correct(rows, mixture_offset(np.array(EVERYDAY))), expected, atol=1e-6)
    several = correct(rows.reshape(5, 2, 5, 7), mixture_offset(np.array(EVERYDAY)))
    np.testing.assert_allclose(several.reshape(-1, 7), expected, atol=1e-6)


def test_the_mixture_of_the_training_changes_nothing(rows):
    np.testing.assert_array_equal(correct(rows, mixture_offset(expected_shares("fer2013"))), rows)
    np.testing.assert_array_equal(correct(rows, mixture_offset(np.full(7, 1 / 7), (1 / 7,) * 7)), rows)


@pytest.mark.parametrize("model", [GaussianNB, LinearDiscriminantAnalysis])
def test_a_generative_model_with_other_priors_answers_the_same(model, points):
    """Which scikit-learn's models take as an argument."""
    train, labels, asked = points
    as_trained, expected = (
        model(priors=priors).fit(train, labels).predict_proba(asked) for priors in (FER2013, EVERYDAY)
    )
    assert abs(as_trained - expected).max() > 0.1
    found = correct(as_trained, mixture_offset(np.array(EVERYDAY), FER2013))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_classifier_that_is_trained_anew_on_the_other_mixture_answers_nearly_the_same(points):
    train, labels, asked = points
    weights = np.array(EVERYDAY)[labels] / (np.bincount(labels) / len(labels))[labels]
    as_trained, anew = (
        LogisticRegression(C=1e6, max_iter=1000).fit(train, labels, sample_weight=weight).predict_proba(asked)
        for weight in (None, weights)
    )
    assert abs(as_trained - anew).max() > 0.1
    found = correct(as_trained, mixture_offset(np.array(EVERYDAY), np.bincount(labels) / len(labels)))
    assert abs(found - anew).max() < 0.1
    assert abs(found - anew).mean() < 0.003 < 0.1 * abs(as_trained - anew).mean()


def test_what_is_not_expected_at_all_is_not_answered():
    offset = mixture_offset(expected_shares("happy=.4,neutral=.6"))
    answers = correct(np.eye(7, dtype=np.float32), offset)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert (answers[:, [0, 1, 2, 5, 6]] == 0).all()
    assert answers[3, 3] > 0.999


def test_a_class_without_training_images_does_not_win_by_division():
    training = (0.25, 0.0, 0.15, 0.15, 0.15, 0.15, 0.15)
    row = np.array([0.3, 1e-7, 0.1, 0.2, 0.2, 0.1, 0.1])
    answer = correct(row, mixture_offset(expected_shares("even"), training))
    assert np.isfinite(answer).all()
    assert answer[1] < 0.001
    smoothed = np.array([0, 0, 0, 0, 0.9, 0, 0]) + 0.1 / 7  # what label smoothing of 0.1 teaches of a neutral face
    answer = correct(smoothed, mixture_offset(expected_shares("even"), training))
    assert CLASSES[answer.argmax()] == "neutral"


def test_training_shares_are_told_unless_they_are_fer2013s():
    fer = np.repeat(np.arange(7), FER2013_COUNTS)
    assert training_shares(fer) is None
    assert training_shares(np.random.default_rng(0).permutation(fer)[:-11]) is None
    assert training_shares(np.array([0, 3, 3, 4])) == (0.25, 0, 0, 0.5, 0.25, 0, 0)
    assert training_shares(fer[fer != 1])[1] == 0  # FER-2013 without disgust


def test_an_average_of_models_was_trained_on_the_average_of_their_mixtures():
    assert average_shares([None, None]) is None
    np.testing.assert_allclose(average_shares([None, [1 / 7] * 7]), (FER2013 + 1 / 7) / 2)


def test_a_resting_face_by_hand():
    """At weight 1 a face that looks as at rest gets the neutral template, whatever the model says of it."""
    rest = np.array([0.5, 0.02, 0.1, 0.08, 0.2, 0.05, 0.05])
    offset = resting_offset(np.log(rest), 1.0)
    np.testing.assert_allclose(correct(rest, offset), [0.04, 0.01, 0.04, 0.06, 0.70, 0.12, 0.03], atol=1e-6)
    half = np.sqrt(rest * NEUTRAL)
    np.testing.assert_allclose(correct(rest, resting_offset(np.log(rest), 0.5)), half / half.sum(), atol=1e-6)
    np.testing.assert_array_equal(correct(rest, resting_offset(np.log(rest), 0.0)), rest.astype(np.float32))


def test_both_corrections_add_up_and_a_resting_face_like_the_template_changes_nothing(rows):
    mixed = mixture_offset(np.array(EVERYDAY))
    np.testing.assert_allclose(resting_offset(np.log(NEUTRAL), 0.7), 0, atol=1e-12)
    rest = np.log(rows[0])
    weighted = rows * EVERYDAY / FER2013 * (rows[0] / NEUTRAL) ** -0.5
    expected = weighted / weighted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(correct(rows, mixed + resting_offset(rest, 0.5)), expected, atol=1e-6)


def test_what_is_a_persons_own_is_taken_away(rows):
    """The model says of this person more of some classes, by the same factors whatever the face shows."""
    own = np.exp(np.random.default_rng(1).normal(0, 1, 7))
    shown = rows * own / (rows * own).sum(axis=1, keepdims=True)
    at_rest = NEUTRAL * own / (NEUTRAL * own).sum()
    np.testing.assert_allclose(correct(shown, resting_offset(np.log(at_rest), 1.0)), rows, atol=1e-6)
    halfway = correct(shown, resting_offset(np.log(at_rest), 0.5))
    assert abs(halfway - rows).mean() < abs(shown - rows).mean()


def test_logarithms_are_finite():
    np.testing.assert_allclose(
        log_probabilities(np.array([1, 0.5, 0, 1e-9], np.float32)), [0, np.log(0.5), *[np.log(1e-6)] * 2]
    )
    impossible = resting_offset(log_probabilities(np.eye(7)[0]), 0.5)
    assert np.isfinite(correct(np.eye(7), impossible)).all()
