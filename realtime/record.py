"""Keeps what was seen: labelled video, which survives being killed, or a picture. Tables are in `realtime.tables`."""

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np

from fer_tf.command import UserError
from fer_tf.files import check_writable, named_errors, written_aside
from realtime.capture import Frame

VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""Four-character code of the codec by suffix."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def open_recording(path: Path | str, *, fps: float, live: bool = False) -> "VideoSink | ImageSink":
    """Returns what records labelled frames in the format that the suffix of `path` names.

    Raises:
        UserError: if the suffix is none of the known, or if nothing can be written there.
    """
    suffix = Path(path).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ImageSink(path)
    if suffix in VIDEO_CODECS:
        return VideoSink(path, fps=fps, live=live)
    raise UserError(f"{path}: a recording must end in {', '.join((*VIDEO_CODECS, *IMAGE_SUFFIXES))}")


class ImageSink:
    """Keeps the last frame as a picture.

    Args:
        path: Where to, ending in one of `IMAGE_SUFFIXES`; a file that is there is replaced, missing folders are made.

    Raises:
        UserError: if nothing can be written there.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        check_writable(self.path)
        self._image: np.ndarray | None = None

    def write(self, image: np.ndarray, frame: Frame) -> None:
        """Takes a frame: uint8 [H, W, 3], BGR."""
        self._image = image

    def close(self) -> None:
        """Writes the file, if there was a frame."""
        if self._image is not None:
            with named_errors(self.path), written_aside(self.path) as temporary:
                temporary.write_bytes(cv2.imencode(self.path.suffix, self._image)[1])


class VideoSink:
    """Writes frames to a video file that can be played even if its writer is killed.

    What a kill can cost is the last 256 KiB: at a camera's 640×480 pixels two to four seconds, at more pixels
    less. The first frame sets the size; others are resized to it, and an odd last row or column is cut off.

    Args:
        path: Where to, ending in one of `VIDEO_CODECS`; a file that is there is replaced, missing folders are made.
        fps: Frames a second of the recording.
        live: Whether frames come when they come: then they are repeated or left out so that the recording
            keeps the time of their `time_s`. Otherwise each is written once.

    Raises:
        UserError: if nothing can be written there.
    """

    def __init__(self, path: Path | str, *, fps: float, live: bool = False):
        self.path = Path(path)
        check_writable(self.path)
        self.fps, self.live = fps, live
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._written = 0
        # A plain MP4 has its index at its end, and without it cannot be played at all. OpenCV cannot be asked
        # for a fragmented one, but writes one (as Smooth Streaming uses it) if the name ends in .ismv.
        fragmented = self.path.suffix.lower() == ".mp4"
        aside = self.path.with_name(f".{self.path.stem}.part{os.getpid()}.ismv")
        self._opened_as = aside if fragmented else self.path

    def write(self, image: np.ndarray, frame: Frame) -> None:
        """Adds a frame.

        Args:
            image: uint8 [H, W, 3], BGR: `frame` with whatever was drawn on it.
            frame: Gives the time.

        Raises:
            UserError: if the file cannot be opened.
        """
        if self._writer is None:
            self._writer = self._open(image)
        if image.shape[1::-1] != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        due = round(frame.time_s * self.fps) + 1 if self.live else self._written + 1
        while self._written < due:
            self._writer.write(image)
            self._written += 1

    def close(self) -> None:
        """Ends the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            if self._opened_as.exists():
                self._move()

    def _open(self, image: np.ndarray) -> cv2.VideoWriter:
        self._size = image.shape[1::-1]
        codec = cv2.VideoWriter.fourcc(*VIDEO_CODECS[self.path.suffix.lower()])
        # The whole path, since a colon in a relative one would look like a protocol.
        writer = cv2.VideoWriter(str(self._opened_as.absolute()), cv2.CAP_FFMPEG, codec, self.fps, self._size)
        if not writer.isOpened():
            size = "×".join(map(str, self._size))
            raise UserError(f"{self.path}: video of {size} pixels cannot be written there; choose another place")
        with contextlib.suppress(PermissionError):  # Windows moves no open file; there, close() does
            self._move()
        return writer

    def _move(self) -> None:
        if self._opened_as != self.path:
            os.replace(self._opened_as, self.path)
