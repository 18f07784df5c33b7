"""The window, and finding out whether there can be one."""

import os
import subprocess
import sys
import time

import cv2
import numpy as np

from fer_tf.errors import UserError

TITLE = "Expressions (q ends, space pauses, s saves, d: details)"

_REMEDY = "use --no-window with --output or --csv, or run it where there is a screen"


class DisplayProbe:
    """Finds out whether a window can be opened. Use it in a `with` statement.

    OpenCV ends the whole process, without an exception, where it can open no window. So a child process tries
    first; it starts at once and runs beside whatever else there is to prepare.

    Args:
        timeout: Seconds after which a screen that does not answer counts as none.

    Raises:
        UserError: if it is plain that there is no screen.
    """

    def __init__(self, *, timeout: float = 10):
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UserError(f"there is no screen (DISPLAY is not set); {_REMEDY}")
        self.timeout = timeout
        code = "import cv2; cv2.namedWindow('probe'); cv2.waitKey(1)"
        quiet = subprocess.DEVNULL
        self._child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,  # a Ctrl-C is for the parent; killing the child would look like a missing screen
        )

    def __enter__(self) -> "DisplayProbe":
        return self

    def __exit__(self, *exception: object) -> None:
        self._child.kill()
        self._child.wait()

    def check(self) -> None:
        """Waits for the answer.

        Raises:
            UserError: if no window can be opened.
        """
        try:
            opened = self._child.wait(self.timeout) == 0
        except subprocess.TimeoutExpired:
            opened = False
        if not opened:
            raise UserError(f"no window can be opened on this screen; {_REMEDY}")


class Window:
    """Shows images and tells which keys are pressed. q, Escape or its close button end it.

    Args:
        largest: Width and height in pixels that it has at most at first; it can be resized.
    """

    def __init__(self, *, largest: tuple[int, int] = (1280, 720)):
        self.largest = largest
        self.is_open = True
        self._shows = False

    def show(self, image: np.ndarray) -> None:
        """Shows an image: uint8 [H, W, 3], BGR. It is on the screen after the next `poll`."""
        if not self._shows:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            size = image.shape[1::-1]
            reduction = min(1.0, *(most / side for most, side in zip(self.largest, size, strict=True)))
            cv2.resizeWindow(TITLE, *(max(1, round(side * reduction)) for side in size))
            self._shows = True
        cv2.imshow(TITLE, image)

    def poll(self, seconds: float) -> str:
        """Lets the window react for some seconds, or until a key is pressed, and returns the key, or ""."""
        if not self._shows:
            time.sleep(seconds)
            return ""
        # Not waitKey, which cuts an arrow's code, 0xFF51, down to that of a letter, 0x51. Above the 16 bits stands
        # which modifiers are held.
        key = cv2.waitKeyEx(max(1, round(1000 * seconds))) & 0xFFFF
        try:
            visible = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # what Qt has instead of an answer, once the last window is closed
            visible = False
        self.is_open = self.is_open and visible and key not in (ord("q"), ord("Q"), 27)
        return chr(key).lower() if 0 < key < 0x80 else ""

    def close(self) -> None:
        """Closes the window."""
        cv2.destroyAllWindows()
