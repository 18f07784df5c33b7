"""Keeps what was seen: labeled video that survives being killed, or a picture. Tables: `fer_tf.realtime.tables`."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from fer_tf.errors import UserError
from fer_tf.files import check_writable, named_errors, written_aside
from fer_tf.locks import claim
from fer_tf.realtime.capture import Frame

VIDEO_SUFFIX = ".mp4"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

_TICKS = 90_000
"""Of the clock of a recording, a second."""
_BT601 = 6
_LIMITED_RANGE = 1


def open_recording(path: Path | str, *, fps: float) -> "VideoSink | ImageSink":
    """Returns what records labeled frames in the format that the suffix of `path` names.

    Raises:
        UserError: if the suffix is none of the known, or if nothing can be written there.
    """
    suffix = Path(path).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ImageSink(path)
    if suffix == VIDEO_SUFFIX:
        return VideoSink(path, fps=fps)
    raise UserError(f"{path}: a recording must end in {', '.join((VIDEO_SUFFIX, *IMAGE_SUFFIXES))}")


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes a picture, uint8 [H, W, 3], BGR, in the format that the suffix names.

    Raises:
        UserError: if the picture is too large for the format, or if nothing can be written there.
    """
    encoded, data = cv2.imencode(path.suffix, image)
    if not encoded:
        height, width = image.shape[:2]
        raise UserError(f"{path}: {width} x {height} pixels are too many for this format; take .png")
    with named_errors(path), written_aside(path) as temporary:
        temporary.write_bytes(data)


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
            write_image(self.path, self._image)


class VideoSink:
    """Writes frames to an H.264 mp4, each at its own time, that can be played even if its writer is killed.

    What a kill can cost is the last second. The first frame sets the size; others are resized to it, and a side of
    an odd number of pixels grows by one.

    Args:
        path: Where to; a file that is there is replaced, missing folders are made.
        fps: Frames a second that are expected; the times of the frames decide.

    Raises:
        UserError: if nothing can be written there.
    """

    def __init__(self, path: Path | str, *, fps: float):
        self.path = Path(path)
        check_writable(self.path, in_place=True)
        self.fps = fps
        self._size = (0, 0)
        self._ticks = -1
        self._container = None
        self._claim: BinaryIO | None = None  # the file, locked; from the first frame that the encoder takes

    def write(self, image: np.ndarray, frame: Frame) -> None:
        """Adds a frame.

        Args:
            image: uint8 [H, W, 3], BGR: `frame` with whatever was drawn on it.
            frame: Gives the time; one that is not after the last is moved behind it.

        Raises:
            UserError: if it cannot be written.
        """
        import av  # takes a tenth of a second, and most runs record nothing

        with self._named_errors():
            if self._container is None:
                self._open(image)
            if image.shape[1::-1] != self._size:
                image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
            bottom, right = (side % 2 for side in image.shape[:2])
            if bottom or right:
                image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
            picture = av.VideoFrame.from_ndarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), format="yuv420p")
            self._ticks = max(self._ticks + 1, round(frame.time_s * _TICKS))
            picture.pts, picture.time_base = self._ticks, Fraction(1, _TICKS)
            picture.duration = round(_TICKS / self.fps)
            packets = self._stream.encode(picture)
            if self._claim is None:  # not before the encoder has taken the size, so that a file that is there may stay
                self._claim = claim(self.path)
            self._container.mux(packets)

    def close(self) -> None:
        """Ends the file.

        Raises:
            UserError: if its end cannot be written.
        """
        if self._claim is not None:  # what was refused from the start has written nothing
            file, self._claim = self._claim, None
            with self._named_errors(), file, self._container as container:
                container.mux(self._stream.encode())

    def _open(self, image: np.ndarray) -> None:
        import av

        # Written in fragments, each of which is playable as soon as it is there; at the end made an ordinary file.
        flags = "hybrid_fragmented+frag_keyframe+empty_moov+default_base_moof"
        options = {"movflags": flags, "frag_duration": "1000000", "flush_packets": "1"}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The whole path, since a colon in a relative one would look like a protocol.
        self._container = av.open(str(self.path.absolute()), "w", format="mp4", options=options)
        # Nothing is held back for the sake of compression: what was written is in the file, and memory stays small.
        options = {"preset": "superfast", "tune": "zerolatency", "crf": "21"}
        rate = Fraction(self.fps).limit_denominator(1001)
        self._stream = self._container.add_stream("libx264", rate=rate, options=options)
        self._size = image.shape[1::-1]
        codec = self._stream.codec_context
        codec.width, codec.height = (side + side % 2 for side in self._size)
        codec.pix_fmt, codec.time_base = "yuv420p", Fraction(1, _TICKS)
        codec.colorspace, codec.color_range = _BT601, _LIMITED_RANGE  # what cvtColor makes, whatever the size
        codec.gop_size = max(1, round(self.fps))
        codec.thread_count = 2

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Turns what FFmpeg says about a file that cannot be written into a `UserError`."""
        import av

        try:
            with named_errors(self.path):
                yield
        except av.FFmpegError as error:  # those that are no OSError
            size = "×".join(map(str, self._size))
            raise UserError(f"{self.path}: video of {size} pixels cannot be written ({error.strerror})") from None
