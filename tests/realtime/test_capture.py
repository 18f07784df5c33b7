import itertools
import threading
import time

import cv2
import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.realtime.capture import DEFAULT_FPS, ClipSource, FileSource, LiveSource, SourceError, to_bgr


class FakeCapture:
    """Stands for a camera or a file: gives `images` (a function among them is called first), then nothing."""

    def __init__(self, images, *, fps=30.0, length=0.0, positions=None, opened=True):
        self.images = list(images)
        self.properties = {cv2.CAP_PROP_FPS: fps, cv2.CAP_PROP_FRAME_COUNT: length}
        self.positions, self.opened = positions, opened
        self.read_so_far = 0
        self.released = False

    def isOpened(self):
        return self.opened

    def get(self, name):
        if name == cv2.CAP_PROP_POS_MSEC:
            return self.positions[self.read_so_far - 1] if self.positions else 0.0
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


def test_times_of_a_file_are_its_own_and_begin_at_zero():
    capture = FakeCapture([black()] * 4, fps=10, length=4, positions=[1400.0, 1450.0, 1700.0, 1710.0])
    times = [frame.time_s for frame in FileSource("x", capture)]
    np.testing.assert_allclose(times, [0, 0.05, 0.3, 0.31])


@pytest.mark.parametrize("positions", [None, [-9.2e15] * 4])
def test_a_file_without_times_gets_those_of_its_rate(positions):
    capture = FakeCapture([black()] * 4, fps=10, length=4, positions=positions)
    times = [frame.time_s for frame in FileSource("x", capture)]
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([0.0, 1000.0, 1000.0, 1040.0, 1040.0, 1080.0], [0, 1, 1.001, 1.04, 1.041, 1.08]),
        ([0.0, 0.0, 40.0, 80.0, 120.0, 160.0], [0, 0.04, 0.041, 0.08, 0.12, 0.16]),
        ([0.0, 1000.0, 990.0, 1030.0, 1070.0, 1100.0], [0, 1, 1.04, 1.041, 1.07, 1.1]),
    ],
)
def test_a_time_that_is_given_twice_or_too_early_delays_nothing_that_follows(positions, expected):
    capture = FakeCapture([black()] * 6, fps=25, length=6, positions=positions)
    times = [frame.time_s for frame in FileSource("x", capture)]
    np.testing.assert_allclose(times, expected)


def test_a_file_whose_times_end_goes_on_by_its_rate():
    capture = FakeCapture([black()] * 5, fps=10, length=5, positions=[0.0, 100.0, 200.0, 0.0, 0.0])
    times = [frame.time_s for frame in FileSource("x", capture)]
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 90000.0])
def test_nonsense_for_a_rate_is_replaced(fps):
    assert FileSource("x", FakeCapture([], fps=fps)).fps == DEFAULT_FPS


def test_a_file_that_is_cut_off_says_so():
    source = FileSource("x.mp4", FakeCapture([black()] * 3, length=100))
    assert len(list(source)) == 3
    assert "3 of 100" in source.failure


@pytest.mark.parametrize(("last_ms", "cut_off"), [(9800.0, False), (4000.0, True)])
def test_a_file_with_fewer_frames_than_its_rate_promises_need_not_be_cut_off(last_ms, cut_off):
    capture = FakeCapture([black()] * 3, fps=10, length=100, positions=[0.0, 1000.0, last_ms])
    source = FileSource("x.mkv", capture)
    assert len(list(source)) == 3
    assert bool(source.failure) == cut_off


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


@pytest.mark.parametrize("kind", ["live", "file"])
def test_a_source_that_is_closed_ends_and_gives_its_device_back(kind):
    capture = FakeCapture([black()] * 100, **({} if kind == "live" else {"length": 100}))
    source = live(capture) if kind == "live" else FileSource("x", capture)
    for frame in source:
        if frame.index == 3:
            source.close()
    assert frame.index == 3
    assert capture.released
    assert kind == "live" or source.failure is None  # it was not cut off


@pytest.mark.parametrize(("turned", "shape"), [(0, (6, 16, 3)), (90, (12, 8, 3)), (180, (6, 16, 3)), (270, (12, 8, 3))])
def test_pixels_twice_as_wide_as_high_become_square_however_the_camera_was_held(turned, shape):
    capture = FakeCapture([black(6, 8)], length=1)  # OpenCV has turned the frame, but not what it says of the pixels
    capture.properties |= {cv2.CAP_PROP_SAR_NUM: 2, cv2.CAP_PROP_SAR_DEN: 1, cv2.CAP_PROP_ORIENTATION_META: turned}
    (frame,) = FileSource("x.mp4", capture)
    assert frame.image.shape == shape
