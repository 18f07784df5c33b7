import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from fer_tf.command import UserError
from realtime.capture import DEFAULT_FPS, ClipSource, VideoSource, open_source, to_bgr


class FakeCapture:
    """Stands for a camera or a file: gives `images`, then nothing."""

    def __init__(self, images, *, fps=30.0, length=0.0, positions=None):
        self.images = list(images)
        self.properties = {cv2.CAP_PROP_FPS: fps, cv2.CAP_PROP_FRAME_COUNT: length}
        self.positions = positions
        self.read_so_far = 0
        self.released = False

    def get(self, name):
        if name == cv2.CAP_PROP_POS_MSEC:
            return self.positions[self.read_so_far - 1] if self.positions else 0.0
        return self.properties[name]

    def read(self):
        if self.read_so_far == len(self.images):
            return False, None
        self.read_so_far += 1
        return True, self.images[self.read_so_far - 1]

    def release(self):
        self.released = True


def black(height=8, width=8):
    return np.zeros((height, width, 3), np.uint8)


@pytest.fixture
def image(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (37, 51, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), pixels)
    return tmp_path / "image.png", pixels


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


def test_an_image_is_a_clip_of_one_frame(image):
    path, pixels = image
    source = open_source(str(path))
    (frame,) = source
    np.testing.assert_array_equal(frame.image, pixels)
    assert (frame.index, frame.time_s, source.length, source.live) == (0, 0.0, 1, False)


def test_a_video_file_is_read_with_its_times(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for value in range(0, 200, 10):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    source = open_source(str(path))
    frames = list(source)
    source.close()
    assert (source.fps, source.length, source.live, source.failure) == (10, 20, False, None)
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(20) / 10, atol=1e-3)
    np.testing.assert_allclose([frame.image.mean() for frame in frames], np.arange(0, 200, 10), atol=4)


def test_times_of_a_file_are_its_own_and_begin_at_zero():
    capture = FakeCapture([black()] * 4, fps=10, length=4, positions=[1400.0, 1450.0, 1700.0, 1710.0])
    times = [frame.time_s for frame in VideoSource("x", capture, live=False)]
    np.testing.assert_allclose(times, [0, 0.05, 0.3, 0.31])


@pytest.mark.parametrize("positions", [None, [-9.2e15] * 4])
def test_a_file_without_times_gets_those_of_its_rate(positions):
    capture = FakeCapture([black()] * 4, fps=10, length=4, positions=positions)
    times = [frame.time_s for frame in VideoSource("x", capture, live=False)]
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 90000.0])
def test_nonsense_for_a_rate_is_replaced(fps):
    assert VideoSource("x", FakeCapture([], fps=fps), live=False).fps == DEFAULT_FPS


def test_the_size_of_frames_may_change():
    capture = FakeCapture([black(8, 8), black(16, 12), black(4, 4)])
    assert [frame.image.shape for frame in VideoSource("0", capture, live=True)] == [
        (8, 8, 3),
        (16, 12, 3),
        (4, 4, 3),
    ]


def test_a_camera_that_stops_says_so_after_what_it_gave():
    source = VideoSource("0", FakeCapture([black()] * 3), live=True)
    times = [frame.time_s for frame in source]
    assert len(times) == 3
    assert times[0] < 0.05
    assert times == sorted(times)
    assert "after 3" in source.failure


def test_a_file_that_is_cut_off_says_so():
    source = VideoSource("x.mp4", FakeCapture([black()] * 3, length=100), live=False)
    assert len(list(source)) == 3
    assert "3 of 100" in source.failure


def test_a_camera_without_any_frame_is_an_error():
    with pytest.raises(UserError, match="no frame"):
        list(VideoSource("0", FakeCapture([]), live=True))


def test_a_source_gives_its_device_back():
    capture = FakeCapture([])
    VideoSource("0", capture, live=True).close()
    assert capture.released


def test_a_clip_is_timed_by_its_rate():
    frames = list(ClipSource("demo", [black()] * 3, fps=25, length=3))
    assert [frame.time_s for frame in frames] == [0, 0.04, 0.08]


def test_a_password_is_not_in_a_name(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: type("Closed", (), {"isOpened": lambda _: False})())
    with pytest.raises(UserError) as caught:
        open_source("rtsp://user:secret@camera.example/1")
    assert "rtsp://camera.example/1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_path_with_a_colon_is_a_path(image, monkeypatch):
    path, pixels = image
    path.rename(path.with_name("udp:1.png"))
    monkeypatch.chdir(path.parent)
    (frame,) = open_source("udp:1.png")
    assert frame.image.shape == pixels.shape


def test_a_video_behind_an_address_is_read_like_a_file(tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(12):
        writer.write(black(48, 64))
    writer.release()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/clip.avi")
        times = [frame.time_s for frame in source]
        source.close()
        server.shutdown()
    assert not source.live
    np.testing.assert_allclose(times, np.arange(12) / 10, atol=1e-3)
