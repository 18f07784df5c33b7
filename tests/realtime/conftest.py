"""Stand-ins for the parts of the live loop, and the command as its users start it."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fer_tf import photograph
from fer_tf.realtime.capture import ClipSource
from fer_tf.realtime.pipeline import Pipeline


@pytest.fixture
def pipeline():
    """A function that returns a pipeline that finds the given boxes, and gives each class the same probability."""

    def even(faces):
        return np.full((len(faces), 7), 1 / 7, np.float32)

    def make(*boxes, detector=None, recognize=even, **options):
        recognize.card = SimpleNamespace(name="even", training_shares=None)
        return Pipeline(detector or (lambda image: np.array(boxes, np.int32).reshape(-1, 4)), recognize, **options)

    return make


@pytest.fixture
def gray():
    """A function that returns a gray frame, uint8 [H, W, 3]."""
    return lambda value=0, size=(48, 64): np.full((*size, 3), value, np.uint8)


@pytest.fixture
def clip():
    """A function that returns a source of images at hand."""

    def make(images, *, name="clip", fps=1000.0):
        images = list(images)
        return ClipSource(name, images, fps=fps, length=len(images))

    return make


class Rows:
    """A table in memory."""

    def __init__(self):
        self.rows = []

    def write(self, source, frame, faces):
        self.rows.append((source, frame.index, round(frame.time_s, 3), frame.image[0, 0, 0], len(faces)))


@pytest.fixture
def rows():
    return Rows()


class Screen:
    """Stands for the window: keeps what it shows; `keys` gives the key of each poll."""

    def __init__(self):
        self.keys, self.images, self.is_open = lambda: "", [], True

    def show(self, image):
        self.images.append(image)

    def poll(self, seconds):
        time.sleep(min(seconds, 0.005))
        key = self.keys()
        self.is_open = self.is_open and key != "q"
        return key


@pytest.fixture
def screen():
    return Screen()


@pytest.fixture
def model(make_model_file, tmp_path):
    """The path of a tiny model file, as an argument."""
    return str(make_model_file(tmp_path / "tiny.onnx"))


@pytest.fixture(scope="session")
def start_webcam():
    """A function that starts `realtime.webcam` without a screen; keywords change its environment."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY")

    def start(*arguments, **changes):
        return subprocess.Popen(
            [sys.executable, "-m", "realtime.webcam", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={key: value for key, value in os.environ.items() if key not in hidden} | changes,
        )

    return start


@pytest.fixture(scope="session")
def run_webcam(start_webcam):
    """A function that starts it and returns when it has ended, with what it printed."""

    def run(*arguments, **changes):
        with start_webcam(*arguments, **changes) as child:
            try:
                output, errors = child.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
        return subprocess.CompletedProcess(child.args, child.returncode, output, errors)

    return run


@pytest.fixture(scope="session")
def count_frames():
    """A function that returns how many frames of a video can be read."""

    def count(path):
        video = cv2.VideoCapture(str(path))
        frames = 0
        while video.read()[0]:
            frames += 1
        return frames

    return count


@pytest.fixture(scope="session")
def portrait():
    """A function that returns photographs of 320 x 240 pixels with one face, or with a smaller one beside it.

    It takes the height of the face in pixels and its angle in degrees.
    """
    pytest.importorskip("skimage")
    picture = photograph.read_photograph()

    def view(height, angle, size):
        move = cv2.getRotationMatrix2D((222, 114), angle, height / 110)
        move[:, 2] += np.array(size) / 2 - (222, 114)
        return cv2.warpAffine(picture, move, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)

    def make(height=110, angle=0, *, beside=False):
        image = view(height, angle, (320, 240))
        if beside:
            image[:, 230:] = view(50, 0, (90, 240))
        return image

    return make
