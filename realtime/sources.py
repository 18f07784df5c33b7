"""Opens what a user names as a source: cameras, files, folders, patterns, addresses, the demo clip."""

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from fer_tf.errors import UserError
from fer_tf.images import READABLE_SUFFIXES, decode
from fer_tf.quiet import muted_stderr
from fer_tf.realtime import demo
from fer_tf.realtime.capture import DEFAULT_FPS, ClipSource, FileSource, LiveSource, Source, SourceError

VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
"""With `READABLE_SUFFIXES`, the files that are taken from a folder; a file named by itself may have any suffix."""

HEIC_SUFFIXES = (".heic", ".heif")
HEIC_PROBLEM = "OpenCV cannot read HEIC; convert it to JPEG"

NETWORK_TIMEOUT = 10.0
"""Seconds after which opening or reading a silent stream fails."""


def expand_sources(named: Sequence[str]) -> list[str]:
    """Expands folders and glob patterns to single sources, each of which `open_source` opens.

    Args:
        named: Sources. A folder stands for the images and videos in it, without subfolders. A pattern that the shell
            has not expanded (`*.mp4`) stands for the files it matches. Both are in natural order (2 before 10).

    Returns:
        Single sources, without repetitions.

    Raises:
        UserError: if a folder has no images or videos, or a pattern matches nothing.
    """
    return list(dict.fromkeys(source for text in named for source in _expand(text)))


def _expand(text: str) -> list[str]:
    if not text:
        raise UserError("a source without a name; expected a camera, a file, a folder, an address or demo")
    if "://" in text or text == "demo" or text.isdecimal():  # for a folder with such a name, write ./demo
        return [text]
    path = Path(text)
    if path.is_dir():
        wanted = READABLE_SUFFIXES + VIDEO_SUFFIXES
        visible = [file for file in path.iterdir() if not file.name.startswith(".")]
        found = [file for file in visible if file.suffix.lower() in wanted]
        if heic := [file for file in visible if file.suffix.lower() in HEIC_SUFFIXES]:
            if not found:
                raise UserError(f"{text}: {HEIC_PROBLEM} (files: {len(heic)})")
            print(f"note: {text}: {HEIC_PROBLEM} (files left out: {len(heic)})", file=sys.stderr)
        expected = "images or videos in this folder"
    elif glob.has_magic(text) and not path.exists():
        found = [Path(match) for match in glob.glob(text, recursive=True)]
        expected = "files that match"
    else:
        return [text]
    files = sorted((str(file) for file in found if file.is_file()), key=_natural)
    if not files:
        raise UserError(f"{text}: there are no {expected}; name others")
    return files


def _natural(text: str) -> list[tuple[int, str]]:
    """Returns a key that sorts `frame2` before `frame10`."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), part) if index % 2 else (-1, part) for index, part in enumerate(parts)]


def check_name(name: str) -> None:
    """Raises `SourceError` if `name` is not UTF-8, which would make OpenCV abort the process."""
    if name.encode(errors="replace").decode() != name:
        raise SourceError(f"{name!r}: the name is not UTF-8, so OpenCV cannot open it; rename it")


def is_camera(text: str) -> bool:
    """Returns whether a single source is the number or device of a camera."""
    return text.isdecimal() or Path(text).is_char_device()


def open_source(text: str, *, camera_size: tuple[int, int] | None = None) -> Source:
    """Opens a single source.

    Args:
        text: Number or device of a camera, `demo`, an address with `://` in it, or the path of a video or image.
        camera_size: Width and height in pixels to ask a camera for; it delivers the nearest size that it has.

    Raises:
        SourceError: if there is no such source, or if it cannot be read as a video or an image.
        ModuleNotFoundError: if `demo` is asked for and scikit-image is not installed.
    """
    check_name(text)
    if text == "demo":
        images, length = demo.demo_clip()
        return ClipSource(text, images, fps=demo.FPS, length=length)
    if is_camera(text):
        return LiveSource(
            f"camera {text}",
            lambda: _open_camera(text, camera_size),
            remedy="connect one, close the program that uses it, or try another --source: a number, a file, "
            "an address or demo",
        )
    if "://" in text:
        name = without_password(text)
        capture = _open_address(text)
        if not capture.isOpened():
            raise SourceError(f"{name}: no video stream there; is the address correct and reachable?")
        # A file behind an address has a length; a live stream has none.
        if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
            return FileSource(name, capture)
        opened = [capture]
        return LiveSource(name, lambda: opened.pop() if opened else _open_address(text), remedy="is it reachable?")
    return _open_file(text)


def without_password(address: str) -> str:
    """Returns an address without its credentials, for logs and tables.

    What is before an @ is removed. The value of `password=`, or of another name that cameras use for it, is masked up
    to the next & or the end.
    """
    address = re.sub(r"//[^/]*@", "//", address)
    return re.sub(r"(?i)(?<![a-z])((?:login)?(?:password|passwd|pass?|pwd)=)[^&]+", r"\1***", address)


def _open_camera(text: str, size: tuple[int, int] | None) -> cv2.VideoCapture:
    # The number must fit into OpenCV's int.
    capture = cv2.VideoCapture(min(int(text), 2**16)) if text.isdecimal() else cv2.VideoCapture(text, cv2.CAP_V4L2)
    if size and capture.isOpened():
        # At large sizes most cameras are slow unless they compress.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    return capture


def _open_address(text: str) -> cv2.VideoCapture:
    timeout = round(1000 * NETWORK_TIMEOUT)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout]
    return cv2.VideoCapture(text, cv2.CAP_FFMPEG, limits)


def _open_file(text: str) -> Source:
    path = Path(text)
    if path.is_dir():
        raise SourceError(f"{text}: is a folder; expected a video or image file")
    if not path.exists():
        raise SourceError(
            f"{text}: no such file; a source is a camera number, a video or image file, a folder of them, "
            "an address with :// in it, or demo"
        )
    if not os.access(path, os.R_OK):
        raise SourceError(f"{text}: may not be read; change its permissions")
    absolute = str(path.absolute())  # a colon in a relative one would look like a protocol
    suffix = path.suffix.lower()
    # OpenCV would read some videos as a single image, and would consume what a pipe holds.
    if suffix not in VIDEO_SUFFIXES and not path.is_fifo():
        readable = cv2.haveImageReader(absolute)  # on Windows False for a path that OpenCV cannot open
        image = read_image(absolute) if readable or suffix in READABLE_SUFFIXES else None
        if image is not None:
            return ClipSource(text, [image], fps=DEFAULT_FPS, length=1)
        if readable:
            raise SourceError(f"{text}: the image cannot be decoded; it may be cut off, damaged or too large")
        if suffix in HEIC_SUFFIXES:  # FFmpeg may open it, and give single tiles
            raise SourceError(f"{text}: {HEIC_PROBLEM}")
    capture = cv2.VideoCapture(absolute, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise SourceError(f"{text}: is not a readable video or image; is it cut off or damaged?")
    return FileSource(text, capture)


def read_image(path: str) -> np.ndarray | None:
    """Returns an image file as uint8 [H, W, 3], BGR, upright by its EXIF orientation.

    Returns None if it cannot be decoded completely.

    Raises:
        OSError: if the file cannot be opened.
    """
    content = Path(path).read_bytes()
    return None if _is_cut_off(content) else decode(content)


def _is_cut_off(data: bytes) -> bool:
    """Returns whether the data is a truncated JPEG, which OpenCV would fill up with gray instead of failing."""
    if not data.startswith(b"\xff\xd8"):
        return False
    place = 2
    # Segments before the image data may contain a thumbnail, which has an end marker of its own.
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        filled = data[place + 1 : place + 2] == b"\xff"  # fill bytes before a marker
        place += 1 if filled else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return b"\xff\xd9" not in data[place:]


def find_cameras(numbers: Sequence[int] = range(10)) -> Iterator[tuple[str, int, int, float]]:
    """Yields the number, width, height and frames per second (0 if unknown) of each camera that can be opened.

    Args:
        numbers: Numbers to try; on Linux those of `/dev/video*` are added.
    """
    paths = glob.glob("/dev/video*") if sys.platform == "linux" else []
    devices = (path.removeprefix("/dev/video") for path in paths)
    for number in sorted({*numbers, *(int(device) for device in devices if device.isdecimal())}):
        with muted_stderr():
            capture = cv2.VideoCapture(number)
        if capture.isOpened():
            width, height = (int(capture.get(name)) for name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            yield str(number), width, height, capture.get(cv2.CAP_PROP_FPS)
        capture.release()
