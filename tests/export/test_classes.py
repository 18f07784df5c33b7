"""Each command that reads labeled images takes names of classes that are not ours."""

import cv2
import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

from fer_tf import weights
from fer_tf.classes import CLASSES
from fer_tf.export import ensemble, from_pth, quantize
from fer_tf.recognizer import Recognizer

SOURCE = weights.DEFAULT_MODEL.with_name("base_cnn-stack_sharpen.onnx")

WORDS = ("zorn", "ekel", "angst", "freude", "ruhe", "trauer", "staunen")
MEANT = [f"{word}={name}" for word, name in zip(WORDS, CLASSES, strict=True)] + ["langeweile=-"]


def write_folders(folder, names):
    """Writes the same images in folders of these names, one for each class; each also has a class more."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        for name in (*names, "langeweile"):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                image = cv2.resize(random.integers(0, 256, (6, 6), np.uint8), (48, 48))
                cv2.imwrite(str(place / f"{number}.png"), image)
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("foreign"), WORDS)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("ours"), CLASSES)


@pytest.fixture
def checkpoint(torch, base_cnn_of, tmp_path):
    path = tmp_path / "BaseCNN.pth"
    torch.save(base_cnn_of(1).state_dict(), path)
    return path


def run(command, data, output, source, *classes):
    options = {
        "ensemble": [str(source), "--mirror", "--data", str(data)],
        "quantize": [str(source), "--images", "16", "--data", str(data)],
        "from_pth": [str(source), "--temperature-data", str(data)],
    }[command]
    module = {"ensemble": ensemble, "quantize": quantize, "from_pth": from_pth}[command]
    return module.main([*options, "-o", str(output), *(["--classes", *classes] if classes else [])])


@pytest.mark.parametrize("command", ["ensemble", "quantize", "from_pth"])
def test_names_of_classes_say_what_ours_say(command, foreign, ours, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quantize, "ALLOWED_LOSS", 1.0)  # of noise
    monkeypatch.setattr(from_pth, "_CLEAR", 99.0)
    source = checkpoint if command == "from_pth" else SOURCE
    assert run(command, foreign, tmp_path / "a.onnx", source) == 2
    assert "--classes NAME=CLASS" in capsys.readouterr().err
    assert run(command, foreign, tmp_path / "a.onnx", source, *MEANT) == 0
    printed = capsys.readouterr().out
    assert "left out: langeweile 18" in printed
    assert "held-out images" in printed
    assert "PublicTest" not in printed
    assert run(command, ours, tmp_path / "b.onnx", source, "langeweile=-") == 0
    found, expected = (Recognizer(tmp_path / name).card for name in ("a.onnx", "b.onnx"))
    assert (found.temperature, found.metrics) == (expected.temperature, expected.metrics)


def test_classes_need_the_data_that_they_are_about(checkpoint, capsys):
    assert from_pth.main([str(checkpoint), "--classes", "zorn=angry"]) == 2
    assert "--temperature-data" in capsys.readouterr().err


def test_the_matrix_takes_them_too(foreign, tmp_path, capsys):
    from fer_tf.train import matrix
    from fer_tf.train.run_folder import RunFolder

    options = ["--epochs", "1", "--datasets", "original", "--data", str(foreign), "--output", str(tmp_path)]
    assert matrix.main(options) == 2
    assert "--classes NAME=CLASS" in capsys.readouterr().err
    assert matrix.main([*options, "--classes", *MEANT]) == 0
    folder = RunFolder.open(tmp_path / "base_cnn-original-seed0")
    assert folder.settings.classes == MEANT
    assert matrix.main([*options, "--classes", *MEANT]) == 0
