import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from fer_tf.command import UserError
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
    ("key", "visible", "pressed", "open_after"),
    [
        (-1, 1.0, "", True),
        (ord("x"), 1.0, "x", True),
        (ord("S"), 1.0, "s", True),
        (ord("q"), 1.0, "q", False),
        (ord("Q"), 1.0, "q", False),
        (27, 1.0, "\x1b", False),
        (-1, 0.0, "", False),
        (-1, None, "", False),
    ],
)
def test_a_key_or_its_button_closes_the_window(screen, key, visible, pressed, open_after):
    screen.key, screen.visible = key, visible
    window = Window()
    window.show(IMAGE)
    assert window.poll(0.01) == pressed
    assert window.is_open is open_after
    assert screen.shown == 1
    assert screen.waited == [10]


def test_a_window_that_has_shown_nothing_yet_is_not_closed(screen):
    screen.visible = 0.0
    window = Window()
    assert window.poll(0.001) == ""
    assert window.is_open
    assert not screen.waited  # OpenCV does not wait where it has no window


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
