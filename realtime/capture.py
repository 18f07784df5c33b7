"""What a source of frames is: images at hand, a video file, or a camera or stream that goes on by itself."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from fer_tf.errors import UserError

DEFAULT_FPS = 25.0
"""Frames a second where the source does not say, or says nonsense."""


class SourceError(UserError):
    """A source that cannot be opened or read. Where there are several, the others are not concerned."""


@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    image: np.ndarray
    """uint8 [H, W, 3], BGR. Its owner may draw on it."""
    index: int
    """From 0."""
    time_s: float
    """Seconds since the first frame: of the stream for files, of the clock for live sources."""
    captured: float = field(default_factory=time.monotonic, compare=False)
    """When it was read: seconds of `time.monotonic()`."""


class Source(Protocol):
    """Gives frames, once."""

    name: str
    """As the user gave it, without a password in it; of a camera `camera` and its number or device."""
    fps: float
    live: bool
    """Whether it goes on by itself, so that the clock is its time."""
    length: int | None
    """Number of frames, if known."""
    failure: str | None
    """After the last frame: why it came too early, if it did."""
    problem: str | None
    """Why no frame comes at present, if that is so."""

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames, and gives the device or file back at the end."""

    def close(self) -> None:
        """Ends the iteration, from any thread, as soon as no read is under way."""


class ClipSource:
    """Images that are at hand or are made on the way.

    Args:
        name: What to call it.
        images: Of any kind that `to_bgr` takes.
        fps: Frames a second.
        length: Number of images.
    """

    live = False
    failure = problem = None

    def __init__(self, name: str, images: Iterable[np.ndarray], *, fps: float, length: int):
        self.name, self.fps, self.length = name, fps, length
        self._images = images

    def __iter__(self) -> Iterator[Frame]:
        """Yields a frame for each image."""
        for index, image in enumerate(self._images):
            yield Frame(to_bgr(image), index, index / self.fps)

    def close(self) -> None:
        """Does nothing: there is nothing to give back."""


class FileSource:
    """A video that has an end, read by OpenCV: every frame of it, at the times of its stream.

    Where pixels are not square, as in DVDs, frames are stretched as a player would.

    Args:
        name: What to call it.
        capture: Opened already.
    """

    live = False
    problem = None

    def __init__(self, name: str, capture: cv2.VideoCapture):
        self.name, self.fps = name, _fps_of(capture)
        self.failure: str | None = None
        length = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.length = int(length) if 0 < length < 2**31 else None
        self._end_s = length / (capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS)
        self._stretch = _stretch_of(capture)
        self._capture = capture
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames until there are no more.

        Raises:
            SourceError: if there is none at all.
        """
        index, start, position, time_s = 0, 0.0, 0.0, -1.0
        try:
            while not self._closed.is_set() and (image := _read(self._capture)) is not None:
                # Frames of a file need not be equally far apart; in a file without times all have the same.
                before, position = position, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                start = start if index else position
                elapsed = position - start
                if elapsed > time_s:
                    time_s = elapsed
                elif position >= before and elapsed > 0:  # a time that is given twice, or one after a step back
                    time_s += 0.001
                else:
                    time_s += 1 / self.fps
                if self._stretch != (1, 1):
                    image = cv2.resize(image, None, fx=self._stretch[0], fy=self._stretch[1])
                yield Frame(image, index, time_s)
                index += 1
        finally:
            self._capture.release()
        if self._closed.is_set():
            return
        if not index:
            raise SourceError(f"{self.name}: it opens, but gives no frame; is it damaged?")
        # Many containers know how long they last only, so that the number of frames is a guess if these are unevenly
        # apart; and they may be a little wrong about that, too.
        if self.length and index < 0.9 * self.length and position < 0.9 * self._end_s:
            self.failure = f"{self.name}: ends after {index} of {self.length} frames; it seems to be cut off"

    def close(self) -> None:
        """Ends the iteration after the frame that is being read."""
        self._closed.set()


class LiveSource:
    """A camera or stream, opened anew whenever it stops, with pauses that grow from half a second to ten.

    Args:
        name: What to call it.
        open_capture: Opens it; what it returns may turn out not to be opened.
        remedy: What its user can do if it cannot be opened.

    Raises:
        SourceError: if it cannot be opened the first time.
    """

    live = True
    length = failure = None

    patience = 0.5
    """Seconds that reads may fail before the source is opened anew."""
    silence = 3.0
    """Seconds without a frame that are a problem, even if no read has failed."""

    def __init__(self, name: str, open_capture: Callable[[], cv2.VideoCapture], *, remedy: str):
        self.name = name
        self._open = open_capture
        self._capture = open_capture()
        if not self._capture.isOpened():
            raise SourceError(f"{name} cannot be opened; {remedy}")
        self.fps = _fps_of(self._capture)
        self._closed = threading.Event()
        self._last_frame = time.monotonic()
        self._lost = False

    def __iter__(self) -> Iterator[Frame]:
        """Yields frames until it is closed; their times are those of the clock.

        Raises:
            SourceError: if there is no first one.
        """
        index, attempts, start = 0, 0, 0.0
        opened = time.monotonic()
        try:
            while not self._closed.is_set():
                image, now = _read(self._capture), time.monotonic()
                if image is not None:
                    self._last_frame, self._lost, attempts = now, False, 0
                    start = start if index else now
                    yield Frame(image, index, now - start, now)
                    index += 1
                elif now - max(opened, self._last_frame) < self.patience:
                    self._closed.wait(0.01)
                elif not index:
                    raise SourceError(f"{self.name}: it opens, but gives no frame; does another program use it?")
                else:
                    self._lost = True
                    self._capture.release()
                    self._closed.wait(min(10.0, 0.5 * 2**attempts))
                    attempts = min(attempts + 1, 8)
                    if not self._closed.is_set():
                        self._capture = self._open()
                    opened = time.monotonic()
        finally:
            self._capture.release()

    @property
    def problem(self) -> str | None:
        """Why no frame comes at present: for how long there has been none. None if all is well."""
        silent = time.monotonic() - self._last_frame
        if self._lost or silent >= self.silence:
            return f"no frame for {math.ceil(silent)} s, trying again"
        return None

    def close(self) -> None:
        """Ends the iteration after the read or the pause that is under way."""
        self._closed.set()


def to_bgr(image: np.ndarray) -> np.ndarray:
    """Returns a frame of any kind that cameras and files give as the one kind that everything here takes.

    Args:
        image: uint8 or uint16, gray [H, W] or [H, W, 1], BGR [H, W, 3], or BGRA [H, W, 4].

    Returns:
        uint8 [H, W, 3], BGR; the alpha channel is left away, and of 16 bits the upper 8 are kept.

    Raises:
        UserError: on anything else.
    """
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise UserError(
            f"frames must be uint8 or uint16 with 1, 3 or 4 channels, found {image.dtype} {list(image.shape)}"
        )
    if channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR) if channels == 4 else image


def _fps_of(capture: cv2.VideoCapture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 1 <= fps <= 240 else DEFAULT_FPS


def _stretch_of(capture: cv2.VideoCapture) -> tuple[float, float]:
    """Returns by how much frames must be stretched, horizontally and vertically, for their pixels to be square."""
    width, height = (capture.get(name) for name in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
    ratio = width / height if width > 0 and height > 0 else 1.0
    if not 0.25 <= ratio <= 4:  # nonsense
        return 1.0, 1.0
    # OpenCV has turned the frame already if its camera was held upright.
    return (1.0, ratio) if capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90 else (ratio, 1.0)


def _read(capture: cv2.VideoCapture) -> np.ndarray | None:
    """Returns the next frame, uint8 [H, W, 3], or None if there is none or nothing in it."""
    present, image = capture.read()
    return to_bgr(image) if present and image is not None and image.size else None
