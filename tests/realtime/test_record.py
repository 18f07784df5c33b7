import csv
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from fer_tf.command import UserError
from realtime.capture import Frame
from realtime.pipeline import Face
from realtime.record import CsvSink, VideoSink, open_recording

COLUMNS = (
    "source,time_s,frame,face,x,y,width,height,model,expression,confidence,"
    "p_angry,p_disgust,p_fear,p_happy,p_neutral,p_sad,p_surprise"
)


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


@pytest.mark.parametrize("name", ["file/out.csv", "folder"])
def test_where_no_table_can_be_is_an_error(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=name):
        CsvSink(tmp_path / name, source="demo", model="tiny")


def test_rows_hold_what_was_seen_and_are_there_at_once(tmp_path):
    path = tmp_path / "new" / "out.csv"
    sink = CsvSink(path, source='a "b", c', model="tiny")
    probabilities = np.array([0.05, 0.1, 0.15, 0.4, 0.2, 0.06, 0.04], np.float32)
    faces = [Face((1, 2, 30, 40), probabilities), Face((50, 60, 70, 80), probabilities[::-1])]
    sink.write(Frame(gray(0), 0, 0.0), [])
    sink.write(Frame(gray(0), 7, 1.23456), faces)
    text = path.read_text()  # before it is closed
    sink.close()
    assert text.splitlines()[0] == COLUMNS
    first, second = csv.DictReader(text.splitlines())
    assert (first["source"], first["model"]) == ('a "b", c', "tiny")
    assert [first[key] for key in ("time_s", "frame", "face")] == ["1.235", "7", "0"]
    assert [second[key] for key in ("frame", "face", "x", "y", "width", "height")] == [
        "7",
        "1",
        "50",
        "60",
        "70",
        "80",
    ]
    assert (first["expression"], second["expression"]) == ("happy", "happy")
    assert float(first["confidence"]) == pytest.approx(0.4)
    written = [float(value) for key, value in first.items() if key.startswith("p_")]
    np.testing.assert_allclose(written, probabilities, atol=1e-4)


KILLED = """
import os, signal, sys
import numpy as np
from realtime.capture import Frame
from realtime.pipeline import Face
from realtime.record import CsvSink, VideoSink, open_recording
video = VideoSink(sys.argv[1], fps=25)
table = CsvSink(sys.argv[2], source="x", model="tiny")
rng = np.random.default_rng(0)
noise = rng.integers(0, 256, (300, 400, 3), np.uint8)
for index in range(200):
    image = np.ascontiguousarray(noise[index % 50 : index % 50 + 240, index % 70 : index % 70 + 320])
    frame = Frame(image, index, index / 25)
    video.write(image, frame)
    table.write(frame, [Face((1, 2, 3, 4), np.full(7, 1 / 7, np.float32))])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_killed_recording_can_be_played(tmp_path, suffix):
    video, table = tmp_path / f"out{suffix}", tmp_path / "out.csv"
    environment = os.environ | {"OPENCV_FFMPEG_LOGLEVEL": "-8"}
    done = subprocess.run([sys.executable, "-c", KILLED, video, table], env=environment)
    assert done.returncode == -signal.SIGKILL
    frames, fps = read_video(video)
    assert fps == pytest.approx(25)
    assert len(frames) > 150  # of 200, the rest being the last 256 KiB
    lines = table.read_text().splitlines(keepends=True)
    assert len(lines) == 201
    assert all(line.endswith("\n") for line in lines)
    assert len(list(csv.DictReader(lines))) == 200
