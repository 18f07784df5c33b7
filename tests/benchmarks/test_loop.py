import contextlib
import importlib.util
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import loop as benchmark
from benchmarks.slices import Cost
from fer_tf.errors import UserError
from fer_tf.realtime.demo import demo_clip
from fer_tf.recognizer import Recognizer


@pytest.fixture(scope="module")
def portrait():
    pytest.importorskip("skimage")
    return next(demo_clip()[0])


@pytest.fixture
def checkpoints(tmp_path, make_model_file, monkeypatch):
    """Tiny model files in the place of the ResNet50s, and loops that say they took 0.2 s a frame, or 0.01 s a face.

    They say that they took twice the CPU time, or three times for ours.

    What a loop does take depends on what else the machine has to do, and says nothing about the ratios.
    """
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in benchmark._CHECKPOINTS:
        for suffix in (".onnx", "-int8.onnx"):
            make_model_file(folder / f"{name}{suffix}")
    monkeypatch.setattr(benchmark, "_checkpoints", lambda: folder)

    class Slow:
        faces = (4,)

        def __init__(self):
            self.seconds = itertools.cycle(original)

        def run(self, count):
            wall = next(self.seconds)
            return Cost(wall, 0.4)

    class Steady(benchmark._Ours):
        def run(self, count):
            super().run(count)
            wall = 0.01 * float(np.mean(self.faces[-count:]))
            return Cost(wall, 3 * wall)

    original = [0.2]
    monkeypatch.setattr(benchmark, "_Ours", Steady)
    monkeypatch.setattr(benchmark, "_original", lambda frames, folder: contextlib.nullcontext(Slow()))
    monkeypatch.setattr(benchmark, "_ROUNDS", 2)
    monkeypatch.setattr(benchmark, "_STARTS", 2)
    monkeypatch.setattr(benchmark, "FACES", (1, 16))
    monkeypatch.setattr(benchmark, "EARLY", 20)
    monkeypatch.setattr(benchmark, "LATE", 40)
    return original


RATIOS = {"default_over_original", "int8_over_original", "sixteen_faces_over_one"}
QUICK = RATIOS | {f"{name}_cpu" for name in RATIOS}


@pytest.mark.parametrize("quick", [True, False])
def test_the_key_figures_are_written(quick, portrait, checkpoints, tmp_path, capsys):
    output = tmp_path / "new" / "figures.json"
    assert benchmark.main(["--json", str(output), "--frames", "2", *["--quick"] * quick]) == 0
    figures = json.loads(output.read_text())
    assert figures.keys() == (QUICK if quick else QUICK | {"first_frame_seconds", "memory_growth_percent"})
    assert figures["default_over_original"] == pytest.approx(5)
    assert figures["int8_over_original"] == pytest.approx(5)
    assert figures["sixteen_faces_over_one"] == pytest.approx(16)
    assert figures["default_over_original_cpu"] == figures["int8_over_original_cpu"] == pytest.approx(0.4 / 0.12)
    assert figures["sixteen_faces_over_one_cpu"] == pytest.approx(16)
    printed = capsys.readouterr().out
    for words in ("first project", "both ResNet50s, INT8", "detect", "crop and recognize", "draw", "| 16 |"):
        assert words in printed
    assert ("First frame" in printed) == (not quick)


def test_ratios_of_a_loop_that_starved_are_refused(portrait, checkpoints, tmp_path, capsys):
    checkpoints[:] = [0.2, 0.2, 0.5, 0.5]
    output = tmp_path / "figures.json"
    assert benchmark.main(["--json", str(output), "--frames", "2", "--quick"]) == 1
    figures = json.loads(output.read_text())
    assert figures.keys() == QUICK
    assert figures["default_over_original"] is figures["int8_over_original"] is None
    assert figures["default_over_original_cpu"] == pytest.approx(0.4 / 0.12)
    assert figures["sixteen_faces_over_one"] == pytest.approx(16)
    printed = capsys.readouterr()
    assert "refused" in printed.out
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "first project: both ResNet50s in PyTorch (time ×2.5)" in errors[0]


def test_no_stage_takes_longer_than_all_together(portrait, make_model_file, tmp_path):
    loop = benchmark._Ours([portrait], Recognizer(make_model_file(tmp_path / "m.onnx"), threads=1))
    start = time.perf_counter()
    cost = loop.run(3)
    passed = time.perf_counter() - start
    assert 0.1 * passed < 3 * cost.wall <= passed
    assert cost.cpu > 0
    for stage in (loop.pipeline.tracking, loop.pipeline.recognizing, loop.drawing):
        assert len(stage) == 3
        assert min(stage) > 0
        assert sum(stage) < 3 * cost.wall
    assert loop.faces == [1, 1, 1]


def test_cpu_time_is_that_of_all_threads(portrait, make_model_file, tmp_path):
    """Of which two here compute without Python: the loop's own thread waits for them."""
    loop = benchmark._Ours([portrait], Recognizer(make_model_file(tmp_path / "m.onnx")))
    before = time.thread_time()
    cost = loop.run(20)
    assert 20 * cost.cpu > 2 * (time.thread_time() - before)


@pytest.mark.parametrize("count", [1, 5, 16])
def test_so_many_portraits_are_in_a_frame(count, portrait):
    frame = benchmark._tiled(portrait, count)
    assert frame.shape == portrait.shape
    tiles = frame.reshape(4, 120, 4, 160, 3).swapaxes(1, 2).reshape(16, -1)
    np.testing.assert_array_equal(tiles.std(axis=1) > 1, np.arange(16) < count)


def test_without_torch_it_says_what_to_install(portrait, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert benchmark.main([]) == 2
    assert "needs torch" in capsys.readouterr().err


def test_checkpoints_that_cannot_be_made_are_one_clear_line(portrait, monkeypatch, capsys):
    pytest.importorskip("torch")
    failed = subprocess.CompletedProcess([], 2, stderr="some warning\nerror: no space left\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    assert benchmark.main([]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: the two ResNet50s could not be made: no space left"


def test_checkpoints_of_earlier_code_go_when_new_ones_are_made(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("FER_TF_CACHE", str(tmp_path))
    (tmp_path / "benchmark-0123456789ab").mkdir()
    (tmp_path / "benchmark-0123456789ab" / "a.onnx").touch()
    (tmp_path / "benchmark-results").mkdir()
    (tmp_path / "data.npz").touch()
    done = subprocess.CompletedProcess([], 0, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda arguments, **_: Path(arguments[3]).mkdir() or done)
    folder = benchmark._checkpoints()
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, "data.npz", "benchmark-results"}


@pytest.mark.parametrize("arguments", [["--frames", "0"], ["--json", "/"], ["--slow"]])
def test_a_wrong_option_is_one_line(arguments, capsys):
    assert benchmark.main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_loop_that_ended_between_two_rounds_is_said():
    with subprocess.Popen(
        [sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.wait()
        with pytest.raises(UserError, match="ended too early"):
            benchmark._Original(child).run(2)


def test_a_start_that_fails_is_not_timed(monkeypatch):
    failed = subprocess.CompletedProcess([], 2, stdout="", stderr="error: no detector\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(UserError, match="no detector"):
        benchmark._time_to_the_first_frame()
