"""Cells on Ray: the command as its users start it, and the scheduling against a Ray in memory."""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fer_tf import __version__
from fer_tf.errors import UserError
from fer_tf.train import matrix
from fer_tf.train.cell import Cell
from fer_tf.train.run_folder import RunFolder
from fer_tf.train.schedule import Job, Trainer

from ..processes import LOOPBACK, kill, listening, processes_below, wait_for, workers_of

ROOT = Path(__file__).parents[2]
CELL, BROKEN = "base_cnn-original-seed0", "base_cnn-sobel-seed0"


def options(class_folders, output, *others):
    cells = ["--datasets", "sobel", "original", "--epochs", "2", "--limit", "64", "--data", class_folders]
    return [*map(str, cells), "--output", str(output), *others]


@pytest.fixture(scope="module")
def start(class_folders):
    """A function that starts `train.matrix` with a cell that works and one that does not."""
    if sys.platform != "linux":
        pytest.skip("looks at processes and sockets by /proc")
    for module, extra in (("keras", "train"), ("ray", "cluster")):  # which take seconds to import
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}, of the extra {extra}")

    def start(output, *others, **environment):
        output.mkdir()
        (output / BROKEN).write_text("a file where the cell's folder should be")
        return subprocess.Popen(
            [sys.executable, "-m", "train.matrix", *options(class_folders, output, *others)],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


@pytest.fixture(scope="module")
def on_ray(start, class_folders, tmp_path_factory):
    """A matrix on Ray, whose worker was killed after an epoch; and what happened meanwhile."""
    output = tmp_path_factory.mktemp("schedule") / "matrix"
    with start(output, "--workers", "1") as driver, contextlib.redirect_stderr(io.StringIO()) as told:
        wait_for((output / CELL / "state.keras").exists, seconds=300)
        for worker in workers_of(driver.pid, "Trainer"):
            kill(worker)
        addresses = listening(processes_below(driver.pid) | {driver.pid})
        second = matrix.main(options(class_folders, output, "--workers", "1"))
        text, errors = driver.communicate(timeout=300)
    return SimpleNamespace(
        output=output, code=driver.returncode, text=text, errors=errors, addresses=addresses,
        second=second, second_told=told.getvalue(),
    )  # fmt: skip


def test_a_killed_worker_leaves_the_figures_of_the_plain_loop(on_ray, start, tmp_path):
    assert f"note: {CELL}: its worker ended; another one goes on" in on_ray.errors
    with start(tmp_path / "plain", TF_NUM_INTRAOP_THREADS="1") as plain:
        plain.communicate(timeout=300)
    histories, figures = [], []
    for output in (on_ray.output, tmp_path / "plain"):
        folder = RunFolder.open(output / CELL)
        histories.append([{**row, "seconds": 0} for row in folder.read_history()])
        figures.append(folder.read_evaluation()["splits"]["public"])
    assert [len(history) for history in histories] == [2, 2]
    for ours, theirs in zip(*histories, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert figures[0]["accuracy"] == figures[1]["accuracy"]
    assert figures[0]["cross_entropy"] == pytest.approx(figures[1]["cross_entropy"], rel=1e-4)


def test_a_cell_that_fails_is_named_and_the_rest_is_reported(on_ray):
    assert on_ray.code == 1
    (line,) = (line for line in on_ray.errors.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: {BROKEN}: ")
    cells = json.loads((on_ray.output / "matrix.json").read_text())["cells"]
    assert [cell["dataset"] for cell in cells] == ["original"]
    assert "base_cnn  original" in on_ray.text


def test_nothing_listens_beyond_this_machine(on_ray):
    assert len(on_ray.addresses) >= 4
    assert set(on_ray.addresses) <= LOOPBACK


def test_the_second_driver_is_told(on_ray):
    assert on_ray.second == 2
    (line,) = on_ray.second_told.splitlines()
    assert "another run is writing it" in line


def test_a_finished_matrix_does_not_start_ray(on_ray, class_folders, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = options(class_folders, on_ray.output, "--datasets", "original", "--workers", "1")
    assert matrix.main(done) == 0
    assert "base_cnn  original" in capsys.readouterr().out


def test_without_ray_it_says_what_to_do(class_folders, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert matrix.main(options(class_folders, tmp_path, "--workers", "1")) == 2
    assert "this needs ray, which is not installed; run: pip install" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(class_folders, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(matrix.schedule, "run", stop)
    assert matrix.main(options(class_folders, tmp_path, "--workers", "1")) == 130
    assert capsys.readouterr().err.endswith("stopped; give the same command again to continue\n")


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path, data_set):
    (tmp_path / ".lock").write_text("of another driver")
    with pytest.raises(UserError, match=r"is not the folder that the driver writes to; choose an --output on storage"):
        Trainer(__version__, str(tmp_path), "of this one", data_set, "")
    with pytest.raises(UserError, match=r"this machine has fer-tf .*, and the driver 0\.0\.1; install the same wheel"):
        Trainer("0.0.1", str(tmp_path), "of another driver", data_set, "")


class Ended(Exception):
    """A worker has ended."""


class Ray:
    """Finishes cells at once. `ends` gives the error of a cell, if there is one, by its name."""

    exceptions = SimpleNamespace(RayActorError=Ended, ActorDiedError=Ended, RayTaskError=())

    def __init__(self, ends):
        self.ends, self.alive = ends, True
        self.actor = SimpleNamespace(
            node=SimpleNamespace(remote=lambda: object()),
            finish=SimpleNamespace(remote=lambda path, values: Path(path).with_suffix(f".{id(object())}")),
        )

    def put(self, value):
        return value

    def remote(self, **_):
        return lambda kind: SimpleNamespace(remote=lambda *_: self.actor)

    def kill(self, actor):
        pass

    def nodes(self):
        return [{"NodeID": "n", "Alive": self.alive}]

    def wait(self, calls, timeout):
        return calls[:1], calls[1:]

    def get(self, call):
        if not isinstance(call, Path):
            return "n"
        if self.ends(call.stem):
            raise Ended
        return None


def outcomes(ray, *names):
    told = {}
    progress = SimpleNamespace(count=lambda cell: None, say=lambda line: None, show=lambda alive: None)
    cells = [Cell(RunFolder(name), {}) for name in names]
    Job(ray, 2, [], progress, lambda cell, error: told.setdefault(cell.name, error)).run(cells)
    return told


def test_a_cell_that_ends_its_workers_is_named_and_the_rest_is_done():
    told = outcomes(Ray(lambda name: name == "b"), "a", "b", "c", "d")
    assert told == {"a": None, "b": "ended its worker 3 times; is the memory enough?", "c": None, "d": None}


def test_a_lost_machine_does_not_count():
    left = [True] * 7
    ray = Ray(lambda name: name == "b" and left and left.pop())
    ray.alive = False
    assert outcomes(ray, "a", "b", "c") == {"a": None, "b": None, "c": None}
    assert not left
