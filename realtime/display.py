"""The window, and a probe whether one can be opened."""

import os
import subprocess
import sys
import time

import cv2
import numpy as np

from fer_tf.errors import UserError

TITLE = "Expressions (q quits, space pauses, s saves, d: details, n: resting face)"

_REMEDY = "use --no-window with --output or --csv, or run it on a machine with a screen"


class DisplayProbe:
    """Finds out whether a window can be opened. Use it in a `with` statement.

    OpenCV aborts the whole process, without an exception, if it cannot open a window. So a child process tries first,
    in parallel with other preparations.

    Args:
        timeout: Seconds after which a screen that does not respond counts as missing.

    Raises:
        UserError: if no screen is set.
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
            start_new_session=True,  # Ctrl-C must not reach the child: its death would look like a missing screen
        )

    def __enter__(self) -> "DisplayProbe":
        return self

    def __exit__(self, *exception: object) -> None:
        self._child.kill()
        self._child.wait()

    def check(self) -> None:
        """Waits for the result.

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
    """Shows images and reports keys. q, Escape or the close button closes it.

    Args:
        largest: Largest initial width and height in pixels; the user can resize it.

    Attributes:
        is_open: False once the user has closed it.
    """

    def __init__(self, *, largest: tuple[int, int] = (1280, 720)):
        self.largest = largest
        self.is_open = True
        self._shows = False

    def show(self, image: np.ndarray) -> None:
        """Shows an image: uint8 [H, W, 3], BGR. It appears with the next `poll`."""
        if not self._shows:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            size = image.shape[1::-1]
            reduction = min(1.0, *(most / side for most, side in zip(self.largest, size, strict=True)))
            cv2.resizeWindow(TITLE, *(max(1, round(side * reduction)) for side in size))
            self._shows = True
        cv2.imshow(TITLE, image)

    def poll(self, seconds: float) -> str:
        """Handles events for some seconds, or until a key is pressed; returns the key, or "" if there is none."""
        if not self._shows:
            time.sleep(seconds)
            return ""
        # Not waitKey, which truncates an arrow's code, 0xFF51, to that of a letter, 0x51. Higher bits are modifiers.
        key = cv2.waitKeyEx(max(1, round(1000 * seconds))) & 0xFFFF
        try:
            visible = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt raises once the last window is closed
            visible = False
        self.is_open = self.is_open and visible and key not in (ord("q"), ord("Q"), 27)
        return chr(key).lower() if 0 < key < 0x80 else ""

    def close(self) -> None:
        """Closes the window."""
        cv2.destroyAllWindows()
