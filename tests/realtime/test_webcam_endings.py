import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

pytest.importorskip("skimage")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_run_with_whole_files(model, tmp_path, start_webcam, number, count_frames):
    if number == "SIGHUP" and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        pytest.skip("ignored here, as by nohup, and so by the run")
    video, table = tmp_path / "demo.mp4", tmp_path / "demo.csv"
    arguments = ["--source", "demo", "--model", model, "--no-window", "--output", video, "--csv", table]
    child = start_webcam(*arguments)
    deadline = time.monotonic() + 30
    while (not table.exists() or table.read_text().count("\n") < 10) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.Signals[number])
    output, errors = child.communicate(timeout=30)
    assert (child.returncode, errors) == (0, "")
    frames = int(re.match(r"(\d+) frames", output).group(1))
    assert 9 <= frames < 250
    assert count_frames(video) == frames


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


def test_a_stream_that_is_cut_is_reported_and_comes_back(model, tmp_path, run_webcam, count_frames):
    video = tmp_path / "out.mp4"
    with serving(Stream) as (address, _):
        done = run_webcam(
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


class Endless(BaseHTTPRequestHandler):
    """A camera whose third picture claims 2 GB, or no size at all, and goes on for 300 MB."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.zeros((120, 160, 3), np.uint8))[1].tobytes()
        head = "--frame\r\nContent-Type: image/jpeg\r\n"
        size = "Content-Length: 2000000000\r\n" if self.path == "/claims" else ""
        with contextlib.suppress(OSError):
            for _ in range(2):
                self.wfile.write(f"{head}Content-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n")
            self.wfile.write(f"{head}{size}\r\n".encode())
            for _ in range(300):
                self.wfile.write(b"\xff" * 2**20)

    def log_message(self, *_):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="has no getrusage, and FFmpeg's own limit")
@pytest.mark.parametrize("path", ["claims", "says_nothing"])
def test_a_part_of_a_stream_without_end_takes_no_more_memory_than_is_allowed(path, monkeypatch):
    monkeypatch.setenv("FER_TF_MAX_PIXELS", "1000000")  # 64 MB at once
    code = """if True:
        import resource, sys
        from fer_tf.realtime.video import StreamCapture
        capture = StreamCapture(sys.argv[1])
        assert capture.read()[0]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        while capture.read()[0]:
            pass
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(grown / (1e6 if sys.platform == "darwin" else 1e3))
    """
    with serving(Endless) as (address, _):
        done = subprocess.run([sys.executable, "-c", code, address + path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 150


class Silent(BaseHTTPRequestHandler):
    """A server that takes the question and never answers."""

    def do_GET(self):
        self.server.visits += 1
        time.sleep(60)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_signal_does_not_wait_for_a_server_that_does_not_answer(model, tmp_path, start_webcam):
    with serving(Silent) as (address, server):
        child = start_webcam("--source", address, "--model", model, "--no-window", "--csv", tmp_path / "x.csv")
        deadline = time.monotonic() + 30
        while not server.visits and time.monotonic() < deadline:
            time.sleep(0.02)
        begun = time.monotonic()
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=30)
    assert (child.returncode, output, errors) == (0, "", "")
    assert not (tmp_path / "x.csv").exists()
    assert time.monotonic() - begun < 9  # it would wait ten seconds for the server
