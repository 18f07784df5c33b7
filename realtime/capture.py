"""Sources of frames: images in memory, a video file, or a live camera or stream."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from fer_tf.errors import UserError
from fer_tf.realtime.excerpt import WHOLE, Excerpt

DEFAULT_FPS = 25.0
"""Frames per second, where the source gives none or an implausible value."""


class SourceError(UserError):
    """A source cannot be opened or read. Other sources of the same run are not affected."""


@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    image: np.ndarray
    """uint8 [H, W, 3], BGR. Whoever takes the frame may draw on it."""
    index: int
    """Number of the frame in its source, from 0."""
    time_s: float
    """Seconds since the first frame, by the timestamps of a file or by the clock for a live source."""
    captured: float = field(default_factory=time.monotonic, compare=False)
    """When it was read, in seconds of `time.monotonic()`."""


class Capture(Protocol):
    """What is read of a camera or stream: a part of OpenCV's `VideoCapture`."""

    def isOpened(self) -> bool:
        """Returns whether it could be opened."""

    def get(self, propId: int, /) -> float:
        """Returns a property."""

    def read(self) -> tuple[bool, np.ndarray | None]:
        """Returns whether there is a frame, and the frame."""

    def release(self) -> None:
        """Closes it."""


class Source(Protocol):
    """A source of frames; it can be iterated over once."""

    name: str
    """What the user named, without any password; a camera is `camera` with its number or device."""
    fps: float
    """Nominal frames per second, above 0."""
    live: bool
    """Whether it is a camera or stream, whose frames do not wait to be read."""
    length: int | None
    """Number of frames, if known."""
    failure: str | None
    """Set after the last frame if that came too early: why."""

    @property
    def problem(self) -> str | None:
        """Why no frames are arriving at present; None if all is well."""

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames, then releases the device or file."""

    def close(self) -> None:
        """Ends the iteration after the current read. Any thread may call it."""


class ClipSource:
    """Images in memory, or generated one by one.

    Args:
        name: Name of the source.
        images: Images of any kind that `to_bgr` takes.
        fps: Frames per second.
        length: Number of images.
        excerpt: Which of them are wanted.
    """

    live: bool = False
    failure: str | None = None
    problem: str | None = None

    def __init__(self, name: str, images: Iterable[np.ndarray], *, fps: float, length: int, excerpt: Excerpt = WHOLE):
        self.name, self.fps = name, fps / excerpt.every
        self.length: int | None = excerpt.length(length, fps)
        self._images, self._fps, self._excerpt = images, fps, excerpt

    def __iter__(self) -> Iterator[Frame]:
        """Yields a frame for each image that is wanted.

        Raises:
            SourceError: if none is.
        """
        found = False
        for index, image in enumerate(self._images):
            if self._excerpt.wants(index, index / self._fps):
                found = True
                yield Frame(to_bgr(image), index, index / self._fps)
        if not found and not self._excerpt.is_whole:
            raise SourceError(f"{self.name}: {self._excerpt.no_frame}")

    def close(self) -> None:
        """Does nothing: there is nothing to release."""


class LiveSource:
    """A camera or stream. When it stops it is reopened, after pauses that grow from half a second to ten.

    Args:
        name: Name of the source.
        open_capture: Returns a capture, which need not have opened.
        remedy: What the user can do if it cannot be opened; part of the error message.
        excerpt: Which frames are wanted, by the clock since the first one.

    Raises:
        SourceError: if it cannot be opened the first time.
    """

    live: bool = True
    length: int | None = None
    failure: str | None = None

    patience = 0.5
    """Seconds for which reads may fail before the source is reopened."""
    silence = 3.0
    """Seconds without a frame that count as a problem, even if no read has failed."""

    def __init__(self, name: str, open_capture: Callable[[], Capture], *, remedy: str, excerpt: Excerpt = WHOLE):
        self.name, self._excerpt = name, excerpt
        self._open = open_capture
        self._capture = open_capture()
        if not self._capture.isOpened():
            raise SourceError(f"{name} cannot be opened; {remedy}")
        self.fps = _fps_of(self._capture) / excerpt.every
        self._closed = threading.Event()
        self._last_frame = time.monotonic()
        self._lost = False

    def __iter__(self) -> Iterator[Frame]:
        """Yields frames until it is closed, timed by the clock.

        Raises:
            SourceError: if there is no first frame.
        """
        index, attempts, start = 0, 0, 0.0
        opened = time.monotonic()
        try:
            while not self._closed.is_set():
                image, now = _read(self._capture), time.monotonic()
                if image is not None:
                    self._last_frame, self._lost, attempts = now, False, 0
                    start = start if index else now
                    if self._excerpt.ends_before(now - start):
                        break
                    if self._excerpt.wants(index, now - start):
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
        """For how long no frame has arrived; None if all is well."""
        silent = time.monotonic() - self._last_frame
        if self._lost or silent >= self.silence:
            return f"no frame for {math.ceil(silent)} s, trying again"
        return None

    def close(self) -> None:
        """Ends the iteration after the current read or pause."""
        self._closed.set()


def to_bgr(image: np.ndarray) -> np.ndarray:
    """Converts an image of any kind that cameras and files give to 8-bit BGR.

    Args:
        image: uint8 or uint16; gray [H, W] or [H, W, 1], BGR [H, W, 3], or BGRA [H, W, 4].

    Returns:
        uint8 [H, W, 3], BGR. The alpha channel is dropped; of 16 bits the upper 8 are kept.

    Raises:
        UserError: if the image has another shape or dtype.
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


def _fps_of(capture: Capture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 1 <= fps <= 240 else DEFAULT_FPS


def _read(capture: Capture) -> np.ndarray | None:
    """Returns the next frame, uint8 [H, W, 3], or None if there is none or it is empty."""
    present, image = capture.read()
    return to_bgr(image) if present and image is not None and image.size else None
