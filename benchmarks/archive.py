"""Measures archives on Ray beside the plain loop, in turn, on Linux: `python -m benchmarks.archive`."""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import av
import numpy as np

from benchmarks.slices import WIDEST_SPREAD, Comparison, Cost, multiple
from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.realtime.demo import FPS, HEIGHT, LENGTH, WIDTH, demo_clip

_ROOT = Path(__file__).parents[1]
_PLAIN = "plain loop"
_PAUSE = 0.1
"""Seconds between two looks at the processes."""

_RAY = """
from fer_tf.cluster import connected
with connected(None, {workers}):
    pass
"""


@command
def main(argv: list[str] | None = None) -> int:
    """Prints a Markdown table; returns 1 if the machine was too busy for a ratio."""
    parser = Parser(
        "benchmarks.archive",
        description="Measure realtime.archive with different numbers of workers beside realtime.webcam on one thread. "
        "All write the same rows of the same videos, in turn.",
    )
    option = parser.add_argument
    option("source", nargs="?", type=Path, metavar="DIR", help="folder of videos (default: excerpts of the demo clip)")
    option("--clips", type=positive(), default=16, metavar="N", help="number of excerpts (default: 16)")
    option("--workers", nargs="+", type=positive(), default=[1, 2], metavar="N", help="numbers (default: 1 2)")
    option("--rounds", type=positive(), default=3, metavar="N", help="runs of each (default: 3)")
    arguments = parser.parse_args(argv)
    if arguments.source and not arguments.source.is_dir():
        raise UserError(f"{arguments.source}: no such folder")
    with tempfile.TemporaryDirectory(prefix="fer-tf-") as folder:
        source = (arguments.source or _write_clips(Path(folder, "clips"), arguments.clips)).absolute()
        clips = list(source.iterdir())
        runs = [_Run(Path(folder), source, count) for count in (None, *dict.fromkeys(arguments.workers))]
        compared = Comparison.in_turn({run.name: run for run in runs}, rounds=arguments.rounds, description="rounds")
        frames = {run.name: run.frames for run in runs[1:]}
        alone = {run.name: _measured([sys.executable, "-c", _RAY.format(workers=run.workers)])[0] for run in runs[1:]}
    if len(set(frames.values())) > 1:
        raise UserError(f"the runs found different numbers of frames: {frames}")
    (count,) = set(frames.values())
    print(f"{len(clips)} videos, {count} frames, {arguments.rounds} rounds, medians. ", end="")
    print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    columns = ["seconds", "slowest / fastest", "frames a second", "as multiple", "CPU seconds", "most / least"]
    print(f"| run | {' | '.join(columns)} | seconds to the first rows |\n|---|{7 * '--:|'}")
    for run in runs:
        wall, cpu = compared.median(run.name, "wall"), compared.median(run.name, "cpu")
        cells = [
            *(f"{wall:.1f}", f"{compared.spread(run.name, 'wall'):.2f}", f"{count / wall:.1f}"),
            *(multiple(compared.ratio(_PLAIN, run.name, "wall")), f"{cpu:.1f}"),
            *(f"{compared.spread(run.name, 'cpu'):.2f}", f"{np.median(run.starts):.1f}"),
        ]
        print(f"| {run.name} | {' | '.join(cells)} |")
    print("\nRay alone, started and ended without work, once:")
    for name, cost in alone.items():
        print(f"- {name}: {cost.wall:.1f} s, {cost.cpu:.1f} CPU seconds")
    if not compared.unsteady():
        return 0
    print(
        f"error: ratios are refused, since runs of one kind differ by more than a factor of {WIDEST_SPREAD:g}: "
        f"{', '.join(compared.unsteady())}; run it again when the machine does less else",
        file=sys.stderr,
    )
    return 1


class _Run:
    """Labels the videos each time it is called.

    Args:
        folder: Where the rows go; they are not kept.
        source: Folder of the videos.
        workers: Number of workers; None is the plain loop.

    Attributes:
        name: What the table calls it.
        starts: Seconds until the first rows were there, for each call.
        frames: Number of frames of the last call; 0 of the plain loop.
    """

    def __init__(self, folder: Path, source: Path, workers: int | None):
        self._folder, self._source, self.workers = folder, source, workers
        self.name = _PLAIN if workers is None else f"{workers} worker{'s' if workers > 1 else ''}"
        self.starts: list[float] = []
        self.frames = 0

    def __call__(self) -> Cost:
        """Returns what it took."""
        with tempfile.TemporaryDirectory(dir=self._folder) as output:
            rows = Path(output, "rows.csv")
            if self.workers is None:
                options = [
                    "-m",
                    "realtime.webcam",
                    "--no-window",
                    "--threads",
                    "1",
                    "--source",
                    self._source,
                    "--csv",
                    rows,
                ]
                has_rows = functools.partial(_has_lines, rows)
            else:
                options = ["-m", "realtime.archive", self._source, "--workers", self.workers, "--output", output]
                has_rows = functools.partial(_has_parts, Path(output))
            cost, start = _measured([sys.executable, *map(str, options)], has_rows)
            self.starts.append(start)
            if self.workers:
                self.frames = json.loads(Path(output, "summary.json").read_text())["frames"]
        return cost


def _has_lines(table: Path) -> bool:
    return table.exists() and table.read_bytes().count(b"\n") > 1


def _has_parts(folder: Path) -> bool:
    return any(folder.glob("part-*.parquet"))


def _measured(words: Sequence[str], has_begun: Callable[[], bool] = lambda: True) -> tuple[Cost, float]:
    """Runs a program; returns its cost with that of all processes below it, and when it had begun, in seconds.

    Processes are looked at from time to time, so what each does in its last tenth of a second is missed.
    """
    began, start = time.monotonic(), None
    cpu: dict[tuple[int, int], float] = {}
    with subprocess.Popen(
        words, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        family = {child.pid}
        while child.poll() is None:
            _look(family, cpu)
            if start is None and has_begun():
                start = time.monotonic() - began
            time.sleep(_PAUSE)
        wall = time.monotonic() - began
        errors = child.stderr.read().decode() if child.stderr else ""
    if child.returncode not in (0, 1):  # 1 if a video is broken
        raise UserError(f"{' '.join(words[:3])} failed: {errors.strip().splitlines()[-1:]}")
    return Cost(wall, sum(cpu.values())), wall if start is None else start


def _look(family: set[int], cpu: dict[tuple[int, int], float]) -> None:
    """Adds new children to a family of processes, and notes the CPU seconds of each by its number and start."""
    seen = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()  # see proc(5), from its third field on
        except OSError:  # it has ended
            continue
        seen[int(path.parent.name)] = fields
    grows = True
    while grows:
        children = {process for process, fields in seen.items() if int(fields[1]) in family} - family
        family |= children
        grows = bool(children)
    for process in family & seen.keys():
        fields = seen[process]
        cpu[process, int(fields[19])] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _write_clips(folder: Path, count: int) -> Path:
    """Writes excerpts of the demo clip, of different lengths, and returns their folder."""
    folder.mkdir()
    for number in range(count):
        start = number * 37 % (LENGTH // 2)
        frames = islice(demo_clip()[0], start, start + LENGTH * (2 + number % 3) // 8)
        with av.open(str(folder / f"clip{number}.mp4"), "w") as video:
            stream = video.add_stream("libx264", rate=int(FPS), options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for frame in frames:
                video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
            video.mux(stream.encode())
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
