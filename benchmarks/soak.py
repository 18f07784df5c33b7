"""Plays the live loop for a long time, and looks at what it holds: `python -m benchmarks.soak`."""

import contextlib
import itertools
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.realtime.capture import ClipSource, Frame
from fer_tf.realtime.demo import FPS, demo_clip
from fer_tf.realtime.loop import Loop
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.realtime.record import open_recording
from fer_tf.realtime.tables import CsvSink, JsonlSink

MARKS = 10
"""How often is looked, after equal numbers of frames."""

ALLOWED_GROWTH = 0.05
"""Of memory, from a tenth of the frames to the last."""


@dataclass(frozen=True)
class Held:
    """What the process holds after so many frames."""

    frames: int
    resident: int
    """Bytes in memory."""
    files: int
    """Open files."""
    threads: int


@command
def main(argv: list[str] | None = None) -> int:
    """Plays the demo clip over and over, with tables and a recording; returns 1 if memory, files or threads grow."""
    parser = Parser(
        "benchmarks.soak",
        description="Play the demo clip over and over through the live loop, with tables and a recording, and print "
        f"what the process holds. Exit code 1: memory grew by more than {ALLOWED_GROWTH:.0%} after the first tenth, or "
        "files or threads were left open.",
    )
    help_text = "number of frames (default: %(default)s)"
    parser.add_argument("--frames", type=positive(), default=50_000, metavar="N", help=help_text)
    frames = parser.parse_args(argv).frames
    if not Path("/proc/self/statm").exists():
        raise UserError("memory is read from /proc, which Linux alone has")
    marks = [frames * mark // MARKS or 1 for mark in range(1, MARKS + 1)]
    with tempfile.TemporaryDirectory() as folder:
        found = play(marks, Path(folder))
    print("| frames | memory, MB | open files | threads |\n|--:|--:|--:|--:|")
    for held in found:
        print(f"| {held.frames:,} | {held.resident / 1e6:.1f} | {held.files} | {held.threads} |")
    first, last = found[0], found[-1]
    growth = last.resident / first.resident - 1
    print(f"\nMemory grew by {growth:+.1%} from {first.frames:,} to {last.frames:,} frames.")
    return int(growth > ALLOWED_GROWTH or last.files > first.files or last.threads > first.threads)


def play(marks: Sequence[int], folder: Path | None = None) -> list[Held]:
    """Plays the demo clip over and over, and returns what this process holds after each of `marks` frames.

    Args:
        marks: Numbers of frames, in ascending order; it ends soon after the last.
        folder: Gets tables and a recording; without it, the faces are only drawn.
    """
    found = []
    length = marks[-1] + 10  # so that at the last mark all threads are still at work
    images = (image.copy() for image in itertools.islice(itertools.cycle(demo_clip()[0]), length))
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(tqdm(desc="memory", unit="frame", total=length, disable=None))

        def count() -> None:
            bar.update()
            if loop.frames in marks:
                found.append(
                    Held(loop.frames, _resident_bytes(), len(os.listdir("/proc/self/fd")), threading.active_count())
                )

        tables = []
        recording = _Nowhere()
        if folder:
            sinks = CsvSink(folder / "faces.csv"), JsonlSink(folder / "faces.jsonl")
            tables = [stack.enter_context(contextlib.closing(sink)) for sink in sinks]
            recording = stack.enter_context(contextlib.closing(open_recording(folder / "labeled.mp4", fps=FPS)))
        loop = Loop(Pipeline(), tables=tables, on_frame=count)
        loop.play(ClipSource("frames", images, fps=FPS, length=length), recording)
    return found


class _Nowhere:
    """A recording: the loop draws for it, and it keeps nothing."""

    def write(self, image: np.ndarray, frame: Frame) -> None:
        pass


def _resident_bytes() -> int:
    """Returns the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    raise SystemExit(main())
