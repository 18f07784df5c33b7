"""The options of `fer_tf.realtime.webcam`, checked against each other, and those that other commands share."""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from fer_tf import weights
from fer_tf.card import EXCLUDED_USES
from fer_tf.command import Parser, positive, threads
from fer_tf.errors import UserError
from fer_tf.files import check_writable
from fer_tf.images import IMAGE_SUFFIXES as IMAGE_SOURCES
from fer_tf.realtime.detect import BACKENDS, SEARCH_SIZE, SMALLEST_FACE, FaceDetector
from fer_tf.realtime.record import IMAGE_SUFFIXES, VIDEO_SUFFIX
from fer_tf.realtime.sources import check_name, expand_sources, is_camera, without_password


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Returns the arguments.

    Beside the options it has `sources` (list of str: the single sources) and `recordings` (list of Path or None: where
    the labelled frames of each go).

    Raises:
        UserError: if one of them is wrong, or does not go with another.
    """
    arguments = _parser().parse_args(argv)
    arguments.sources, arguments.recordings = [], []
    if arguments.list_cameras:
        return arguments
    kept = ("output", "csv", "jsonl", "summary")
    if arguments.no_window and not any(getattr(arguments, name) for name in kept):
        raise UserError(f"--no-window leaves nothing to see; name one of {', '.join('--' + name for name in kept)}")
    files = ("model", "compare", "detector_model", *kept)
    for name in files:
        check_name(str(getattr(arguments, name)))
    arguments.sources = expand_sources(arguments.source)
    for camera in filter(is_camera, arguments.sources[:-1]):
        raise UserError(
            f"--source {camera}: a camera does not end, so nothing after it would be looked at; name it last, or give "
            "each its own command"
        )
    if arguments.camera_size and not any(map(is_camera, arguments.sources)):
        raise UserError("--camera-size is for cameras, and no --source is one")
    arguments.recordings = _recordings(arguments.output, arguments.sources)
    inputs = [("--source", name) for name in arguments.sources]
    inputs += [("--" + name.replace("_", "-"), getattr(arguments, name)) for name in files[:3]]
    outputs = [("--output", path) for path in arguments.recordings]
    outputs += [("--" + name, getattr(arguments, name)) for name in kept[1:]]
    check_overwriting(inputs, outputs)
    for path in filter(None, arguments.recordings):
        check_writable(path, in_place=True)
    return arguments


def add_recognition(add: Callable[..., object], *, search: int = SEARCH_SIZE) -> None:
    """Adds the options about model and detector that the commands have in common.

    Args:
        add: The `add_argument` of a parser.
        search: At what size frames are searched by default.
    """
    add("--model", type=Path, metavar="FILE", default=weights.DEFAULT_MODEL, help="model file (default: %(default)s)")
    # What is no choice is refused by the detector, which knows what former choices are called now.
    names = "{" + ",".join(BACKENDS) + "}"
    add("--detector", metavar=names, default="auto", help="what finds faces (default: auto, which is yunet)")
    help_text = "a YuNet other than the one that ships: by export.detector, or from OpenCV's model zoo"
    add("--detector-model", type=Path, metavar="FILE", help=help_text)
    add(
        "--search-size",
        type=_search_size,
        default=search,
        metavar="PIXELS|full",
        help="search frames with the longer side at this size (default: %(default)s). Most faces are found that have "
        f"about 50 pixels of it or more: {50 * 3840 // search} in a frame of 3840",
    )
    help_text = "leave out faces that are less high in the frame (default: %(default)s pixels)"
    add("--smallest-face", type=positive(float), default=SMALLEST_FACE, metavar="PIXELS", help=help_text)
    help_text = 'what is less probable is called "uncertain" (default: 0.4)'
    add("--min-confidence", type=float, default=0.4, metavar="P", help=help_text)


def make_detector(arguments: argparse.Namespace) -> FaceDetector:
    """Returns the detector that these options ask for."""
    return FaceDetector(
        arguments.detector,
        model=arguments.detector_model,
        search_size=arguments.search_size,
        smallest_face=arguments.smallest_face,
    )


def _search_size(text: str) -> int | None:
    return None if text == "full" else positive()(text)


def _parser() -> Parser:
    parser = Parser(
        "realtime.webcam",
        description="Name the expressions of faces, live or in files. In the window q or Escape ends, space pauses, "
        "s saves the frame (PNG) and its rows (CSV) beside the other outputs, d shows or hides details.",
        epilog=EXCLUDED_USES,
    )
    add = parser.add_argument_group("what is looked at").add_argument
    add(
        "--source",
        nargs="+",
        default=["0"],
        help="number or device of a camera; video or image files, folders (without their subfolders) or patterns of "
        "them; address of a stream; or demo (default: 0)",
    )
    add("--list-cameras", action="store_true", help="print which cameras there are, and end")
    add("--camera-size", type=_size, metavar="WxH", help="ask the camera for frames of this size")
    add("--mirror", action="store_true", help="swap left and right, as a mirror does; in tables, too")
    add("--max-frames", type=positive(), metavar="N", help="end after N frames")
    add = parser.add_argument_group("what is kept").add_argument
    add(
        "--output",
        type=Path,
        metavar="PATH",
        help="record the labelled frames here (.mp4), or the last of them (.png, .jpg); a name without a suffix is a "
        "folder that gets a file for each source",
    )
    add("--csv", type=Path, metavar="FILE", help="write a row for each face and model here")
    add("--jsonl", type=Path, metavar="FILE", help="write a JSON object for each frame here")
    add("--summary", type=Path, metavar="FILE", help="write how long each face showed each expression here (JSON)")
    add = parser.add_argument_group("what is shown").add_argument
    add("--no-window", action="store_true", help="open no window")
    add("--show-input", action="store_true", help="draw what the model sees beside each face")
    add = parser.add_argument_group("how faces are found and read").add_argument
    add_recognition(add)
    add("--compare", type=Path, metavar="FILE", help="a second model, run on the same faces")
    add("--detect-every", type=positive(), default=1, metavar="N", help="search every Nth frame for faces (default: 1)")
    add("--smoothing", type=float, default=0.3, metavar="SECONDS", help="average over time; 0 for none (default: 0.3)")
    add("--threads", type=threads, metavar="N", help="of the network (default: all)")
    add("--provider", metavar="NAME", help="of onnxruntime, such as CUDAExecutionProvider (default: the CPU's)")
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})[xX×]([1-9]\d{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a width and a height such as 1280x720")
    return int(match[1]), int(match[2])


def _recordings(output: Path | None, sources: Sequence[str]) -> list[Path | None]:
    """Returns where the labelled frames of each source go."""
    if output is None:
        return [None] * len(sources)
    if output.suffix and not output.is_dir():
        if output.suffix.lower() not in (VIDEO_SUFFIX, *IMAGE_SUFFIXES):
            endings = ", ".join((VIDEO_SUFFIX, *IMAGE_SUFFIXES))
            raise UserError(f"{output}: a recording must end in {endings}, or be a folder, without any")
        if len(sources) > 1:
            raise UserError(f"{output}: {len(sources)} sources need a folder for --output, a name without a suffix")
        return [output]
    return [output / name for name in distinct_names(map(_recording_name, sources))]


def _recording_name(source: str) -> tuple[str, str]:
    """Returns stem and suffix of the file that the labelled frames of a source are kept in."""
    address = "://" in source
    shown = without_password(source).partition("://")[2]
    stem = re.sub(r"\W+", "-", shown).strip("-") if address else Path(source).stem
    suffix = Path(source).suffix.lower()
    if address or suffix not in IMAGE_SOURCES:
        suffix = VIDEO_SUFFIX
    elif suffix not in IMAGE_SUFFIXES:
        suffix = IMAGE_SUFFIXES[0]
    return f"camera-{stem}" if is_camera(source) else stem, suffix


def distinct_names(wanted: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yields a file name for each stem and suffix, numbered where one is taken, also where case makes no difference."""
    taken = set()
    for stem, suffix in wanted:
        name, number = f"{stem}{suffix}", 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken.add(name.lower())
        yield name


def check_overwriting(inputs: list[tuple[str, object]], outputs: list[tuple[str, object]]) -> None:
    """Raises `UserError` if an output would replace an input or another output."""
    seen = {_identity(path): option for option, path in inputs if path}
    for option, path in outputs:
        if path:
            other = seen.setdefault(identity := _identity(path), None)
            if other:
                raise UserError(f"{option} and {other} are the same file ({path}); choose another {option}")
            seen[identity] = option
    files = {Path(path).resolve(): option for option, path in outputs if path}
    for path, option in files.items():
        if inside := next((folder for folder in path.parents if folder in files), None):
            raise UserError(f"{option} {path} would lie in {files[inside]} {inside}, which is a file; choose another")


def _identity(path: Path | str) -> object:
    """Returns what two names of the same file have in common."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
