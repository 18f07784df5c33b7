"""Names the expressions of the faces before a camera or in a file. `python -m realtime.webcam --help`."""

import argparse
import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

import weights
from fer_tf.card import EXCLUDED_USES
from fer_tf.command import Parser, UserError, command, positive
from fer_tf.recognizer import Recognizer
from realtime.capture import Source
from realtime.detect import FaceDetector
from realtime.display import DisplayProbe, Window
from realtime.draw import draw_faces
from realtime.pipeline import Pipeline
from realtime.record import ImageSink, VideoSink, open_recording
from realtime.sources import open_source
from realtime.tables import CsvSink


@dataclass
class Totals:
    """What a run of the loop has done."""

    frames: int = 0
    faces: int = 0
    seconds: float = 0.0
    """From before the first frame was read until after the last was done with."""
    start_up: float | None = None
    """Seconds from the start of the process until the first frame was recognized, where that can be known."""


@command
def main(argv: list[str] | None = None) -> int:
    """Runs the loop until the source ends or its user ends it."""
    arguments = _parse(argv)
    _silence_opencv()
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_stop_on_signals())
        probe = None if arguments.no_window else stack.enter_context(DisplayProbe())
        files = [arguments.model] + [arguments.compare] * bool(arguments.compare)
        recognizer, *others = (Recognizer(file, threads=arguments.threads) for file in files)
        source = stack.enter_context(contextlib.closing(open_source(arguments.source)))
        video = table = window = None
        if probe:
            probe.check()
            window = stack.enter_context(contextlib.closing(Window(live=source.live)))
        if arguments.output:
            video = open_recording(arguments.output, fps=source.fps, live=source.live)
            stack.enter_context(contextlib.closing(video))
        if arguments.csv:
            table = CsvSink(arguments.csv)
            stack.enter_context(contextlib.closing(table))
        pipeline = Pipeline(FaceDetector(), recognizer, compare=others[0] if others else None)
        totals = run(source, pipeline, video, table, window, stop, max_frames=arguments.max_frames)
    _print_summary(totals, [path for path in (arguments.output, arguments.csv) if path])
    if source.failure:
        print(f"error: {source.failure}", file=sys.stderr)
        return 1
    return 0


def run(
    source: Source,
    pipeline: Pipeline,
    video: VideoSink | ImageSink | None,
    table: CsvSink | None,
    window: Window | None,
    stop: threading.Event,
    *,
    max_frames: int | None = None,
) -> Totals:
    """Takes frames from the source through the pipeline to whatever sinks there are.

    Ends with the source, after `max_frames`, when the window is closed, or when `stop` is set.
    """
    totals = Totals()
    start = time.monotonic()
    length = source.length and min(source.length, max_frames or source.length)
    frames = itertools.islice(source, max_frames)
    for frame in tqdm(frames, total=length or max_frames, unit="frame", disable=None):
        faces = pipeline(frame.image, frame.time_s)
        totals.start_up = totals.start_up or _seconds_since_process_start()
        totals.frames += 1
        totals.faces += len(faces)
        if table:
            table.write(source.name, frame, faces)
        if video or window:
            draw_faces(frame.image, faces)
        if video:
            video.write(frame.image, frame)
        if window and not window.show(frame.image, frame):
            break
        if stop.is_set():
            break
    totals.seconds = time.monotonic() - start
    while window and window.is_open and source.length == 1 and not stop.is_set():
        window.wait(0.1)  # a single image stays until its user has seen it
    return totals


def _parse(argv: list[str] | None) -> argparse.Namespace:
    """Returns the arguments, checked against each other."""
    parser = Parser(
        prog="python -m realtime.webcam",
        description="Name the expressions of faces, live or in a file. q, Escape or Ctrl-C ends.",
        epilog=EXCLUDED_USES,
    )
    parser.add_argument(
        "--source",
        default="0",
        help="number of a camera, path of a video or image, address of a stream, or demo (default: 0)",
    )
    parser.add_argument("--model", type=Path, default=weights.DEFAULT_MODEL, help="model file (default: %(default)s)")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="a second model, run on the same faces")
    parser.add_argument(
        "--output", type=Path, help="record the labelled frames here (.mp4, .avi), or the last of them (.png, .jpg)"
    )
    parser.add_argument("--csv", type=Path, help="write a row for each face and model here")
    parser.add_argument("--no-window", action="store_true", help="open no window")
    parser.add_argument("--max-frames", type=positive(), metavar="N", help="end after N frames")
    parser.add_argument("--threads", type=positive(), metavar="N", help="of the network (default: all)")
    arguments = parser.parse_args(argv)
    if arguments.no_window and not (arguments.output or arguments.csv):
        raise UserError("--no-window without --output or --csv leaves nothing to see; name one of them")
    for name in map(str, (arguments.source, arguments.model, arguments.compare, arguments.output, arguments.csv)):
        if name.encode(errors="replace").decode() != name:
            raise UserError(f"{name!r}: a name that is not UTF-8 cannot be passed on to OpenCV; rename it")
    _check_overwriting(arguments)
    return arguments


def _check_overwriting(arguments: argparse.Namespace) -> None:
    """Raises `UserError` if an output would replace an input or the other output."""
    named = {"--source": Path(arguments.source), "--model": arguments.model}
    if arguments.compare:
        named["--compare"] = arguments.compare
    for option, path in (("--output", arguments.output), ("--csv", arguments.csv)):
        if path is None:
            continue
        for other, other_path in named.items():
            same = path.samefile(other_path) if path.exists() and other_path.exists() else False
            if same or path.absolute() == other_path.absolute():
                raise UserError(f"{option} and {other} are the same file ({path}); choose another {option}")
        named[option] = path


def _silence_opencv() -> None:
    """Keeps OpenCV and its FFmpeg from talking between our lines; their own variables bring it back."""
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Yields an event that Ctrl-C or SIGTERM sets so that files get ended; a second interrupts at once."""
    stop = threading.Event()

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _seconds_since_process_start() -> float | None:
    """Returns the age of this process to a hundredth of a second, or None where the system is not Linux."""
    if sys.platform != "linux":
        return None
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _print_summary(totals: Totals, written: list[Path]) -> None:
    rate = totals.frames / totals.seconds if totals.seconds else 0.0
    parts = [f"{totals.frames} frames", f"{totals.faces} faces", f"{rate:.1f} frames/s"]
    if totals.start_up is not None:
        parts.append(f"first frame after {totals.start_up:.2f} s")
    print(", ".join(parts))
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    raise SystemExit(main())
