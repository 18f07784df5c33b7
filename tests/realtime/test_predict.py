import itertools
import json
import shutil
import sys

import cv2
import numpy as np
import pytest

from fer_tf import fer2013, photograph, weights
from fer_tf.classes import CLASSES
from fer_tf.realtime import demo, predict
from fer_tf.realtime.crop import crop_face
from fer_tf.realtime.detect import FaceDetector
from fer_tf.recognizer import Recognizer


@pytest.fixture
def model(make_model_file, tmp_path):
    return make_model_file(tmp_path / "tiny.onnx")


@pytest.fixture
def pictures(tmp_path):
    """A folder with one face, two faces, none, a broken picture and a video."""
    pytest.importorskip("skimage")
    folder = tmp_path / "pictures"
    folder.mkdir()
    one, two = itertools.islice(demo.demo_clip()[0], 5, 71, 65)
    cv2.imwrite(str(folder / "1 one.png"), one)
    cv2.imwrite(str(folder / "2 two.jpg"), two)
    cv2.imwrite(str(folder / "3 none.png"), np.full((48, 64), 127, np.uint8))
    whole = (folder / "2 two.jpg").read_bytes()
    (folder / "4 broken.jpg").write_bytes(whole[:200])
    (folder / "5 film.mp4").write_bytes(b"not looked at")
    return folder


def test_each_face_of_each_picture_is_printed(model, pictures, capsys):
    code = predict.main(
        [str(pictures / "1 one.png"), str(pictures / "2 two.jpg"), "--model", str(model), "--expect", "fer2013"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.startswith("  ") for line in lines] == [False, True, False, True, True]
    assert lines[0].endswith("1 one.png: 1 face found")
    assert lines[2].endswith("2 two.jpg: 2 faces found")
    image = cv2.imread(str(pictures / "1 one.png"))
    found = FaceDetector()(image)
    (box,) = found.boxes
    (row,) = Recognizer(model)(crop_face(image, tuple(map(int, box)), found.landmarks[0])[None])
    words = lines[1].split()
    assert words[:3] == ["0", CLASSES[row.argmax()], f"{row.max():.0%}"]
    assert words[4::2][:4] == [str(side) for side in box]
    assert lines[3].index("left") == lines[4].index("left")


def test_a_model_can_be_named(pictures, capsys):
    assert predict.main([str(pictures / "1 one.png"), "--model", "base_cnn-stack_sharpen", "--json"]) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert image["faces"][0]["readings"][0]["model"] == "base_cnn-stack_sharpen"


def test_a_folder_is_gone_through_and_what_is_broken_is_named_and_skipped(model, pictures, capsys):
    assert predict.main([str(pictures), "--model", str(model), "--json"]) == 1
    printed = capsys.readouterr()
    note, error = printed.err.splitlines()
    assert note == f"note: {pictures}/: left out: 1 .mp4"
    assert "4 broken.jpg" in error
    document = json.loads(printed.out)
    assert document["detector"] == FaceDetector().backend
    names = [entry["source"].split("/")[-1] for entry in document["images"]]
    assert names == ["1 one.png", "2 two.jpg", "3 none.png"]
    assert [len(entry["faces"]) for entry in document["images"]] == [1, 2, 0]
    assert [entry["source"].split("/")[-1] for entry in document["failed"]] == ["4 broken.jpg"]
    assert (document["images"][0]["width"], document["images"][0]["height"]) == (demo.WIDTH, demo.HEIGHT)
    for entry in document["images"]:
        assert [face["face"] for face in entry["faces"]] == list(range(len(entry["faces"])))
        for face in entry["faces"]:
            (reading,) = face["readings"]
            assert reading["model"] == "tiny-original"
            assert reading["confidence"] == max(reading["probabilities"].values())
            assert sum(reading["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_answers_are_for_the_mixture_that_is_expected_and_raw_ones_are_the_models_own(model, pictures, capsys):
    found = {}
    for expect in ("fer2013", "everyday", "", "happy=.9"):
        options = ["--expect", expect] if expect else []
        assert predict.main([str(pictures / "1 one.png"), "--model", str(model), "--json", *options]) == 0
        (face,) = json.loads(capsys.readouterr().out)["images"][0]["faces"]
        (found[expect],) = face["readings"]
    assert found["fer2013"]["probabilities"] == found["fer2013"]["raw"]
    assert found[""] == found["everyday"]
    assert len({json.dumps(reading["raw"]) for reading in found.values()}) == 1
    raw = np.array(list(found["everyday"]["raw"].values()))
    weighted = raw * [0.06, 0.02, 0.03, 0.30, 0.45, 0.09, 0.05] / [3995, 436, 4097, 7215, 4965, 4830, 3171]
    answered = list(found["everyday"]["probabilities"].values())
    np.testing.assert_allclose(answered, weighted / weighted.sum(), atol=2e-3)
    assert found["happy=.9"]["expression"] == "happy"


def test_a_picture_is_not_influenced_by_those_before_it(model, pictures, tmp_path, capsys):
    dark = tmp_path / "dark.png"
    cv2.imwrite(str(dark), cv2.imread(str(pictures / "1 one.png")) // 3)

    def faces(*paths):
        assert predict.main([*map(str, paths), "--model", str(model), "--json"]) == 0
        return json.loads(capsys.readouterr().out)["images"][-1]["faces"]

    alone = faces(dark)
    assert alone
    assert faces(pictures / "1 one.png", pictures / "2 two.jpg", dark) == alone


def test_a_picture_is_searched_closely_unless_something_else_is_asked_for(model, tmp_path, capsys):
    pytest.importorskip("skimage")
    person = cv2.resize(photograph.read_photograph()[:260, 110:370], (90, 90), interpolation=cv2.INTER_AREA)
    path = tmp_path / "class.png"
    room = np.full((1000, 1900, 3), 120, np.uint8)
    for left in range(100, 1900, 300):
        room[500:590, left : left + 90] = person
    cv2.imwrite(str(path), room)
    for options, count in (
        ([], 6),
        (["--search-size", "full"], 6),
        (["--search-size", "320"], 0),
        (["--smallest-face", "70"], 0),
    ):
        assert predict.main([str(path), "--model", str(model), *options]) == 0
        assert f"class.png: {count or 'no'} faces found" in capsys.readouterr().out


def test_no_face_is_said(model, pictures, capsys):
    assert predict.main([str(pictures / "3 none.png"), "--model", str(model)]) == 0
    assert capsys.readouterr().out.endswith("3 none.png: no faces found\n")


def test_doubt_is_said(model, pictures, capsys):
    path = str(pictures / "1 one.png")
    for confidence, doubtful in (("0", False), ("1", True)):
        predict.main([path, "--model", str(model), "--min-confidence", confidence])
        assert capsys.readouterr().out.endswith("uncertain\n") is doubtful


def test_labeled_pictures_are_written_under_names_of_their_own(model, pictures, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    cv2.imwrite(str(other / "1 one.jpg"), cv2.imread(str(pictures / "1 one.png")))
    output = tmp_path / "new" / "labeled"
    assert predict.main([str(pictures), str(other), "--model", str(model), "--output", str(output)]) == 1
    assert sorted(path.name for path in output.iterdir()) == ["1 one-2.png", "1 one.png", "2 two.png", "3 none.png"]
    before, after = (cv2.imread(str(folder / "1 one.png")) for folder in (pictures, output))
    assert before.shape == after.shape
    assert (before != after).any()
    np.testing.assert_array_equal(*(cv2.imread(str(folder / "3 none.png")) for folder in (pictures, output)))


def test_what_was_found_before_an_interruption_is_printed(model, pictures, tmp_path, monkeypatch, capsys):
    calls = iter([False, True])

    def draw(image, faces):
        if next(calls):
            raise KeyboardInterrupt

    monkeypatch.setattr(predict, "draw_faces", draw)
    options = ["--model", str(model), "--json", "--output", str(tmp_path / "labeled")]
    assert predict.main([str(pictures), *options]) == 130
    assert len(json.loads(capsys.readouterr().out)["images"]) == 2


def test_names_that_differ_in_case_alone_are_not_one_file_anywhere(model, pictures, tmp_path):
    for folder, name in (("a", "Face.png"), ("b", "face.png")):
        (tmp_path / folder).mkdir()
        shutil.copy(pictures / "1 one.png", tmp_path / folder / name)
    output = tmp_path / "out"
    assert predict.main([str(tmp_path / "a"), str(tmp_path / "b"), "--model", str(model), "--output", str(output)]) == 0
    assert sorted(path.name for path in output.iterdir()) == ["Face.png", "face-2.png"]


@pytest.mark.parametrize("name", ["2023", "demo"])
def test_a_folder_is_a_folder_whatever_it_is_called(name, model, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    shutil.copy(pictures / "1 one.png", tmp_path / name / "a.png")
    assert predict.main([name, "--model", str(model)]) == 0
    assert capsys.readouterr().out.startswith(f"{name}/a.png: 1 face found")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "IMAGE"),
        (["--json", "empty"], "empty"),
        (["*.gif"], "no files that match"),
        (["films"], "films/: there are no pictures in this folder (left out: 1 .mp4)"),
        (["films/*"], "no pictures among the files that match (left out: 1 .mp4)"),
        (["one.png", "--output", "."], "same file"),
        (["one.png", "--output", "one.png"], "one.png"),
        (["one.png", "--model", "missing.onnx"], "no such model file"),
        (["one.png", "--min-confidence", "2"], "min_confidence"),
        (["one.png", "--expect", "studio"], "expected everyday, even, fer2013, or shares such as happy=.3"),
        (["one.png", "--expect", "smile=.3"], "'smile' is no expression"),
        (["one.png", "--detector", "nose"], "nose"),
        (["one.png", "--crops", "--detector", "haar"], "leave out --detector"),
        (["one.png", "--crops", "--search-size", "full"], "leave out --search-size"),
        (["one.png", "--detector", "yunet", "--detector-model", "one.png"], "one.png"),
    ],
)
def test_what_a_user_gets_wrong_is_said_in_one_line(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "films"):
        (tmp_path / name).mkdir()
    (tmp_path / "films" / "film.mp4").touch()
    cv2.imwrite("one.png", np.zeros((8, 8), np.uint8))
    assert predict.main(arguments) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_heic_is_named_with_what_to_do_alone_in_a_folder_and_by_a_pattern(model, pictures, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if its extra were not installed
    (pictures / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    for named, code in (("IMG_1.HEIC", 2), ("*.HEIC", 2), ("", 1)):
        assert predict.main([str(pictures / named), "--model", str(model)]) == code
        (line,) = (line for line in capsys.readouterr().err.splitlines() if "4 broken" not in line)
        assert "HEIC" in line
        assert "convert it to JPEG" in line


@pytest.mark.parametrize("name", ["missing.png", "a\udcff.png", "0", "demo"])
def test_what_is_no_picture_is_named(name, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # away from the folder that `make demo` writes
    assert predict.main([name, "--model", str(model)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1


def test_face_crops_are_labeled_whole(model, tmp_path, capsys):
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (48, 48), np.uint8)
    pictures = {
        "1 gray.png": small,
        "2 color.png": np.repeat(small[..., None], 3, 2),
        "3 large.png": random.integers(0, 256, (200, 200, 3), np.uint8),
        "4 wide.png": random.integers(0, 256, (100, 300, 3), np.uint8),
        "5 high.png": random.integers(0, 256, (90, 60), np.uint8),
        "6 pixel.png": small[:1, :1],
        "7 line.png": random.integers(0, 256, (4000, 3), np.uint8),
    }
    for name, image in pictures.items():
        cv2.imwrite(str(tmp_path / name), image)
    assert (
        predict.main([str(tmp_path / "*.png"), "--crops", "--json", "--model", str(model), "--expect", "fer2013"]) == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["detector"] is None
    found = {entry["source"].split("/")[-1]: entry["faces"] for entry in document["images"]}
    assert list(found) == list(pictures)
    recognizer = Recognizer(model)
    assert found["1 gray.png"] == found["2 color.png"]
    for name, (face,) in found.items():
        image = cv2.imread(str(tmp_path / name))
        height, width = image.shape[:2]
        assert face["face"] == 0
        if name == "7 line.png":
            assert face["box"] == [0, 1997, 3, 6]
            continue
        assert face["box"] == [0, 0, width, height]
        crop = crop_face(image, (0, 0, width, height))
        if name == "1 gray.png":
            np.testing.assert_array_equal(crop, small)
        (row,) = recognizer(crop[None])
        assert list(face["readings"][0]["raw"].values()) == [round(float(p), 4) for p in row]


def test_face_crops_can_be_drawn(model, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 48), 90, np.uint8))
    options = ["--crops", "--output", str(tmp_path / "o"), "--model", str(model)]
    assert predict.main([str(tmp_path / "a.png"), *options]) == 0
    assert cv2.imread(str(tmp_path / "o" / "a.png")).shape == (48, 48, 3)
    assert "1 face found" in capsys.readouterr().out


def test_face_crops_of_a_data_set_get_the_answers_of_the_model(fer2013_path, tmp_path, capsys):
    images = fer2013.load(fer2013_path).public.images[:30]
    for index, image in enumerate(images):
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    assert predict.main([str(tmp_path), "--crops", "--json", "--expect", "fer2013"]) == 0
    readings = [image["faces"][0]["readings"][0] for image in json.loads(capsys.readouterr().out)["images"]]
    rows = Recognizer(weights.DEFAULT_MODEL)(images)
    assert [reading["expression"] for reading in readings] == [CLASSES[row.argmax()] for row in rows]


def test_what_is_left_out_of_folders_and_patterns_is_counted(model, pictures, capsys):
    (pictures / "4 broken.jpg").unlink()
    (pictures / "below").mkdir()
    shutil.copy(pictures / "1 one.png", pictures / "below" / "6 below.PNG")
    for name in ("7 film.MOV", "8 film.mov", "9.txt"):
        (pictures / name).touch()
    for arguments, left_out, count in (
        ([str(pictures)], "1 .mp4, 2 .mov, 1 .txt, 1 folders (--recursive)", 3),
        ([str(pictures), "--recursive"], "1 .mp4, 2 .mov, 1 .txt", 4),
        ([str(pictures / "[79]*")], None, 0),
        ([str(pictures / "*")], "1 .mp4, 2 .mov, 1 .txt", 3),
        ([str(pictures / "*.png")], "", 2),
    ):
        assert predict.main([*arguments, "--model", str(model)]) == (0 if count else 2)
        printed = capsys.readouterr()
        assert printed.out.count(" found\n") == count
        if left_out is None:
            assert "left out: 1 .mov, 1 .txt" in printed.err
        elif left_out:
            (note,) = printed.err.splitlines()
            assert sorted(note.partition("left out: ")[2].split(", ")) == sorted(left_out.split(", "))
        else:
            assert printed.err == ""
