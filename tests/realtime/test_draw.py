import dataclasses

import cv2
import numpy as np
import pytest

from fer_tf.classes import CLASSES
from fer_tf.realtime.draw import COLORS, draw_faces, draw_status
from fer_tf.realtime.pipeline import Face, Reading


def face(box, *rows, track=0, certain=True, crop=None):
    rows = np.array(rows or [[0, 0, 0, 1, 0, 0, 0]], np.float32)
    shown = "" if certain else "uncertain"
    readings = tuple(Reading(f"tiny-{name}", row, row, shown) for name, row in zip("ab", rows, strict=False))
    return Face(box, track, np.zeros((48, 48), np.uint8) if crop is None else crop, readings)


def count(image, color):
    return int((image == np.array(color, np.uint8)).all(axis=-1).sum())


@pytest.mark.parametrize("size", [(240, 320), (480, 640), (1080, 1920), (640, 360), (20, 20), (1, 1)])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.7, 0.0), (0.0, 0.7), (0.7, 0.7), (0.4, 0.3), (-0.2, 0.9)])
def test_faces_anywhere_in_frames_of_any_size_can_be_drawn(size, place):
    height, width = size
    image = np.zeros((*size, 3), np.uint8)
    side = max(1, min(size) // 3)
    box = (int(place[0] * width), int(place[1] * height), side, side)
    draw_faces(image, [face(box, np.eye(7)[3], np.eye(7)[5])], show_input=True)
    assert count(image, COLORS["happy"]) + count(image, COLORS["sad"]) > 0
    draw_status(image, ["25 frames/s", "latency 20 ms"], alarm="something is wrong " * 9)
    assert count(image, COLORS["angry"]) > 0


def test_bars_are_as_long_as_their_probabilities():
    probabilities = (0.05, 0.05, 0.2, 0.4, 0.1, 0.1, 0.1)
    image = np.zeros((480, 640, 3), np.uint8)
    draw_faces(image, [face((50, 200, 100, 100), probabilities)])
    panel = image[:, 160:]  # right of the box
    areas = {name: count(panel, COLORS[name]) for name in CLASSES}
    assert areas["fear"] / areas["sad"] == pytest.approx(2, rel=0.15)
    assert areas["angry"] == pytest.approx(areas["disgust"], rel=0.01)


def test_what_is_shown_is_drawn_with_its_own_probability_and_not_the_most_probable_expression():
    row = np.array([0, 0, 0, 0.48, 0.52, 0, 0], np.float32)
    held, plain = np.zeros((2, 480, 640, 3), np.uint8)
    reading = Reading("tiny", row, row, "happy")
    draw_faces(held, [Face((50, 200, 100, 100), 0, None, (reading,))], details=False)
    draw_faces(plain, [face((50, 200, 100, 100), [0, 0, 0, 0.48, 0.26, 0.26, 0])], details=False)
    assert count(held, COLORS["neutral"]) == 0
    np.testing.assert_array_equal(held, plain)


def test_whether_the_resting_face_is_taken_is_said():
    images = np.zeros((3, 480, 640, 3), np.uint8)
    for image, state in zip(images, ("", "taking", "taken"), strict=True):
        draw_faces(image, [dataclasses.replace(face((50, 200, 100, 100)), resting=state)], details=False)
    widths = [np.flatnonzero((image[190] == COLORS["happy"]).all(axis=-1)).max() for image in images]
    assert widths[0] + 50 < widths[2] < widths[1]


def test_two_models_have_a_label_and_a_column_of_bars_each():
    image = np.zeros((480, 640, 3), np.uint8)
    two = face((20, 200, 100, 100), np.eye(7)[0], np.eye(7)[6])
    draw_faces(image, [two], details=False)
    assert min(count(image[:198], COLORS["angry"]), count(image[:198], COLORS["surprise"])) > 500
    with_bars = image.copy()
    draw_faces(with_bars, [two])
    with_bars[with_bars == image] = 0
    bars = {name: cv2.boundingRect((with_bars == COLORS[name]).all(axis=-1).astype(np.uint8)) for name in CLASSES}
    assert [bars[name][2:] for name in CLASSES[1:6]] == [(0, 0)] * 5
    angry, surprise = bars["angry"], bars["surprise"]
    assert surprise[0] > angry[0] + 40
    assert surprise[1] > angry[1] + 40


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (["mirror_resnet-original", "se_resnet-original"], ["mirror_resnet", "se_resnet"]),
        (["base_cnn-original", "base_cnn-canny"], ["original", "canny"]),
        (["base_cnn-canny-int8", "base_cnn-sobel-int8"], ["canny", "sobel"]),
        (["base_cnn-canny", "base_cnn-canny-int8"], ["canny", "canny-int8"]),
        (["a-b-a", "a-a"], ["b-a", "a"]),
        (["mirror_resnet-original-pair", "BaseCNN"], ["mirror_resnet", "BaseCNN"]),
        (["mirror_resnet-stack_sharpen", "mirror_resnet"], ["..-stack_sharpen", "mirror_resnet"]),
        (["se_resnet", "se_resnet"], ["se_resnet", "se_resnet"]),
    ],
)
def test_models_are_called_by_what_tells_them_apart(models, told, monkeypatch):
    written = []
    monkeypatch.setattr(cv2, "putText", lambda image, text, *rest: written.append(text))
    row = np.eye(7)[3]
    shown = Face((200, 400, 300, 300), 0, None, tuple(Reading(model, row, row) for model in models))
    draw_faces(np.zeros((1080, 1920, 3), np.uint8), [shown], details=False)
    assert [text.removesuffix(" id 0") for text in written[1::2]] == told


@pytest.mark.parametrize("rows", [np.eye(7)[:1], np.eye(7)[:2]], ids=["one model", "two models"])
def test_an_uncertain_face_is_not_given_a_color_of_an_expression(rows):
    image = np.zeros((480, 640, 3), np.uint8)
    draw_faces(image, [face((50, 200, 100, 100), *rows, certain=False)], details=False)
    assert not any(count(image, color) for color in COLORS.values())
    assert (image[205, 50] == image[205, 51]).all()
    assert image[205, 50].any()


def test_without_details_there_is_nothing_beside_the_box():
    image = np.zeros((480, 640, 3), np.uint8)
    draw_faces(image, [face((50, 200, 200, 100))], details=False)
    assert not image[:, 260:].any()
    assert not image[310:].any()


@pytest.mark.parametrize("details", [True, False])
def test_the_input_is_shown_pixel_for_pixel(details):
    crop = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    image = np.zeros((720, 1280, 3), np.uint8)
    draw_faces(image, [face((50, 200, 100, 100), crop=crop)], details=details, show_input=True)
    factors = [
        factor
        for factor in range(1, 8)
        for enlarged in [np.kron(crop, np.ones((factor, factor), np.uint8))]
        if cv2.matchTemplate(image[..., 0], enlarged, cv2.TM_SQDIFF).min() < 1
    ]
    assert len(factors) == 1
    assert factors[0] > 1


def test_in_a_crowd_no_panel_hides_a_face():
    image = np.full((480, 640, 3), 200, np.uint8)
    boxes = [(160 * column + 50, 120 * row + 40, 60, 60) for row in range(4) for column in range(4)]
    draw_faces(image, [face(box, track=index) for index, box in enumerate(boxes)], show_input=True)
    for left, top, width, height in boxes:
        assert (image[top + 4 : top + height - 20, left + 4 : left + width - 4] == 200).all()


def test_a_problem_is_shown_across_the_bottom_and_the_rest_above_it():
    image = np.full((480, 640, 3), 200, np.uint8)
    draw_status(image, ["25 frames/s"])
    corner = (image < 100).all(axis=-1)
    assert corner[-1, 0]
    assert not corner[:440].any()
    draw_status(image, [], alarm="camera 0 is gone")
    assert (image[-1] == COLORS["angry"]).all()
    assert (image[:400] == 200).all()


def test_panels_stay_off_other_faces_where_there_is_room():
    image = np.zeros((480, 640, 3), np.uint8)
    image[150:250, 250:350] = (1, 2, 3)
    faces = [face((120, 150, 100, 100)), face((250, 150, 100, 100))]
    draw_faces(image, faces)
    assert count(image[156:244, 256:344], (1, 2, 3)) == 88 * 88


def test_no_face_leaves_the_frame_alone():
    image = np.full((48, 64, 3), 7, np.uint8)
    draw_faces(image, [])
    assert (image == 7).all()


def test_every_class_has_its_own_color():
    assert list(COLORS) == list(CLASSES)
    assert len(set(COLORS.values())) == len(CLASSES)


@pytest.mark.parametrize("order", [1, -1])
def test_where_one_panel_has_room_it_is_that_of_the_largest_face(order):
    large = face((10, 20, 100, 100), crop=np.full((48, 48), 201, np.uint8))
    small = face((80, 125, 45, 45), crop=np.full((48, 48), 101, np.uint8))
    image = np.zeros((180, 320, 3), np.uint8)
    draw_faces(image, [large, small][::order], show_input=True)
    assert count(image, (201, 201, 201)) >= 48 * 48
    assert count(image, (101, 101, 101)) < 48
