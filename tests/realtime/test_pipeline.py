from types import SimpleNamespace

import numpy as np
import pytest

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.realtime.crop import crop_face
from fer_tf.realtime.detect import Detections
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.recognizer import Recognizer


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


class FakeModel:
    """Gives the rows of `answers` one after the other, and remembers what it was asked."""

    def __init__(self, answers, name="fake"):
        self.card = SimpleNamespace(name=name, training_shares=None)
        self.answers, self.calls = np.asarray(answers, np.float32), []

    def __call__(self, faces):
        self.calls.append(faces)
        rows, self.answers = np.split(self.answers, [len(faces)])
        return rows


AS_TRAINED = {"expect": "fer2013"}
"""Leaves answers as they are."""

BOXES = np.array([[90, 10, 50, 50], [5, 60, 40, 40], [50, 0, 30, 30]])


def test_each_model_is_called_once_for_all_faces(image):
    model, other = FakeModel(np.eye(7)[:3], "a"), FakeModel(np.eye(7)[3:6], "b")
    faces = Pipeline(lambda _: BOXES, model, compare=other).still(image)
    ((batch,), (other_batch,)) = model.calls, other.calls
    assert (batch.shape, batch.dtype) == ((3, 48, 48), np.uint8)
    np.testing.assert_array_equal(batch, other_batch)
    assert [face.box for face in faces] == [(5, 60, 40, 40), (50, 0, 30, 30), (90, 10, 50, 50)]
    assert [[(r.model, r.label) for r in face.readings] for face in faces] == [
        [("a", CLASSES[index]), ("b", CLASSES[index + 3])] for index in range(3)
    ]
    for face, crop in zip(faces, batch, strict=True):
        np.testing.assert_array_equal(face.crop, crop_face(image, face.box))
        np.testing.assert_array_equal(face.crop, crop)


def test_a_tilted_face_is_cut_out_level(image):
    points = np.array([[[20, 40], [40, 60], [25, 60], [15, 70], [30, 80]]], np.float32)
    model = FakeModel(np.eye(7)[:2])
    (face,) = Pipeline(lambda _: Detections(BOXES[1:2], np.ones(1), points), model).still(image)
    np.testing.assert_array_equal(face.crop, crop_face(image, face.box, points[0]))
    assert (face.crop != crop_face(image, face.box)).any()
    (face,) = Pipeline(lambda _: Detections(BOXES[1:2]), model).still(image)
    np.testing.assert_array_equal(face.crop, crop_face(image, face.box))


def test_two_models_of_one_name_can_be_told_apart(image):
    faces = Pipeline(lambda _: BOXES[:1], FakeModel(np.eye(7)[:1]), compare=FakeModel(np.eye(7)[:1])).still(image)
    assert [reading.model for reading in faces[0].readings] == ["fake", "fake (2)"]


def test_a_frame_without_faces_needs_no_recognizer(image):
    model = FakeModel([])
    assert Pipeline(lambda _: np.zeros((0, 4), np.int32), model).still(image) == []
    assert model.calls == []


@pytest.mark.parametrize("shape", [(120, 160), (120, 160, 1), (120, 160, 3), (120, 160, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_opencv_array_goes_in(shape, dtype):
    (face,) = Pipeline(lambda _: BOXES[:1], FakeModel(np.eye(7)[:1])).still(
        np.full(shape, 9 * 257, np.uint16).astype(dtype)
    )
    assert (face.crop == 9).all()


@pytest.mark.parametrize("nothing", [None, np.zeros((0, 0, 3), np.uint8), np.zeros((0, 5), np.uint8)])
def test_no_image_is_refused(nothing):
    with pytest.raises(UserError, match="no image"):
        Pipeline(lambda _: BOXES, FakeModel([])).still(nothing)
    with pytest.raises(UserError, match="no image"):
        Pipeline(lambda _: BOXES, FakeModel([]))(nothing, 0.0)


def test_smoothing_is_per_face_and_model_and_raw_is_not_smoothed(image):
    first, second = np.eye(7)[[0, 1]], np.eye(7)[[2, 3]]
    model = FakeModel(np.concatenate([first, second]))
    live = Pipeline(
        lambda _: BOXES[:2], model, compare=FakeModel(np.tile(np.eye(7)[6], (4, 1))), **AS_TRAINED, smoothing=0.5
    )
    live(image, 10.0)
    faces = live(image, 10.2)
    kept = np.exp(-0.2 / 0.5)
    for index, face in enumerate(faces):
        np.testing.assert_array_equal(face.raw, second[index])
        np.testing.assert_allclose(face.probabilities, kept * first[index] + (1 - kept) * second[index], atol=1e-6)
        np.testing.assert_allclose(face.readings[1].probabilities, np.eye(7)[6], atol=1e-6)
        assert face.label == CLASSES[index]


@pytest.mark.parametrize("detect_every", [1, 2])
def test_tracking_may_run_ahead_of_recognizing(detect_every, image):
    """A face moves, is lost for a while, and comes back beside another."""
    boxes = [[(20 + 2 * n, 30, 40, 40)] * (not 4 <= n < 6) + [(90, 60, 40, 40)] * (n >= 5) for n in range(10)]
    images = [np.roll(image, 2 * n, axis=1) for n in range(10)]
    rows = np.random.default_rng(0).dirichlet(np.ones(7), sum(map(len, boxes))).astype(np.float32)

    def pipeline():
        script = iter(boxes[::detect_every])
        return Pipeline(lambda _: np.reshape(next(script), (-1, 4)), FakeModel(rows), detect_every=detect_every)

    one, two = pipeline(), pipeline()
    expected = [one(image, n / 25) for n, image in enumerate(images)]
    tracks = [two.track(image, n / 25) for n, image in enumerate(images)]
    found = [two.recognize(image, tracked) for image, tracked in zip(images, tracks, strict=True)]
    assert max(map(len, found)) == 2
    for faces, theirs in zip(found, expected, strict=True):
        assert [(face.track, face.box) for face in faces] == [(face.track, face.box) for face in theirs]
        for face, other in zip(faces, theirs, strict=True):
            np.testing.assert_array_equal(face.crop, other.crop)
            np.testing.assert_array_equal(face.probabilities, other.probabilities)


def test_without_smoothing_probabilities_are_raw(image):
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 5).astype(np.float32)
    live = Pipeline(lambda _: BOXES[:1], FakeModel(rows), smoothing=0, **AS_TRAINED)
    for index, row in enumerate(rows):
        (face,) = live(image, index / 25)
        np.testing.assert_array_equal(face.probabilities, row)


def test_answers_are_smoothed_first_and_corrected_then_for_the_everyday_mixture(image):
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 4).astype(np.float32)
    everyday, even = (
        Pipeline(lambda _: BOXES[:1], FakeModel(rows)),
        Pipeline(lambda _: BOXES[:1], FakeModel(rows[::2]), compare=FakeModel(rows[1::2]), expect="even"),
    )
    shares = np.array([3995, 436, 4097, 7215, 4965, 4830, 3171]) / 28709
    average = rows[0].astype(float)
    for index, row in enumerate(rows):
        (face,) = everyday(image, index / 10)
        if index:
            average += (1 - np.exp(-0.1 / 0.3)) * (row - average)
        weighted = average * [0.06, 0.02, 0.03, 0.30, 0.45, 0.09, 0.05] / shares
        np.testing.assert_allclose(face.probabilities, weighted / weighted.sum(), atol=1e-6)
        np.testing.assert_array_equal(face.raw, row)
        assert face.label == CLASSES[weighted.argmax()]
        assert face.confidence == pytest.approx(weighted.max() / weighted.sum())
        assert face.certain is bool(face.confidence >= 0.4)
    (face,) = even(image, 0.0)
    for reading, row in zip(face.readings, rows, strict=False):
        np.testing.assert_allclose(reading.probabilities, row / shares / (row / shares).sum(), atol=1e-6)


def test_each_model_is_corrected_for_what_it_was_trained_on(image):
    """One whose card tells of a balanced set is left as it is where `even` is expected."""
    row = np.random.default_rng(0).dirichlet(np.ones(7)).astype(np.float32)
    model, other = FakeModel([row]), FakeModel([row])
    other.card.training_shares = (1 / 7,) * 7
    (face,) = Pipeline(lambda _: BOXES[:1], model, compare=other, expect=dict.fromkeys(CLASSES, 1 / 7)).still(image)
    assert abs(face.probabilities - row).max() > 0.05
    np.testing.assert_allclose(face.readings[1].probabilities, row, atol=1e-6)


NEUTRAL = np.array([0.04, 0.01, 0.04, 0.06, 0.70, 0.12, 0.03])


def corrected(row, rest, weight=0.5):
    """What is said of a face by a model that answers as trained, if it looks like `rest` at rest."""
    weighted = row * (rest / NEUTRAL) ** -weight
    return weighted / weighted.sum()


def rests_of(rows):
    return np.exp(np.log(rows.astype(float)).mean(axis=0))


def test_pictures_of_a_person_at_rest_correct_all_answers_about_this_person(image):
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 8).astype(np.float32)
    pictures, later = rows[:4], rows[4:]
    live = Pipeline(
        lambda _: BOXES[:1],
        FakeModel([*pictures[:2], *later[:2]]),
        compare=FakeModel([*pictures[2:], *later[2:]]),
        **AS_TRAINED,
        resting_weight=0.7,
        smoothing=0,
    )
    live.rest([image, image[..., 0]])
    for n in range(2):
        (face,) = live(image, 0.0)
        assert face.resting == "taken"
        for reading, first in zip(face.readings, (0, 2), strict=True):
            expected = corrected(later[first + n], rests_of(pictures[first : first + 2]), 0.7)
            np.testing.assert_allclose(reading.probabilities, expected, atol=1e-5)
            np.testing.assert_array_equal(reading.raw, later[first + n])
        live.reset()


@pytest.mark.parametrize(
    ("faces", "pictures", "options", "message"),
    [
        (0, 1, {}, "resting picture 1: shows no faces; expected one, at rest"),
        (2, 3, {}, "resting picture 1: shows 2 faces; expected one, at rest"),
        (1, 0, {}, "no picture of a resting face"),
        (1, 1, {"resting": "auto"}, "from pictures or from the stream"),
    ],
)
def test_what_is_no_picture_of_one_person_is_refused(image, faces, pictures, options, message):
    live = Pipeline(lambda _: BOXES[:faces], FakeModel(np.eye(7)[:faces]), **options)
    with pytest.raises(UserError, match=message):
        live.rest([image] * pictures)


def test_the_first_seconds_of_each_track_are_its_resting_face(image):
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 60).astype(np.float32)
    boxes = [[(20, 30, 40, 40)]] * 20 + [[(20, 30, 40, 40), (90, 60, 40, 40)]] * 20
    script = iter(boxes)
    live = Pipeline(lambda _: next(script), FakeModel(rows), **AS_TRAINED, resting=1.0, smoothing=0)
    frames = [live(image, n / 10) for n in range(40)]
    states = [[face.resting for face in faces] for faces in frames]
    assert states == [["taking"]] * 10 + [["taken"]] * 10 + [["taken", "taking"]] * 10 + [["taken", "taken"]] * 10
    np.testing.assert_allclose(frames[9][0].probabilities, rows[9], atol=1e-6)
    np.testing.assert_allclose(frames[12][0].probabilities, corrected(rows[12], rests_of(rows[:10])), atol=1e-5)
    second = rests_of(rows[21:41:2])
    np.testing.assert_allclose(frames[-1][1].probabilities, corrected(rows[-1], second), atol=1e-5)
    np.testing.assert_allclose(frames[-1][0].probabilities, corrected(rows[-2], rests_of(rows[:10])), atol=1e-5)


def test_who_is_visible_when_it_is_asked_for_is_at_rest_in_the_next_second(image):
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 50).astype(np.float32)
    script = iter([[(20, 30, 40, 40)]] * 10 + [[]] * 10 + [[(20, 30, 40, 40)]] * 40)
    live = Pipeline(lambda _: np.reshape(next(script), (-1, 4)), FakeModel(rows), **AS_TRAINED, smoothing=0)
    states = []
    for n in range(60):
        if n in (15, 25):  # nobody is there the first time
            live.take_rest()
        faces = live(image, n / 10)
        states.append("".join(face.resting for face in faces))
    assert states == [""] * 25 + ["taking"] * 10 + ["taken"] * 25
    np.testing.assert_allclose(faces[0].probabilities, corrected(rows[-1], rests_of(rows[15:25])), atol=1e-5)
    live.reset()
    script = iter([[(20, 30, 40, 40)]])
    live._recognizers[0].answers = rows
    assert live(image, 7.0)[0].resting == ""


def test_the_median_of_a_long_track_is_its_resting_face(image):
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 100).astype(np.float32)
    live = Pipeline(lambda _: BOXES[:1], FakeModel(rows), **AS_TRAINED, resting="auto", smoothing=0)
    for n, row in enumerate(rows):
        (face,) = live(image, n / 10)
        assert face.resting == ("taken" if n >= 10 else "")
        if n >= 10:
            rest = np.exp(np.median(np.log(rows[: n + 1].astype(float)), axis=0))
            np.testing.assert_allclose(face.probabilities, corrected(row, rest), atol=0.03)


def test_a_resting_face_and_the_mixture_add_up_after_smoothing(image):
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 3).astype(np.float32)
    live = Pipeline(lambda _: BOXES[:1], FakeModel(rows), expect="even", smoothing=0.2)
    live.rest([image])
    live(image, 0.0)
    (face,) = live(image, 0.1)
    kept = np.exp(-0.1 / 0.2)
    smoothed = kept * rows[1] + (1 - kept) * rows[2]
    expected = corrected(smoothed / [3995, 436, 4097, 7215, 4965, 4830, 3171], rests_of(rows[:1]))
    np.testing.assert_allclose(face.probabilities, expected, atol=1e-5)


def test_what_is_shown_does_not_flicker_and_the_answers_stay_as_they_are(image):
    rows = np.tile([[0.02, 0.02, 0.02, 0.46, 0.44, 0.02, 0.02], [0.02, 0.02, 0.02, 0.44, 0.46, 0.02, 0.02]], (4, 1))
    live = Pipeline(lambda _: BOXES[:1], FakeModel(rows), **AS_TRAINED, smoothing=0)
    faces = [live(image, n / 10)[0] for n in range(8)]
    assert [face.label for face in faces] == ["happy", "neutral"] * 4
    assert [face.shown for face in faces] == ["happy"] * 8
    doubtful = np.full((4, 7), 0.1)
    doubtful[:, 3] = [0.41, 0.36, 0.33, 0.42]
    live = Pipeline(lambda _: BOXES[:1], FakeModel(doubtful), **AS_TRAINED, smoothing=0)
    faces = [live(image, n / 10)[0] for n in range(4)]
    assert [face.shown for face in faces] == ["happy", "happy", "uncertain", "uncertain"]
    assert [face.certain for face in faces] == [True, True, False, False]


def test_a_face_is_uncertain_below_the_confidence_asked_for(image):
    rows = np.array([[0.5, 0.5, 0, 0, 0, 0, 0], [0.2, 0.2, 0.2, 0.4, 0, 0, 0]])
    faces = Pipeline(lambda _: BOXES[:2], FakeModel(rows), min_confidence=0.5, **AS_TRAINED).still(image)
    assert [face.certain for face in faces] == [True, False]
    second = Pipeline(
        lambda _: BOXES[:2], FakeModel(rows), compare=FakeModel(rows[::-1]), min_confidence=0.5, **AS_TRAINED
    ).still(image)
    assert [[reading.certain for reading in face.readings] for face in second] == [[True, False], [False, True]]
    assert faces[1].label == "happy"


def test_a_reset_begins_another_stream(image):
    live = Pipeline(lambda _: BOXES[:1], FakeModel(np.eye(7)[:3]), smoothing=10)
    assert live(image, 0.0)[0].track == 0
    live.reset()
    (face,) = live(image, 0.1)
    assert (face.track, face.label) == (0, CLASSES[1])


@pytest.mark.parametrize(
    "options", [{"smoothing": -1}, {"smoothing": float("nan")}, {"detect_every": 0}, {"min_confidence": 1.5}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=f"{next(iter(options))} must"):
        Pipeline(lambda _: BOXES, FakeModel([]), **options)


def test_with_the_names_of_models():
    pipeline = Pipeline(lambda _: BOXES, "base_cnn-stack_sharpen", compare="mirror_resnet-original")
    assert pipeline.models == ("base_cnn-stack_sharpen", "mirror_resnet-original")
    with pytest.raises(UserError, match="base_cnn-stack_sharpen"):
        Pipeline(lambda _: BOXES, "base_cnn")


def test_with_a_model_file(make_model_file, tmp_path):
    path = make_model_file(tmp_path / "tiny.onnx")
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    boxes = np.array([[120, 20, 60, 60], [20, 20, 60, 60]])
    black, white = Pipeline(lambda _: boxes, path, compare=Recognizer(path), **AS_TRAINED).still(image)
    for black_reading, white_reading in zip(black.readings, white.readings, strict=True):
        np.testing.assert_allclose(black_reading.probabilities, np.full(7, 1 / 7), atol=1e-6)
        expected = np.exp(range(7)) / np.exp(range(7)).sum()
        np.testing.assert_allclose(white_reading.probabilities, expected, atol=1e-6)
    assert white.label == "surprise"
    assert white.confidence == pytest.approx(float(expected[6]))
    assert not black.certain


def test_certain_is_what_is_shown_and_not_the_frame_alone(image):
    sure, unsure = np.eye(7)[0], np.full(7, 1 / 7)
    live = Pipeline(lambda _: BOXES[:2], FakeModel([sure, unsure, unsure, sure]), smoothing=10, min_confidence=0.5)
    live(image, 0.0)
    faces = live(image, 0.1)  # a tenth of a second changes 1 % of the average
    assert [face.raw.max() >= 0.5 for face in faces] == [False, True]
    assert [face.certain for face in faces] == [True, False]
