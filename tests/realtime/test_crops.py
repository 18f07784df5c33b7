import csv

import cv2
import numpy as np
import pytest

from fer_tf.realtime import crops
from fer_tf.realtime.detect import FaceDetector
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.realtime.sources import read_image


@pytest.fixture
def photos(tmp_path, portrait):
    """Class folders with one face, a tilted one, two, none, names that differ at most in case, and a broken file."""
    folder = tmp_path / "photos"
    for name, image in (
        ("happy/a.png", portrait()),
        ("happy/A.jpg", portrait(130)),
        ("happy/deep/tilted.png", portrait(120, 25)),
        ("sad/two.png", portrait(100, beside=True)),
        ("sad/none.png", np.full((240, 320, 3), 127, np.uint8)),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), image)
    (folder / "sad/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "notes.txt").touch()
    return folder


@pytest.fixture
def run(photos, tmp_path):
    """A function that runs the command with options, and returns its exit code, its crops and its rows."""

    def call(*options, output="crops"):
        output = tmp_path / output
        code = crops.main([str(photos), "-o", str(output), *options])
        found = {
            path.relative_to(output).as_posix(): cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            for path in output.rglob("*.png")
        }
        with open(output / "crops.csv", newline="", encoding="utf-8") as file:
            return code, found, list(csv.DictReader(file))

    return call


def faces_of(path, make_model_file, tmp_path):
    """What a pipeline gives to its models."""
    pipeline = Pipeline(FaceDetector(), make_model_file(tmp_path / "m.onnx"))
    return pipeline.still(read_image(str(path)))


def test_the_crop_of_each_photograph_is_what_a_pipeline_sees(run, photos, make_model_file, tmp_path, capsys):
    code, found, rows = run()
    assert code == 1  # one is broken
    assert set(found) == {"happy/A.png", "happy/a-2.png", "happy/deep/tilted.png", "sad/two.png"}
    several = {}
    for row in rows:
        faces = faces_of(photos / row["photo"], make_model_file, tmp_path)
        several[row["photo"]] = int(row["faces"])
        assert len(faces) == int(row["faces"])
        if faces:
            largest = max(faces, key=lambda face: face.box[2] * face.box[3])
            assert tuple(int(row[name]) for name in ("x", "y", "width", "height")) == largest.box
            np.testing.assert_array_equal(found[row["crop"]], largest.crop)
    assert several == {
        "happy/A.jpg": 1,
        "happy/a.png": 1,
        "happy/deep/tilted.png": 1,
        "sad/none.png": 0,
        "sad/two.png": 2,
    }
    assert found["sad/two.png"].shape == (48, 48)
    printed = capsys.readouterr()
    assert "6 photographs: 4 crops" in printed.out
    assert "no face in 1, several in 1, of which the largest was taken; 1 could not be read" in printed.out
    assert "left out: 1 .txt" in printed.err
    assert "sad/broken.jpg" in printed.err


def test_every_face_if_that_is_asked_for(run, photos, make_model_file, tmp_path):
    _, found, _ = run("--all-faces")
    faces = faces_of(photos / "sad/two.png", make_model_file, tmp_path)
    big, small = sorted(faces, key=lambda face: -face.box[3])
    np.testing.assert_array_equal(found["sad/two.png"], big.crop)
    np.testing.assert_array_equal(found["sad/two-2.png"], small.crop)
    assert len(found) == 5


def test_a_run_goes_on_where_an_earlier_one_ended(run, photos, tmp_path, monkeypatch, capsys):
    whole = run(output="whole")
    write = crops.write_image

    def killed(path, image):
        if path.stem == "two":
            raise KeyboardInterrupt
        write(path, image)

    monkeypatch.setattr(crops, "write_image", killed)
    assert crops.main([str(photos), "-o", str(tmp_path / "crops")]) == 130
    with open(tmp_path / "crops/crops.csv", "ab") as file:
        file.write(b"sad/two.png,sad/tw")  # as a kill may leave it
    monkeypatch.setattr(crops, "write_image", write)
    capsys.readouterr()
    code, found, rows = run("--resume")
    assert "4 of 6 photographs are done" in capsys.readouterr().out
    assert (code, rows) == (whole[0], whole[2])
    assert found.keys() == whole[1].keys()
    for name, crop in found.items():
        np.testing.assert_array_equal(crop, whole[1][name])
    cv2.imwrite(str(photos / "happy/a.webp"), cv2.imread(str(photos / "happy/a.png")))
    assert set(run("--resume")[1]) == {*found, "happy/a-3.png"}


def test_a_folder_that_is_in_use_is_refused(run, photos, tmp_path, capsys):
    run()
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "crops").rglob("*")}
    assert crops.main([str(photos), "-o", str(tmp_path / "crops")]) == 2
    assert "--resume" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "crops").rglob("*")}


def test_names_that_a_spreadsheet_would_run_are_quoted_and_known_again(run, photos, capsys):
    (photos / "happy/a.png").rename(photos / "=a.png")
    assert "'=a.png" in {row["photo"] for row in run()[2]}
    run("--resume")
    assert "5 of 6 photographs are done" in capsys.readouterr().out


def test_photographs_are_listed_in_their_natural_order(tmp_path, portrait):
    for number in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), portrait())
    assert crops._list(tmp_path) == ["1.png", "9.png", "10.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos"], "-o/--output"),
        (["nowhere", "-o", "crops"], "no such folder"),
        (["photos", "-o", "photos"], "choose another"),
        (["photos", "-o", "photos/crops"], "choose another"),
        (["photos", "-o", "."], "choose another"),
        (["photos", "-o", "file.txt"], "is a file"),
        (["photos", "-o", "other"], "is not empty"),
        (["photos", "-o", "other", "--resume"], "has no crops.csv"),
        (["photos", "-o", "wrong", "--resume"], "not a table of crops"),
        (["empty", "-o", "crops"], "no pictures"),
        (["films", "-o", "crops"], "no pictures"),
        (["photos", "-o", "crops", "--detector", "nose"], "nose"),
    ],
)
def test_what_a_user_gets_wrong_is_said_in_one_line(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "empty", "other", "wrong", "films"):
        (tmp_path / name).mkdir()
    cv2.imwrite("photos/a.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "films/a.mp4").touch()
    (tmp_path / "other/file.txt").touch()
    (tmp_path / "file.txt").touch()
    (tmp_path / "wrong/crops.csv").write_text("photo,label\na,b\n")
    assert crops.main(arguments) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert not (tmp_path / "crops").exists()
