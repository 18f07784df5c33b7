import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from fer_tf.command import UserError
from realtime.capture import Frame
from realtime.record import VideoSink, open_recording


def gray(value, size=(48, 64)):
    return np.full((*size, 3), value, np.uint8)


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        present, image = capture.read()
        if not present:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(image)


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "OUT.MP4", "new/folder/out.mp4", "a:b.mp4"])
def test_a_recording_has_every_frame_and_the_rate(tmp_path, name):
    sink = VideoSink(tmp_path / name, fps=10)
    for index in range(23):
        sink.write(gray(10 * index), Frame(gray(0), index, index / 10))
    sink.close()
    frames, fps = read_video(tmp_path / name)
    assert fps == pytest.approx(10)
    np.testing.assert_allclose([frame.mean() for frame in frames], np.arange(0, 230, 10), atol=4)
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


def test_frames_of_another_size_are_resized_to_the_first(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=10)
    for index, size in enumerate([(49, 65), (100, 200), (20, 10)]):
        sink.write(gray(100, size), Frame(gray(0), index, index / 10))
    sink.close()
    frames, _ = read_video(tmp_path / "out.mp4")
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3


def test_a_live_recording_keeps_the_time(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=10, live=True)
    for index, time_s in enumerate([0.0, 0.02, 0.31, 0.5, 0.52, 1.0]):
        sink.write(gray(40 * index), Frame(gray(0), index, time_s))
    sink.close()
    frames, _ = read_video(tmp_path / "out.mp4")
    assert len(frames) == 11  # 0.0 to 1.0 s at 10 a second


def test_nothing_written_leaves_nothing(tmp_path):
    VideoSink(tmp_path / "out.mp4", fps=10).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.mkv", "out", "out.mp4.txt", "file/out.mp4", "folder.mp4", "file/out.png"])
def test_where_no_recording_can_be_is_an_error(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UserError, match=name):
        open_recording(tmp_path / name, fps=10)


@pytest.mark.parametrize("name", ["out.png", "new/out.jpg", "OUT.PNG"])
def test_a_picture_is_the_last_frame(tmp_path, name):
    sink = open_recording(tmp_path / name, fps=10)
    for value in (10, 200):
        sink.write(gray(value), Frame(gray(0), 0, 0.0))
    assert not list(tmp_path.rglob("*.*"))
    sink.close()
    picture = cv2.imread(str(tmp_path / name))
    assert picture.shape == gray(0).shape
    assert np.abs(picture.astype(int) - 200).max() < 3


KILLED = """
import os, signal, sys
import numpy as np
from realtime.capture import Frame
from realtime.record import VideoSink, open_recording
video = VideoSink(sys.argv[1], fps=25)
rng = np.random.default_rng(0)
noise = rng.integers(0, 256, (300, 400, 3), np.uint8)
for index in range(200):
    image = np.ascontiguousarray(noise[index % 50 : index % 50 + 240, index % 70 : index % 70 + 320])
    frame = Frame(image, index, index / 25)
    video.write(image, frame)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_killed_recording_can_be_played(tmp_path, suffix):
    video = tmp_path / f"out{suffix}"
    environment = os.environ | {"OPENCV_FFMPEG_LOGLEVEL": "-8"}
    done = subprocess.run([sys.executable, "-c", KILLED, video], env=environment)
    assert done.returncode == -signal.SIGKILL
    frames, fps = read_video(video)
    assert fps == pytest.approx(25)
    assert len(frames) > 150  # of 200, the rest being the last 256 KiB
