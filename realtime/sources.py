"""Opens what a user names as a source: cameras, files, folders, patterns, addresses, the demo clip."""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import cv2

from fer_tf.errors import UserError
from fer_tf.image_headers import GIF, JPEG, kind, pages
from fer_tf.images import HEIC_PROBLEM, HEIC_SUFFIXES, READABLE_SUFFIXES, reads_heic
from fer_tf.installation import program
from fer_tf.quiet import muted_stderr
from fer_tf.realtime import demo
from fer_tf.realtime.capture import DEFAULT_FPS, ClipSource, LiveSource, Source, SourceError
from fer_tf.realtime.excerpt import WHOLE, Excerpt
from fer_tf.realtime.pictures import read_image
from fer_tf.text import address_name, printable

VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
"""With `READABLE_SUFFIXES`, the files that are taken from a folder; a file named by itself may have any suffix."""

_HEAD = 4096
"""Bytes of a file that tell what it is."""


def expand_sources(named: Sequence[str], *, recursive: bool = False, videos: bool = True) -> list[str]:
    """Expands folders and glob patterns to single sources, each of which `open_source` opens.

    Args:
        named: Sources. A folder stands for the images and videos in it; what is left out is counted on stderr. A
            pattern that the shell has not expanded (`*.mp4`) stands for the files it matches. Both are in natural
            order (2 before 10).
        recursive: Whether a folder stands for what is in its subfolders, too.
        videos: Whether videos are wanted. If not, a pattern stands for the images among its files, too.

    Returns:
        Single sources, without repetitions.

    Raises:
        UserError: if a folder has nothing that is wanted, or a pattern matches nothing.
    """
    return list(dict.fromkeys(source for text in named for source in _expand(text, recursive, videos)))


def _expand(text: str, recursive: bool, videos: bool) -> list[str]:
    if not text:
        raise UserError("a source without a name; expected a camera, a file, a folder, an address or demo")
    if "://" in text or text == "demo" or text.isdecimal():  # for a folder with such a name, write ./demo
        return [text]
    path, left_out = Path(text), ""
    remedy = "name others" if videos else f"name others, or use {program('realtime.webcam')} for videos"
    if path.is_dir():
        found, left_out = _in_folder(path, recursive, videos)
        expected = "images or videos in this folder" if videos else "pictures in this folder"
    elif glob.has_magic(text) and not path.exists():
        found, expected = [file for file in map(Path, glob.glob(text, recursive=True)) if file.is_file()], "files"
        if not videos:
            found, left_out = _pictures(found)
            expected = "pictures among the files" if left_out else expected
        expected += " that match"
    else:
        return [text]
    if not found:
        others = f" (left out: {left_out})" if left_out else ""
        raise UserError(f"{printable(text)}: there are no {expected}{others}; {remedy}")
    if left_out:
        print(printable(f"note: {text}: left out: {left_out}"), file=sys.stderr)
    return sorted(map(str, found), key=_natural)


def _pictures(files: Sequence[Path]) -> tuple[list[Path], str]:
    """Returns the images among files, and what else there is: numbers by suffix."""
    kinds = (*READABLE_SUFFIXES, *HEIC_SUFFIXES)
    others = Counter(file.suffix.lower() or "without a suffix" for file in files if file.suffix.lower() not in kinds)
    return [file for file in files if file.suffix.lower() in kinds], _listed(others)


def _in_folder(folder: Path, recursive: bool, videos: bool) -> tuple[list[Path], str]:
    """Returns the images in a folder, and the videos, and what else is in it: numbers by suffix, empty if nothing."""
    wanted = {*READABLE_SUFFIXES, *(HEIC_SUFFIXES if reads_heic() else ()), *(VIDEO_SUFFIXES if videos else ())}
    found: list[Path] = []
    others: Counter[str] = Counter()
    for place in folder.rglob("*") if recursive else folder.iterdir():
        if any(part.startswith(".") for part in place.relative_to(folder).parts):
            continue
        suffix = place.suffix.lower()
        if place.is_dir():
            others["folders (--recursive)"] += not recursive
        elif suffix in wanted and place.is_file():
            found.append(place)
        elif suffix in HEIC_SUFFIXES:
            others[f"HEIC ({HEIC_PROBLEM})"] += 1
        else:
            others[suffix or "without a suffix"] += 1
    return found, _listed(others)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {kinds}" for kinds, number in sorted(counts.items()) if number)


def _natural(text: str) -> list[tuple[int, str]]:
    """Returns a key that sorts `frame2` before `frame10`."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), part) if index % 2 else (-1, part) for index, part in enumerate(parts)]


def check_name(name: str) -> None:
    """Raises `SourceError` if `name` is not UTF-8, which would make OpenCV abort the process."""
    if name.encode(errors="replace").decode() != name:
        shown = printable(address_name(name) if "://" in name else name)
        raise SourceError(f"'{shown}': the name is not UTF-8, so it cannot be opened; rename it")


def is_camera(text: str) -> bool:
    """Returns whether a single source is the number or device of a camera."""
    return text.isdecimal() or Path(text).is_char_device()


def open_source(text: str, *, camera_size: tuple[int, int] | None = None, excerpt: Excerpt = WHOLE) -> Source:
    """Opens a single source.

    Args:
        text: Number or device of a camera, `demo`, an address with `://` in it, or the path of a video or image.
        camera_size: Width and height in pixels to ask a camera for; it delivers the nearest size that it has.
        excerpt: Which frames are wanted; a picture is always taken.

    Raises:
        SourceError: if there is no such source, or if it cannot be read as a video or an image.
        ModuleNotFoundError: if `demo` is asked for and scikit-image is not installed.
    """
    check_name(text)
    if text == "demo":
        images, length = demo.demo_clip()
        return ClipSource(text, images, fps=demo.FPS, length=length, excerpt=excerpt)
    if is_camera(text):
        return LiveSource(
            f"camera {text}",
            lambda: _open_camera(text, camera_size),
            remedy="connect one, close the program that uses it, or try another --source: a number, a file, "
            "an address or demo",
            excerpt=excerpt,
        )
    return _open_address(text, excerpt) if "://" in text else _open_file(text, excerpt)


def _open_camera(text: str, size: tuple[int, int] | None) -> cv2.VideoCapture:
    # The number must fit into OpenCV's int.
    capture = cv2.VideoCapture(min(int(text), 2**16)) if text.isdecimal() else cv2.VideoCapture(text, cv2.CAP_V4L2)
    if size and capture.isOpened():
        # At large sizes most cameras are slow unless they compress.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    return capture


def _open_address(text: str, excerpt: Excerpt) -> Source:
    from fer_tf.realtime.video import FileSource, StreamCapture, Video, VideoError  # slow to import

    name = printable(address_name(text))
    try:
        video = Video(text, live=True)
    except VideoError as error:
        raise SourceError(f"{name}: no video stream there ({error}); is the address correct and reachable?") from None
    except UserError as error:
        raise SourceError(f"{name}: {error}") from None
    if video.duration_s:  # a file behind an address has a length; a live stream has none
        return FileSource(name, video, excerpt=excerpt)
    opened = [StreamCapture(text, video)]
    return LiveSource(
        name, lambda: opened.pop() if opened else StreamCapture(text), remedy="is it reachable?", excerpt=excerpt
    )


def _open_file(text: str, excerpt: Excerpt) -> Source:
    path, name = Path(text), printable(text)
    if path.is_dir():
        raise SourceError(f"{name}: is a folder; expected a video or image file")
    if not path.exists():
        raise SourceError(
            f"{name}: no such file; a source is a camera number, a video or image file, a folder of them, "
            "an address with :// in it, or demo"
        )
    if not os.access(path, os.R_OK):
        raise SourceError(f"{name}: may not be read; change its permissions")
    pipe: BinaryIO | None = None
    if path.is_fifo():  # whoever reads it takes what is in it, so it is opened once
        pipe = open(path, "rb", buffering=_HEAD)  # noqa: SIM115
        head = pipe.peek(_HEAD)  # type: ignore[attr-defined]
    else:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    form = kind(head)
    if form and not (form == JPEG and path.suffix.lower() in VIDEO_SUFFIXES):  # some cameras join JPEGs to a video
        content = pipe.read() if pipe else None
        if form != GIF or pages(content or path.read_bytes()) == 1:
            return ClipSource(name, [read_image(text, content)], fps=DEFAULT_FPS, length=1)
    from fer_tf.realtime.video import FileSource, Video, VideoError

    try:
        # An absolute path, since a colon in a relative one would look like a protocol.
        video = Video(pipe or str(path.absolute()))
    except VideoError as error:
        raise SourceError(f"{name}: is not a readable video or image ({error}); is it cut off or damaged?") from None
    except UserError as error:
        raise SourceError(f"{name}: {error}") from None
    return FileSource(name, video, excerpt=excerpt)


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
