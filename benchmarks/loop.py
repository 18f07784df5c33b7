"""Measures the live loop against the first project's, side by side: `python -m benchmarks.loop`."""

import functools
import hashlib
import importlib.util
import itertools
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.slices import COLUMNS, WIDEST_SPREAD, Comparison, Cost, multiple
from benchmarks.soak import play
from fer_tf import weights
from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.files import check_writable, write_json
from fer_tf.realtime.capture import ClipSource, Frame
from fer_tf.realtime.demo import FPS, LENGTH, demo_clip
from fer_tf.realtime.detect import FaceDetector
from fer_tf.realtime.loop import Loop
from fer_tf.realtime.pipeline import Face, Pipeline
from fer_tf.realtime.track import Track
from fer_tf.recognizer import Recognizer

THREADS = 2
FACES = (1, 2, 4, 8, 16)
EARLY, LATE = 1_000, 10_000
"""Numbers of frames after which memory is measured."""

_ROOT = Path(__file__).parents[1]
_CHECKPOINTS = ("Resnet50_Original", "Resnet50_Stack_Ori_Sharpen")
_ROUNDS = 10
_STARTS = 5
_ORIGINAL = "first project: both ResNet50s in PyTorch"

_Figures = dict[str, float | None]


@command
def main(argv: list[str] | None = None) -> int:
    """Measures and prints Markdown tables; returns 1 if the machine was too busy for a ratio."""
    parser = Parser(
        "benchmarks.loop",
        description="Measure the live loop against a rebuild of the first project's. Both run on two threads and "
        "analyze every frame, with four faces in each; nothing is recorded. They take turns. No ratio is given for a "
        f"loop that took more than {WIDEST_SPREAD:g} times as long at one turn as at another.",
    )
    option = parser.add_argument
    option("--json", type=Path, metavar="OUT", help="write the key figures to this file")
    option("--quick", action="store_true", help="skip start-up time and memory")
    option(
        "--frames",
        type=positive(),
        default=40,
        metavar="N",
        help="number of frames for the first project's loop (default: 40)",
    )
    arguments = parser.parse_args(argv)
    if arguments.json:
        check_writable(arguments.json)
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5:
        # Its threads wait for each other in loops: beside two other jobs, two of them took five times as long as one.
        print(
            "note: other programs are running; PyTorch suffers most, so the ratios come out too high", file=sys.stderr
        )
    cv2.setNumThreads(THREADS)
    share = -(-arguments.frames // _ROUNDS)
    clip = list(demo_clip()[0])
    figures, unsteady = _against_the_original(clip[3 * LENGTH // 4 + 1 :], share)
    more, others = _against_the_number_of_faces(clip[0], 10 * share)
    figures, unsteady = figures | more, unsteady + others
    if not arguments.quick:
        figures |= _time_to_the_first_frame() | _memory()
    if arguments.json:
        write_json(arguments.json, figures)
    if unsteady:
        print(
            f"error: ratios are refused, since slices of one loop differ by more than a factor of {WIDEST_SPREAD:g}: "
            f"{', '.join(unsteady)}; run it again when the machine does less else",
            file=sys.stderr,
        )
    return 1 if unsteady else 0


class _Timed(Pipeline):
    """A pipeline that keeps how many seconds its halves took, for each frame."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.tracking: list[float] = []
        self.recognizing: list[float] = []

    def track(self, image: np.ndarray, time_s: float) -> list[Track]:
        start = time.perf_counter()
        tracks = super().track(image, time_s)
        self.tracking.append(time.perf_counter() - start)
        return tracks

    def recognize(self, image: np.ndarray, tracks: Sequence[Track]) -> list[Face]:
        start = time.perf_counter()
        faces = super().recognize(image, tracks)
        self.recognizing.append(time.perf_counter() - start)
        return faces


class _Nowhere:
    """A recording: the loop draws for it, and it keeps nothing."""

    def write(self, image: np.ndarray, frame: Frame) -> None:
        pass


class _Ours:
    """Our loop over frames in memory, in slices: detect, recognize and draw.

    Attributes:
        pipeline: It keeps what it took for each frame.
        drawing: Seconds that drawing took, for each frame.
        faces: Number of faces found, for each frame.
    """

    def __init__(self, frames: Sequence[np.ndarray], model: Recognizer, compare: Recognizer | None = None):
        self.pipeline = _Timed(FaceDetector(), model, compare=compare)
        self.drawing: list[float] = []
        self.faces: list[int] = []
        self._frames = itertools.cycle(frames)
        self._loop = Loop(self.pipeline, tables=[self], on_frame=self._drawn)

    def run(self, count: int) -> Cost:
        """Analyzes `count` frames and returns the cost of one."""
        images = (frame.copy() for frame in itertools.islice(self._frames, count))
        source = ClipSource("frames", images, fps=FPS, length=count)
        wall, cpu = time.perf_counter(), time.process_time()
        self._loop.play(source, _Nowhere())
        return Cost((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count)

    def write(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        """Counts the faces of a frame that is about to be drawn, as a table of the loop."""
        self.faces.append(len(faces))
        self._start = time.perf_counter()

    def _drawn(self) -> None:
        self.drawing.append(time.perf_counter() - self._start)


class _Original:
    """The first project's loop, in a process of its own."""

    def __init__(self, child: subprocess.Popen[str]):
        assert child.stdin is not None
        assert child.stdout is not None
        self.faces: list[float] = []
        self._child, self._input, self._output = child, child.stdin, child.stdout

    def run(self, count: int) -> Cost:
        """Analyzes `count` frames and returns the cost of one."""
        answer = ""
        if self._child.poll() is None:
            self._input.write(f"{count}\n")
            self._input.flush()
            answer = self._output.readline()
        if not answer:
            raise UserError("the first project's loop ended too early; see its error above")
        values = json.loads(answer)
        self.faces.append(values["faces"] / count)
        return Cost(values["seconds"] / count, values["cpu_seconds"] / count)


@contextmanager
def _original(frames: Sequence[np.ndarray], folder: Path) -> Iterator[_Original]:
    """Yields the first project's loop over these frames."""
    with tempfile.TemporaryDirectory() as temporary:
        images = Path(temporary) / "frames.npy"
        np.save(images, np.stack(frames))
        files = [str(folder / f"{name}.pth") for name in _CHECKPOINTS]
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.original_loop", str(images), *files],
            cwd=_ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with child:  # leaving closes its standard input, which ends it
            yield _Original(child)


def _against_the_original(frames: Sequence[np.ndarray], share: int) -> tuple[_Figures, list[str]]:
    """Runs all loops in turn, and prints their rates as multiples of the first project's.

    Args:
        frames: uint8 [H, W, 3], BGR.
        share: Number of frames that the first project's loop analyzes in each round.

    Returns:
        The ratios of the default model and of the two ResNet50s in INT8, None if refused; and the unsteady loops.
    """
    folder = _checkpoints()
    exact, small = (
        [Recognizer(folder / f"{name}{suffix}", threads=THREADS) for name in _CHECKPOINTS]
        for suffix in (".onnx", "-int8.onnx")
    )
    default, large, int8 = "default model", "both ResNet50s, float32", "both ResNet50s, INT8"
    models = {default: [Recognizer(weights.DEFAULT_MODEL, threads=THREADS)], large: exact, int8: small}
    ours = {name: _Ours(frames, *recognizers) for name, recognizers in models.items()}
    factors = {_ORIGINAL: 1, default: 20, large: 2, int8: 5}  # the faster a loop, the more frames it gets
    with _original(frames, folder) as original:
        loops: dict[str, _Original | _Ours] = {_ORIGINAL: original, **ours}
        for loop in loops.values():
            loop.run(2)  # warm-up
        slices = {name: functools.partial(loop.run, factors[name] * share) for name, loop in loops.items()}
        compared = Comparison.in_turn(slices, rounds=_ROUNDS, description="four faces")
    print(f"| loop | frames a second, as multiples | frames a CPU second | {COLUMNS} | faces found in a frame |")
    print(f"|---|{7 * '---:|'}")
    for name, loop in loops.items():
        times, cpu = (multiple(compared.ratio(_ORIGINAL, name, measure)) for measure in ("wall", "cpu"))
        print(f"| {name} | {times} | {cpu} | {compared.columns(name)} | {np.mean(loop.faces):.1f} |")
    print("\n| default model, four faces | p50, ms | p95, ms |\n|---|---:|---:|")
    ran = ours[default]
    stages = (ran.pipeline.tracking, ran.pipeline.recognizing, ran.drawing)
    for stage, values in zip(("detect and track", "crop and recognize", "draw"), stages, strict=True):
        half, most = 1000 * np.percentile(values, (50, 95))
        print(f"| {stage} | {half:.1f} | {most:.1f} |")
    return {
        "default_over_original": compared.ratio(_ORIGINAL, default, "wall"),
        "default_over_original_cpu": compared.ratio(_ORIGINAL, default, "cpu"),
        "int8_over_original": compared.ratio(_ORIGINAL, int8, "wall"),
        "int8_over_original_cpu": compared.ratio(_ORIGINAL, int8, "cpu"),
    }, compared.unsteady()


def _checkpoints() -> Path:
    """Returns the folder with the two ResNet50s as checkpoints and model files; makes them if they are missing."""
    if importlib.util.find_spec("torch") is None:
        raise ModuleNotFoundError(name="torch")
    import platformdirs

    # The folder's name has a hash of the code that makes them, so that a change of that code makes new ones.
    made_by = [path for room in ("export", "fer_tf") for path in (_ROOT / room).rglob("*.py")]
    sources = [_ROOT / "benchmarks" / "checkpoints.py", *sorted(made_by)]
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    cache = Path(os.environ.get("FER_TF_CACHE") or platformdirs.user_cache_dir("fer-tf"))
    folder = (cache / f"benchmark-{version}").absolute()
    made = [folder / f"{name}{suffix}" for name in _CHECKPOINTS for suffix in (".pth", ".onnx", "-int8.onnx")]
    if not all(file.exists() for file in made):
        print(f"making two ResNet50s in {folder}; this takes some minutes, once", file=sys.stderr)
        command = [sys.executable, "-m", "benchmarks.checkpoints", str(folder), *_CHECKPOINTS]
        done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"the two ResNet50s could not be made: {last.removeprefix('error: ')}")
        for old in cache.absolute().glob(f"benchmark-{12 * '[0-9a-f]'}"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
    return folder


def _against_the_number_of_faces(portrait: np.ndarray, share: int) -> tuple[_Figures, list[str]]:
    """Prints what a frame costs by its number of faces.

    Returns:
        The cost of 16 as a multiple of one, None if refused; and the numbers of faces whose slices are unsteady.
    """
    model = Recognizer(weights.DEFAULT_MODEL, threads=THREADS)
    loops = {f"faces: {count}": _Ours([_tiled(portrait, count)], model) for count in FACES}
    for loop in loops.values():
        loop.run(2)
    slices = {name: functools.partial(loop.run, share) for name, loop in loops.items()}
    compared = Comparison.in_turn(slices, rounds=_ROUNDS, description="1 to 16 faces")
    one, *_, sixteen = loops
    print(f"\n| faces in a frame | found | time of a frame, as multiple | CPU time | {COLUMNS} |\n|{8 * '---:|'}")
    for count, (name, loop) in zip(FACES, loops.items(), strict=True):
        times, cpu = (multiple(compared.ratio(name, one, measure)) for measure in ("wall", "cpu"))
        print(f"| {count} | {np.mean(loop.faces):.1f} | {times} | {cpu} | {compared.columns(name)} |")
    return {
        "sixteen_faces_over_one": compared.ratio(sixteen, one, "wall"),
        "sixteen_faces_over_one_cpu": compared.ratio(sixteen, one, "cpu"),
    }, compared.unsteady()


def _tiled(portrait: np.ndarray, count: int) -> np.ndarray:
    """Returns a frame of the portrait's size with `count` small copies of it on gray."""
    height, width = (side // 4 for side in portrait.shape[:2])
    tile = cv2.resize(portrait, (width, height), interpolation=cv2.INTER_AREA)
    frame = np.full_like(portrait, 128)
    for index in range(count):
        row, column = divmod(index, 4)
        frame[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return frame


def _time_to_the_first_frame() -> dict[str, float]:
    """Prints and returns the median time from the start of the process to its first frame, by its own clock."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        table = str(Path(folder) / "faces.csv")
        for _ in range(_STARTS):
            arguments = ["--source", "demo", "--no-window", "--max-frames", "1", "--csv", table]
            start = time.perf_counter()
            command = [sys.executable, "-m", "realtime.webcam", *arguments]
            done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"realtime.webcam does not run: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
            said = re.search(r"first frame after ([\d.]+) s", done.stdout)
            seconds.append(float(said[1]) if said else time.perf_counter() - start)
    print(f"\nFirst frame: {np.median(seconds):.2f} s after the start of the process.")
    return {"first_frame_seconds": float(np.median(seconds))}


def _memory() -> dict[str, float | None]:
    """Prints and returns how memory grows, measured in a fresh process; None if the system is not Linux."""
    if not Path("/proc/self/statm").exists():
        return {"memory_growth_percent": None}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        early, late = (held.resident for held in pool.apply(play, ([EARLY, LATE],)))
    growth = 100 * (late / early - 1)
    print(f"Memory: {early / 1e6:.0f} MB after {EARLY:,} frames, {late / 1e6:.0f} MB after {LATE:,}: {growth:+.1f} %.")
    return {"memory_growth_percent": growth}


if __name__ == "__main__":
    raise SystemExit(main())
