import numpy as np
import pytest

from fer_tf.emotions import CLASSES
from realtime.draw import COLOURS, draw_faces
from realtime.pipeline import Face, Reading


def face(box, *probabilities):
    row = np.array(probabilities or [0, 0, 0, 1, 0, 0, 0], np.float32)
    return Face(box, 0, np.zeros((48, 48), np.uint8), (Reading("tiny", row, row),))


def count(image, colour):
    return int((image == np.array(colour, np.uint8)).all(axis=-1).sum())


@pytest.mark.parametrize("size", [(240, 320), (480, 640), (1080, 1920), (640, 360), (20, 20), (1, 1)])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.7, 0.0), (0.0, 0.7), (0.7, 0.7), (0.4, 0.3), (-0.2, 0.9)])
def test_faces_anywhere_in_frames_of_any_size_can_be_drawn(size, place):
    height, width = size
    image = np.zeros((*size, 3), np.uint8)
    side = max(1, min(size) // 3)
    draw_faces(image, [face((int(place[0] * width), int(place[1] * height), side, side))])
    assert count(image, COLOURS["happy"]) > 0


def test_bars_are_as_long_as_their_probabilities():
    probabilities = (0.05, 0.05, 0.2, 0.4, 0.1, 0.1, 0.1)
    image = np.zeros((480, 640, 3), np.uint8)
    draw_faces(image, [face((50, 200, 100, 100), *probabilities)])
    panel = image[:, 160:]  # right of the box
    areas = {name: count(panel, COLOURS[name]) for name in CLASSES}
    assert areas["fear"] / areas["sad"] == pytest.approx(2, rel=0.15)
    assert areas["angry"] == pytest.approx(areas["disgust"], rel=0.01)


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


def test_every_class_has_its_own_colour():
    assert list(COLOURS) == list(CLASSES)
    assert len(set(COLOURS.values())) == len(CLASSES)
