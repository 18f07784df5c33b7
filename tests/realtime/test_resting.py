import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.realtime.resting import RestingFace, check_resting


@pytest.fixture
def rows():
    """What two models say of a face in 400 frames."""
    return np.random.default_rng(0).dirichlet(np.ones(7), (400, 2)).astype(np.float32)


def test_nothing_is_known_of_a_face_that_is_never_at_rest(rows):
    face = RestingFace(2, None, 0.0)
    assert [face.see(row, n / 25) for n, row in enumerate(rows)] == [None] * len(rows)
    assert face.state == ""


def test_the_first_seconds_are_averaged_in_logarithms(rows):
    face = RestingFace(2, 2.0, 10.0)
    found = [face.see(row, 10 + n / 25) for n, row in enumerate(rows)]
    assert found[:50] == [None] * 50
    for rest in found[50:]:
        np.testing.assert_allclose(rest, np.log(rows[:50].astype(float)).mean(axis=0), atol=1e-6)


def test_a_face_may_be_taken_again_and_the_older_one_is_forgotten_at_once(rows):
    face = RestingFace(2, None, 0.0)
    states, found = [], []
    for n, row in enumerate(rows):
        if n in (20, 100):
            face.take(1.0, n / 25)
        found.append(face.see(row, n / 25))
        states.append(face.state)
    assert states == [""] * 20 + ["taking"] * 25 + ["taken"] * 55 + ["taking"] * 25 + ["taken"] * 275
    assert [rest is not None for rest in found] == [state == "taken" for state in states]
    np.testing.assert_allclose(found[99], np.log(rows[20:45].astype(float)).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found[-1], np.log(rows[100:125].astype(float)).mean(axis=0), atol=1e-6)


def test_a_camera_slower_than_the_second_still_gives_a_frame(rows):
    face = RestingFace(2, 1.0, 0.0)
    assert face.see(rows[0], 3.0) is None
    np.testing.assert_allclose(face.see(rows[1], 6.0), np.log(rows[0].astype(float)), atol=1e-6)


def test_the_median_is_that_of_the_track_so_far(rows):
    face = RestingFace(2, "auto", 5.0)
    for n, row in enumerate(rows):
        rest = face.see(row, 5 + n / 25)
        if n < 25:  # of a face that was hardly seen, nothing is known
            assert rest is None
        else:
            np.testing.assert_allclose(rest, np.median(np.log(rows[: n + 1].astype(float)), axis=0), atol=0.0501)
    assert face.state == "taken"


def test_the_median_of_extremes_and_of_ties():
    face = RestingFace(1, "auto", 0.0)
    for n in range(100):
        rest = face.see(np.eye(7)[[3]] if n % 2 else np.eye(7)[[4]], float(n))
    expected = np.full(7, np.log(1e-6))
    expected[3:5] /= 2  # halfway between certain and impossible
    np.testing.assert_allclose(rest[0], expected, atol=0.0501)


def test_a_key_takes_the_place_of_the_median(rows):
    face = RestingFace(2, "auto", 0.0)
    for n, row in enumerate(rows):
        if n == 100:
            face.take(1.0, n / 25)
        rest = face.see(row, n / 25)
    np.testing.assert_allclose(rest, np.log(rows[100:125].astype(float)).mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("resting", [0, -1, float("inf"), float("nan"), True, "all", [1]])
def test_when_a_face_is_at_rest_must_be_said_rightly(resting):
    with pytest.raises(UserError, match="resting must be a number of seconds above 0, auto or None"):
        check_resting(resting, 0.5)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_the_weight_is_a_share(weight):
    with pytest.raises(UserError, match="resting_weight must lie between 0 and 1"):
        check_resting(None, weight)
