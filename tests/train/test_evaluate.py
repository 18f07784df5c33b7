import json
import re

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy.stats import binomtest, sem
from sklearn.metrics import confusion_matrix, log_loss

from fer_tf.recognizer import Recognizer
from fer_tf.train import evaluate
from fer_tf.weights import DEFAULT_MODEL


def cells(line: str) -> list[str]:
    """The cells of a line of an aligned table."""
    return re.split(r" {2,}", line.strip())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none.onnx"], "no such model file"),
        ([], "required"),
        (["none.onnx", "--splits", "private"], "invalid choice"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, expected, capfd):
    assert evaluate.main(arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert expected in line


def test_a_model_may_be_named(data_set, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.fer2013, "find", lambda path: path)
    monkeypatch.setattr(evaluate.fer2013, "load", lambda path, classes: data_set)
    for number, model in enumerate((DEFAULT_MODEL.stem, str(DEFAULT_MODEL))):
        assert evaluate.main([model, "--json", str(tmp_path / f"{number}.json")]) == 0
    assert (tmp_path / "0.json").read_text() == (tmp_path / "1.json").read_text()


def test_models_are_held_against_each_other(data_set, make_model_file, tmp_path, monkeypatch, capsys):
    one = make_model_file(tmp_path / "one.onnx")
    other = make_model_file(tmp_path / "other.onnx", slope=-1)  # always says "angry"
    monkeypatch.setattr(evaluate.fer2013, "find", lambda path: path)
    monkeypatch.setattr(evaluate.fer2013, "load", lambda path, classes: data_set)
    assert evaluate.main([str(one), str(other), "--splits", "all", "--json", str(tmp_path / "r.json")]) == 0
    first = Recognizer(one)(data_set.private.images).argmax(axis=1) == data_set.private.labels
    second = data_set.private.labels == 0
    printed = capsys.readouterr().out
    assert "|" not in printed, "Markdown is for files"
    right, probable = [cells(line) for line in printed.splitlines() if line.startswith(f"{other}  ")]
    assert right[1] == f"{second.mean():.2%}"
    difference = f"{100 * (second.mean() - first.mean()):+.2f} points"
    assert right[4:7] == [difference, str((first & ~second).sum()), str((second & ~first).sum())]
    report = json.loads((tmp_path / "r.json").read_text())
    assert list(report) == [str(one), str(other)]
    only_first, only_this = int((first & ~second).sum()), int((second & ~first).sum())
    p = binomtest(only_first, only_first + only_this).pvalue
    expected = {"against": str(one), "only_first": only_first, "only_this": only_this, "p": pytest.approx(p)}
    assert report[str(other)]["private"]["mcnemar"] == expected
    losses = []
    for model in (one, other):
        given = Recognizer(model)(data_set.private.images).astype(float)
        given /= given.sum(axis=1, keepdims=True)  # to the last digit of float64
        pairs = zip(data_set.private.labels, given, strict=True)
        losses.append([log_loss([label], [row], labels=range(7)) for label, row in pairs])
    differences = np.subtract(losses[1], losses[0])
    mean, error = differences.mean(), sem(differences)
    assert probable[2:] == [f"{np.mean(losses[1]):.4f}", f"{mean:+.4f}", f"{error:.4f}"]
    expected = {"against": str(one), "value": pytest.approx(mean), "standard_error": pytest.approx(error)}
    assert report[str(other)]["private"]["cross_entropy_difference"] == expected
    assert not any({"mcnemar", "cross_entropy_difference"} & row.keys() for row in report[str(one)].values())
    assert evaluate.main([str(one), str(other), "--report", str(tmp_path / "r.md")]) == 2
    assert "expected one model file" in capsys.readouterr().err
    before = one.read_bytes()
    assert evaluate.main(["--json", str(one), str(other)]) == 2
    assert "ends in .json" in capsys.readouterr().err
    assert one.read_bytes() == before


def test_the_votes_are_measured_against(data_set, make_model_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate.fer2013, "find", lambda path: path)
    monkeypatch.setattr(evaluate.fer2013, "load", lambda path, classes: data_set)
    votes = tmp_path / "votes.csv"
    votes.write_text(
        "image,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
        + "".join(f"{number},0,0,{number % 2},0,0,0,0,0,0,9\n" for number in range(10))
        + "".join(f"{number},0,0,9,0,0,0,0,0,0,0\n" for number in range(10, 30))
    )
    model = make_model_file(tmp_path / "m.onnx")
    report = tmp_path / "r.json"
    assert evaluate.main([str(model), "--ferplus", str(votes), "--json", str(report)]) == 0
    expected = (Recognizer(model)(data_set.public.images[10:30]).argmax(axis=1) == 6).mean()
    found = json.loads(report.read_text())["public"]["ferplus"]
    assert (found["n"], found["accuracy"]) == (20, pytest.approx(expected))
    assert evaluate.main([str(model), "--ferplus", str(votes), "--splits", "all"]) == 0
    assert ["PrivateTest", "0", "–", "–", "–"] in map(cells, capsys.readouterr().out.splitlines())


def test_the_report_shows_the_last_split(data_set, make_model_file, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(evaluate.fer2013, "find", lambda path: path)
    monkeypatch.setattr(evaluate.fer2013, "load", lambda path, classes: data_set)
    model, report = make_model_file(tmp_path / "m.onnx"), tmp_path / "r.md"
    for splits, split in (("public", data_set.public), ("all", data_set.private)):
        options = [str(model), "--splits", splits, "--report", str(report), "--data", "/home/someone/faces.zip"]
        assert evaluate.main(options) == 0
        found = json.loads(report.with_suffix(".json").read_text())
        expected = confusion_matrix(split.labels, Recognizer(model)(split.images).argmax(axis=1), labels=range(7))
        assert found["confusion"] == expected.tolist()
        assert ("PrivateTest was looked at" in report.read_text()) == (splits == "all")
        assert "someone" not in report.read_text()
        assert f"--splits {splits} --data faces.zip --report" in report.read_text()
    capsys.readouterr()
    for wrong in (["--report", str(tmp_path / "r.txt")], ["--report", str(report), "--json", str(tmp_path / "r.json")]):
        assert evaluate.main([str(model), *wrong]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
