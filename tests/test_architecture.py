"""The rules of docs/architecture.md that can be checked."""

import ast
import doctest
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("fer_tf", "train", "export", "realtime", "weights")
ALLOWED = {
    "fer_tf": {"fer_tf"},
    "train": {"train", "fer_tf", "weights"},
    "export": {"export", "fer_tf", "weights", "train.run_folder"},
    "realtime": {"realtime", "fer_tf", "weights"},
    "weights": {"fer_tf.errors"},
}
HEAVY = {"tensorflow", "keras", "torch"}


def imports_of(path: Path) -> set[str]:
    """Returns the modules that a file imports; ours by their place in the checkout: `train.run`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {re.sub(rf"^fer_tf\.(?=({'|'.join(ROOMS[1:])})\b)", "", name) for name in found}


FILES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py") if p != ROOT / "fer_tf/__init__.py")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_rooms_import_only_what_they_stand_on(path):
    room = path.relative_to(ROOT).parts[0]
    ours = {name for name in imports_of(path) if name.split(".")[0] in ROOMS}
    allowed = tuple(f"{name}." for name in ALLOWED[room])
    assert not {name for name in ours if not f"{name}.".startswith(allowed)}


def module_of(path: Path) -> str:
    """Returns the name of a file's module by its place in the checkout: `train.run`, `fer_tf.fer2013`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_files_import_each_other_in_a_circle():
    modules = {module_of(path): path for path in FILES}

    def home(name: str) -> str | None:
        """Returns our module that holds what is imported by this name."""
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name or None

    left = {name: {home(found) for found in imports_of(path)} - {None, name} for name, path in modules.items()}
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    assert not left


def test_no_command_is_imported():
    commands = {module_of(path) for path in FILES if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}
    assert len(commands) >= 13
    commands -= {"fer_tf.recognizer"}  # a library that also prints its card
    imported = {(module_of(path), name) for path in FILES for name in imports_of(path)}
    assert not {(file, name) for file, name in imported if name in commands or name.rpartition(".")[0] in commands}


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "tests").rglob("*.py"))], ids=str)
def test_no_file_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


@pytest.mark.parametrize("path", FILES, ids=str)
def test_torch_is_imported_in_one_room(path):
    if path.parent != ROOT / "fer_tf/pytorch":
        assert not {name for name in imports_of(path) if name.split(".")[0] == "torch"}


def test_ray_is_imported_in_one_place():
    of_ray = {path for path in FILES if any(name.split(".")[0] == "ray" for name in imports_of(path))}
    assert of_ray == {ROOT / "fer_tf/cluster.py"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_export_asks_where_a_model_comes_from(path):
    if path.relative_to(ROOT).parts[0] != "export":
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert "framework" not in names


WITH_EXAMPLES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if ">>> " in path.read_text())


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_in_docstrings_run(path, tmp_path, monkeypatch):
    pytest.importorskip("skimage")  # of the demo clip
    monkeypatch.setattr("fer_tf.realtime.demo.LENGTH", 25)
    monkeypatch.chdir(tmp_path)
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name if name.startswith("fer_tf") else f"fer_tf.{name}")
    assert doctest.testmod(module).failed == 0


COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"].values()
LIVE = [f"fer_tf.realtime.{path.stem}".removesuffix(".__init__") for path in sorted((ROOT / "realtime").glob("*.py"))]
LIGHT = list(dict.fromkeys([*LIVE, *(entry.partition(":")[0] for entry in COMMANDS)]))


def packages_loaded_by(modules: list[str]) -> dict[str, set[str]]:
    """Imports modules in a new process, one after the other; returns the packages that each was the first to load."""
    code = "import importlib, json, sys\nfor name in sys.argv[1:]:\n"
    code += "    before = set(sys.modules); importlib.import_module(name)\n"
    code += "    print(json.dumps([name, list(set(sys.modules) - before)]))"
    command = [sys.executable, "-c", code, *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name: {new.split(".")[0] for new in loaded} for name, loaded in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    return packages_loaded_by(LIGHT)


@pytest.mark.parametrize("module", LIGHT)
def test_the_live_loop_and_commands_that_parse_need_no_framework(module, loaded):
    assert not HEAVY & loaded[module]


def test_a_program_that_uses_the_pipeline_keeps_its_own_keras():
    code = "import os; from fer_tf import Pipeline; print(os.environ['KERAS_BACKEND'])"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout.split() == [b"jax"]


def test_the_vocabulary_imports_nothing_heavy():
    assert not (HEAVY | {"cv2", "numpy", "onnxruntime"}) & packages_loaded_by(["fer_tf"])["fer_tf"]
