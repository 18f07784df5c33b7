import subprocess
import sys

import numpy as np
import pytest

from fer_tf.realtime.demo import HEIGHT, WIDTH, demo_clip
from fer_tf.realtime.detect import FaceDetector

pytest.importorskip("skimage")


def test_the_clip_shows_one_to_four_faces_and_they_are_found():
    frames, length = demo_clip()
    detector = FaceDetector()
    expected, found = [], []
    for index, frame in enumerate(frames):
        assert frame.shape == (HEIGHT, WIDTH, 3)
        assert frame.dtype == np.uint8
        if index % 10 == 5:
            expected.append(1 + 4 * index // length)
            found.append(len(detector(frame)))
    assert index + 1 == length
    assert set(expected) == {1, 2, 3, 4}
    assert np.mean(np.equal(found, expected)) > 0.95


def test_the_clip_is_the_same_each_time():
    first, second = (next(demo_clip()[0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_without_scikit_image_the_line_names_the_extra(tmp_path):
    code = (
        "import sys; sys.modules['skimage'] = None\n"
        "from fer_tf.realtime import webcam\n"
        "webcam.Recognizer = lambda *_, **__: None\n"
        "raise SystemExit(webcam.main(['--source', 'demo', '--no-window', '--csv', 'x.csv']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert '[demo]"' in done.stderr
