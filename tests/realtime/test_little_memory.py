"""With too little memory a command says so; it never finds fewer faces."""

import subprocess
import sys
import threading

import pytest

from fer_tf.realtime import stage
from fer_tf.realtime.capture import SourceError
from fer_tf.realtime.loop import Loop
from fer_tf.realtime.video import FileSource

FRAMES = 12

ABORTED = {-6, -11, 127}
"""How a process ends whose C library has no memory for what it needs itself."""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
@pytest.mark.parametrize("kilobytes", [600_000, 760_000, 900_000, 1_200_000, 2_000_000])
def test_with_little_memory_all_faces_are_found_or_none_is_claimed(kilobytes, tmp_path):
    import resource

    pytest.importorskip("skimage")
    table = tmp_path / "faces.csv"
    limit = (1024 * kilobytes, 1024 * kilobytes)
    options = ["--source", "demo", "--no-window", "--max-frames", str(FRAMES), "--csv", str(table)]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, limit)

    command = [sys.executable, "-m", "realtime.webcam", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited, timeout=60)
    except subprocess.TimeoutExpired as late:
        # Python waits forever for a thread that ended for want of memory before it ran (CPython issue 140746).
        if late.stdout or not (late.stderr or b"").startswith(b"Exception ignored in thread started by"):
            raise
        return
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        assert done.stdout.startswith(f"{FRAMES} frames, {FRAMES} faces")
        assert len(table.read_text().splitlines()) == FRAMES + 1
    elif done.returncode not in ABORTED:
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert "memory" in done.stderr


def test_a_thread_that_cannot_start_leaves_none_behind(pipeline, clip, gray, monkeypatch):
    started = []

    class Third(threading.Thread):
        def start(self) -> None:
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            started.append(self)
            super().start()

    monkeypatch.setattr(stage.threading, "Thread", Third)
    with pytest.raises(RuntimeError, match="new thread"):
        Loop(pipeline()).play(clip([gray()] * 3))
    assert not any(thread.is_alive() for thread in started)


@pytest.mark.parametrize("error", [MemoryError("no room"), BlockingIOError(11, "Resource temporarily unavailable")])
def test_a_video_that_needs_more_memory_than_there_is_does_not_count_as_damaged(error):
    class Video:
        fps, length, duration_s, damaged = 25.0, 10, 0.4, 0

        def __iter__(self):
            raise error
            yield

        def close(self) -> None:
            pass

    with pytest.raises(SourceError, match=r"^a\.mp4: not enough memory"):
        list(FileSource("a.mp4", Video()))
