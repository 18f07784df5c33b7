"""The wheel, built and installed as a user does it, with the lowest versions that it allows."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from fer_tf.weights import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LARGEST = 16e6

VERSIONS = """
import runpy, sys

for command in sys.argv[1:]:
    sys.argv = [command, "--version"]
    try:
        runpy.run_path(command, run_name="__main__")
    except SystemExit as end:
        if end.code:
            print(command, end.code)
"""
"""Asks all commands in one process, for most of the time of each goes to the same imports."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Builds the wheel from a copy, so that nothing left in the checkout's build/ can get into it."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "tests", "runs", "data", "docs", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "checkout", ignore=ignored)
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "checkout"))
    return next(folder.glob("*.whl"))


def pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], capture_output=True, text=True)
    if done.returncode and re.search(r"NewConnectionError|NameResolution|Temporary failure|No matching", done.stderr):
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_one_package_the_default_model_and_the_detector(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        tops = {name.split("/")[0] for name in names}
    version = PROJECT["tool"]["setuptools"]["dynamic"]["version"]
    assert version == {"attr": "fer_tf.__version__"}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"fer_tf"}
    models = {name.rpartition("/")[2] for name in names if name.endswith(".onnx")}
    assert models == {"face_detector.onnx", f"{DEFAULT_MODEL.stem}.onnx", f"{DEFAULT_MODEL.stem}-int8.onnx"}
    assert "fer_tf/weights/face_detector.LICENSE" in names
    assert "fer_tf/py.typed" in names
    assert wheel.stat().st_size <= LARGEST


def test_every_module_of_the_rooms_is_in_the_wheel(wheel):
    expected = set()
    for package, folder in PROJECT["tool"]["setuptools"]["package-dir"].items():
        for path in (ROOT / folder).rglob("*.py"):
            place = path.relative_to(ROOT / folder).as_posix()
            expected.add(f"{package.replace('.', '/')}/{place}")
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.endswith(".py")} == expected


def test_a_stranger_labels_a_picture_with_the_lowest_versions(wheel, tmp_path):
    """Beside PyPI's `realtime`, in a folder whose files have the names of our rooms."""
    pytest.importorskip("skimage")
    from fer_tf.photograph import read_photograph

    environment, folder = tmp_path / "venv", tmp_path / "folder"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = next(path for path in environment.glob("*/python*") if path.stem == "python")
    lowest = re.findall(r"^([\w-]+)>=([\d.]+),<\d+$", "\n".join(PROJECT["project"]["dependencies"]), re.MULTILINE)
    assert len(lowest) == 5
    constraints = tmp_path / "lowest.txt"
    if sys.version_info < (3, 13):  # for later ones there are no wheels of all these
        constraints.write_text("\n".join(f"{name}=={version}" for name, version in lowest))
    else:
        constraints.touch()
    options = ("--no-compile", "--constraint", str(constraints))
    pip("--python", str(python), "install", *options, "realtime", str(wheel))

    folder.mkdir()
    for name in ("weights", "train", "export", "realtime_notes"):
        (folder / f"{name}.py").write_text("W = 1\n")
    import cv2

    cv2.imwrite(str(folder / "face.png"), read_photograph())

    def run(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True)

    told = run(str(python), "-c", "from realtime import AsyncRealtimeClient; import fer_tf; print(fer_tf.__version__)")
    assert told.returncode == 0, told.stderr
    scripts = python.parent
    commands = list(PROJECT["project"]["scripts"])
    done = run(str(python), "-c", VERSIONS, *(str(scripts / command) for command in commands))
    assert (done.stdout, done.stderr) == (f"fer-tf {told.stdout}" * len(commands), "")
    done = run(str(scripts / "fer-train"), "--data", str(folder))
    assert (done.returncode, done.stderr.endswith(f'pip install "{wheel}[train]"\n')) == (2, True), done.stderr
    done = run(str(scripts / "fer-predict"), "--json", "face.png")
    assert done.returncode == 0, done.stderr
    (picture,) = json.loads(done.stdout)["images"]
    assert [face["readings"][0]["expression"] for face in picture["faces"]] == ["happy"]
    same = run(str(python), "-m", "fer_tf.realtime.predict", "--json", "face.png")
    assert same.stdout == done.stdout
    missing = run(str(scripts / "fer-webcam"), "--source", "demo", "--no-window", "--csv", "x.csv")
    assert missing.returncode == 2
    assert f'pip install "{wheel}[demo]"' in missing.stderr
