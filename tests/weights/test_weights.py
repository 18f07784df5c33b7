import json
import re

import numpy as np
import pytest

from fer_tf import fer2013, weights
from fer_tf.errors import UserError
from fer_tf.recognizer import Recognizer

REPORT = weights.DEFAULT_MODEL.with_suffix(".json")
ORIGINAL_ACCURACY = 0.5964
"""Of the first project's BaseCNN on stack_sharpen, on the 7,178."""


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(weights.DEFAULT_MODEL)


def test_the_default_model_is_what_its_name_says(recognizer):
    card = recognizer.card
    assert card.name == weights.DEFAULT_MODEL.stem
    assert card.name.startswith(f"{card.architecture}-{card.dataset}")  # and -mirror or -int8
    assert card.temperature != 1
    assert np.allclose(recognizer(np.zeros((3, 48, 48), np.uint8)).sum(axis=1), 1)


def test_each_model_is_found_by_its_name():
    folder = weights.DEFAULT_MODEL.parent
    models = {path for path in folder.iterdir() if path.suffix == ".onnx"} - {weights.FACE_DETECTOR}
    assert weights.names() == tuple(sorted(path.stem for path in models))
    for name in weights.names():
        assert weights.find(name) == folder / f"{name}.onnx"


def test_a_file_takes_precedence_over_a_name_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = weights.DEFAULT_MODEL.stem
    (tmp_path / name).mkdir()  # a run folder may be called so
    assert weights.find(name) == weights.DEFAULT_MODEL
    (tmp_path / name).rmdir()
    (tmp_path / name).touch()
    assert weights.find(name).resolve() == tmp_path / name


@pytest.mark.parametrize("unknown", ["mirror", "missing.onnx", "", "../weights/base_cnn-stack_sharpen", "base\0"])
def test_an_unknown_name_is_one_line_that_lists_the_names(unknown):
    with pytest.raises(UserError) as caught:
        weights.find(unknown)
    message = str(caught.value)
    assert message.count("\n") == 0
    assert "path" in message
    assert all(name in message for name in weights.names())


def test_it_beats_the_original_on_the_originals_protocol():
    report = json.loads(REPORT.read_text())["splits"]
    assert [report[split]["n"] for split in ("public", "private", "private_deduplicated", "all")] == [
        3589,
        3589,
        3301,
        7178,
    ]
    assert report["all"]["accuracy"] > ORIGINAL_ACCURACY


def test_resnet50_beats_the_originals_on_its_protocol():
    report = json.loads((REPORT.parent / "resnet50-stack_sharpen-int8.json").read_text())
    assert report["splits"]["all"]["accuracy"] > 0.6464


def test_each_model_that_ships_has_its_report_and_all_are_small():
    folder = weights.DEFAULT_MODEL.parent
    models = sorted({*folder.glob("*.onnx")} - {weights.FACE_DETECTOR})
    for model in models:
        report = json.loads(model.with_suffix(".json").read_text())
        assert report["card"] == json.loads(Recognizer(model).card.to_json())
        assert report["cost"]["bytes"] == model.stat().st_size
        assert set(report["splits"]) == {"public", "private", "private_deduplicated", "all"}
        page = model.with_suffix(".md").read_text()
        assert f"{report['splits']['private']['accuracy']:.2%}" in page
        for picture in re.findall(r"\]\(([^)]*png)\)", page):
            assert (folder / picture).is_file()
    assert sum(model.stat().st_size for model in models) < 60e6


def test_the_report_and_the_card_are_of_this_file(recognizer, fer2013_path):
    public = fer2013.load(fer2013_path).public
    predicted = np.concatenate([recognizer(public.images[n : n + 64]) for n in range(0, len(public), 64)]).argmax(
        axis=1
    )
    accuracy = (predicted == public.labels).mean()
    report = json.loads(REPORT.read_text())["splits"]["public"]
    assert report["accuracy"] == pytest.approx(accuracy, abs=1e-3)
    assert recognizer.card.metrics["accuracy"] == pytest.approx(accuracy, abs=1e-3)
