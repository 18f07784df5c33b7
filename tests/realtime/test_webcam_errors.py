import os
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest

from fer_tf.realtime import webcam

pytest.importorskip("skimage")


WRONG = {
    "nothing to see": ["--source", "demo", "--no-window"],
    "no such file": ["--source", "missing.mp4", "--no-window", "--csv", "x.csv"],
    "a folder without images": ["--source", "folder.mp4", "--no-window", "--csv", "x.csv"],
    "a pattern that nothing matches": ["--source", "*.webm", "--no-window", "--csv", "x.csv"],
    "a camera that something follows": ["--source", "0", "video.mp4", "--no-window", "--csv", "x.csv"],
    "an unknown suffix": ["--source", "demo", "--no-window", "--output", "out.mkv"],
    "an old suffix": ["--source", "demo", "--no-window", "--output", "out.avi"],
    "one file for several sources": ["--source", "demo", "video.mp4", "--no-window", "--output", "out.mp4"],
    "output into the folder of the sources": ["--source", "video.mp4", "--no-window", "--output", "."],
    "no such detector": ["--source", "demo", "--no-window", "--csv", "x.csv", "--detector", "eyes"],
    "a network for a detector without": ["--source", "demo", "--csv", "x.csv", "--no-window", "--detector-model", "m"],
    "a camera's size without a camera": ["--source", "demo", "--no-window", "--csv", "x.csv", "--camera-size", "9x9"],
    "no size": ["--source", "0", "--no-window", "--csv", "x.csv", "--camera-size", "large"],
    "negative smoothing": ["--source", "demo", "--no-window", "--csv", "x.csv", "--smoothing", "-1"],
    "no such second model": ["--source", "demo", "--no-window", "--csv", "x.csv", "--compare", "missing.onnx"],
    "a folder for CSV": ["--source", "demo", "--no-window", "--csv", "folder.mp4"],
    "a file for a folder": ["--source", "demo", "--no-window", "--output", "text.mp4/out.mp4"],
    "output over the source": ["--source", "video.mp4", "--no-window", "--output", "video.mp4"],
    "output over the source, linked": ["--source", "video.mp4", "--no-window", "--output", "link.mp4"],
    "CSV over the source": ["--source", "video.mp4", "--no-window", "--csv", "./video.mp4"],
    "CSV over the model": ["--source", "demo", "--no-window", "--csv", "tiny.onnx"],
    "CSV over the output": ["--source", "demo", "--no-window", "--output", "x.mp4", "--csv", "x.mp4"],
    "no frame at all": ["--source", "demo", "--no-window", "--csv", "x.csv", "--max-frames", "0"],
    "no name": ["--source", "", "--no-window", "--csv", "x.csv"],
    "no threads": ["--source", "demo", "--no-window", "--csv", "x.csv", "--threads", "-1"],
    "CSV over the compared model": [
        *("--source", "demo", "--no-window", "--compare", "tiny.onnx", "--model", "missing.onnx", "--csv", "tiny.onnx")
    ],
    "no such compared model": ["--source", "demo", "--no-window", "--csv", "x.csv", "--compare", "missing.onnx"],
    "no mixture": ["--source", "demo", "--no-window", "--csv", "x.csv", "--expect", "happy=2"],
    "no time at rest": ["--source", "demo", "--no-window", "--csv", "x.csv", "--resting", "soon"],
    "no weight": ["--source", "demo", "--no-window", "--csv", "x.csv", "--resting-weight", "2"],
    "no picture of a resting face": [
        "--source",
        "demo",
        "--no-window",
        "--csv",
        "x.csv",
        "--resting-pictures",
        "no.png",
    ],
    "CSV over the resting face": [
        *("--source", "demo", "--no-window", "--csv", "whole.png", "--resting-pictures", "whole.png")
    ],
    "two ways to be at rest": [
        *("--source", "demo", "--no-window", "--csv", "x.csv", "--resting", "auto", "--resting-pictures", "whole.png")
    ],
    "no such model": ["--source", "demo", "--no-window", "--csv", "x.csv", "--model", "missing.onnx"],
}

WRONG_FOR_A_LIBRARY = {
    "a text file": ["--source", "text.mp4", "--no-window", "--csv", "x.csv"],
    "an empty file": ["--source", "empty.mp4", "--no-window", "--csv", "x.csv"],
    "a video that is cut off": ["--source", "cut.mp4", "--no-window", "--csv", "x.csv"],
    "an image that is cut off": ["--source", "cut.png", "--no-window", "--csv", "x.csv"],
    "half an image": ["--source", "half.png", "--no-window", "--csv", "x.csv"],
    "a device that is no camera": ["--source", os.devnull, "--no-window", "--csv", "x.csv"],
    "a name that is not UTF-8": ["--source", "a\udcff.mp4", "--no-window", "--csv", "x.csv"],
    "no camera": ["--source", "99", "--no-window", "--csv", "x.csv"],
    "a number beyond all cameras": ["--source", "99999999999999999999", "--no-window", "--csv", "x.csv"],
    "an address without a stream": ["--source", "http://127.0.0.1:9/x", "--no-window", "--csv", "x.csv"],
    "an unknown protocol": ["--source", "nonsense://x", "--no-window", "--csv", "x.csv"],
    "no screen": ["--source", "demo"],
    "no such provider": ["--source", "demo", "--no-window", "--csv", "x.csv", "--provider", "Abacus"],
    "a video without a frame": [
        *("--source", "frameless.mp4", "--no-window"),
        *("--csv", "old.csv", "--jsonl", "old.jsonl", "--summary", "old.json", "--output", "old.mp4"),
    ],
    "more threads than any machine has": ["--source", "demo", "--no-window", "--csv", "x.csv", "--threads", "9" * 20],
    "a model that is none": ["--source", "demo", "--no-window", "--csv", "x.csv", "--model", "text.mp4"],
    "no face at rest": ["--source", "demo", "--no-window", "--csv", "x.csv", "--resting-pictures", "whole.png"],
}
"""What a library or the system refuses. It might write to stderr itself, as it would in a fresh process."""


@pytest.fixture
def workplace(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    writer = cv2.VideoWriter("video.mp4", cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for value in range(30):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    (tmp_path / "link.mp4").symlink_to("video.mp4")
    whole = (tmp_path / "video.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    for name in ("old.csv", "old.jsonl", "old.json", "old.mp4"):
        (tmp_path / name).write_text("of the last run\n")
    with av.open("whole.mp4", "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        for value in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), value, np.uint8), format="bgr24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    index, data, _ = (tmp_path / "whole.mp4").read_bytes().partition(b"mdat")
    (tmp_path / "frameless.mp4").write_bytes(index + data)
    image = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()
    (tmp_path / "whole.png").write_bytes(image)
    (tmp_path / "cut.png").write_bytes(image[:40])
    (tmp_path / "half.png").write_bytes(image[: len(image) // 2])
    return tmp_path


def assert_one_line(done):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_said_in_one_line(model, run_webcam):
    done = run_webcam("--source", "demo", "--model", model, "--no-window", "--csv", "/dev/full")
    assert_one_line(done)
    assert "/dev/full" in done.stderr


@pytest.fixture
def files(workplace):
    """A function that returns the content of each file."""
    return lambda: {path: path.read_bytes() for path in workplace.iterdir() if path.is_file()}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG.keys())
def test_what_a_user_gets_wrong_is_said_in_one_line(arguments, files, monkeypatch, capfd):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    before = files()
    code = webcam.main(["--model", "tiny.onnx", *arguments])
    assert_one_line(subprocess.CompletedProcess(arguments, code, *capfd.readouterr()))
    assert files() == before


@pytest.mark.parametrize("arguments", WRONG_FOR_A_LIBRARY.values(), ids=WRONG_FOR_A_LIBRARY.keys())
def test_what_a_library_refuses_is_said_in_one_line(arguments, files, run_webcam):
    before = files()
    root = str(webcam.Path(webcam.__file__).parents[1])
    assert_one_line(run_webcam("--model", "tiny.onnx", *arguments, PYTHONPATH=root))
    assert files() == before


def test_a_library_says_nothing_of_a_damaged_jpeg(workplace, run_webcam):
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    content = bytearray(cv2.imencode(".jpg", noise)[1].tobytes())
    middle = len(content) // 2
    content[middle : middle + 40] = b"\xaa" * 40
    (workplace / "a.jpg").write_bytes(content)
    root = str(webcam.Path(webcam.__file__).parents[1])
    arguments = ["--source", "a.jpg", "--no-window", "--csv", "a.csv"]
    done = run_webcam("--model", "tiny.onnx", *arguments, PYTHONPATH=root)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="needs X11")
def test_a_screen_that_does_not_answer_is_said_in_one_line(model, run_webcam):
    done = run_webcam("--source", "demo", "--model", model, DISPLAY=":99")
    assert_one_line(done)
    assert "--no-window" in done.stderr
