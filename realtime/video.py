"""Reads video files and network streams by PyAV: upright, deinterlaced, with square pixels and their own times."""

import contextlib
import ctypes
import math
import os
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import VideoReformatter

from fer_tf.errors import UserError
from fer_tf.image_headers import HEIF_BRANDS
from fer_tf.images import check_pixels
from fer_tf.limits import limit
from fer_tf.realtime.capture import DEFAULT_FPS, Frame, SourceError
from fer_tf.realtime.clock import Clock
from fer_tf.realtime.deinterlace import Deinterlacer
from fer_tf.realtime.excerpt import WHOLE, Excerpt

NETWORK_TIMEOUT = 10.0
"""Seconds after which opening or reading a silent stream fails."""

_STRETCH = 4
"""Pixels that are said to be wider or higher than this times their other side are taken as square."""


class VideoError(Exception):
    """An address or file without a video that can be read; the message says why, in a few words."""


class Picture:
    """A decoded frame, which is converted when it is asked for.

    Args:
        frame: A decoded frame, deinterlaced.
        converter: Converts it, and keeps its tables for the next frame.
        ratio: Width of a pixel divided by its height.
        orientation: Turns the frame upright.
    """

    def __init__(
        self,
        frame: av.VideoFrame,
        converter: VideoReformatter,
        ratio: float,
        orientation: Callable[[np.ndarray], np.ndarray],
    ):
        self._frame, self._converter, self._ratio, self._orientation = frame, converter, ratio, orientation
        time_s = frame.time
        self.time_s: float | None = time_s if time_s is None or math.isfinite(time_s) else None
        """Its time in the file, in seconds, if that has one."""

    def image(self) -> np.ndarray:
        """Returns the frame as players show it: uint8 [H, W, 3], BGR."""
        image: np.ndarray = self._converter.reformat(self._frame, format="bgr24").to_ndarray()
        if self._ratio != 1:
            image = cv2.resize(image, None, fx=self._ratio, fy=1)
        return np.ascontiguousarray(self._orientation(image))


class Video:
    """The video stream of a file or an address.

    Args:
        address: Absolute path of a file, an address with `://` in it, or an open file.
        live: Whether frames must come at once: the decoder then holds none back to use more processors.

    Attributes:
        fps: Frames per second, above 0.
        length: Number of frames, if known; a guess where the container stores its duration only.
        duration_s: Duration in seconds; None for a stream without an end.
        damaged: Number of frames left out so far because they could not be decoded whole.

    Raises:
        VideoError: if there is no video in it, or if it cannot be opened.
        UserError: if its frames have more pixels than `FER_TF_MAX_PIXELS` allows.
    """

    def __init__(self, address: str | BinaryIO, *, live: bool = False):
        _bound_memory()
        try:
            container = av.open(
                address,
                "r",
                options=_options(address) if isinstance(address, str) and "://" in address else {},
                metadata_errors="replace",
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(getattr(error, "strerror", None) or str(error)) from None
        try:
            self._stream = _video_stream(container)
            check_pixels(self._stream.width, self._stream.height)
        except (VideoError, UserError):
            container.close()
            raise
        self._container, self._live = container, live
        self._stream.thread_type = "SLICE" if live else "AUTO"
        self._stream.codec_context.options = {"max_pixels": str(limit("PIXELS"))}
        self.fps = _plausible(self._stream.average_rate or self._stream.guessed_rate)
        self.duration_s = _duration_of(self._container, self._stream)
        guess = round(self.duration_s * self.fps) if self.duration_s else 0
        self.length: int | None = self._stream.frames or guess or None
        self.damaged = 0

    def __iter__(self) -> Iterator[Picture]:
        """Yields the frames in the order in which they are shown, and nothing in place of those that are damaged."""
        deinterlacer, converter = Deinterlacer(), VideoReformatter()
        ratio = self._stream.sample_aspect_ratio or Fraction(1)
        wide = float(ratio) if 1 / _STRETCH <= ratio <= _STRETCH else 1.0
        orientation: Callable[[np.ndarray], np.ndarray] = _as_it_is
        for frame in self._decoded():
            if frame.is_corrupt:
                self.damaged += 1
                continue
            orientation = _orientation_of(frame)
            for whole in deinterlacer.push(frame):
                yield Picture(whole, converter, wide, orientation)
        for whole in deinterlacer.flush():
            yield Picture(whole, converter, wide, orientation)

    def close(self) -> None:
        """Closes the file or connection. Only the thread that reads may call it."""
        self._container.close()

    def _decoded(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
            except MemoryError:
                if not self._live:
                    raise
                packet = None  # a part of the stream is too large; it is opened again
            except (av.FFmpegError, OSError, ValueError):  # cut off in the middle of a packet, or the network is silent
                packet = None
            try:
                # Of a packet that cannot be decoded nothing is shown; those after it may be whole.
                yield from self._stream.decode(packet)
            except MemoryError:
                raise
            except (av.FFmpegError, OSError, ValueError):
                self.damaged += 1
            if packet is None:  # the decoder has given what it held back
                return


class FileSource:
    """A video file: every frame, with its own timestamp.

    Args:
        name: Name of the source.
        video: An opened video.
        excerpt: Which frames are wanted.
    """

    live: bool = False
    problem: str | None = None

    def __init__(self, name: str, video: Video, *, excerpt: Excerpt = WHOLE):
        self.name, self.fps, self.length = name, video.fps / excerpt.every, excerpt.length(video.length, video.fps)
        self.failure: str | None = None
        self._video, self._excerpt = video, excerpt
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames.

        Raises:
            SourceError: if there are none.
        """
        index, given, clock = 0, 0, Clock(self._video.fps)
        try:
            for picture in self._video:
                if self._closed.is_set():
                    return
                time_s = clock.read(picture.time_s)
                if self._excerpt.ends_before(time_s):
                    break
                if self._excerpt.wants(index, time_s):
                    given += 1
                    yield Frame(picture.image(), index, time_s)
                index += 1
            else:
                if not self._closed.is_set():
                    self._judge(index, clock.time_s)
        except (MemoryError, BlockingIOError):  # the latter if there is none for the stack of a thread
            reason = "not enough memory to decode it; close other programs, or raise $FER_TF_MAX_PIXELS for huge frames"
            raise SourceError(f"{self.name}: {reason}") from None
        finally:
            self._video.close()
        if not given and not self._closed.is_set():
            raise SourceError(f"{self.name}: {self._excerpt.no_frame}")

    def _judge(self, count: int, elapsed: float) -> None:
        """Sets `failure` if frames are missing among `count` frames that end after `elapsed` seconds."""
        video = self._video
        if not count:
            raise SourceError(f"{self.name}: it opens, but gives no frame; is it damaged?")
        # Many containers store their duration only. Then the number of frames is a guess if the rate varies, and the
        # duration itself may be slightly wrong.
        end_s = video.duration_s or math.inf
        if video.length and count < 0.9 * video.length and elapsed < 0.9 * end_s:
            self.failure = f"{self.name}: ends after {count} of {video.length} frames; it seems to be cut off"
        elif video.damaged:
            self.failure = f"{self.name}: is damaged; frames that were left out: {video.damaged}"

    def close(self) -> None:
        """Ends the iteration after the current frame."""
        self._closed.set()


class StreamCapture:
    """A network stream with the methods of OpenCV's captures that `LiveSource` calls.

    Args:
        address: An address with `://` in it.
        video: It, if it is open already.
    """

    def __init__(self, address: str, video: Video | None = None):
        self._video = video
        if video is None:
            try:
                self._video = Video(address, live=True)
            except (VideoError, UserError):
                return
        self._pictures = iter(self._video or ())

    def isOpened(self) -> bool:
        """Returns whether the stream could be opened."""
        return self._video is not None

    def get(self, name: int) -> float:
        """Returns the frames per second for `cv2.CAP_PROP_FPS`, and 0 for any other property."""
        return self._video.fps if self._video and name == cv2.CAP_PROP_FPS else 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        """Returns whether there is a frame, and the frame: uint8 [H, W, 3], BGR."""
        picture = next(self._pictures, None) if self._video else None
        return picture is not None, picture.image() if picture else None

    def release(self) -> None:
        """Closes the connection."""
        if self._video:
            self._video.close()


def _bound_memory() -> None:
    """Has FFmpeg take at most 4 bytes at once for each pixel that is allowed, whatever size a packet claims to have."""
    with contextlib.suppress(OSError, AttributeError):  # Windows does not look into what the library loads itself
        av_max_alloc = ctypes.CDLL(av._core.__file__).av_max_alloc
        av_max_alloc.argtypes, av_max_alloc.restype = [ctypes.c_size_t], None
        av_max_alloc(max(2**26, 4 * limit("PIXELS")))  # 64 MB are enough for FFmpeg's own buffers


def _options(address: str) -> dict[str, str]:
    """Returns what FFmpeg is told about an address: when to give up, and that over UDP frames would get lost."""
    # Not PyAV's own timeout: it calls Python from FFmpeg, which crashes if the process ends meanwhile.
    patience = str(round(1e6 * NETWORK_TIMEOUT))
    options = {"rw_timeout": patience}
    if address.lower().startswith("rtsp"):
        options |= {"timeout": patience, "rtsp_transport": "tcp"}
    own = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")  # OpenCV's way to write them, which many know
    return options | dict(pair.split(";", 1) for pair in own.split("|") if ";" in pair)


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """Returns the stream that players show, which is no picture: a cover, a still, or one tile of a photograph."""
    if Path(container.format.name).name.endswith("_pipe") or container.format.name.startswith("image2"):
        raise VideoError("a picture of a kind that is not supported")
    if container.metadata.get("major_brand", "").strip() in HEIF_BRANDS:
        raise VideoError("a HEIF picture, not a video")
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        raise VideoError("there is no video in it")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise VideoError("no decoder for its video")
    return stream


def _duration_of(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def _plausible(rate: Fraction | None) -> float:
    fps = float(rate) if rate else 0.0
    return fps if math.isfinite(fps) and 1 <= fps <= 240 else DEFAULT_FPS


def _as_it_is(image: np.ndarray) -> np.ndarray:
    return image


def _orientation_of(frame: av.VideoFrame) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what turns and flips a frame as its display matrix says, by quarter turns."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, Buffer):
        return _as_it_is
    # A pixel at (x, y) is shown at (a x + c y, b x + d y), where y points down.
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    left, up = (c < 0, b < 0) if transposed else (a < 0, d < 0)

    def turn(image: np.ndarray) -> np.ndarray:
        image = image.transpose(1, 0, 2) if transposed else image
        return image[:: -1 if up else 1, :: -1 if left else 1]

    return turn
