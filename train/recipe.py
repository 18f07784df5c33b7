"""Makes a model as a recipe says: `python -m train.recipe default --data FER2013 --ferplus votes.csv --output DIR`."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.fer2013 import find
from fer_tf.files import check_writable, read_json, sha256, write_json
from fer_tf.installation import in_checkout, program
from fer_tf.locks import claim
from fer_tf.train.options import DATA_HELP
from fer_tf.train.run_folder import RunFolder
from fer_tf.train.settings import OPTIONS, Settings, flag, option_words, settle

_SHIPPED = Path(__file__).with_name("recipes")
_TEXT_BYTES = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """What a recipe file says.

    Attributes:
        runs: Settings of each run by its name, in order. `teacher` names earlier runs, and `ferplus` tells whether it
            has votes.
        name: Of the model file that averages the members.
        members: Names of runs.
    """

    runs: dict[str, dict[str, Any]]
    name: str
    members: list[str]

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Reads and checks a recipe file.

        Raises:
            UserError: if it cannot be read, or if a run or a setting is not what it may be.
        """
        try:
            with open(path, "rb") as file:
                values = tomllib.loads(file.read(_TEXT_BYTES).decode())
        except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, or of a number with thousands of digits
            raise UserError(f"{path}: not a TOML file ({error})") from None
        every, runs, ensemble = (values.get(key) for key in ("every", "runs", "ensemble"))
        if not isinstance(every, dict | None):
            raise UserError(f"{path}: [every] is {every!r}; expected a table of settings")
        if not (isinstance(runs, dict) and all(isinstance(run, dict) for run in runs.values())):
            raise UserError(f"{path}: expected a table [runs.NAME] for each run")
        if not (isinstance(ensemble, dict) and isinstance(ensemble.get("name"), str)):
            raise UserError(f"{path}: expected a table [ensemble] with name and members")
        runs = {name: {**(every or {}), **run} for name, run in runs.items()}
        earlier: list[str] = []
        for name, run in runs.items():
            try:
                _check_run(name, run, earlier)
            except UserError as error:
                raise UserError(f"{path}: run {name}: {error}") from None
            earlier.append(name)
        members = ensemble.get("members")
        if not (isinstance(members, list) and len(members) > 1 and all(member in earlier for member in members)):
            raise UserError(f"{path}: members is {members!r}; expected the names of two runs or more")
        return cls(runs, _plain(ensemble["name"]), members)

    def without_votes(self) -> "Recipe":
        """Returns the recipe for those who do not have the votes of FER+."""
        runs = {
            name: {key: value for key, value in run.items() if not key.startswith("ferplus")}
            for name, run in self.runs.items()
        }
        return Recipe(runs, self.name, self.members)


@dataclass(frozen=True)
class Step:
    """A command of ours, and the file that is there when it is done."""

    title: str
    module: str
    arguments: list[str]
    result: Path

    @property
    def line(self) -> str:
        """What a user would type."""
        return f"{program(self.module)} {shlex.join(self.arguments)}"


@command
def main(argv: list[str] | None = None) -> int:
    """Takes each step that is not done yet; returns the exit code of the one that fails."""
    parser = Parser(
        "train.recipe",
        description="Make a model as a recipe says: train each run, export, average and quantize the networks, and "
        "write the reports. The same command again goes on where it stopped. PrivateTest is not used.",
        epilog="Exit codes: 0 done, 2 wrong input, 130 interrupted (give the command again), or of a failed step.",
    )
    option = parser.add_argument
    shipped = ", ".join(sorted(path.stem for path in _SHIPPED.glob("*.toml")))
    option("recipe", metavar="RECIPE", help=f"name of a recipe that ships ({shipped}), or a file like those, .toml")
    option("--data", metavar="PATH", help=DATA_HELP)
    option("--ferplus", type=Path, metavar="FILE.csv", help="the votes of FER+; without them the runs learn less")
    option("--output", type=Path, required=True, metavar="DIR", help="folder of the runs and of the model files")
    option("--dry-run", action="store_true", help="print the commands that are left, and do nothing")
    arguments = parser.parse_args(argv)
    recipe = Recipe.read(_find(arguments.recipe))
    if arguments.ferplus is None:
        if any(run.get("ferplus") for run in recipe.runs.values()):
            print("note: without --ferplus no run learns from the votes of FER+; the model will be another one")
        recipe = recipe.without_votes()
    elif not arguments.ferplus.is_file():
        raise UserError(f"{arguments.ferplus}: no such file; expected the votes of FER+ as CSV")
    data = os.path.abspath(find(arguments.data))
    output = arguments.output
    steps = list(plan(recipe, output, data=data, ferplus=arguments.ferplus))
    if arguments.dry_run:
        print("\n".join(step.line for step in steps if not step.result.is_file()))
        return 0
    with _begun(recipe, output, data=data, ferplus=arguments.ferplus):
        return _take(steps, recipe, output)


def plan(recipe: Recipe, output: Path, *, data: str, ferplus: Path | None) -> Iterator[Step]:
    """Yields the steps of a recipe, in order.

    Args:
        recipe: It.
        output: Folder of the runs and of the model files.
        data: Path of FER-2013.
        ferplus: File of the votes, if a run learns from them.
    """
    from_data, votes = ["--data", data], [] if ferplus is None else ["--ferplus", str(ferplus)]
    teachers = {name for run in recipe.runs.values() for name in run.get("teacher", ())}

    def quantized(name: str) -> Path:
        return output / f"{name}-int8.onnx"

    for name, run in recipe.runs.items():
        folder = RunFolder(output / name)
        words = ["--resume", str(folder.path)]
        if not folder.exists():
            words = ["--output", str(folder.path)]
            values = run | {"teacher": [quantized(teacher) for teacher in run.get("teacher", ())]}
            for key, value in values.items():
                if key == "ferplus":
                    words += votes if value else []
                elif value != []:
                    words += [flag(key), *option_words(value)]
        yield Step(f"train {name}", "train.run", words + from_data, folder.public)
        if name in teachers:
            words = [str(folder.path), "-o", str(quantized(name)), *from_data]
            yield Step(f"quantize {name}, a teacher", "export.quantize", words, quantized(name))
        if name in recipe.members:
            file = output / f"{name}.onnx"
            yield Step(f"export {name}", "export.onnx", [str(folder.path), "-o", str(file)], file)
    files, model = [str(output / f"{name}.onnx") for name in recipe.members], output / f"{recipe.name}.onnx"
    yield Step("average the networks", "export.ensemble", [*files, "-o", str(model), *from_data], model)
    yield _measuring(model, [*from_data, *votes])
    small = quantized(recipe.name)
    yield Step("quantize", "export.quantize", [str(model), "-o", str(small), *from_data], small)
    yield _measuring(small, [*from_data, *votes])


def _measuring(model: Path, words: list[str]) -> Step:
    report = model.with_suffix(".md")
    words = [str(model), *words, "--report", str(report)]
    return Step(f"measure {model.name} on PublicTest", "train.evaluate", words, report)


def _take(steps: list[Step], recipe: Recipe, output: Path) -> int:
    """Takes the steps that are left, each in a process of its own, and returns 0 or the exit code of one that fails."""
    for number, step in enumerate(steps, 1):
        if step.result.is_file():
            continue
        print(f"step {number} of {len(steps)}: {step.title}\n  {step.line}", flush=True)
        _note(output, f"begin {step.title}")
        code = _run(step)
        if code or not step.result.is_file():
            _note(output, f"stop {step.title}, exit code {code}")
            print(f"stopped in step {number} of {len(steps)}; the same command goes on from here", file=sys.stderr)
            return code or 1
        hours = _hours(recipe, output)
        _note(output, f"done {step.title}, {hours:.2f} hours of training so far")
    print(f"{output / recipe.name}.onnx, its reports and -int8.onnx: {_hours(recipe, output):.2f} hours of training")
    print(f"next: {program('train.evaluate')} {output / recipe.name}.onnx --splits all, once, when nothing will change")
    return 0


def _run(step: Step) -> int:
    """Runs a command of ours until it ends, also if this one is to end meanwhile, and returns its exit code."""
    environment = dict(os.environ)
    if in_checkout():  # from any folder
        places = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    child = subprocess.Popen([sys.executable, "-m", f"fer_tf.{step.module}", *step.arguments], env=environment)
    kept = signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
    try:
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # which the terminal sends to the child, too
                code = child.wait()
                return code if code >= 0 else 128 - code  # of a signal, as shells have it
    finally:
        signal.signal(signal.SIGTERM, kept)


@contextlib.contextmanager
def _begun(recipe: Recipe, output: Path, *, data: str, ferplus: Path | None) -> Iterator[None]:
    """Keeps in the folder which recipe it is of, and keeps others out of it.

    Raises:
        UserError: if it is of another recipe, data set or votes, or if another command is at work in it.
    """
    check_writable(output / "recipe.json")
    output.mkdir(parents=True, exist_ok=True)
    made_from = {
        "runs": recipe.runs,
        "ensemble": {"name": recipe.name, "members": recipe.members},
        "data": data,
        "ferplus": ferplus and sha256(ferplus),
    }
    with claim(output / "log.txt"):
        path = output / "recipe.json"
        kept = read_json(path, wrote=program("train.recipe")) if path.exists() else made_from
        if changed := [key for key in made_from if kept.get(key) != made_from[key]]:
            raise UserError(f"{output} was begun with other {', '.join(changed)}; take those, or another --output")
        write_json(path, made_from)
        yield


def _note(output: Path, line: str) -> None:
    """Adds a line to the folder's log."""
    with open(output / "log.txt", "a", encoding="utf-8") as file:
        file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")


def _hours(recipe: Recipe, output: Path) -> float:
    """Returns how long the epochs of all runs have taken."""
    folders = [RunFolder(output / name) for name in recipe.runs]
    return sum(row["seconds"] for folder in folders for row in folder.read_history()) / 3600


def _find(name: str) -> Path:
    """Returns the file of a recipe."""
    shipped = _SHIPPED / f"{name}.toml"
    path = shipped if shipped.is_file() and Path(name).name == name else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in _SHIPPED.glob("*.toml")))
        raise UserError(f"{name}: no such recipe; expected {known}, or a .toml file")
    return path


def _check_run(name: str, run: dict[str, Any], earlier: list[str]) -> None:
    """Raises `UserError` if a run has a setting that it may not have."""
    _plain(name)
    if unknown := sorted(run.keys() - OPTIONS.keys()):
        raise UserError(f"there is no setting {', '.join(unknown)}; expected some of {', '.join(OPTIONS)}")
    teachers = run.get("teacher", [])
    if not (isinstance(teachers, list) and all(teacher in earlier for teacher in teachers)):
        raise UserError(f"teacher is {teachers!r}; expected names of runs before it")
    if not isinstance(run.get("ferplus", False), bool):
        raise UserError(f"ferplus is {run['ferplus']!r}; expected true or false")
    if not isinstance(run.get("model", ""), str):
        raise UserError(f"model is {run['model']!r}; expected the name of a network")
    values = settle(run | {"ferplus": "votes.csv" if run.get("ferplus") else None})
    Settings(**values, data="", data_fingerprint="")


def _plain(name: str) -> str:
    """Returns a name if it may be one of a file or folder."""
    if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|') or not name.isprintable():
        raise UserError(f"{name!r} cannot be the name of a file; use letters, digits and -")
    return name


if __name__ == "__main__":
    raise SystemExit(main())
