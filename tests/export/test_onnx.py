import csv
import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

from scipy.special import softmax

from fer_tf import fer2013
from fer_tf.export import onnx as export_onnx
from fer_tf.models import load_network
from fer_tf.recognizer import Recognizer
from fer_tf.train import evaluate, run


@pytest.fixture(scope="module")
def finished(class_folders, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = ["--dataset", "original", "--epochs", "2", "--batch-size", "16", "--learning-rate", "0.003"]
    assert run.main([*options, "--data", str(class_folders), "--output", str(folder)]) == 0
    return folder


def test_the_card_says_where_the_file_comes_from(finished, class_folders, capsys):
    assert export_onnx.main([str(finished)]) == 0
    path = finished / "base_cnn-original.onnx"
    assert str(path) in capsys.readouterr().out
    card = Recognizer(path).card
    public = json.loads((finished / "public.json").read_text())
    assert card.temperature == public.pop("temperature")
    assert list(card.training_shares) == public.pop("training_shares") == pytest.approx([1 / 7] * 7)
    assert card.metrics == public
    assert card.source_sha256 == hashlib.sha256((finished / "model.keras").read_bytes()).hexdigest()
    assert card.training["epochs"] == 2
    assert card.training["data"] == class_folders.name


def test_the_file_scores_what_the_run_said(finished, class_folders, tmp_path, capsys):
    path = tmp_path / "m.onnx"
    assert export_onnx.main([str(finished), "-o", str(path)]) == 0
    out = tmp_path / "report.json"
    assert evaluate.main([str(path), "--data", str(class_folders), "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    public = json.loads((finished / "public.json").read_text())
    assert list(report) == ["public"]
    assert report["public"]["accuracy"] == public["accuracy"]
    for key in ("ece_before", "ece_after", "macro_f1"):
        assert report["public"][key] == pytest.approx(public[key], abs=1e-5)
    assert f"{public['accuracy']:.2%}" in capsys.readouterr().out


def test_the_file_filters_by_the_numbers_that_it_was_trained_with(class_folders, tmp_path):
    folder, numbers = tmp_path / "run", ["--filter", "amount=0.5"]
    options = ["--dataset", "sharpen", "--epochs", "1", "--limit", "64", "--data", str(class_folders)]
    assert run.main([*options, *numbers, "--output", str(folder)]) == 0
    assert run.main(["--resume", str(folder), *numbers]) == 0
    assert export_onnx.main([str(folder)]) == 0
    recognizer = Recognizer(folder / "base_cnn-sharpen.onnx")
    assert recognizer.card.training["filter"] == {"amount": 0.5, "sigma": 1.0}
    faces = fer2013.load(class_folders).public.images
    kernel = cv2.getGaussianKernel(3, 1)
    blurred = cv2.sepFilter2D(faces.transpose(1, 2, 0), cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    blurred = blurred.transpose(2, 0, 1).astype(np.float32)
    sharpened = np.clip(faces + 0.5 * (faces - blurred), 0, 255).astype(np.uint8)
    logits = load_network(folder / "model.keras").predict(sharpened[..., None] / 127.5 - 1, verbose=0)
    expected = softmax(logits / recognizer.card.temperature, axis=1)
    np.testing.assert_allclose(recognizer(faces), expected, atol=1e-5)


def test_evaluating_a_split_that_is_not_there(finished, class_folders, tmp_path, capfd):
    path = tmp_path / "m.onnx"
    export_onnx.main([str(finished), "-o", str(path)])
    capfd.readouterr()
    assert evaluate.main([str(path), "--data", str(class_folders), "--splits", "all"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "'private' split is empty" in line


def test_without_an_argument_the_newest_run_is_taken(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export_onnx.main([]) == 2
    (tmp_path / "runs" / "matrix").mkdir(parents=True)
    shutil.copytree(finished, tmp_path / "runs" / "matrix" / "one")
    assert export_onnx.main(["-o", "m.onnx"]) == 0
    assert Recognizer("m.onnx").card.name == "m"  # as its file, so that two runs can be told apart


def test_a_file_made_from_something_else_is_replaced_only_by_force(finished, make_model_file, tmp_path, capfd):
    path = make_model_file(tmp_path / "m.onnx")
    before = path.read_bytes()
    assert export_onnx.main([str(finished), "-o", str(path)]) == 2
    assert "--force" in capfd.readouterr().err
    assert path.read_bytes() == before
    assert export_onnx.main([str(finished), "-o", str(path), "--force"]) == 0
    assert Recognizer(path).card.architecture == "base_cnn"
    assert export_onnx.main([str(finished), "-o", str(path)]) == 0  # made from the same


WRONG = {
    "no folder": (lambda f, t: [str(t / "none")], "no run there"),
    "not finished": (lambda f, t: [str(copy_without(f, t, "public.json"))], "not finished"),
    "no model": (lambda f, t: [str(copy_without(f, t, "model.keras"))], "model.keras"),
    "another suffix": (lambda f, t: [str(f), "-o", str(t / "m.pt")], ".onnx"),
    "a folder as output": (lambda f, t: [str(f), "-o", str(t)], ".onnx"),
    "two runs": (lambda f, t: [str(f), str(f)], "unrecognized"),
}


def copy_without(finished: Path, folder: Path, name: str) -> Path:
    for path in finished.iterdir():
        if path.name != name and path.suffix != ".onnx":
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_clear_line(name, finished, tmp_path, capfd):
    make, expected = WRONG[name]
    assert export_onnx.main(make(finished, tmp_path)) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1, errors
    assert errors[0].startswith("error: ")
    assert expected in errors[0]
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.drawn
def test_from_fer2013_to_a_labeled_video(fer2013_path, tmp_path, run_module):
    """The whole way as a user goes it."""
    folder, model = tmp_path / "run", tmp_path / "run" / "base_cnn-stack_sharpen.onnx"
    options = ("--dataset", "stack_sharpen", "--epochs", "1", "--limit", "256", "--data", str(fer2013_path))
    run_module("train.run", *options, "--output", str(folder))
    run_module("export.onnx", str(folder))
    run_module("train.evaluate", str(model), "--data", str(fer2013_path), "--json", str(tmp_path / "report.json"))
    assert json.loads((tmp_path / "report.json").read_text())["public"]["n"] == 3589
    video, table = tmp_path / "demo.mp4", tmp_path / "demo.csv"
    outputs = ("--output", str(video), "--csv", str(table), "--max-frames", "20")
    run_module("realtime.webcam", "--source", "demo", "--no-window", "--model", str(model), *outputs)
    assert cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) == 20
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {"base_cnn-stack_sharpen"}
    assert len({row["frame"] for row in rows}) == 20


def test_the_model_of_a_run_names_its_run(finished, tmp_path):
    path = tmp_path / "m.onnx"
    assert export_onnx.main([str(finished / "model.keras"), "-o", str(path)]) == 0
    assert Recognizer(path).card.source_sha256 == hashlib.sha256((finished / "model.keras").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{run}/state.keras", "name its folder"),
        ("{tmp}/mine.keras", "expected the folder of a run"),
        ("{tmp}/mine.h5", "expected the folder of a run"),
        ("{tmp}/mine.pth", "import it by python -m export.from_pth"),
        ("{tmp}/mine.onnx", "expected the folder of a run"),
    ],
)
def test_what_is_no_run_is_told_what_to_give(name, expected, finished, tmp_path, capfd):
    for suffix in ("keras", "h5", "pth", "onnx"):
        (tmp_path / f"mine.{suffix}").write_bytes(b"x")
    assert export_onnx.main([name.format(run=finished, tmp=tmp_path)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert expected in line


@pytest.mark.parametrize(("name", "value"), [("model", "se_resnet"), ("dataset", "stack_sharpen")])
def test_a_run_whose_settings_name_another_network_is_not_exported(name, value, finished, tmp_path, capfd):
    folder = shutil.copytree(finished, tmp_path / "run")
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps(settings | {name: value}))
    assert export_onnx.main([str(folder), "-o", str(tmp_path / "m.onnx")]) == 2
    assert "holds another network than a" in capfd.readouterr().err
    assert not (tmp_path / "m.onnx").exists()
