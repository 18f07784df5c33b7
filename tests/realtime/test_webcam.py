import csv
import itertools
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from fer_tf import weights
from fer_tf.classes import CLASSES
from fer_tf.realtime import demo, webcam
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.record import VideoSink

pytest.importorskip("skimage")


def test_the_demo_is_recorded_and_tabulated(model, tmp_path, run_webcam, count_frames):
    video, table = tmp_path / "demo.mp4", tmp_path / "demo.csv"
    done = run_webcam(
        *("--source", "demo", "--model", model, "--no-window", "--threads", 1),
        *("--output", video, "--csv", table, "--max-frames", 70),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert count_frames(video) == 70
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert re.search(rf"^70 frames, {len(rows)} faces, [\d.]+ frames/s", done.stdout)
    assert str(video) in done.stdout
    assert str(table) in done.stdout
    faces = np.bincount([int(row["frame"]) for row in rows])
    assert len(faces) == 70
    assert faces[:60].tolist().count(1) > 55  # the first scene has one face,
    assert faces[65:].tolist().count(2) >= 4  # the second two
    for row in rows:
        probabilities = [float(row[f"p_{name}"]) for name in CLASSES]
        assert (row["source"], row["model"]) == ("demo", "tiny-original")
        assert float(row["time_s"]) == pytest.approx(int(row["frame"]) / 25, abs=1e-3)
        assert row["expression"] == CLASSES[int(np.argmax(probabilities))]
        assert float(row["confidence"]) == max(probabilities)
        assert sum(probabilities) == pytest.approx(1, abs=1e-3)
    assert {row["face"] for row in rows if int(row["frame"]) < 50} == {"0"}
    assert len({row["face"] for row in rows if row["frame"] == "69"}) == 2


def test_answers_are_corrected_for_the_mixture_and_for_pictures_of_a_person_at_rest(model, tmp_path):
    """Which are here those of the first frame, so that the first answer is as the formula has it."""
    table, picture = tmp_path / "demo.csv", tmp_path / "rest.png"
    cv2.imwrite(str(picture), next(demo.demo_clip()[0]))
    arguments = ["--source", "demo", "--model", model, "--no-window", "--max-frames", "1", "--csv", str(table)]
    options = ["--expect", "neutral=.5", "--resting-pictures", str(picture), "--resting-weight", "0.8"]
    assert webcam.main([*arguments, *options]) == 0
    with open(table, newline="") as file:
        (row,) = csv.DictReader(file)
    trained = np.array([3995, 436, 4097, 7215, 4965, 4830, 3171]) / 28709
    expected = 0.5 * trained / (1 - trained[4])
    expected[4] = 0.5
    raw, found = (np.array([float(row[f"{kind}_{name}"]) for name in CLASSES]) for kind in ("raw", "p"))
    weighted = raw * expected / trained * (raw / [0.04, 0.01, 0.04, 0.06, 0.70, 0.12, 0.03]) ** -0.8
    np.testing.assert_allclose(found, weighted / weighted.sum(), atol=1e-3)
    assert row["expression"] == row["shown"] == "neutral"


def test_two_models_are_compared_on_the_same_faces(make_model_file, model, tmp_path):
    table = tmp_path / "demo.csv"
    changes = {"name": "other", "framework": "torch"}
    other = make_model_file(tmp_path / "other.onnx", card_changes=changes, slope=-1)
    arguments = ["--source", "demo", "--model", model, "--compare", str(other), "--no-window", "--max-frames", "9"]
    arguments += ["--expect", "fer2013"]
    assert webcam.main([*arguments, "--csv", str(table), "--output", str(tmp_path / "demo.png")]) == 0
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["tiny-original", "other"] * 9
    for one, another in zip(rows[::2], rows[1::2], strict=True):
        assert (one["expression"], another["expression"]) == ("surprise", "angry")
        probabilities = [[float(row[f"raw_{name}"]) for name in CLASSES] for row in (one, another)]
        logits = np.log(probabilities) - np.log(probabilities)[:, :1]
        np.testing.assert_allclose(logits[0], -logits[1], atol=0.02)  # of the same crop, by the table's digits
        same = ("frame", "time_s", "face", "x", "y", "width", "height")
        assert [one[name] for name in same] == [another[name] for name in same]


def test_a_recording_can_be_a_source(model, tmp_path, count_frames):
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    common = ("--model", model, "--no-window")
    assert webcam.main(["--source", "demo", *common, "--output", str(first), "--max-frames", "12"]) == 0
    assert webcam.main(["--source", str(first), *common, "--output", str(second)]) == 0
    assert count_frames(second) == 12


def test_an_image_can_be_a_source(model, tmp_path):
    image, table = tmp_path / "photo.png", tmp_path / "photo.csv"
    cv2.imwrite(str(image), next(demo.demo_clip()[0]))
    assert webcam.main(["--source", str(image), "--model", model, "--no-window", "--csv", str(table)]) == 0
    assert len(table.read_text().splitlines()) == 2


def test_snapshots_lie_beside_the_first_output_that_is_a_file(tmp_path):
    recording, table = tmp_path / "labeled" / "camera-0.mp4", tmp_path / "x.csv"
    assert webcam._folder_of(recording, table, None, None) == tmp_path / "labeled"
    assert webcam._folder_of(None, webcam.Path(os.devnull), table, None) == tmp_path
    assert webcam._folder_of(None, webcam.Path(os.devnull), None, None) == webcam.Path()


def test_a_folder_is_labeled_file_by_file_and_what_is_broken_is_named(model, tmp_path, capsys, count_frames):
    folder, labeled, table = tmp_path / "in", tmp_path / "labeled", tmp_path / "faces.csv"
    folder.mkdir()
    images = list(itertools.islice(demo.demo_clip()[0], 6))
    sink = VideoSink(folder / "talk2.mp4", fps=25)
    for index, image in enumerate(images):
        sink.write(image, Frame(image, index, index / 25))
    sink.close()
    (folder / "talk10.mp4").write_bytes((folder / "talk2.mp4").read_bytes())
    (folder / "talk3.mp4").write_text("no video")
    (folder / "notes.txt").write_text("nothing")
    cv2.imwrite(str(folder / "talk2.bmp"), images[0])
    cv2.imwrite(str(folder / "talk2.jpg"), images[0])
    code = webcam.main(
        ["--source", str(folder), "--model", model, "--no-window", "--output", str(labeled), "--csv", str(table)]
    )
    printed = capsys.readouterr()
    assert code == 1
    assert printed.err.count("\n") == 2
    assert "left out: 1 .txt" in printed.err
    assert "talk3.mp4" in printed.err
    assert printed.out.startswith("14 frames, 14 faces")
    assert sorted(path.name for path in labeled.iterdir()) == ["talk10.mp4", "talk2.jpg", "talk2.mp4", "talk2.png"]
    assert count_frames(labeled / "talk10.mp4") == 6
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(os.path.basename(row["source"]) for row in rows)) == [
        *("talk2.bmp", "talk2.jpg", "talk2.mp4", "talk10.mp4"),
    ]
    assert {row["face"] for row in rows} == {"0"}  # each source counts its faces anew


def test_without_frames_nothing_is_said_to_be_written(model, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_text("nothing")
    table = str(tmp_path / "faces.csv")
    arguments = ["--source", str(folder), "--model", model, "--no-window", "--output", str(tmp_path / "labeled")]
    assert webcam.main([*arguments, "--csv", table]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 2
    assert printed.out.startswith("0 frames")
    assert "wrote" not in printed.out
    assert not os.path.exists(table)


def test_a_model_trained_here_and_one_imported_give_the_same_rows(torch_base_cnn, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("fer_tf.realtime.demo.LENGTH", 40)  # a second face comes in frame 10
    from fer_tf.export import from_pth

    checkpoint, imported = tmp_path / "BaseCNN.pth", tmp_path / "imported.onnx"
    torch.manual_seed(0)
    torch.save(torch_base_cnn(1).state_dict(), checkpoint)
    assert from_pth.main([str(checkpoint), "-o", str(imported)]) == 0
    tables = {}
    for name, model in (("trained", weights.DEFAULT_MODEL), ("imported", imported)):
        path = tmp_path / f"{name}.csv"
        arguments = ["--source", "demo", "--max-frames", "16", "--no-window", "--csv", str(path), "--model", str(model)]
        assert webcam.main(arguments) == 0
        with open(path, newline="") as file:
            tables[name] = list(csv.DictReader(file))
    trained, imported = tables["trained"], tables["imported"]
    assert len(trained) == len(imported) > 16
    place = ("source", "time_s", "frame", "face", "x", "y", "width", "height")
    for one, other in zip(trained, imported, strict=True):
        assert list(one) == list(other)
        assert [one[key] for key in place] == [other[key] for key in place]
    assert [row["p_happy"] for row in trained] != [row["p_happy"] for row in imported]
    assert {row["model"] for row in imported} != {row["model"] for row in trained}


def test_cameras_are_listed(monkeypatch, capsys):
    monkeypatch.setattr(webcam, "find_cameras", lambda: iter([("0", 640, 480, 30.0), ("2", 1280, 720, 0.0)]))
    assert webcam.main(["--list-cameras"]) == 0
    assert capsys.readouterr().out == "0: 640x480, 30 frames/s\n2: 1280x720\n"


def test_no_camera_is_said_quietly(run_webcam):
    done = run_webcam("--list-cameras")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_help_says_what_it_is_not_for(run_webcam):
    done = run_webcam("--help")
    assert done.returncode == 0
    assert "Not for inferring what a person feels" in " ".join(done.stdout.split())


def test_no_module_of_the_loop_imports_a_training_framework():
    code = (
        "import importlib, pkgutil, sys, fer_tf.realtime as realtime\n"
        "for module in pkgutil.iter_modules(realtime.__path__):\n"
        "    importlib.import_module(f'fer_tf.realtime.{module.name}')\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(names & {'tensorflow', 'keras', 'torch', 'skimage', 'scipy', 'matplotlib', 'onnx'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_a_hostile_name_reaches_the_terminal_and_the_tables_escaped(model, tmp_path, capsys):
    folder, table = tmp_path / "in", tmp_path / "faces.csv"
    folder.mkdir()
    image = next(demo.demo_clip()[0])
    name = "=a\x1b[31m\nerror: forged\u202e.png"
    cv2.imwrite(str(folder / "x.png"), image)
    (folder / "x.png").rename(folder / name)
    (folder / "b\x1b[2J.png").write_text("nothing")
    code = webcam.main(["--source", str(folder), "--model", model, "--no-window", "--csv", str(table)])
    printed = capsys.readouterr()
    assert code == 1
    for text in (printed.out, printed.err, table.read_text(encoding="utf-8")):
        assert all(char.isprintable() or char == "\n" for char in text)
    assert printed.err.count("\n") == 1
    assert r"b\x1b[2J.png: is not a readable" in printed.err
    assert r"=a\x1b[31m\nerror: forged\u202e.png" in table.read_text(encoding="utf-8")


@pytest.mark.parametrize("wrong", [["--source", "ADDRESS"], ["ADDRESS"], ["--camera-size", "ADDRESS"]])
def test_no_message_shows_a_secret_wherever_the_address_stands(wrong, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = "http://user:sesame@127.0.0.1:1/live?token=sesame"
    arguments = [part.replace("ADDRESS", address) for part in wrong]
    assert webcam.main([*arguments, "--no-window", "--csv", "x.csv"]) == 2
    printed = capsys.readouterr()
    assert "sesame" not in printed.out + printed.err
    assert printed.err.count("\n") == 1
