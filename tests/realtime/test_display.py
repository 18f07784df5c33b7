import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from fer_tf.command import UserError
from realtime.capture import Frame
from realtime.display import DisplayProbe, Window

IMAGE = np.zeros((48, 64, 3), np.uint8)


@pytest.fixture
def screen(monkeypatch):
    """Stands for OpenCV's windows: what is shown and waited for, which key is pressed, if it is visible."""

    class Screen:
        shown, waited, key, visible = 0, [], -1, 1.0

        def imshow(self, title, image):
            self.shown += 1

        def waitKey(self, milliseconds):
            self.waited.append(milliseconds)
            return self.key

        def getWindowProperty(self, title, name):
            if self.visible is None:
                raise cv2.error("NULL guiReceiver (please create a window)")
            return self.visible

    fake = Screen()
    fake.waited = []
    for name in ("imshow", "waitKey", "getWindowProperty"):
        monkeypatch.setattr(cv2, name, getattr(fake, name))
    for name in ("namedWindow", "resizeWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    return fake


@pytest.mark.parametrize(
    ("key", "visible", "open_after"),
    [
        (-1, 1.0, True),
        (ord("x"), 1.0, True),
        (ord("q"), 1.0, False),
        (27, 1.0, False),
        (-1, 0.0, False),
        (-1, None, False),
    ],
)
def test_a_key_or_its_button_closes_the_window(screen, key, visible, open_after):
    screen.key, screen.visible = key, visible
    window = Window(live=True)
    assert window.show(IMAGE, Frame(IMAGE, 0, 0.0)) is open_after
    assert window.is_open is open_after
    assert screen.shown == 1


def test_a_file_is_shown_at_its_own_pace_and_a_camera_at_once(screen):
    for live in (False, True):
        window = Window(live=live)
        window.show(IMAGE, Frame(IMAGE, 0, 0.0))
        window.show(IMAGE, Frame(IMAGE, 1, 2.0))
    assert screen.waited[0] == 1
    assert 1500 < screen.waited[1] <= 2000
    assert screen.waited[2:] == [1, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such variable")
def test_without_a_display_variable_there_is_no_screen(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UserError, match="--no-window"):
        DisplayProbe()


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "import os; os.abort()", "import time; time.sleep(60)"])
def test_a_probe_that_fails_or_hangs_means_no_screen(monkeypatch, code):
    monkeypatch.setenv("DISPLAY", ":1")
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **keywords: start([sys.executable, "-c", code], **keywords)
    )
    began = time.monotonic()
    with DisplayProbe(timeout=0.5) as probe, pytest.raises(UserError, match="--no-window"):
        probe.check()
    assert time.monotonic() - began < 5


def test_a_probe_that_succeeds_says_nothing(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":1")
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **keywords: start([sys.executable, "-c", ""], **keywords))
    with DisplayProbe() as probe:
        probe.check()
