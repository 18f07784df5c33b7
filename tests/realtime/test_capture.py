import itertools
import threading
import time

import cv2
import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.realtime.capture import DEFAULT_FPS, ClipSource, LiveSource, SourceError, to_bgr


class FakeCapture:
    """Stands for a camera: gives `images` (a function among them is called first), then nothing."""

    def __init__(self, images, *, fps=30.0, opened=True):
        self.images = list(images)
        self.properties = {cv2.CAP_PROP_FPS: fps}
        self.opened = opened
        self.read_so_far = 0
        self.released = False

    def isOpened(self):
        return self.opened

    def get(self, name):
        return self.properties.get(name, 0.0)

    def read(self):
        if self.read_so_far == len(self.images):
            return False, None
        self.read_so_far += 1
        image = self.images[self.read_so_far - 1]
        return True, image() if callable(image) else image

    def release(self):
        self.released = True


def live(*captures):
    """A camera that is what `captures` are, one after the other as it is opened; then it cannot be opened."""
    waiting = iter(captures)
    return LiveSource("camera 0", lambda: next(waiting, FakeCapture([], opened=False)), remedy="connect it")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(LiveSource, "patience", 0.02)
    monkeypatch.setattr(LiveSource, "silence", 0.2)


def black(height=8, width=8):
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (6, 9, 3), (6, 9, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_kind_of_frame_becomes_uint8_bgr(shape, dtype):
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, shape, np.uint8)
    frame = small if dtype == np.uint8 else small.astype(np.uint16) * 257  # 65535 is white
    result = to_bgr(frame)
    expected = small[..., :3] if small.ndim == 3 and shape[-1] > 1 else np.dstack([small.reshape(6, 9)] * 3)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("frame", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_an_unknown_kind_of_frame_is_refused(frame):
    with pytest.raises(UserError, match="found"):
        to_bgr(frame)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 90000.0])
def test_nonsense_for_a_rate_is_replaced(fps):
    assert live(FakeCapture([], fps=fps)).fps == DEFAULT_FPS


def test_a_clip_is_timed_by_its_rate():
    frames = list(ClipSource("demo", [black()] * 3, fps=25, length=3))
    assert [frame.time_s for frame in frames] == [0, 0.04, 0.08]


def test_the_size_of_frames_may_change():
    source = live(FakeCapture([black(8, 8), black(16, 12), black(4, 4)]))
    shapes = [frame.image.shape for frame in itertools.islice(source, 3)]
    assert shapes == [(8, 8, 3), (16, 12, 3), (4, 4, 3)]


def test_frames_without_anything_in_them_are_no_frames(monkeypatch):
    monkeypatch.setattr(LiveSource, "patience", 60)
    images = [np.zeros((0, 0, 3), np.uint8), None, black(), np.zeros((0, 5), np.uint16), np.zeros((6, 9), np.uint16)]
    source = live(FakeCapture(images))
    assert [frame.image.shape for frame in itertools.islice(source, 2)] == [(8, 8, 3), (6, 9, 3)]


def test_a_camera_that_stops_is_opened_anew_and_keeps_its_clock(monkeypatch):
    pauses = []
    first, silent, last = (FakeCapture([black()] * count) for count in (3, 0, 2))
    closed = FakeCapture([], opened=False)
    source = live(first, closed, closed, silent, last)

    def wait(seconds):
        if seconds >= 0.5:
            pauses.append(seconds)
            assert "trying again" in source.problem
        else:
            time.sleep(seconds)
        return False

    monkeypatch.setattr(source._closed, "wait", wait)
    frames = list(itertools.islice(source, 5))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert frames[0].time_s == 0
    assert all(one.time_s <= other.time_s for one, other in itertools.pairwise(frames))
    assert pauses == [0.5, 1, 2, 4]  # two that cannot be opened, one that opens and gives nothing
    assert first.released
    assert silent.released
    assert source.problem is None


def test_pauses_grow_to_ten_seconds(monkeypatch):
    pauses = []
    source = live(FakeCapture([black()]))

    def wait(seconds):
        if seconds >= 0.5:
            pauses.append(seconds)
        if len(pauses) == 8:
            source.close()

    monkeypatch.setattr(source._closed, "wait", wait)
    assert len(list(source)) == 1
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10, 10]


def test_a_read_that_hangs_is_a_problem_by_the_clock():
    release = threading.Event()
    source = live(FakeCapture([black(), lambda: release.wait() and black()]))
    arrived = []
    reader = threading.Thread(target=lambda: arrived.extend(itertools.islice(source, 2)), daemon=True)
    reader.start()
    deadline = time.monotonic() + 10
    while source.problem is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "no frame for" in source.problem
    release.set()
    reader.join(10)
    assert len(arrived) == 2
    assert source.problem is None


def test_a_camera_without_any_frame_is_an_error():
    capture = FakeCapture([])
    with pytest.raises(SourceError, match="no frame"):
        list(live(capture))
    assert capture.released


def test_a_camera_that_cannot_be_opened_is_an_error_that_says_what_to_do():
    with pytest.raises(SourceError, match="camera 0 cannot be opened; connect it"):
        live()


def test_a_source_that_is_closed_ends_and_gives_its_device_back():
    capture = FakeCapture([black()] * 100)
    source = live(capture)
    for frame in source:
        if frame.index == 3:
            source.close()
    assert frame.index == 3
    assert capture.released
