"""Measures the live loop against an earlier version's, side by side, on Linux: `python -m benchmarks.versions`."""

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.slices import COLUMNS, WIDEST_SPREAD, Comparison, Cost, multiple
from fer_tf import weights
from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.realtime.demo import LENGTH, demo_clip

_ROOT = Path(__file__).parents[1]
_THIS, _EARLIER, _INT8 = "this version", "earlier version", "this version, INT8"
_STARTS = 7


@command
def main(argv: list[str] | None = None) -> int:
    """Prints Markdown tables; returns 1 if the machine was too busy for a ratio."""
    parser = Parser(
        "benchmarks.versions",
        description="Measure the live loop against that of another checkout. Both run with their defaults over the "
        "frames of the demo clip that show four faces. They draw, and record nothing.",
    )
    option = parser.add_argument
    option("checkout", type=Path, help="folder of the other version, such as one of `git worktree add`")
    option("--rounds", type=positive(), default=20, metavar="N", help="slices of each loop (default: 20)")
    option("--frames", type=positive(), default=30, metavar="N", help="frames of a slice (default: 30)")
    arguments = parser.parse_args(argv)
    if not (arguments.checkout / "realtime" / "loop.py").is_file():
        raise UserError(f"{arguments.checkout}: no checkout of this project; expected realtime/loop.py in it")
    clip = np.stack(list(demo_clip()[0])[3 * LENGTH // 4 + 1 :])
    int8 = weights.DEFAULT_MODEL.with_name(f"{weights.DEFAULT_MODEL.stem}-int8.onnx")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        frames = Path(folder) / "frames.npy"
        np.save(frames, clip)
        loops = {
            _EARLIER: stack.enter_context(_Version(arguments.checkout, frames)),
            _THIS: stack.enter_context(_Version(_ROOT, frames)),
            _INT8: stack.enter_context(_Version(_ROOT, frames, int8)),
        }
        for loop in loops.values():
            loop.run(5)  # warm-up
        slices = {name: functools.partial(loop.run, arguments.frames) for name, loop in loops.items()}
        compared = Comparison.in_turn(slices, rounds=arguments.rounds, description="four faces")
    print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print(f"| loop | frames a second, as multiple | CPU time a frame | {COLUMNS} | faces found in a frame | MB |")
    print(f"|---|{8 * '---:|'}")
    for name, loop in loops.items():
        times, cpu = compared.ratio(_EARLIER, name, "wall"), compared.ratio(name, _EARLIER, "cpu")
        found, size = np.mean(loop.faces), loop.bytes / 1e6
        print(f"| {name} | {multiple(times)} | {multiple(cpu)} | {compared.columns(name)} | {found:.1f} | {size:.0f} |")
    _compare_starts(arguments.checkout)
    if not compared.unsteady():
        return 0
    print(
        f"error: ratios are refused, since slices of one loop differ by more than a factor of {WIDEST_SPREAD:g}: "
        f"{', '.join(compared.unsteady())}; run it again when the machine does less else",
        file=sys.stderr,
    )
    return 1


class _Version:
    """The loop of a checkout, in a process of its own.

    Attributes:
        faces: Mean number of faces found, for each slice so far.
        bytes: Resident memory after the last slice.
    """

    def __init__(self, checkout: Path, *arguments: Path):
        self.faces: list[float] = []
        self.bytes = 0
        script = Path(__file__).with_name("timed_loop.py")
        self._child = _start(checkout, [str(script), *map(str, arguments)])

    def __enter__(self) -> "_Version":
        self._child.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._child.__exit__(None, None, None)  # which closes its standard input and so ends it

    def run(self, count: int) -> Cost:
        """Analyzes `count` frames and returns the cost of one."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        answer = ""
        if self._child.poll() is None:
            self._child.stdin.write(f"{count}\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        if not answer:
            raise UserError("a loop ended too early; see its error above")
        values = json.loads(answer)
        self.faces.append(values["faces"] / count)
        self.bytes = values["bytes"]
        return Cost(values["seconds"] / count, values["cpu_seconds"] / count)


def _start(checkout: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Starts Python so that it imports the modules of a checkout."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout.absolute())},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _compare_starts(checkout: Path) -> None:
    """Prints after how many seconds the first frame comes, by the processes' own clocks, in turn."""
    seconds: dict[str, list[float]] = {_EARLIER: [], _THIS: []}
    with tempfile.TemporaryDirectory() as folder:
        table = str(Path(folder) / "faces.csv")
        options = ["--source", "demo", "--no-window", "--max-frames", "1", "--csv", table]
        for _ in range(_STARTS):
            for name, place in ((_EARLIER, checkout), (_THIS, _ROOT)):
                with _start(place, ["-m", "realtime.webcam", *options]) as child:
                    said = re.search(r"first frame after ([\d.]+) s", child.communicate()[0])
                if not said:
                    raise UserError(f"realtime.webcam of {place} does not say when its first frame came")
                seconds[name].append(float(said[1]))
    print(f"\nFirst frame, median and least of {_STARTS} starts:")
    for name, values in seconds.items():
        print(f"- {name}: {np.median(values):.2f} s, {min(values):.2f} s")


if __name__ == "__main__":
    raise SystemExit(main())
