import cv2
import numpy as np
import pytest

from fer_tf.emotions import CLASSES
from fer_tf.recognizer import Recognizer
from realtime.capture import Frame
from realtime.pipeline import Face, Pipeline, crop_face


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


def reference_crop(image, box):
    """The crop by another way: pad the whole frame, cut, resize."""
    left, top, width, height = box
    pad = 500
    gray = cv2.copyMakeBorder(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), *[pad] * 4, cv2.BORDER_REPLICATE)
    x, y = left + (width - height) // 2 + pad, top + pad
    square = gray[y : y + height, x : x + height]
    return cv2.resize(square, (48, 48), interpolation=cv2.INTER_AREA if height >= 48 else cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    "box",
    [
        (30, 20, 60, 60),
        (30, 20, 48, 48),
        (30, 20, 20, 20),  # smaller than the crop
        (40, 20, 30, 60),  # narrow: the square reaches beyond its sides
        (40, 20, 81, 60),  # wide
        (-25, -10, 60, 60),
        (130, 90, 60, 60),
        (-20, -40, 200, 200),  # larger than the frame
        (300, 300, 50, 50),  # wholly outside
        (-100, 10, 50, 50),
        (159, 119, 1, 1),
    ],
)
def test_a_crop_is_a_centred_square_with_the_border_repeated(image, box):
    crop = crop_face(image, box)
    assert crop.dtype == np.uint8
    np.testing.assert_array_equal(crop, reference_crop(image, box))


def test_a_crop_is_never_stretched():
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(image, (150, 100), 40, (255, 255, 255), cv2.FILLED)
    _, _, width, height = cv2.boundingRect(crop_face(image, (120, 50, 60, 100)))
    assert abs(width - height) <= 1


def test_all_faces_of_a_frame_go_through_one_call_and_come_from_left_to_right(image):
    calls = []

    def recognizer(faces):
        calls.append(faces)
        return np.eye(7, dtype=np.float32)[: len(faces)]

    boxes = np.array([[90, 10, 50, 50], [5, 60, 40, 40], [50, 0, 30, 30]])
    faces = Pipeline(lambda _: boxes, recognizer)(Frame(image, 0, 0.0))
    (batch,) = calls
    assert batch.shape == (3, 48, 48)
    assert batch.dtype == np.uint8
    assert [face.box for face in faces] == [(5, 60, 40, 40), (50, 0, 30, 30), (90, 10, 50, 50)]
    assert [face.label for face in faces] == list(CLASSES[:3])
    for face, crop in zip(faces, batch, strict=True):
        np.testing.assert_array_equal(crop, reference_crop(image, face.box))


def test_a_frame_without_faces_needs_no_recognizer(image):
    def recognizer(faces):
        raise AssertionError

    assert Pipeline(lambda _: np.zeros((0, 4), np.int32), recognizer)(Frame(image, 0, 0.0)) == []


def test_with_a_model_file(make_model_file, tmp_path):
    recognizer = Recognizer(make_model_file(tmp_path / "tiny.onnx"))
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    boxes = np.array([[120, 20, 60, 60], [20, 20, 60, 60]])
    black, white = Pipeline(lambda _: boxes, recognizer)(Frame(image, 0, 0.0))
    np.testing.assert_allclose(black.probabilities, np.full(7, 1 / 7), atol=1e-6)
    np.testing.assert_allclose(white.probabilities, np.exp(range(7)) / np.exp(range(7)).sum(), atol=1e-6)
    assert white.label == "surprise"
    assert white.confidence == pytest.approx(float(white.probabilities[6]))


def test_a_face_names_its_most_probable_expression():
    face = Face((0, 0, 1, 1), np.array([0.1, 0, 0, 0.6, 0.3, 0, 0], np.float32))
    assert face.label == "happy"
    assert face.confidence == pytest.approx(0.6)
