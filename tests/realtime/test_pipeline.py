from types import SimpleNamespace

import numpy as np
import pytest

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.realtime.crop import crop_face
from fer_tf.realtime.detect import Detections
from fer_tf.realtime.pipeline import Face, Pipeline, Reading
from fer_tf.recognizer import Recognizer


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


class FakeModel:
    """Gives the rows of `answers` one after the other, and remembers what it was asked."""

    def __init__(self, answers, name="fake"):
        self.card = SimpleNamespace(name=name)
        self.answers, self.calls = np.asarray(answers, np.float32), []

    def __call__(self, faces):
        self.calls.append(faces)
        rows, self.answers = np.split(self.answers, [len(faces)])
        return rows


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
    live = Pipeline(lambda _: BOXES[:2], model, compare=FakeModel(np.tile(np.eye(7)[6], (4, 1))), smoothing=0.5)
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
    live = Pipeline(lambda _: BOXES[:1], FakeModel(rows), smoothing=0)
    for index, row in enumerate(rows):
        (face,) = live(image, index / 25)
        np.testing.assert_array_equal(face.probabilities, row)


def test_a_face_is_uncertain_below_the_confidence_asked_for(image):
    rows = np.array([[0.5, 0.5, 0, 0, 0, 0, 0], [0.2, 0.2, 0.2, 0.4, 0, 0, 0]])
    faces = Pipeline(lambda _: BOXES[:2], FakeModel(rows), min_confidence=0.5).still(image)
    assert [face.certain for face in faces] == [True, False]
    second = Pipeline(lambda _: BOXES[:2], FakeModel(rows), compare=FakeModel(rows[::-1]), min_confidence=0.5).still(
        image
    )
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
    black, white = Pipeline(lambda _: boxes, path, compare=Recognizer(path)).still(image)
    for black_reading, white_reading in zip(black.readings, white.readings, strict=True):
        np.testing.assert_allclose(black_reading.probabilities, np.full(7, 1 / 7), atol=1e-6)
        expected = np.exp(range(7)) / np.exp(range(7)).sum()
        np.testing.assert_allclose(white_reading.probabilities, expected, atol=1e-6)
    assert white.label == "surprise"
    assert white.confidence == pytest.approx(float(expected[6]))
    assert not black.certain


def test_a_reading_names_its_most_probable_expression():
    probabilities = np.array([0.1, 0, 0, 0.6, 0.3, 0, 0], np.float32)
    face = Face((0, 0, 1, 1), 0, np.zeros((48, 48), np.uint8), (Reading("m", probabilities, probabilities[::-1]),))
    assert face.label == "happy"
    assert face.confidence == pytest.approx(0.6)
    np.testing.assert_array_equal(face.raw, probabilities[::-1])


def test_certain_is_what_is_shown_and_not_the_frame_alone(image):
    sure, unsure = np.eye(7)[0], np.full(7, 1 / 7)
    live = Pipeline(lambda _: BOXES[:2], FakeModel([sure, unsure, unsure, sure]), smoothing=10, min_confidence=0.5)
    live(image, 0.0)
    faces = live(image, 0.1)  # a tenth of a second changes 1 % of the average
    assert [face.raw.max() >= 0.5 for face in faces] == [False, True]
    assert [face.certain for face in faces] == [True, False]
