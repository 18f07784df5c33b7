import contextlib
import csv
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import cv2
import numpy as np
import pytest

from fer_tf import weights
from fer_tf.classes import CLASSES
from fer_tf.realtime import demo, webcam
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.record import VideoSink

COMMAND = [sys.executable, "-m", "realtime.webcam"]


@pytest.fixture(scope="module", autouse=True)
def _needs_the_demo():
    pytest.importorskip("skimage")


@pytest.fixture
def model(make_model_file, tmp_path):
    return str(make_model_file(tmp_path / "tiny.onnx"))


def environment(**changes):
    """This process's environment without a screen, and with `changes`."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY")
    return {key: value for key, value in os.environ.items() if key not in hidden} | changes


def run(*arguments, **changes):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**changes),
    )


def count_frames(path):
    video = cv2.VideoCapture(str(path))
    frames = 0
    while video.read()[0]:
        frames += 1
    return frames


def test_the_demo_is_recorded_and_tabulated(model, tmp_path):
    video, table = tmp_path / "demo.mp4", tmp_path / "demo.csv"
    done = run(
        *("--source", "demo", "--model", model, "--no-window", "--threads", 1),
        *("--output", video, "--csv", table, "--max-frames", 70),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert count_frames(video) == 70
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert re.search(rf"^70 frames, {len(rows)} faces, [\d.]+ frames/s", done.stdout)
    assert str(video) in done.stdout
    assert str(table) in done.stdout
    faces = np.bincount([int(row["frame"]) for row in rows])
    assert len(faces) == 70
    assert faces[:60].tolist().count(1) > 55  # the first scene has one face,
    assert faces[65:].tolist().count(2) >= 4  # the second two
    for row in rows:
        probabilities = [float(row[f"p_{name}"]) for name in CLASSES]
        assert (row["source"], row["model"]) == ("demo", "tiny-original")
        assert float(row["time_s"]) == pytest.approx(int(row["frame"]) / 25, abs=1e-3)
        assert row["expression"] == CLASSES[int(np.argmax(probabilities))]
        assert float(row["confidence"]) == max(probabilities)
        assert sum(probabilities) == pytest.approx(1, abs=1e-3)
    assert {row["face"] for row in rows if int(row["frame"]) < 50} == {"0"}
    assert len({row["face"] for row in rows if row["frame"] == "69"}) == 2


def test_two_models_are_compared_on_the_same_faces(make_model_file, model, tmp_path):
    table = tmp_path / "demo.csv"
    changes = {"name": "other", "framework": "torch"}
    other = make_model_file(tmp_path / "other.onnx", card_changes=changes, slope=-1)
    arguments = ["--source", "demo", "--model", model, "--compare", str(other), "--no-window", "--max-frames", "9"]
    assert webcam.main([*arguments, "--csv", str(table), "--output", str(tmp_path / "demo.png")]) == 0
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["tiny-original", "other"] * 9
    for one, another in zip(rows[::2], rows[1::2], strict=True):
        assert (one["expression"], another["expression"]) == ("surprise", "angry")
        probabilities = [[float(row[f"raw_{name}"]) for name in CLASSES] for row in (one, another)]
        logits = np.log(probabilities) - np.log(probabilities)[:, :1]
        np.testing.assert_allclose(logits[0], -logits[1], atol=0.02)  # of the same crop, by the table's digits
        same = ("frame", "time_s", "face", "x", "y", "width", "height")
        assert [one[name] for name in same] == [another[name] for name in same]


def test_a_recording_can_be_a_source(model, tmp_path):
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    common = ("--model", model, "--no-window")
    assert webcam.main(["--source", "demo", *common, "--output", str(first), "--max-frames", "12"]) == 0
    assert webcam.main(["--source", str(first), *common, "--output", str(second)]) == 0
    assert count_frames(second) == 12


def test_an_image_can_be_a_source(model, tmp_path):
    image, table = tmp_path / "photo.png", tmp_path / "photo.csv"
    cv2.imwrite(str(image), next(demo.demo_clip()[0]))
    assert webcam.main(["--source", str(image), "--model", model, "--no-window", "--csv", str(table)]) == 0
    assert len(table.read_text().splitlines()) == 2


WRONG = {
    "nothing to see": ["--source", "demo", "--no-window"],
    "no such file": ["--source", "missing.mp4", "--no-window", "--csv", "x.csv"],
    "a text file": ["--source", "text.mp4", "--no-window", "--csv", "x.csv"],
    "an empty file": ["--source", "empty.mp4", "--no-window", "--csv", "x.csv"],
    "a video that is cut off": ["--source", "cut.mp4", "--no-window", "--csv", "x.csv"],
    "an image that is cut off": ["--source", "cut.png", "--no-window", "--csv", "x.csv"],
    "half an image": ["--source", "half.png", "--no-window", "--csv", "x.csv"],
    "a device that is no camera": ["--source", os.devnull, "--no-window", "--csv", "x.csv"],
    "a name that is not UTF-8": ["--source", "a\udcff.mp4", "--no-window", "--csv", "x.csv"],
    "a folder without images": ["--source", "folder.mp4", "--no-window", "--csv", "x.csv"],
    "a pattern that nothing matches": ["--source", "*.webm", "--no-window", "--csv", "x.csv"],
    "a camera that something follows": ["--source", "0", "video.mp4", "--no-window", "--csv", "x.csv"],
    "no camera": ["--source", "99", "--no-window", "--csv", "x.csv"],
    "a number beyond all cameras": ["--source", "99999999999999999999", "--no-window", "--csv", "x.csv"],
    "an address without a stream": ["--source", "http://127.0.0.1:9/x", "--no-window", "--csv", "x.csv"],
    "an unknown protocol": ["--source", "nonsense://x", "--no-window", "--csv", "x.csv"],
    "no screen": ["--source", "demo"],
    "an unknown suffix": ["--source", "demo", "--no-window", "--output", "out.mkv"],
    "an old suffix": ["--source", "demo", "--no-window", "--output", "out.avi"],
    "one file for several sources": ["--source", "demo", "video.mp4", "--no-window", "--output", "out.mp4"],
    "output into the folder of the sources": ["--source", "video.mp4", "--no-window", "--output", "."],
    "no such detector": ["--source", "demo", "--no-window", "--csv", "x.csv", "--detector", "eyes"],
    "a network for a detector without": ["--source", "demo", "--csv", "x.csv", "--no-window", "--detector-model", "m"],
    "no such provider": ["--source", "demo", "--no-window", "--csv", "x.csv", "--provider", "Abacus"],
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
    "a video without a frame": [
        *("--source", "frameless.mp4", "--no-window"),
        *("--csv", "old.csv", "--jsonl", "old.jsonl", "--summary", "old.json", "--output", "old.mp4"),
    ],
    "no name": ["--source", "", "--no-window", "--csv", "x.csv"],
    "more threads than any machine has": ["--source", "demo", "--no-window", "--csv", "x.csv", "--threads", "9" * 20],
    "no threads": ["--source", "demo", "--no-window", "--csv", "x.csv", "--threads", "-1"],
    "a model that is none": ["--source", "demo", "--no-window", "--csv", "x.csv", "--model", "text.mp4"],
    "CSV over the compared model": [
        *("--source", "demo", "--no-window", "--compare", "tiny.onnx", "--model", "missing.onnx", "--csv", "tiny.onnx")
    ],
    "no such compared model": ["--source", "demo", "--no-window", "--csv", "x.csv", "--compare", "missing.onnx"],
    "no such model": ["--source", "demo", "--no-window", "--csv", "x.csv", "--model", "missing.onnx"],
}


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
    (tmp_path / "cut.png").write_bytes(image[:40])
    (tmp_path / "half.png").write_bytes(image[: len(image) // 2])
    return tmp_path


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_said_in_one_line(model):
    done = run("--source", "demo", "--model", model, "--no-window", "--csv", "/dev/full")
    assert_one_line(done)
    assert "/dev/full" in done.stderr


def assert_one_line(done):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG.keys())
def test_what_a_user_gets_wrong_is_said_in_one_line(arguments, workplace):
    before = {path: path.read_bytes() for path in workplace.iterdir() if path.is_file()}
    root = str(webcam.Path(webcam.__file__).parents[1])
    done = run("--model", "tiny.onnx", *arguments, PYTHONPATH=root)
    assert_one_line(done)
    assert {path: path.read_bytes() for path in workplace.iterdir() if path.is_file()} == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs X11")
def test_a_screen_that_does_not_answer_is_said_in_one_line(model):
    done = run("--source", "demo", "--model", model, DISPLAY=":99")
    assert_one_line(done)
    assert "--no-window" in done.stderr


def test_snapshots_lie_beside_the_first_output_that_is_a_file(tmp_path):
    recording, table = tmp_path / "labeled" / "camera-0.mp4", tmp_path / "x.csv"
    assert webcam._folder_of(recording, table, None, None) == tmp_path / "labeled"
    assert webcam._folder_of(None, webcam.Path(os.devnull), table, None) == tmp_path
    assert webcam._folder_of(None, webcam.Path(os.devnull), None, None) == webcam.Path()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_run_with_whole_files(model, tmp_path, number):
    if number == "SIGHUP" and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        pytest.skip("ignored here, as by nohup, and so by the run")
    video, table = tmp_path / "demo.mp4", tmp_path / "demo.csv"
    arguments = ["--source", "demo", "--model", model, "--no-window", "--output", video, "--csv", table]
    child = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    deadline = time.monotonic() + 30
    while (not table.exists() or table.read_text().count("\n") < 10) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.Signals[number])
    output, errors = child.communicate(timeout=30)
    assert (child.returncode, errors) == (0, "")
    frames = int(re.match(r"(\d+) frames", output).group(1))
    assert 9 <= frames < 250
    assert count_frames(video) == frames


def test_a_folder_is_labeled_file_by_file_and_what_is_broken_is_named(model, tmp_path, capsys):
    folder, labeled, table = tmp_path / "in", tmp_path / "labeled", tmp_path / "faces.csv"
    folder.mkdir()
    images = list(itertools.islice(demo.demo_clip()[0], 6))
    sink = VideoSink(folder / "talk2.mp4", fps=25)
    for index, image in enumerate(images):
        sink.write(image, Frame(image, index, index / 25))
    sink.close()
    (folder / "talk10.mp4").write_bytes((folder / "talk2.mp4").read_bytes())
    (folder / "talk3.mp4").write_text("no video")
    (folder / "notes.txt").write_text("nothing")
    cv2.imwrite(str(folder / "talk2.bmp"), images[0])
    cv2.imwrite(str(folder / "talk2.jpg"), images[0])
    code = webcam.main(
        ["--source", str(folder), "--model", model, "--no-window", "--output", str(labeled), "--csv", str(table)]
    )
    printed = capsys.readouterr()
    assert code == 1
    assert printed.err.count("\n") == 1
    assert "talk3.mp4" in printed.err
    assert printed.out.startswith("14 frames, 14 faces")
    assert sorted(path.name for path in labeled.iterdir()) == ["talk10.mp4", "talk2.jpg", "talk2.mp4", "talk2.png"]
    assert count_frames(labeled / "talk10.mp4") == 6
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(os.path.basename(row["source"]) for row in rows)) == [
        *("talk2.bmp", "talk2.jpg", "talk2.mp4", "talk10.mp4"),
    ]
    assert {row["face"] for row in rows} == {"0"}  # each source counts its faces anew


def test_without_frames_nothing_is_said_to_be_written(model, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("nothing")
    table = str(tmp_path / "faces.csv")
    arguments = ["--source", str(tmp_path), "--model", model, "--no-window", "--output", str(tmp_path / "labeled")]
    assert webcam.main([*arguments, "--csv", table]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 2
    assert printed.out.startswith("0 frames")
    assert "wrote" not in printed.out
    assert not os.path.exists(table)


class Stream(BaseHTTPRequestHandler):
    """A camera that sends JPEG after JPEG over HTTP: MJPEG."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        self.server.visits += 1
        jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), 40 * self.server.visits, np.uint8))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
        with contextlib.suppress(OSError):
            for _ in range(15 if self.server.visits == 1 else 10_000):
                self.wfile.write(head + jpeg + b"\r\n")
                self.wfile.flush()
                time.sleep(0.02)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(handler):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.visits = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", server
        server.shutdown()


def test_a_stream_that_is_cut_is_reported_and_comes_back(model, tmp_path):
    video = tmp_path / "out.mp4"
    with serving(Stream) as (address, _):
        done = run(
            *("--source", address, "--model", model, "--no-window", "--output", video, "--max-frames", 40),
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert "no frame for" in done.stderr
    assert done.stdout.startswith("40 frames")
    assert count_frames(video) == 41  # once with the banner
    capture = cv2.VideoCapture(str(video))
    images = [capture.read()[1] for _ in range(41)]
    assert images[0].mean() == pytest.approx(40, abs=5)
    assert images[-1].mean() == pytest.approx(80, abs=5)


class Silent(BaseHTTPRequestHandler):
    """A server that takes the question and never answers."""

    def do_GET(self):
        self.server.visits += 1
        time.sleep(60)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_signal_does_not_wait_for_a_server_that_does_not_answer(model, tmp_path):
    with serving(Silent) as (address, server):
        child = subprocess.Popen(
            [*COMMAND, "--source", address, "--model", model, "--no-window", "--csv", tmp_path / "x.csv"],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        deadline = time.monotonic() + 30
        while not server.visits and time.monotonic() < deadline:
            time.sleep(0.02)
        begun = time.monotonic()
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=30)
    assert (child.returncode, output, errors) == (0, "", "")
    assert not (tmp_path / "x.csv").exists()
    assert time.monotonic() - begun < 9  # it would wait ten seconds for the server


def test_a_model_trained_here_and_one_imported_give_the_same_rows(torch_base_cnn, tmp_path):
    torch = pytest.importorskip("torch")
    from fer_tf.export import from_pth

    checkpoint, imported = tmp_path / "BaseCNN.pth", tmp_path / "imported.onnx"
    torch.manual_seed(0)
    torch.save(torch_base_cnn(1).state_dict(), checkpoint)
    assert from_pth.main([str(checkpoint), "-o", str(imported)]) == 0
    tables = {}
    for name, model in (("trained", weights.DEFAULT_MODEL), ("imported", imported)):
        path = tmp_path / f"{name}.csv"
        arguments = ["--source", "demo", "--max-frames", "90", "--no-window", "--csv", str(path), "--model", str(model)]
        assert webcam.main(arguments) == 0
        with open(path, newline="") as file:
            tables[name] = list(csv.DictReader(file))
    trained, imported = tables["trained"], tables["imported"]
    assert len(trained) == len(imported) > 90
    place = ("source", "time_s", "frame", "face", "x", "y", "width", "height")
    for one, other in zip(trained, imported, strict=True):
        assert list(one) == list(other)
        assert [one[key] for key in place] == [other[key] for key in place]
    assert [row["p_happy"] for row in trained] != [row["p_happy"] for row in imported]
    assert {row["model"] for row in imported} != {row["model"] for row in trained}


def test_cameras_are_listed(monkeypatch, capsys):
    monkeypatch.setattr(webcam, "find_cameras", lambda: iter([("0", 640, 480, 30.0), ("2", 1280, 720, 0.0)]))
    assert webcam.main(["--list-cameras"]) == 0
    assert capsys.readouterr().out == "0: 640x480, 30 frames/s\n2: 1280x720\n"


def test_no_camera_is_said_quietly():
    done = run("--list-cameras")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_help_says_what_it_is_not_for():
    done = run("--help")
    assert done.returncode == 0
    assert "Not for inferring what a person feels" in " ".join(done.stdout.split())


def test_no_module_of_the_loop_imports_a_training_framework():
    code = (
        "import importlib, pkgutil, sys, fer_tf.realtime as realtime\n"
        "for module in pkgutil.iter_modules(realtime.__path__):\n"
        "    importlib.import_module(f'fer_tf.realtime.{module.name}')\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(names & {'tensorflow', 'keras', 'torch', 'skimage', 'scipy', 'matplotlib', 'onnx'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
