"""Labels facial expressions, live or in files. `python -m realtime.webcam --help`."""

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from fer_tf.command import command
from fer_tf.quiet import silence_opencv
from fer_tf.realtime.arguments import parse
from fer_tf.realtime.capture import LiveSource, Source, SourceError
from fer_tf.realtime.display import DisplayProbe, Window
from fer_tf.realtime.excerpt import Excerpt
from fer_tf.realtime.loop import Loop, say
from fer_tf.realtime.options import make_pipeline
from fer_tf.realtime.record import open_recording
from fer_tf.realtime.sources import find_cameras, is_camera, open_source
from fer_tf.realtime.stage import Stage
from fer_tf.realtime.tables import CsvSink, JsonlSink, SummarySink
from fer_tf.text import printable


@command
def main(argv: list[str] | None = None) -> int:
    """Runs the loop until the sources end or the user quits."""
    arguments = parse(argv)
    silence_opencv()
    if arguments.list_cameras:
        return _list_cameras()
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_stop_on_signals())
        probe = None if arguments.no_window else stack.enter_context(DisplayProbe())
        pipeline = make_pipeline(arguments, threads=arguments.threads, provider=arguments.provider)
        window = None
        if probe:
            probe.check()
            window = stack.enter_context(contextlib.closing(Window()))
        sources = _open_all(arguments, stop)
        # The first one is opened before the tables, so that a wrong --source is reported first.
        first = next(sources, None)
        if first is None:  # stopped while it was opened
            return 0
        sources = itertools.chain([first], sources)
        tables = []
        for kind, path in ((CsvSink, arguments.csv), (JsonlSink, arguments.jsonl), (SummarySink, arguments.summary)):
            if path:
                tables.append(stack.enter_context(contextlib.closing(kind(path))))
        progress = stack.enter_context(_Progress(len(arguments.sources), arguments.max_frames))
        loop = Loop(
            pipeline,
            tables=tables,
            window=window,
            stop=stop,
            max_frames=arguments.max_frames,
            mirror=arguments.mirror,
            show_input=arguments.show_input,
            snapshots=_folder_of(*arguments.recordings[:1], arguments.csv, arguments.jsonl, arguments.summary),
            on_frame=progress.count,
        )
        failures = _play_all(zip(sources, arguments.recordings, strict=False), loop, progress)
    progress.print_summary(loop)
    if loop.frames:  # else nothing was written
        for path in filter(None, (arguments.output, arguments.csv, arguments.jsonl, arguments.summary)):
            print(f"wrote {printable(str(path))}")
    return 1 if failures else 0


def _open_all(arguments: Namespace, stop: threading.Event) -> Iterator[Source | SourceError]:
    """Yields each source, or the error that it cannot be opened; if it is the only one, the error is raised."""
    for name in arguments.sources:
        source: Source | SourceError | None
        try:
            source = _open(name, stop, arguments.camera_size, arguments.excerpt)
        except SourceError as error:
            if len(arguments.sources) == 1:
                raise
            source = error
        if source is None:
            return
        yield source


def _open(name: str, stop: threading.Event, camera_size: tuple[int, int] | None, excerpt: Excerpt) -> Source | None:
    """Opens a source; returns None if `stop` is set while an address or a pipe does not answer."""
    # On macOS only the main thread may ask for permission to use a camera. And only it mutes libraries that decode.
    if is_camera(name) or os.path.isfile(name):
        return open_source(name, camera_size=camera_size, excerpt=excerpt)
    with contextlib.closing(Stage(open_source(text, excerpt=excerpt) for text in (name,))) as opening:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                return opening.get(0.05)
    return None


def _play_all(pairs: Iterable[tuple[Source | SourceError, Path | None]], loop: Loop, progress: "_Progress") -> int:
    """Plays all sources in turn, reports those that fail on stderr, and returns their number."""
    failures = 0
    for number, (source, output) in enumerate(pairs, start=1):
        try:
            if isinstance(source, SourceError):
                raise source
            progress.begin(source)
            with contextlib.ExitStack() as stack:
                recording = None
                if output:
                    recording = stack.enter_context(contextlib.closing(open_recording(output, fps=source.fps)))
                loop.play(source, recording, last=number == progress.sources)
            failure = source.failure
        except SourceError as error:
            if progress.sources == 1:
                raise
            failure = str(error)
        if failure:
            failures += 1
            say(f"error: {failure}")
        progress.end(number)
        if not loop.going:
            if number < progress.sources and isinstance(source, LiveSource):
                say(f"note: {source.name} does not end, so no source after it was reached")
            break
    return failures


def _folder_of(*outputs: Path | None) -> Path:
    """Returns the folder of the first output that is a file, or the current folder."""
    files = (path for path in outputs if path and (path.is_file() or not path.exists()))
    return next((path.parent for path in files), Path())


class _Progress:
    """A progress bar over all sources, shown on a terminal, and the summary.

    Args:
        sources: Number of sources.
        max_frames: Largest number of frames, over all sources.
    """

    def __init__(self, sources: int, max_frames: int | None):
        self.sources, self.max_frames = sources, max_frames
        self.start = time.monotonic()
        self.start_up: float | None = None
        self._share = 1.0
        shape = {"unit": "frame", "total": max_frames}
        if sources > 1:
            form = "{l_bar}{bar}| {n:.1f}/{total} sources [{elapsed}<{remaining}]"
            shape = {"unit": "source", "total": sources, "bar_format": form}
        self._bar = tqdm(disable=None, **shape)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def begin(self, source: Source) -> None:
        """Starts a source."""
        if self.sources > 1:
            self._share = 1 / source.length if source.length else 0
        elif source.length:
            self._bar.total = min(source.length, self.max_frames or source.length)

    def count(self) -> None:
        """Counts a frame."""
        self.start_up = self.start_up or _seconds_since_process_start()
        self._bar.update(self._share)

    def end(self, number: int) -> None:
        """Ends a source; `number` counts from 1."""
        if self.sources > 1:
            self._bar.update(number - self._bar.n)

    def print_summary(self, loop: Loop) -> None:
        """Prints the numbers of frames and faces, and how fast it went."""
        rate = loop.frames / max(1e-9, time.monotonic() - self.start)
        parts = [f"{loop.frames} frames", f"{loop.faces} faces", f"{rate:.1f} frames/s"]
        if self.start_up is not None:
            parts.append(f"first frame after {self.start_up:.2f} s")
        print(", ".join(parts))


def _list_cameras() -> int:
    """Prints the cameras that can be opened."""
    cameras = list(find_cameras())
    for number, width, height, fps in cameras:
        print(f"{number}: {width}x{height}" + (f", {fps:.0f} frames/s" if fps > 0 else ""))
    if not cameras:
        print("no camera found")
    return 0


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Yields an event that Ctrl-C, SIGTERM or closing the terminal sets, so that files are finished properly.

    A second signal interrupts at once, except SIGHUP, which a closing terminal may send twice.
    """
    stop = threading.Event()

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    handlers = {signal.SIGINT: handle, signal.SIGTERM: handle}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup ignores it
        handlers[signal.SIGHUP] = lambda *_: stop.set()
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _seconds_since_process_start() -> float | None:
    """Returns the age of this process to a hundredth of a second; None if the system is not Linux."""
    if sys.platform != "linux":
        return None
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    raise SystemExit(main())
