"""Where frames come from: a camera, a video or image file, a stream's address, or the demo clip."""

import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from fer_tf.command import UserError, muted_stderr
from realtime import demo

DEFAULT_FPS = 25.0
"""Frames a second where the source does not say, or says nonsense."""

# Formats that OpenCV would read as one image although they may move.
_MOVING = {".gif", ".mjpeg", ".mjpg"}


@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    image: np.ndarray
    """uint8 [H, W, 3], BGR. Its owner may draw on it."""
    index: int
    """From 0."""
    time_s: float
    """Seconds since the first frame: of the stream for files, of the clock for live sources."""


class Source(Protocol):
    """Gives frames, once."""

    name: str
    """As the user gave it, without a password in it."""
    fps: float
    live: bool
    """Whether it goes on by itself, so that the clock is its time."""
    length: int | None
    """Number of frames, if known."""
    failure: str | None
    """After the last frame: why it came too early, if it did."""

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames."""

    def close(self) -> None:
        """Gives the device or file back."""


class ClipSource:
    """Images that are at hand or are made on the way.

    Args:
        name: What to call it.
        images: Of any kind that `to_bgr` takes.
        fps: Frames a second.
        length: Number of images.
    """

    live = False
    failure = None

    def __init__(self, name: str, images: Iterable[np.ndarray], *, fps: float, length: int):
        self.name, self.fps, self.length = name, fps, length
        self._images = images

    def __iter__(self) -> Iterator[Frame]:
        """Yields a frame for each image."""
        for index, image in enumerate(self._images):
            yield Frame(to_bgr(image), index, index / self.fps)

    def close(self) -> None:
        """Does nothing: there is nothing to give back."""


class VideoSource:
    """A camera, video file or stream, read by OpenCV.

    Args:
        name: What to call it.
        capture: Opened already.
        live: Whether it is a camera or stream.
    """

    def __init__(self, name: str, capture: cv2.VideoCapture, *, live: bool):
        self.name, self.live = name, live
        self.failure: str | None = None
        fps, length = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = fps if math.isfinite(fps) and 1 <= fps <= 240 else DEFAULT_FPS
        self.length = int(length) if not live and 0 < length < 2**31 else None
        self._capture = capture

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames until the source has no more.

        Raises:
            UserError: if it has none at all.
        """
        index, start, time_s = 0, 0.0, -1.0
        while True:
            present, image = self._capture.read()
            if not present:
                break
            if self.live:
                start = start if index else time.monotonic()
                time_s = time.monotonic() - start
            else:
                # Frames of a file need not be equally far apart; in a file without times all have the same.
                position = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                start = start if index else position
                elapsed = position - start
                time_s = elapsed if elapsed > time_s else time_s + 1 / self.fps
            yield Frame(to_bgr(image), index, time_s)
            index += 1
        if not index:
            raise UserError(f"{self.name}: it opens, but gives no frame; is it damaged, or in use by another program?")
        if self.live:
            self.failure = f"{self.name}: no more frames after {index}; is it still connected?"
        elif self.length and index < 0.9 * self.length:  # containers may be a little wrong about their length
            self.failure = f"{self.name}: ends after {index} of {self.length} frames; it seems to be cut off"

    def close(self) -> None:
        """Gives the device or file back."""
        self._capture.release()


def open_source(text: str) -> Source:
    """Opens what the user named.

    Args:
        text: The number or device of a camera, `demo`, an address with `://` in it, or the path of a video or
            an image.

    Raises:
        UserError: if there is no such thing, or if it cannot be read as video or image.
        ModuleNotFoundError: if the demo lacks its photograph.
    """
    if text == "demo":
        images, length = demo.demo_clip()
        return ClipSource(text, images, fps=demo.FPS, length=length)
    if text.isdecimal():
        # No camera has a number that OpenCV's int does not hold.
        return _open_camera(text, cv2.VideoCapture(min(int(text), 2**16)))
    if Path(text).is_char_device():
        return _open_camera(text, cv2.VideoCapture(text, cv2.CAP_V4L2))
    if "://" in text:
        name = re.sub(r"//[^/]*@", "//", text)  # a password is not for logs and tables
        capture = cv2.VideoCapture(text, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise UserError(f"{name}: no video stream can be read there; is the address right and reachable?")
        # A file that lies behind an address has a length; what is happening now has none.
        return VideoSource(name, capture, live=capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0)
    return _open_file(text)


def _open_camera(text: str, capture: cv2.VideoCapture) -> Source:
    if not capture.isOpened():
        raise UserError(
            f"camera {text} cannot be opened; connect one, close the program that uses it, "
            "or try another --source: a number, a file, an address or demo"
        )
    return VideoSource(text, capture, live=True)


def _open_file(text: str) -> Source:
    path = Path(text)
    if path.is_dir():
        raise UserError(f"{text}: is a folder; expected a video or an image file")
    if not path.exists():
        raise UserError(
            f"{text}: no such file; --source takes the number of a camera, a video or image file, "
            "an address with :// in it, or demo"
        )
    if not os.access(path, os.R_OK):
        raise UserError(f"{text}: may not be read; change its permissions")
    absolute = str(path.resolve())  # a colon in a relative one would look like a protocol
    if path.suffix.lower() not in _MOVING and cv2.haveImageReader(absolute):
        image = _read_image(absolute)
        if image is None:
            raise UserError(f"{text}: the image cannot be decoded; it seems to be cut off or damaged")
        return ClipSource(text, [image], fps=DEFAULT_FPS, length=1)
    capture = cv2.VideoCapture(absolute, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise UserError(f"{text}: neither a video nor an image that can be read; is it cut off or damaged?")
    return VideoSource(text, capture, live=False)


def _read_image(path: str) -> np.ndarray | None:
    """Returns the image, turned as its camera was held, or None if it cannot be decoded."""
    try:
        with muted_stderr():
            return cv2.imread(path, cv2.IMREAD_COLOR)
    except cv2.error:  # larger than OpenCV allows
        return None


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
