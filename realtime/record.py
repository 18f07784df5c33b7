"""Records labeled frames: a video that stays playable if the program is killed, or the last frame as a picture."""

import contextlib
import io
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np

from fer_tf.errors import UserError
from fer_tf.files import check_writable, named_errors, written_aside
from fer_tf.locks import claim
from fer_tf.realtime.capture import Frame

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

VIDEO_SUFFIX = ".mp4"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

_TICKS = 90_000
"""Clock ticks per second in a recording."""
_BT601 = 6
_LIMITED_RANGE = 1


def open_recording(path: Path | str, *, fps: float) -> "Recording":
    """Opens a recording in the format that the suffix of `path` names.

    Args:
        path: A file that ends in `VIDEO_SUFFIX` or one of `IMAGE_SUFFIXES`.
        fps: Expected frames per second of a video.

    Raises:
        UserError: if the suffix is another one, or if the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ImageSink(path)
    if suffix == VIDEO_SUFFIX:
        return VideoSink(path, fps=fps)
    raise UserError(f"{path}: a recording must end in {', '.join((VIDEO_SUFFIX, *IMAGE_SUFFIXES))}")


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes a picture in the format that the suffix of `path` names.

    Args:
        path: File to write; an existing one is replaced.
        image: uint8 [H, W, 3], BGR.

    Raises:
        UserError: if the picture is too large for the format, or if the file cannot be written.
    """
    encoded, data = cv2.imencode(path.suffix, image)
    if not encoded:
        height, width = image.shape[:2]
        raise UserError(f"{path}: {width} x {height} pixels are too many for this format; use .png")
    with named_errors(path), written_aside(path) as temporary:
        temporary.write_bytes(data.tobytes())


class ImageSink:
    """Writes the last frame as a picture when it is closed.

    Args:
        path: File that ends in one of `IMAGE_SUFFIXES`. An existing one is replaced; missing folders are created.

    Raises:
        UserError: if the file cannot be written.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        check_writable(self.path)
        self._image: np.ndarray | None = None

    def write(self, image: np.ndarray, frame: Frame) -> None:
        """Takes a frame: `image` is uint8 [H, W, 3], BGR."""
        self._image = image

    def close(self) -> None:
        """Writes the file, if there was a frame.

        Raises:
            UserError: if it cannot be written.
        """
        if self._image is not None:
            write_image(self.path, self._image)


class VideoSink:
    """Writes frames to an H.264 mp4 file, each with its own timestamp.

    If the program is killed, all but the last second can be played; in the first second an existing file is not
    touched. The first frame sets the size and later ones are resized to it; odd sides grow by one pixel.

    Args:
        path: File to write. An existing one is replaced; missing folders are created.
        fps: Expected frames per second; the timestamps of the frames take precedence.

    Raises:
        UserError: if the file cannot be written.
    """

    def __init__(self, path: Path | str, *, fps: float):
        self.path = Path(path)
        check_writable(self.path, in_place=True)
        self.fps = fps
        self._size = (0, 0)
        self._ticks = -1
        self._start_s = 0.0
        self._encoder: tuple[OutputContainer, VideoStream] | None = None  # from the first frame on
        self._file = _LateFile(self.path)

    def write(self, image: np.ndarray, frame: Frame) -> None:
        """Adds a frame.

        Args:
            image: uint8 [H, W, 3], BGR: the frame with its labels.
            frame: Gives the timestamp, which is moved if it is not after the previous one.

        Raises:
            UserError: if it cannot be written.
        """
        import av  # slow to import, and most runs record nothing

        with self._named_errors():
            if self._encoder is None:
                self._encoder = self._open(image)
            container, stream = self._encoder
            if image.shape[1::-1] != self._size:
                image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
            bottom, right = (side % 2 for side in image.shape[:2])
            if bottom or right:
                image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
            planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
            picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            if self._ticks < 0:
                self._start_s = frame.time_s  # a recording of an excerpt begins with its first frame
            self._ticks = max(self._ticks + 1, round((frame.time_s - self._start_s) * _TICKS))
            picture.pts, picture.time_base = self._ticks, Fraction(1, _TICKS)
            picture.duration = round(_TICKS / self.fps)
            packets = stream.encode(picture)
            self._file.claim()  # only now, so that nothing is claimed if the encoder rejects the size
            container.mux(packets)
            self._file.settle()

    def close(self) -> None:
        """Finishes the file.

        Raises:
            UserError: if its end cannot be written.
        """
        if self._file.claimed and self._encoder is not None:  # else nothing was written
            container, stream = self._encoder
            self._encoder = None
            with self._named_errors(), contextlib.closing(self._file):
                with container:
                    container.mux(stream.encode())
                self._file.settle(finished=True)

    def _open(self, image: np.ndarray) -> "tuple[OutputContainer, VideoStream]":
        """Opens the file and its video stream, in the size of the first frame."""
        import av

        # Written in fragments, each of which is playable at once; closing turns the file into an ordinary mp4.
        flags = "hybrid_fragmented+frag_keyframe+empty_moov+default_base_moof"
        options = {"movflags": flags, "frag_duration": "1000000", "flush_packets": "1"}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(self._file, "w", format="mp4", options=options)
        # The encoder holds no frames back, so that all of them are in the file and memory stays small.
        options = {"preset": "superfast", "tune": "zerolatency", "crf": "21"}
        rate = Fraction(self.fps).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate, options=options)
        height, width = image.shape[:2]
        self._size = width, height
        codec = stream.codec_context
        codec.width, codec.height = (side + side % 2 for side in self._size)
        codec.pix_fmt, codec.time_base = "yuv420p", Fraction(1, _TICKS)
        codec.colorspace, codec.color_range = _BT601, _LIMITED_RANGE  # as cvtColor converts, at any size
        codec.gop_size = max(1, round(self.fps))
        codec.thread_count = 2
        return container, stream

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Turns FFmpeg's errors about a file that cannot be written into a `UserError`."""
        import av

        try:
            with named_errors(self.path):
                yield
        except av.FFmpegError as error:  # those that are not an OSError
            size = "×".join(map(str, self._size))
            raise UserError(f"{self.path}: video of {size} pixels cannot be written ({error.strerror})") from None


class _LateFile:
    """A file to write that takes the place of an existing one only when it holds a fragment of video.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self._path = path
        self._begin: io.BytesIO | None = io.BytesIO()  # what comes before the end of the first fragment
        self._head = 0  # the size of what comes before the first fragment
        self._file: BinaryIO | None = None
        self._claim: BinaryIO | None = None

    @property
    def claimed(self) -> bool:
        """Whether the path is ours."""
        return self._claim is not None

    def claim(self) -> None:
        """Keeps other runs from writing to the path, and keeps what is there.

        Raises:
            UserError: if another run is writing it.
            OSError: if it cannot be opened.
        """
        self._claim = self._claim or claim(self._path)

    def settle(self, *, finished: bool = False) -> None:
        """Moves to the path what was written so far, if there is a fragment or if the video is `finished`."""
        if self._begin is None:
            return
        size = self._begin.getbuffer().nbytes
        if size > self._head > 0 or finished or not self._path.is_file():  # in a device or pipe nothing is replaced
            file = open(self._path, "r+b" if self._path.is_file() else "wb", buffering=0)  # noqa: SIM115
            self._file = file
            if self._path.is_file():
                file.truncate(0)
            file.write(self._begin.getbuffer())
            if file.seekable():
                file.seek(self._begin.tell())
            self._begin = None
        self._head = size

    def write(self, data: bytes) -> int:
        """Writes at the position."""
        return self._target.write(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position."""
        return self._target.seek(offset, whence)

    def tell(self) -> int:
        """Returns the position."""
        return self._target.tell()

    @property
    def _target(self) -> BinaryIO:
        target = self._begin or self._file
        assert target is not None  # one of them is there from the beginning on
        return target

    def close(self) -> None:
        """Closes the file, and lets others write to it."""
        for file in (self._file, self._claim):
            if file:
                file.close()
        self._claim = None


Recording = VideoSink | ImageSink
"""What keeps the labeled frames of a source."""
