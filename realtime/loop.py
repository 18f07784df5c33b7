"""The live loop.

One thread reads frames, a second finds their faces, a third recognizes the expressions, and the caller's draws, records
and shows them.
"""

import contextlib
import ctypes
import dataclasses
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from tqdm import tqdm

from fer_tf.errors import UserError
from fer_tf.realtime.capture import Frame, Source, SourceError
from fer_tf.realtime.display import Window
from fer_tf.realtime.draw import draw_faces, draw_status
from fer_tf.realtime.face import Face
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.realtime.record import ImageSink, Recording
from fer_tf.realtime.stage import Stage
from fer_tf.realtime.tables import CsvSink
from fer_tf.realtime.track import Track
from fer_tf.text import one_line

FIRST_FRAME_SECONDS = 15.0
"""Seconds after which a live source without a first frame counts as an error."""

PICTURE_SECONDS = 2.0
"""Seconds for which each of several pictures is shown."""

_TICK = 0.02
"""Longest time in seconds between two checks of the window and of signals."""

_MMAP_THRESHOLD = -3
"""glibc's number of the option: blocks from this size on are mapped, and returned when they are freed."""

Result = tuple[Frame, list[Face]]
"""A frame and its faces."""


class Table(Protocol):
    """Keeps the readings of each frame."""

    def write(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        """Adds a frame."""


class Loop:
    """Plays sources, one after the other, into tables, recordings and a window.

    For a file every frame is analyzed, in order. For a live source it is always the newest frame. An outage is shown
    over the last frame and reported on stderr, and the loop continues when frames arrive again. Keys in the window: q
    quits, space pauses, s saves the frame and its rows, d shows or hides the bars, n takes the next second of each face
    as its resting face.

    Example:
        >>> from fer_tf.realtime.sources import open_source
        >>> Loop(Pipeline(), tables=[CsvSink("faces.csv")]).play(open_source("demo"))

    Args:
        pipeline: Analyzes the frames; it is reset before each source.
        tables: Get the readings of each frame.
        window: Shows the labeled frames; those of a file at its own pace.
        stop: Ends the loop when it is set.
        max_frames: Stop after this many frames, over all sources.
        mirror: Flip frames left to right before anything else.
        show_input: Draw the model's input next to each face.
        snapshots: Folder for the files that s saves.
        on_frame: Called after each frame.

    Attributes:
        frames: Number of frames analyzed so far.
        faces: Number of faces found in them.
        going: False once the user, `stop` or `max_frames` has ended the loop.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        tables: Sequence[Table] = (),
        window: Window | None = None,
        stop: threading.Event | None = None,
        max_frames: int | None = None,
        mirror: bool = False,
        show_input: bool = False,
        snapshots: Path = Path(),
        on_frame: Callable[[], object] = lambda: None,
    ):
        self.pipeline, self.tables, self.window = pipeline, tables, window
        self.stop = stop or threading.Event()
        self.max_frames, self.mirror, self.show_input = max_frames, mirror, show_input
        self.snapshots, self.on_frame = snapshots, on_frame
        self.frames = self.faces = 0
        self._details, self._paused = True, False
        self._current: tuple[Source, Frame, list[Face], np.ndarray] | None = None
        self._outage = False
        self._zero = -math.inf
        self._pace: deque[tuple[float, float]] = deque(maxlen=30)
        _return_freed_memory()

    @property
    def going(self) -> bool:
        """Whether nothing has ended the loop."""
        is_open = self.window is None or self.window.is_open
        return is_open and not self.stop.is_set() and (self.max_frames is None or self.frames < self.max_frames)

    def play(self, source: Source, recording: Recording | None = None, *, last: bool = True) -> None:
        """Plays a source to its end, or until the loop is ended, and closes it.

        Args:
            source: A newly opened source.
            recording: Gets the labeled frames.
            last: Whether no other source follows; a picture then stays in the window until the user closes it.

        Raises:
            SourceError: if the source gives no frame.
            UserError: if an output cannot be written.
        """
        self.pipeline.reset()
        self._current = None
        self._zero = -math.inf
        self._pace.clear()
        # Of a live source a frame is tracked when the one before goes on to be recognized. Waiting, it would grow old.
        waiting = 0 if source.live else 1
        stages: list[Stage[Any]] = []
        try:
            stages.append(frames := Stage(source, size=1, newest=source.live))
            stages.append(tracked := Stage(self._tracked(frames), size=waiting))
            stages.append(results := Stage(self._recognized(tracked), size=waiting))
            self._take_all(source, results, recording)
            if self.window and source.length == 1:
                self._hold(float("inf") if last else PICTURE_SECONDS)
        finally:
            source.close()
            # A read may be blocked for long. A model that returns during shutdown would abort the process.
            for stage, timeout in zip(stages, (0.5, None, None), strict=False):
                stage.close(timeout)

    def _tracked(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Track]]]:
        for frame in frames:
            if self.mirror:
                frame = dataclasses.replace(frame, image=cv2.flip(frame.image, 1))
            yield frame, self.pipeline.track(frame.image, frame.time_s)

    def _recognized(self, tracked: Iterable[tuple[Frame, list[Track]]]) -> Iterator[Result]:
        for frame, tracks in tracked:
            yield frame, self.pipeline.recognize(frame.image, tracks)

    def _take_all(self, source: Source, results: Stage[Result], recording: Recording | None) -> None:
        begin = time.monotonic()
        seen = False
        while self.going:
            try:
                frame, faces = results.get(_TICK)
            except StopIteration:
                return
            except TimeoutError:
                silent = source.live and not seen and source.problem  # else it is the model that is slow to start
                if silent and time.monotonic() - begin > FIRST_FRAME_SECONDS:
                    raise SourceError(
                        f"{source.name}: no frame for {FIRST_FRAME_SECONDS:.0f} s; is it blocked?"
                    ) from None
                if seen and source.problem:
                    self._report(source, recording)
                self._react(0.001)
                continue
            self._outage = False
            if not (self._paused and source.live and seen):  # frames that arrive during a pause are dropped
                self._take(source, frame, faces, recording)
            seen = True
            self._react(0.001)

    def _take(self, source: Source, frame: Frame, faces: list[Face], recording: Recording | None) -> None:
        self.frames += 1
        self.faces += len(faces)
        for table in self.tables:
            table.write(source.name, frame, faces)
        if self.window:
            self._wait_for(source, frame)
        if recording or self.window:
            labeled = self._labeled(frame, faces)  # after the wait, in which the user may turn details on or off
            if recording:
                recording.write(labeled, frame)
            self._current = source, frame, faces, labeled
            if self.window:
                now = time.monotonic()
                if self._pace and now - self._pace[-1][0] > 1:  # after a pause or an outage
                    self._pace.clear()
                self._pace.append((now, now - frame.captured))
                self._show()
        self.on_frame()

    def _labeled(self, frame: Frame, faces: list[Face]) -> np.ndarray:
        """Returns a copy of the frame with its faces drawn on it."""
        image = frame.image.copy()
        draw_faces(image, faces, details=self._details, show_input=self.show_input)
        return image

    def _wait_for(self, source: Source, frame: Frame) -> None:
        """Waits until a frame of a file is due. After a late frame the normal pace resumes, without catching up."""
        if source.live:
            return
        late = time.monotonic() - self._zero - frame.time_s
        if late > 0:  # as is the first one
            self._zero = time.monotonic() - frame.time_s
        while self.going and (self._paused or time.monotonic() < self._zero + frame.time_s):
            left = self._zero + frame.time_s - time.monotonic()
            self._react(min(max(left, 0.001), _TICK))

    def _hold(self, seconds: float) -> None:
        """Leaves the current frame in the window for a while."""
        end = time.monotonic() + seconds
        while self.window and self.window.is_open and not self.stop.is_set():
            if not self._paused and time.monotonic() >= end:
                break
            self._react(_TICK)

    def _show(self, alarm: str | None = None) -> None:
        """Shows the current frame and its status in the window, if there are both."""
        if not (self.window and self._current):
            return
        source, _, _, labeled = self._current
        image = labeled.copy()
        draw_status(image, self._status(source), alarm=alarm)
        self.window.show(image)

    def _status(self, source: Source) -> list[str]:
        """Returns frames per second, the latency of a live source, and whether it is paused."""
        lines = []
        times, delays = zip(*self._pace, strict=True)
        if times[-1] > times[0]:
            lines.append(f"{(len(times) - 1) / (times[-1] - times[0]):.0f} frames/s")
        if source.live:
            lines.append(f"{1000 * sum(delays) / len(delays):.0f} ms")
        return [*lines, "paused"] if self._paused else lines

    def _report(self, source: Source, recording: Recording | None) -> None:
        """Reports an outage: once on stderr and in the recording, and in the window for as long as it lasts."""
        problem = source.problem
        if not problem or self._paused:
            return
        if not self._outage:
            say(f"{source.name}: {problem}")
            if recording and self._current:
                _, frame, _, labeled = self._current
                image, now = labeled.copy(), frame.time_s + time.monotonic() - frame.captured
                draw_status(image, [], alarm=problem)
                recording.write(image, dataclasses.replace(frame, time_s=now))
        self._outage = True
        self._show(problem)

    def _react(self, seconds: float) -> None:
        """Lets the window handle events for some seconds, and acts on its keys."""
        key = self.window.poll(seconds) if self.window else None
        if not key:
            return
        if key == " ":
            self._paused = not self._paused
        elif key == "d":
            self._details = not self._details
        elif key == "n":
            self.pipeline.take_rest()
        if not self._current:
            return
        source, frame, faces, labeled = self._current
        if key == "s":
            self._save(source, frame, faces, labeled)
            return
        if key == "d":
            self._current = source, frame, faces, self._labeled(frame, faces)
        self._show()

    def _save(self, source: Source, frame: Frame, faces: list[Face], labeled: np.ndarray) -> None:
        """Saves a frame as PNG and its rows as CSV, with date and time in the name."""
        stem = str(self.snapshots / f"expressions-{datetime.now():%Y%m%d-%H%M%S-%f}"[:-3])
        try:
            with contextlib.closing(CsvSink(f"{stem}.csv")) as table:
                table.write(source.name, frame, faces)
            with contextlib.closing(ImageSink(f"{stem}.png")) as picture:
                picture.write(labeled, frame)
        except UserError as error:  # which need not end the loop
            say(f"error: {error}")
        else:
            say(f"wrote {stem}.png and {stem}.csv")


def _return_freed_memory() -> None:
    """Keeps glibc from holding on to what models and frames have freed.

    A frame is freed by another thread than the one that made it. By default glibc then keeps it for the first one.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # another C library
        libc.mallopt(_MMAP_THRESHOLD, 1 << 17)
        libc.malloc_trim(0)


def say(line: str) -> None:
    """Prints a line on stderr, above a progress bar if there is one."""
    tqdm.write(one_line(line), file=sys.stderr)
