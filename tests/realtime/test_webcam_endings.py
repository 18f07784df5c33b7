import contextlib
import re
import signal
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
