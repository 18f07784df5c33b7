import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.record import VideoSink, open_recording


def gray(value, size=(48, 64)):
    return np.full((*size, 3), value, np.uint8)


def read_video(path):
    """Returns the frames, their times in seconds, and what the file says of its frames: how many, and a second."""
    capture = cv2.VideoCapture(str(path))
    frames, times = [], []
    while True:
        present, image = capture.read()
        if not present:
            return frames, times, capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        frames.append(image)
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)


def boxes(path):
    """Returns the names of an mp4's outermost boxes."""
    data, place, names = path.read_bytes(), 0, []
    while place < len(data):
        size, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        size = int.from_bytes(data[place + 8 : place + 16], "big") if size == 1 else size
        names.append(name.decode())
        place += size or len(data)
    return names


@pytest.mark.parametrize("name", ["out.mp4", "OUT.MP4", "new/folder/out.mp4", "a:b.mp4"])
def test_a_recording_has_every_frame_and_the_rate(tmp_path, name):
    sink = VideoSink(tmp_path / name, fps=10)
    for index in range(23):
        sink.write(gray(10 * index), Frame(gray(0), index, index / 10))
    sink.close()
    frames, times, count, fps = read_video(tmp_path / name)
    assert (count, fps) == (23, pytest.approx(10))
    np.testing.assert_allclose(times, np.arange(23) / 10, atol=1e-3)
    np.testing.assert_allclose([frame.mean() for frame in frames], np.arange(0, 230, 10), atol=4)
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


def test_a_recording_is_an_ordinary_mp4_of_h264(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=10)
    for index in range(35):
        sink.write(gray(index), Frame(gray(0), index, index / 10))
    assert "moof" in boxes(tmp_path / "out.mp4")  # while it grows, in fragments
    sink.close()
    assert sorted(set(boxes(tmp_path / "out.mp4")) - {"free"}) == ["ftyp", "mdat", "moov"]
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") in (b"h264", b"avc1")


def test_colors_are_kept(tmp_path):
    image = np.zeros((48, 96, 3), np.uint8)
    image[:, :48], image[:, 48:] = (200, 60, 30), (30, 90, 220)
    sink = VideoSink(tmp_path / "out.mp4", fps=10)
    sink.write(image, Frame(image, 0, 0.0))
    sink.close()
    (frame,), *_ = read_video(tmp_path / "out.mp4")
    assert np.abs(frame[:, 4:40].mean((0, 1)) - (200, 60, 30)).max() < 6
    assert np.abs(frame[:, 56:92].mean((0, 1)) - (30, 90, 220)).max() < 6


def test_frames_of_another_size_are_resized_to_the_first(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=10)
    for index, size in enumerate([(48, 64), (100, 200), (20, 10), (1, 1)]):
        sink.write(gray(100, size), Frame(gray(0), index, index / 10))
    sink.close()
    frames = read_video(tmp_path / "out.mp4")[0]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (49, 64), (48, 65)])
def test_an_odd_side_grows_by_one(tmp_path, size):
    sink = VideoSink(tmp_path / "out.mp4", fps=10)
    for index in range(3):
        sink.write(gray(100, size), Frame(gray(0), index, index / 10))
    sink.close()
    frames = read_video(tmp_path / "out.mp4")[0]
    assert [frame.shape for frame in frames] == [(size[0] + size[0] % 2, size[1] + size[1] % 2, 3)] * 3
    assert np.abs(frames[-1].astype(int) - 100).max() < 6


def test_every_frame_has_its_own_time(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=10)
    for index, time_s in enumerate([0.0, 0.02, 0.31, 0.5, 0.5, 5.0]):
        sink.write(gray(40 * index), Frame(gray(0), index, time_s))
    sink.close()
    np.testing.assert_allclose(read_video(tmp_path / "out.mp4")[1], [0.0, 0.02, 0.31, 0.5, 0.5, 5.0], atol=1e-3)


def test_what_is_too_large_for_video_is_one_line(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=10)
    with pytest.raises(UserError, match="20000×16"):
        sink.write(np.zeros((16, 20000, 3), np.uint8), Frame(gray(0), 0, 0.0))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line():
    sink = VideoSink("/dev/full", fps=10)
    with pytest.raises(UserError, match="/dev/full"):
        sink.write(gray(0), Frame(gray(0), 0, 0.0))


def test_what_is_too_large_leaves_the_recording_that_is_there(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"an earlier one")
    sink = VideoSink(path, fps=10)
    with pytest.raises(UserError):
        sink.write(np.zeros((16, 20000, 3), np.uint8), Frame(gray(0), 0, 0.0))
    sink.close()
    assert path.read_bytes() == b"an earlier one"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_a_recording_that_another_run_writes_is_left_to_it(tmp_path):
    path = tmp_path / "out.mp4"
    first, second = VideoSink(path, fps=10), VideoSink(path, fps=10)
    first.write(gray(0), Frame(gray(0), 0, 0.0))
    with pytest.raises(UserError, match="another run"):
        second.write(gray(200), Frame(gray(0), 0, 0.0))
    second.close()
    first.write(gray(90), Frame(gray(0), 1, 0.1))
    first.close()
    assert len(read_video(path)[0]) == 2


def test_nothing_written_leaves_nothing(tmp_path):
    VideoSink(tmp_path / "out.mp4", fps=10).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["out.mkv", "out.avi", "out", "out.mp4.txt", "file/out.mp4", "folder.mp4", "file/out.png"]
)
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


@pytest.mark.parametrize("count", [1, 12, 20])
def test_an_earlier_recording_stays_until_a_second_of_the_new_one_is_there(tmp_path, count):
    """Whenever the program is killed, there is an earlier recording or one that can be played."""
    path = tmp_path / "out.mp4"
    path.write_bytes(b"an earlier one")
    sink = VideoSink(path, fps=10)
    for index in range(count):
        sink.write(gray(10 * index), Frame(gray(0), index, index / 10))
    if count < 12:
        assert path.read_bytes() == b"an earlier one"
    else:
        assert len(read_video(path)[0]) >= 10
    sink.close()
    assert len(read_video(path)[0]) == count
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_a_recording_begins_at_zero_wherever_its_frames_do(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=10)
    for index in range(5):
        sink.write(gray(100), Frame(gray(0), 1000 + index, 100 + index / 10))
    sink.close()
    np.testing.assert_allclose(read_video(tmp_path / "out.mp4")[1], np.arange(5) / 10, atol=1e-3)


KILLED = """
import os, signal, sys
import numpy as np
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.record import VideoSink
video = VideoSink(sys.argv[1], fps=25)
noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
for index in range(200):
    image = np.ascontiguousarray(noise[index % 50 : index % 50 + 240, index % 70 : index % 70 + 320])
    # The second half comes at a fifth of the rate that was expected.
    video.write(image, Frame(image, index, index / 25 if index < 100 else 4 + (index - 100) / 5))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_recording_can_be_played_but_for_its_last_second(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "out.mp4"])
    assert done.returncode == -signal.SIGKILL
    frames, times, count, _ = read_video(tmp_path / "out.mp4")
    assert 200 - 7 <= len(frames) == count
    assert times[-1] >= 4 + 19.8 - 1.4
