"""Runs the live loop of a checkout over given frames: a process of `benchmarks.versions`.

It is started by its path in the folder of a checkout. Imports are those of version 0.1, or of later ones.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

try:
    from fer_tf import Pipeline
    from fer_tf.realtime.capture import ClipSource
    from fer_tf.realtime.loop import Loop
except ImportError:
    from realtime.capture import ClipSource
    from realtime.loop import Loop
    from realtime.pipeline import Pipeline


def main() -> None:
    """Plays as many frames as each line of standard input asks for, and answers with what that took."""
    place = Path(sys.modules[Loop.__module__].__file__).absolute()
    if not place.is_relative_to(Path.cwd()):
        raise SystemExit(f"error: {place} was imported, which is not in {Path.cwd()}")
    frames = itertools.cycle(np.load(sys.argv[1]))
    loop = Loop(Pipeline(recognizer=sys.argv[2] if len(sys.argv) > 2 else None))
    nowhere = SimpleNamespace(write=lambda image, frame: None)  # for which the loop draws
    for line in sys.stdin:
        count = int(line)
        images = (frame.copy() for frame in itertools.islice(frames, count))
        before, wall, cpu = loop.faces, time.perf_counter(), time.process_time()
        loop.play(ClipSource("frames", images, fps=25.0, length=count), nowhere)
        answer = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "faces": loop.faces - before,
            "bytes": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
