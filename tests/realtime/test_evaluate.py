import csv
import json
import subprocess
import sys
import tracemalloc

import cv2
import numpy as np
import pytest

from fer_tf import fer2013, weights
from fer_tf.classes import CLASSES
from fer_tf.realtime import evaluate
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.recognizer import Recognizer


def set_into_pictures(folder, split, count):
    """Writes class folders of pictures with a face of FER-2013 in each, and a table of them; returns its rows."""
    random = np.random.default_rng(0)
    rows = []
    for index in random.permutation(len(split))[:count].tolist():
        side = int(random.integers(120, 200))
        picture = cv2.GaussianBlur(random.integers(0, 256, (240, 320), np.uint8), (0, 0), 25)
        top, left = (int(random.integers(10, length - side - 9)) for length in picture.shape)
        face = cv2.resize(split.images[index], (side, side), interpolation=cv2.INTER_CUBIC)
        picture[top : top + side, left : left + side] = face
        name = CLASSES[split.labels[index]]
        (folder / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name / f"{index}.png"), picture)
        rows.append((f"{name}/{index}.png", name, f"person {index % 12}"))
    with open(folder / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "person"), *rows])
    return rows


def test_faces_of_fer2013_in_pictures_are_measured_as_scikit_learn_does(fer2013_path, tmp_path, capsys):
    sklearn = pytest.importorskip("sklearn.metrics")
    folder = tmp_path / "set"
    rows = set_into_pictures(folder, fer2013.load(fer2013_path).public, 60)
    models = [weights.find("base_cnn-stack_sharpen"), weights.DEFAULT_MODEL]
    options = ["--json", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.md")]
    arguments = [*map(str, models), "--pictures", str(folder / "table.csv"), *options]
    assert evaluate.main(arguments) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert list(report["models"]) == [path.stem for path in models]
    assert report["recognized"] + report["missed"] == 60
    assert report["recognized"] >= 50
    for mixture in ("everyday", "even", "fer2013"):  # what the whole product says of each picture
        pipeline = Pipeline(None, models[0], compare=models[1], expect=mixture)
        answers = [pipeline.still(cv2.imread(str(folder / name))) for name, _, _ in rows]
        largest = [max(faces, key=lambda face: face.box[2] * face.box[3], default=None) for faces in answers]
        for index, path in enumerate(models):
            pairs = [(row[1], face.readings[index].label) for row, face in zip(rows, largest, strict=True) if face]
            labels, predicted = zip(*pairs, strict=True)
            found = report["models"][path.stem][mixture]
            assert found["n"] == len(pairs) == report["recognized"]
            assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, predicted))
            recall = sklearn.recall_score(labels, predicted, labels=sorted(set(labels)), average="macro")
            assert found["balanced_accuracy"] == pytest.approx(recall)
            confusion = sklearn.confusion_matrix(labels, predicted, labels=CLASSES)
            np.testing.assert_array_equal(found["confusion"], confusion)
            assert 0 < found["resting"]["n"] < found["n"]
    printed = capsys.readouterr().out
    assert f"60 pictures: a face found in {report['recognized']}" in printed
    assert f"{report['models'][models[0].stem]['even']['accuracy']:.1%}" in (tmp_path / "r.md").read_text()
    # Class folders are the same pictures, without people.
    assert evaluate.main([str(models[0]), "--pictures", str(folder), "--json", str(tmp_path / "f.json")]) == 0
    again = json.loads((tmp_path / "f.json").read_text())["models"][models[0].stem]["even"]
    before = report["models"][models[0].stem]["even"]
    assert again["confusion"] == before["confusion"]
    assert again["resting"] is None


@pytest.fixture
def pictures(tmp_path, portrait):
    """Class folders with a face, a larger one beside a small one, none, and a broken file."""
    folder = tmp_path / "pictures"
    for name, image in (
        ("happy/one.png", portrait()),
        ("happy/two.png", portrait(beside=True)),
        ("sad/none.png", np.full((240, 320, 3), 127, np.uint8)),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), image)
    (folder / "sad/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


def test_missed_broken_and_several_faces_are_counted_and_named(pictures, model, tmp_path, capsys):
    report = tmp_path / "new" / "r.json"
    assert evaluate.main([model, "--pictures", str(pictures), "--json", str(report), "--expect", "even"]) == 1
    printed = capsys.readouterr()
    assert "4 pictures: a face found in 2; none in 1; several in 1, where the largest counts; 1 could" in printed.out
    assert printed.err.startswith("error: ")
    assert "sad/broken.jpg" in printed.err
    found = json.loads(report.read_text())
    assert list(found["broken_pictures"]) == [str(pictures / "sad/broken.jpg")]
    assert found["missed_pictures"] == [str(pictures / "sad/none.png")]
    assert list(found["models"]["tiny-original"]) == ["even"]
    assert found["models"]["tiny-original"]["even"]["of_all"]["n"] == 3


def test_crops_are_not_searched(class_folders, model, tmp_path, capsys):
    report = tmp_path / "r.json"
    arguments = ["--pictures", str(class_folders), "--crops", "--expect", "fer2013", "--json", str(report)]
    assert evaluate.main([model, *arguments]) == 0
    data = fer2013.load(class_folders, cache=False)
    images = np.concatenate([data.train.images, data.public.images])
    labels = np.concatenate([data.train.labels, data.public.labels])
    found = json.loads(report.read_text())["models"]["tiny-original"]["fer2013"]
    expected = (Recognizer(model)(images).argmax(axis=1) == labels).mean()
    assert (found["n"], found["accuracy"]) == (350, pytest.approx(expected))
    assert "350 pictures: each taken for a face crop." in capsys.readouterr().out


def test_names_of_classes_are_mapped(class_folders, model, tmp_path):
    report = tmp_path / "r.json"
    arguments = ["--pictures", str(class_folders), "--crops", "--json", str(report)]
    assert evaluate.main([model, *arguments, "--classes", "sad=-", "fear=surprise"]) == 0
    found = json.loads(report.read_text())
    assert found["left_out"] == {"sad": 50}
    assert (found["labeled"]["fear"], found["labeled"]["surprise"]) == (0, 100)


def test_two_models_of_one_name_are_told_apart(class_folders, make_model_file, tmp_path):
    models = [str(make_model_file(tmp_path / f"{slope}.onnx", slope=slope)) for slope in (1, -1)]
    report = tmp_path / "r.json"
    arguments = ["--pictures", str(class_folders), "--crops", "--expect", "even", "--json", str(report)]
    assert evaluate.main([*models, models[0], *arguments]) == 0
    found = json.loads(report.read_text())
    assert {name: file["path"] for name, file in found["files"].items()} == {
        "tiny-original": models[0],
        "tiny-original (2)": models[1],
    }
    assert found["models"]["tiny-original (2)"]["even"]["mcnemar"]["against"] == "tiny-original"


def test_pictures_are_not_held_in_memory(tmp_path, model):
    (tmp_path / "set/happy").mkdir(parents=True)
    encoded = cv2.imencode(".png", np.zeros((1000, 1000, 3), np.uint8))[1].tobytes()
    for index in range(40):
        (tmp_path / f"set/happy/{index}.png").write_bytes(encoded)
    tracemalloc.start()
    try:
        assert evaluate.main([model, "--pictures", str(tmp_path / "set"), "--crops"]) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 25e6  # a picture takes 3 MB, all of them 120 MB


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--pictures"),
        (["--pictures", "nowhere"], "no such file or folder"),
        (["--pictures", "empty"], "no labeled pictures"),
        (["--pictures", "blank"], "no face was found in 1 pictures"),
        (["--pictures", "broken", "--crops"], "1 could not be read"),
        (["--pictures", "blank", "--expect", "sunny"], "sunny"),
        (["--pictures", "blank", "--classes", "happy=glad"], "happy=glad"),
        (["--pictures", "blank", "--resting-weight", "2"], "0 to 1"),
        (["--pictures", "blank", "--crops", "--smallest-face", "40"], "leave out --smallest-face"),
        (["--pictures", "blank", "--json", "r.txt"], ".json"),
        (["--pictures", "blank", "--report", "r.json"], ".md"),
        (["--pictures", "blank", "--report", "blank/happy/0.png/r.md"], "r.md"),
        (["missing.onnx", "--pictures", "blank"], "no such model file"),
    ],
)
def test_what_a_user_gets_wrong_is_said_in_one_line(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "blank/happy", "broken/happy"):
        (tmp_path / name).mkdir(parents=True)
    cv2.imwrite("blank/happy/0.png", np.zeros((80, 80), np.uint8))
    (tmp_path / "broken/happy/0.png").write_bytes(b"nothing")
    assert evaluate.main(arguments) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    last = printed.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert len(printed.err.splitlines()) == 1 + ("broken" in arguments)


def test_the_extra_for_training_is_not_needed(class_folders, model, tmp_path):
    absent = ("keras", "matplotlib", "onnx", "platformdirs", "scipy", "sklearn", "tensorflow")
    arguments = [model, "--pictures", str(class_folders), "--crops", "--report", str(tmp_path / "r.md")]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent}))
from fer_tf.realtime import evaluate
raise SystemExit(evaluate.main({arguments}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "# Expressions in labeled pictures" in (tmp_path / "r.md").read_text()
