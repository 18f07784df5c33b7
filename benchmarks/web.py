"""Measures the page against Python, side by side, on Linux: `python -m benchmarks.web`."""

import base64
import functools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.browser import open_browser
from benchmarks.slices import COLUMNS, WIDEST_SPREAD, Comparison, Cost, multiple
from fer_tf import FaceDetector, Pipeline, Recognizer
from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.realtime.demo import LENGTH, demo_clip
from fer_tf.realtime.web.site import DEFAULT_MODEL

_PYTHON, _PAGE = "Python", "the page"
_WARM_UP = 30
"""Frames before the first slice; a browser compiles its code while it runs."""

_LOAD = """async ({ threads, frames }) => {
    const { Analyst } = await import('/ui/analyst.mjs');
    const { DEFAULTS } = await import('/core/pipeline.mjs');
    window.analyst = new Analyst(() => {});
    await window.analyst.load({ threads, settings: DEFAULTS });
    const blobs = frames.map((png) => new Blob([Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0))]));
    window.clip = await Promise.all(blobs.map((blob) => createImageBitmap(blob)));
}"""

_RUN = """async (count) => {
    const { pixelsOf } = await import('/ui/pixels.mjs');
    const { analyst, clip } = window;
    const canvas = new OffscreenCanvas(640, 480).getContext('2d');
    async function* frames() {
        for (let i = 0; i < count; i++) {
            await analyst.soonFree;
            yield { image: pixelsOf(clip[i % clip.length], 640, 480, true), time: i / 25 };
        }
    }
    await analyst.reset();
    const start = performance.now();
    for await (const { image } of analyst.follow(frames(), false)) {
        canvas.putImageData(new ImageData(image.data, 640, 480), 0, 0);
    }
    return (performance.now() - start) / 1000;
}"""

_ONE_THREAD = "Object.defineProperty(Navigator.prototype, 'hardwareConcurrency', { value: 2 })"
"""Lets the page take one thread for its networks, on any machine."""

_SHOWN = """async ({ warmUp, seconds }) => {
    const wait = (time) => new Promise((resolve) => setTimeout(resolve, 1000 * time));
    const frames = () => parseInt(document.querySelector('#kept').textContent.replace(',', ''));
    await wait(warmUp);
    const [first, start] = [frames(), performance.now()];
    await wait(seconds);
    return (frames() - first) / (performance.now() - start) * 1000;
}"""


@command
def main(argv: list[str] | None = None) -> int:
    """Prints Markdown tables; returns 1 if the machine was too busy for a ratio."""
    parser = Parser(
        "benchmarks.web",
        description="Measure the page in headless Chromium against the pipeline in Python, with the page's default "
        "model and one thread each, over frames of the demo clip.",
    )
    option = parser.add_argument
    option("--rounds", type=positive(), default=12, metavar="N", help="slices of each (default: 12)")
    option("--frames", type=positive(), default=25, metavar="N", help="frames of a slice (default: 25)")
    arguments = parser.parse_args(argv)
    if not Path("/proc/self/stat").exists():
        raise UserError("CPU time of a browser is read from /proc, which only Linux has")
    clip = list(demo_clip()[0])
    scenes = {"one face": clip[: LENGTH // 4], "four faces": clip[3 * LENGTH // 4 + 1 :]}
    print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print(f"| frames with | loop | time, as multiple | CPU time, as multiple | {COLUMNS} |")
    print(f"|---|---|{6 * '---:|'}")
    unsteady = []
    with (
        tempfile.TemporaryDirectory() as folder,
        open_browser(_camera(folder, scenes["one face"])) as (browser, address),
    ):
        page = browser.new_page()
        page.add_init_script(_ONE_THREAD)
        page.goto(f"{address}core/classes.mjs")
        for scene, frames in scenes.items():
            compared = _compare(page, frames, arguments.rounds, arguments.frames, scene)
            for name in compared.slices:
                ratios = [multiple(compared.ratio(name, _PYTHON, measure)) for measure in ("wall", "cpu")]
                print(f"| {scene} | {name} | {' | '.join(ratios)} | {compared.columns(name)} |")
            unsteady += [f"{name}, {scene}" for name in compared.unsteady()]
        _print_page(page)
    if unsteady:
        told = f"error: ratios are refused, since slices of one loop differ by more than a factor of {WIDEST_SPREAD:g}"
        print(f"{told}: {', '.join(unsteady)}; run it again when the machine does less else", file=sys.stderr)
    return 1 if unsteady else 0


def _compare(page: Any, frames: list[np.ndarray], rounds: int, count: int, scene: str) -> Comparison:
    pngs = [base64.b64encode(cv2.imencode(".png", frame)[1].tobytes()).decode() for frame in frames[:count]]
    page.reload()
    page.evaluate(_LOAD, {"threads": 1, "frames": pngs})
    pipeline = Pipeline(FaceDetector(), Recognizer(DEFAULT_MODEL, threads=1))
    cv2.setNumThreads(1)

    def run_python(number: int = count) -> Cost:
        pipeline.reset()
        wall, cpu = time.perf_counter(), time.process_time()
        for index in range(number):
            pipeline(frames[index % count], index / 25)
        return Cost((time.perf_counter() - wall) / number, (time.process_time() - cpu) / number)

    def run_page(number: int = count) -> Cost:
        before = _cpu_seconds()
        seconds = page.evaluate(_RUN, number)
        return Cost(seconds / number, (_cpu_seconds() - before) / number)

    run_python(_WARM_UP)
    run_page(_WARM_UP)
    slices = {_PYTHON: functools.partial(run_python), _PAGE: functools.partial(run_page)}
    return Comparison.in_turn(slices, rounds=rounds, description=scene)


def _camera(folder: str, frames: list[np.ndarray]) -> Path:
    """Writes frames as a video that a browser takes for its camera, and plays at thirty frames a second."""
    path = Path(folder, "camera.mjpeg")
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
    return path


def _print_page(page: Any) -> None:
    """Prints how long a second visit takes, and the camera's first result, and how many frames the page then shows."""
    page.goto(page.url.replace("core/classes.mjs", ""))
    ready = "#camera:enabled"
    page.wait_for_selector(ready)
    start = time.perf_counter()
    page.reload()
    page.wait_for_selector(ready)
    loaded = time.perf_counter() - start
    start = time.perf_counter()
    page.click("#camera")
    page.wait_for_function("() => document.querySelector('#kept').textContent !== ''")
    print(f"\nReady {loaded:.1f} s after a second visit began; first result {time.perf_counter() - start:.1f} s after")
    print("the click on the camera.")
    shown = page.evaluate(_SHOWN, {"warmUp": 3, "seconds": 5})
    print(f"With that camera, of one face and 30 frames a second, the page analyzes and shows {shown:.1f} a second.")


def _cpu_seconds() -> float:
    """Returns the CPU time so far of all browsers that this process started, with their children."""
    parents, seconds = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        process = int(path.parent.name)
        parents[process] = int(fields[1])
        seconds[process] = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def is_ours(process: int) -> bool:
        while process in parents:
            process = parents[process]
            if process == os.getpid():
                return True
        return False

    return sum(seconds[process] for process in seconds if is_ours(process))


if __name__ == "__main__":
    raise SystemExit(main())
