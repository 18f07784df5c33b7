"""The options of `fer_tf.realtime.webcam`, checked against each other."""

import argparse
import math
import re
from pathlib import Path

from fer_tf.card import EXCLUDED_USES
from fer_tf.command import Parser, positive, threads
from fer_tf.errors import UserError
from fer_tf.files import check_writable
from fer_tf.realtime.excerpt import Excerpt, seconds
from fer_tf.realtime.options import add_recognition, add_video
from fer_tf.realtime.outputs import Named, check_overwriting, recordings
from fer_tf.realtime.sources import check_name, expand_sources, is_camera


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parses and checks the options.

    Returns:
        The options. Added are `sources` (list of str: the single sources), `recordings` (list of Path or None: where
        the labeled frames of each source go) and `excerpt` (Excerpt: which frames are wanted).

    Raises:
        UserError: if an option is wrong, or does not go with another.
    """
    arguments = _parser().parse_args(argv)
    arguments.sources, arguments.recordings = [], []
    if arguments.list_cameras:
        return arguments
    kept = ("output", "csv", "jsonl", "summary")
    if arguments.no_window and not any(getattr(arguments, name) for name in kept):
        raise UserError(f"--no-window leaves nothing to do; add one of {', '.join('--' + name for name in kept)}")
    files = ("model", "compare", "detector_model", *kept)
    for value in (*(getattr(arguments, name) for name in files), *arguments.resting_pictures):
        check_name(str(value))
    if arguments.end <= arguments.start:
        raise UserError(f"--end {arguments.end:g} s is not after --start {arguments.start:g} s; choose a later time")
    arguments.excerpt = Excerpt(arguments.every, arguments.start, arguments.end)
    arguments.sources = expand_sources(arguments.source, recursive=arguments.recursive)
    for camera in filter(is_camera, arguments.sources[:-1]):
        raise UserError(
            f"--source {camera}: a camera does not end, so no source after it would be reached; name it last, or give "
            "each its own command"
        )
    if arguments.camera_size and not any(map(is_camera, arguments.sources)):
        raise UserError("--camera-size is for cameras, and no --source is one")
    arguments.recordings = recordings(arguments.output, arguments.sources)
    inputs: list[Named] = [("--source", name) for name in arguments.sources]
    inputs += [("--resting-pictures", path) for path in arguments.resting_pictures]
    inputs += [("--" + name.replace("_", "-"), getattr(arguments, name)) for name in files[:3]]
    outputs: list[Named] = [("--output", path) for path in arguments.recordings]
    outputs += [("--" + name, getattr(arguments, name)) for name in kept[1:]]
    check_overwriting(inputs, outputs)
    for path in filter(None, arguments.recordings):
        check_writable(path, in_place=True)
    return arguments


def _parser() -> Parser:
    parser = Parser(
        "realtime.webcam",
        description="Label facial expressions, live or in files. Keys in the window: q or Escape quits, space pauses, "
        "s saves the frame (PNG) and its rows (CSV) next to the other outputs, d shows or hides details, "
        "n takes the next second of each face as its resting face.",
        epilog=EXCLUDED_USES,
    )
    add = parser.add_argument_group("input").add_argument
    add(
        "--source",
        nargs="+",
        default=["0"],
        help="camera number or device, video or image file, folder, glob pattern, stream URL, or demo (default: 0)",
    )
    add("--recursive", action="store_true", help="read the subfolders of folders, too")
    add("--list-cameras", action="store_true", help="print the cameras found and exit")
    add("--camera-size", type=_size, metavar="WxH", help="frame size to ask the camera for")
    add("--mirror", action="store_true", help="flip frames left to right, like a mirror; tables, too")
    add("--max-frames", type=positive(), metavar="N", help="stop after N frames")
    add("--every", type=positive(), default=1, metavar="N", help="analyze every Nth frame (default: 1)")
    help_text = "skip what comes before this time: seconds, or as 1:30 or 0:01:30.5"
    add("--start", type=seconds, default=0.0, metavar="TIME", help=help_text)
    add("--end", type=seconds, default=math.inf, metavar="TIME", help="stop each source at this time")
    add = parser.add_argument_group("output").add_argument
    add(
        "--output",
        type=Path,
        metavar="PATH",
        help="record labeled video (.mp4), or the last labeled frame (.png, .jpg); a name without a suffix is a folder "
        "with one file per source",
    )
    add("--csv", type=Path, metavar="FILE", help="write one row per face and model")
    add("--jsonl", type=Path, metavar="FILE", help="write one JSON object per frame")
    add("--summary", type=Path, metavar="FILE", help="write how long each face showed each expression (JSON)")
    add = parser.add_argument_group("display").add_argument
    add("--no-window", action="store_true", help="run without a window")
    add("--show-input", action="store_true", help="draw the model's input next to each face")
    add = parser.add_argument_group("detection and recognition").add_argument
    add_recognition(add)
    add_video(add)
    add("--threads", type=threads, metavar="N", help="number of threads for the network (default: all)")
    help_text = "onnxruntime execution provider, such as CUDAExecutionProvider (default: the CPU's)"
    add("--provider", metavar="NAME", help=help_text)
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})[xX×]([1-9]\d{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a width and a height such as 1280x720")
    return int(match[1]), int(match[2])
