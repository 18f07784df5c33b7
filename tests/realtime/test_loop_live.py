import itertools
import threading
import time

import cv2
import numpy as np
import pytest

from fer_tf.realtime import loop as loop_module
from fer_tf.realtime.capture import LiveSource, SourceError
from fer_tf.realtime.loop import Loop
from fer_tf.realtime.record import VideoSink


class Camera:
    """An endless capture: `read` is called with the number of the frame."""

    def __init__(self, read, *, opened=True):
        self.frame, self.opened, self.count = read, opened, itertools.count()

    def isOpened(self):
        return self.opened

    def get(self, name):
        return 25.0 if name == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        time.sleep(0.002)
        image = self.frame(next(self.count))
        return image is not None, image

    def release(self):
        pass


@pytest.fixture
def camera(monkeypatch):
    """A function that returns a live source whose first opening reads by its first argument, and so on.

    An argument of None is an opening that fails.
    """

    def make(*reads, patience=0.01):
        monkeypatch.setattr(LiveSource, "patience", patience)
        monkeypatch.setattr(LiveSource, "silence", 0.1)
        openings = iter(reads)

        def open_capture():
            read = next(openings)
            return Camera(read or (lambda _: None), opened=read is not None)

        return LiveSource("camera 0", open_capture, remedy="connect it")

    return make


def test_of_a_camera_the_newest_frame_is_analyzed(pipeline, gray, rows, camera):
    source = camera(lambda number: gray(number % 256))

    def detector(image):
        time.sleep(0.03)
        return np.zeros((0, 4), np.int32)

    Loop(pipeline(detector=detector), tables=[rows], max_frames=8).play(source)
    indices = [row[1] for row in rows.rows]
    assert len(indices) == 8
    assert min(np.diff(indices)[1:]) > 1  # some are left out every time
    assert indices == sorted(indices)


def test_no_frame_of_a_camera_grows_old_before_a_slow_network(pipeline, gray, rows, camera):
    searched, ahead = [], []

    def detector(image):
        searched.append(image)
        return np.array([[5, 5, 20, 20]])

    def recognize(faces):
        time.sleep(0.03)
        ahead.append(len(searched) - len(ahead))
        return np.full((len(faces), 7), 1 / 7, np.float32)

    source = camera(lambda number: gray(number % 256))
    Loop(pipeline(detector=detector, recognize=recognize), tables=[rows], max_frames=8).play(source)
    assert set(ahead[:8]) <= {1, 2}  # this frame, and one more


def test_a_frame_that_changes_its_size_is_recorded_and_shown(tmp_path, pipeline, gray, screen, camera):
    kinds = [gray(9, (48, 64)), gray(9, (96, 30)), np.full((20, 30), 2000, np.uint16), np.zeros((0, 0, 3), np.uint8)]
    source = camera(lambda number: kinds[number // 5 % 4], patience=10)
    sink = VideoSink(tmp_path / "out.mp4", fps=25)
    Loop(pipeline((1, 2, 10, 10)), window=screen, max_frames=30).play(source, sink)
    sink.close()
    assert len({image.shape for image in screen.images}) == 3
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) >= 30


def test_a_camera_that_stops_is_reported_and_comes_back(tmp_path, capsys, pipeline, gray, rows, screen, camera):
    large = gray(0, (240, 320))
    source = camera(*(lambda number: large if number < 5 else None, None, lambda number: large + 100))
    sink = VideoSink(tmp_path / "out.mp4", fps=25)
    Loop(pipeline(), tables=[rows], window=screen, max_frames=12).play(source, sink)
    sink.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("camera 0: no frame for")
    assert {row[3] for row in rows.rows} == {0, 100}
    alarmed = [image for image in screen.images if (image[-3, :, 2] > 150).mean() > 0.5]
    assert alarmed  # a banner across the bottom of the last frame
    assert (alarmed[0][:20] == 0).all()
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 13  # the banner is one


def test_a_read_that_hangs_is_reported_and_the_window_still_reacts(capsys, pipeline, gray, screen, camera):
    release = threading.Event()
    source = camera(lambda number: gray() if number < 3 else release.wait())
    screen.keys = lambda: "q" if len(screen.images) > 5 and (screen.images[-1][-3, :, 2] > 150).any() else ""
    begun = time.monotonic()
    loop = Loop(pipeline(), window=screen)
    loop.play(source)
    assert not loop.going
    assert time.monotonic() - begun < 30
    assert capsys.readouterr().err.count("no frame for") == 1
    release.set()


def test_a_camera_that_never_gives_a_frame_is_an_error(monkeypatch, pipeline, camera):
    monkeypatch.setattr(loop_module, "FIRST_FRAME_SECONDS", 0.1)
    release = threading.Event()
    source = camera(lambda _: release.wait())
    with pytest.raises(SourceError, match="no frame"):
        Loop(pipeline()).play(source)
    release.set()


def test_a_model_that_takes_long_to_begin_is_not_blamed_on_the_camera(monkeypatch, pipeline, gray, camera):
    monkeypatch.setattr(loop_module, "FIRST_FRAME_SECONDS", 0.1)
    compiling = iter([1.0])

    def detector(image):
        time.sleep(next(compiling, 0))
        return np.zeros((0, 4), np.int32)

    source = camera(lambda _: time.sleep(0.02) or gray())
    monkeypatch.setattr(LiveSource, "silence", 60)
    loop = Loop(pipeline(detector=detector), max_frames=2)
    loop.play(source)
    assert loop.frames == 2


def test_the_stop_event_ends_it(pipeline, gray, camera):
    stop = threading.Event()
    loop = Loop(pipeline(), stop=stop, on_frame=lambda: loop.frames == 5 and stop.set())
    loop.play(camera(lambda _: gray()))
    assert loop.frames == 5
    assert not loop.going


def test_a_camera_that_stops_during_a_pause_is_reported_after_it(capsys, pipeline, gray, screen, camera):
    release = threading.Event()
    source = camera(lambda number: gray() if number < 3 else release.wait())
    loop = Loop(pipeline(), window=screen)
    loop._paused = True  # in the source before
    polls = itertools.count()
    screen.keys = lambda: {100: " ", 200: "q"}.get(next(polls), "")
    loop.play(source)
    assert loop.frames == 1
    assert capsys.readouterr().err.count("no frame for") == 1
    release.set()


def test_a_camera_is_drained_during_a_pause(pipeline, gray, rows, screen, camera):
    polls = itertools.count()
    paused = []

    def keys():
        number = next(polls)
        if number == 20:
            paused.append(len(rows.rows))
        if number == 80:
            paused.append(len(rows.rows))
        return " " if number in (20, 80) else "q" if number > 120 else ""

    screen.keys = keys
    source = camera(lambda number: gray())
    Loop(pipeline(), tables=[rows], window=screen).play(source)
    before, after = paused
    assert after - before <= 1
    assert rows.rows[after][1] - rows.rows[before - 1][1] > 30  # what came meanwhile is not shown later


def test_the_frame_of_an_outage_is_recorded_at_its_own_time(pipeline, gray, camera):
    source = camera(lambda number: gray() if number < 5 else None, lambda number: gray(), patience=0.3)
    written = []

    class Recording:
        def write(self, image, frame):
            written.append((frame.index, frame.time_s))

    loop = Loop(pipeline(), max_frames=8)
    loop.play(source, Recording())
    outage = next(n for n in range(1, len(written)) if written[n][0] == written[n - 1][0])
    (_, last), (_, shown), (_, again) = written[outage - 1 : outage + 2]
    assert last + 0.1 <= shown <= again  # a camera is silent for a tenth of a second before that is a problem here
