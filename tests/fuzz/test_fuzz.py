"""Half a minute of `python -m tests.fuzz`, and what it rests on: it must see each kind of failure."""

import shutil
import sys
from pathlib import Path

import pytest

from . import kinds, worker
from .__main__ import describe, run, table
from .damage import Random, damage_bytes, damage_json, damage_text
from .kinds import KINDS, Kind, Outcome
from .worker import FAILURES, carry_out

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="reads what compiled libraries print by its file number"
)

CASES = 80


@pytest.fixture(autouse=True)
def _same_folder(monkeypatch):
    """A case works in a folder of its own, where the tests that follow must not be."""
    monkeypatch.chdir(Path.cwd())


def test_damaged_files_end_in_one_line(tmp_path):
    pytest.importorskip("skimage")
    found = run(list(range(CASES)), seed=1, workers=1, keep=tmp_path / "kept", quiet=True)
    assert [result["number"] for result in found] == list(range(CASES))
    failed = [describe(result) for result in found if result["outcome"] in FAILURES]
    assert not failed, "\n".join(failed)
    assert {result["outcome"] for result in found} >= {"done", "refused"}
    assert table(found).splitlines()[-1].split()[:2] == ["all", str(CASES)]


@pytest.mark.parametrize("damage", [damage_bytes, damage_json, damage_text])
def test_damage_is_the_same_for_the_same_seed(damage):
    data = b'{"a": [1, 2.5, {"b": "c,d"}], "e": null}\n' * 20
    first, again, other = (damage(data, data, Random(seed)) for seed in (1, 1, 2))
    assert first == again
    assert {first, other} != {data}


@pytest.fixture
def kind_of(monkeypatch):
    """A function that makes a command of a function the only one that is tried."""

    def make(main, judge=lambda outcome: None, text=b"abc"):
        kind = Kind(
            write=lambda folder: (folder / "file.txt").write_bytes(text),
            targets=["file.txt"],
            commands=["tried {}"],
            share=1,
            judge=judge,
        )
        module = type(sys)("fer_tf.tried")
        module.main = main
        monkeypatch.setitem(sys.modules, "fer_tf.tried", module)
        monkeypatch.setattr(worker, "KINDS", {"tried": kind})

    return make


def fail(_):
    raise ZeroDivisionError


def refuse(text):
    def main(_):
        print(text, file=sys.stderr)
        return 2

    return main


def leave(_):
    open(".out.part123.png", "w").close()
    return 0


def work(_):
    return sum(range(3 * 10**6)) * 0


MISBEHAVIOR = {
    "a traceback": (fail, "traceback"),
    "two lines": (refuse("error: a\nerror: b"), "wrong"),
    "no line": (refuse("note: a"), "wrong"),
    "an escape sequence": (refuse("error: \x1b[31m"), "wrong"),
    "a strange exit code": (lambda _: 3, "wrong"),
    "a temporary file": (leave, "wrong"),
    "no memory": (refuse("error: out of memory"), "over a limit"),
    "one line": (refuse("error: a"), "refused"),
    "success": (lambda _: 0, "done"),
}


@pytest.mark.parametrize(("main", "expected"), MISBEHAVIOR.values(), ids=MISBEHAVIOR)
def test_misbehavior_is_seen(main, expected, kind_of, tmp_path):
    kind_of(main)
    result = carry_out(0, 5, tmp_path / "seeds", tmp_path)
    assert result["outcome"] == expected
    assert (tmp_path / "5" / "file.txt").exists() is (expected in FAILURES)


def test_time_has_a_limit(kind_of, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "CPU_SECONDS", 0.001)
    kind_of(work)
    assert carry_out(0, 1, tmp_path / "seeds", tmp_path)["outcome"] == "over a limit"


def test_memory_has_a_limit(kind_of, tmp_path, monkeypatch):
    if sys.platform != "linux":
        pytest.skip("reads memory from /proc")
    monkeypatch.setattr(worker, "MEMORY", 10**8)
    kind_of(lambda _: len(b"x" * 3 * 10**8) * 0)
    assert carry_out(0, 1, tmp_path / "seeds", tmp_path)["outcome"] == "over a limit"


def test_a_judge_decides_about_success(kind_of, tmp_path):
    def judge(outcome: Outcome) -> str:
        return f"{outcome.target} is wrong"

    kind_of(lambda _: 0, judge)
    result = carry_out(0, 1, tmp_path / "seeds", tmp_path)
    assert (result["outcome"], result["detail"].splitlines()[0]) == ("wrong", "file.txt is wrong")


@pytest.mark.parametrize("name", ["picture png", "video mkv", "model", "detector", "data", "table", "recipe"])
def test_whole_files_pass(name, tmp_path, monkeypatch):
    if KINDS[name].missing:
        pytest.skip(f"needs {', '.join(KINDS[name].missing)}")
    monkeypatch.setattr(kinds, "damage_by_name", lambda _: lambda data, other, chance: data)
    monkeypatch.setattr(worker, "KINDS", {name: KINDS[name]})
    monkeypatch.setenv("FER_TF_CACHE", str(tmp_path / "cache"))
    for number in range(3):
        result = carry_out(0, number, tmp_path / "seeds", tmp_path)
        assert (result["outcome"], result["detail"]) == ("done", ""), result
    shutil.rmtree(tmp_path / "seeds")
