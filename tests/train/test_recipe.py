"""The plan is held against the parsers of the commands that it names."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from fer_tf.errors import UserError
from fer_tf.train import recipe
from fer_tf.train.options import create_parser, given
from fer_tf.train.recipe import Recipe, plan
from fer_tf.train.settings import settle

DEFAULT = Path(recipe.__file__).with_name("recipes") / "default.toml"
TINY = """
[every]
model = "mirror_resnet"
widths = [8, 8, 8, 8]
[runs.a]
ferplus = true
ferplus_weight = 0.25
[runs.b]
teacher = ["a"]
[ensemble]
name = "two"
members = ["a", "b"]
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a data set and a recipe file, in which commands are only taken down."""
    monkeypatch.chdir(tmp_path)
    Path("data.csv").touch()
    Path("votes.csv").write_text("votes")
    Path("tiny.toml").write_text(TINY)
    taken = []

    def run(step):
        taken.append(step)
        step.result.parent.mkdir(exist_ok=True)
        step.result.touch()
        return 0

    monkeypatch.setattr(recipe, "_run", run)
    return taken


def call(*options):
    return recipe.main(["tiny.toml", "--data", "data.csv", "--output", "out", *options])


def test_the_default_trains_teachers_then_a_pair(tmp_path):
    steps = list(plan(Recipe.read(DEFAULT), tmp_path, data="d.zip", ferplus=Path("v.csv")))
    runs = {}
    for step in steps:
        if step.module == "train.run":
            arguments = vars(create_parser().parse_args(step.arguments))
            runs[Path(arguments["output"]).name] = settle(given(arguments))
            assert arguments["data"] == "d.zip"
    assert list(runs) == ["labels", "votes", "first", "second"]
    assert [runs[name]["ferplus"] for name in runs] == [None, "v.csv", None, "v.csv"]
    assert [runs[name]["ferplus_weight"] for name in runs] == [0, 0.5, 0, 0.5]
    teachers = [str(tmp_path / f"{name}-int8.onnx") for name in ("labels", "votes")]
    assert [runs[name]["teacher"] for name in runs] == [None, None, teachers, teachers]
    assert runs["second"]["ferplus_as"] == "opinion"
    assert len({values["seed"] for values in runs.values()}) == 4
    assert {values["optimizer"] for values in runs.values()} == {"muon"}


def test_each_step_uses_what_earlier_steps_made(tmp_path):
    made = {"d.zip", "v.csv"}
    for step in plan(Recipe.read(DEFAULT), tmp_path, data="d.zip", ferplus=Path("v.csv")):
        results = {str(step.result), str(step.result.parent), str(step.result.with_suffix(".onnx"))}
        files = {word for word in step.arguments if word.startswith(str(tmp_path)) or word in ("d.zip", "v.csv")}
        assert files - results <= made, step.title
        made |= results


def test_commands_are_those_that_there_are(tmp_path):
    for step in plan(Recipe.read(DEFAULT), tmp_path, data="d.zip", ferplus=Path("v.csv")):
        spec = importlib.util.find_spec(f"fer_tf.{step.module}")
        text = Path(spec.origin).read_text()
        if step.module != "train.run":
            for word in step.arguments:
                assert not word.startswith("-") or f'"{word}"' in text, (step.module, word)


def test_the_same_command_goes_on(work, monkeypatch, capsys):
    whole = recipe._run
    monkeypatch.setattr(recipe, "_run", lambda step: 2 if step.module == "export.quantize" else whole(step))
    assert call("--ferplus", "votes.csv") == 2
    assert [step.title for step in work] == ["train a"]
    assert "stopped in step 2 of" in capsys.readouterr().err
    monkeypatch.setattr(recipe, "_run", whole)
    assert call("--ferplus", "votes.csv") == 0
    assert [step.title for step in work][:4] == ["train a", "quantize a, a teacher", "export a", "train b"]
    done = len(work)
    assert call("--ferplus", "votes.csv") == 0
    assert len(work) == done
    log = Path("out/log.txt").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d done train b, 0\.00 hours of training so far$", log, re.M)


def test_a_run_that_was_begun_is_resumed(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "settings.json").write_text("{}")
    first = next(plan(Recipe.read(DEFAULT), tmp_path, data="d.zip", ferplus=None))
    assert first.arguments == ["--resume", str(folder), "--data", "d.zip"]


def test_without_votes_it_says_what_is_missing(work, capsys):
    assert call() == 0
    assert "no run learns from the votes" in capsys.readouterr().out
    assert not any("--ferplus" in word for step in work for word in step.arguments)


def test_a_folder_is_of_one_recipe(work, capsys):
    assert call() == 0
    for change, options in (("ferplus", ["--ferplus", "votes.csv"]), ("runs", [])):
        if change == "runs":
            Path("tiny.toml").write_text(TINY.replace("8, 8]", "8, 16]"))
        assert call(*options) == 2
        assert re.search(rf"out was begun with other .*{change}", capsys.readouterr().err)


def test_what_is_left_is_listed(work, capsys):
    assert call("--dry-run", "--ferplus", "votes.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert shlex.split(lines[0])[:3] == ["python", "-m", "fer_tf.train.run"] or "train" in lines[0]
    assert not Path("out").exists()


WRONG = {
    "not TOML": ("[", "not a TOML file"),
    "no runs": ("", "expected a table [runs.NAME]"),
    "no ensemble": ("[runs.a]", "expected a table [ensemble]"),
    "an unknown setting": (TINY.replace("widths", "width"), "run a: there is no setting width"),
    "a wrong value": (TINY.replace("0.25", "2"), "run a: ferplus_weight is 2"),
    "a later teacher": (TINY.replace('["a"]\n', '["b"]\n', 1), "names of runs before it"),
    "one member": (TINY.replace('["a", "b"]', '["a"]'), "members is ['a']"),
    "a name with a slash": (TINY.replace('"two"', '"../two"'), "cannot be the name of a file"),
    "every is a list": ("every = [1]\n[runs.a]\n", "expected a table of settings"),
    "a long number": ("a = " + "1" * 5000, "not a TOML file"),
    "a member that is a table": (TINY.replace('["a", "b"]', '["a", {}]'), "members is ['a', {}]"),
    "a model that is a table": ('[runs.a]\nmodel = {}\n[ensemble]\nname = "b"', "run a: model is {}"),
    "deep": ("a = " + "[" * 5000, "not a TOML file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_recipes_are_one_line(name, work):
    text, said = WRONG[name]
    Path("tiny.toml").write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        Recipe.read(Path("tiny.toml"))


def test_a_recipe_that_is_not_there(work, capsys):
    assert recipe.main(["nothing", "--output", "out"]) == 2
    assert "nothing: no such recipe; expected default" in capsys.readouterr().err


def test_a_step_is_a_process_that_finds_the_package(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    step = recipe.Step("", "recognizer", ["--version"], tmp_path)
    assert recipe._run(step) == 0
    assert capfd.readouterr().out.startswith("fer-tf ")
