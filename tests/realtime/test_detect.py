import cv2
import numpy as np
import pytest

from realtime.demo import demo_clip
from realtime.detect import FaceDetector


@pytest.fixture(scope="module")
def portrait():
    pytest.importorskip("skimage")
    return next(demo_clip()[0])


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (1600, 1200)])
def test_the_box_is_in_pixels_of_the_frame(portrait, size):
    boxes = FaceDetector()(cv2.resize(portrait, size))
    assert boxes.dtype == np.int32
    assert boxes.shape == (1, 4)
    # The face of the first frame, by eye, as shares of the frame.
    np.testing.assert_allclose(boxes[0] / (size[0], size[1], size[0], size[1]), (0.4, 0.27, 0.34, 0.46), atol=0.06)


@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (1, 3000), (3000, 1), (20, 20)])
def test_no_face_is_no_box(shape):
    boxes = FaceDetector()(np.full((*shape, 3), 127, np.uint8))
    assert boxes.shape == (0, 4)


def test_smaller_faces_than_asked_for_are_not_found(portrait):
    assert len(FaceDetector(smallest=0.8)(portrait)) == 0
