"""Short clips, and the command as its users start it. What needs Ray is skipped without it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

from fer_tf.realtime.archive.__main__ import main
from fer_tf.realtime.demo import demo_clip

ROOT = Path(__file__).parents[3]

SITE = """
import os, signal, time
_access = os.access
def access(path, *rest, **options):
    name = os.path.basename(str(path))
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("slow"):
        time.sleep(float(os.environ.get("SLOW", "0")))
    return _access(path, *rest, **options)
os.access = access
"""
"""What each Python of a run does first: a source called crash… ends its worker, one called slow… takes its time."""


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """A folder of videos of different lengths with faces in them, and of files that cannot be read."""
    pytest.importorskip("skimage")  # of the demo clip
    folder = tmp_path_factory.mktemp("clips")
    frames = [frame for index, frame in enumerate(demo_clip()[0]) if index % 10 == 0]
    for number, length in enumerate((3, 7, 5, 4, 2)):
        with av.open(str(folder / f"clip{number}.mp4"), "w") as video:
            stream = video.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            for frame in frames[number * 4 :][:length]:
                video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
            video.mux(stream.encode())
    content = (folder / "clip1.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    (folder / "empty.mp4").touch()
    return folder


@pytest.fixture(scope="session")
def start_archive(tmp_path_factory):
    """A function that starts `realtime.archive`; keywords change its environment."""
    if sys.platform != "linux":
        pytest.skip("looks at processes and sockets by /proc")
    pytest.importorskip("ray", reason="needs Ray, of the extra cluster")
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(SITE)

    def start(*arguments, **changes):
        return subprocess.Popen(
            [sys.executable, "-m", "realtime.archive", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(site)} | changes,
        )

    return start


@pytest.fixture(scope="session")
def run_archive(start_archive):
    """A function that starts it and returns when it has ended, with what it printed."""

    def run(*arguments, **changes):
        child = start_archive(*arguments, **changes)
        output, errors = child.communicate(timeout=300)
        return subprocess.CompletedProcess(child.args, child.returncode, output, errors)

    return run


@pytest.fixture
def call_archive(capfd):
    """A function that runs it in this process, for what no worker is needed for."""
    pytest.importorskip("ray", reason="needs Ray, of the extra cluster")

    def call(*arguments):
        capfd.readouterr()
        code = main(list(map(str, arguments)))
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def live_rows(clips, tmp_path_factory):
    """A function that returns the lines that `realtime.webcam` writes for a folder of clips, sorted.

    The loop sees each clip once: a copy has the lines of its original, with its own name in front.
    """
    table = tmp_path_factory.mktemp("live") / "faces.csv"
    command = [sys.executable, "-m", "realtime.webcam", "--no-window", "--source", clips, "--csv", table]
    subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, timeout=300, check=False)
    header, *lines = table.read_text().splitlines()
    contents = {path.read_bytes(): path for path in clips.iterdir()}

    def label(folder):
        found = [header]
        for path in folder.iterdir():
            place = f"{contents.get(path.read_bytes())},"  # what is no clip has no lines
            found += [f"{path},{line.removeprefix(place)}" for line in lines if line.startswith(place)]
        return sorted(found)

    return label


@pytest.fixture
def copies(clips, tmp_path):
    """The clips, to be changed."""
    return Path(shutil.copytree(clips, tmp_path / "clips"))
