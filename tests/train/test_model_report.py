import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("onnx")

from fer_tf.fer2013 import Split
from fer_tf.lineage import read
from fer_tf.recognizer import Recognizer
from fer_tf.train import model_report
from fer_tf.train.figures import evaluate
from fer_tf.train.model_report import page, write_model_report
from fer_tf.train.settings import settle
from fer_tf.weights import DEFAULT_MODEL


@pytest.fixture
def public() -> Split:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 1, 1)) * np.ones((60, 48, 48))
    return Split(images.astype(np.uint8), random.integers(0, 7, 60), np.arange(60).astype(str))


@pytest.fixture
def report_on(public, tmp_path):
    """Writes the report on a model file, and returns where."""
    from fer_tf.fer2013 import Fer2013

    def report(model: Path, **options) -> Path:
        probabilities = Recognizer(model)(public.images)
        path = tmp_path / "report" / "m.md"
        path.parent.mkdir()
        write_model_report(
            path,
            model,
            public,
            figures=evaluate(probabilities, Fer2013(tmp_path, None, public, None), temperature=1.0),
            shown="public",
            probabilities=probabilities,
            labels=public.labels,
            command=["m.onnx", "--report", "m.md"],
            **options,
        )
        return path

    return report


def labels_seen(training: dict) -> str:
    return model_report.labels_seen(read(training))


def chosen_on_public(training: dict) -> str:
    return model_report.chosen_on_public(read(training))


@pytest.mark.drawn
def test_the_report_says_what_is_measured(public, make_model_file, report_on, tmp_path):
    training = settle({"model": "se_resnet", "seed": 5, "augment": "camera"}) | {"hours": 1.5, "epochs_done": 19}
    model = make_model_file(tmp_path / "m.onnx", card_changes={"training": training})
    probabilities = Recognizer(model)(public.images)
    path = report_on(model)
    text, report = path.read_text(), json.loads(path.with_suffix(".json").read_text())
    assert "`python -m train.evaluate m.onnx --report m.md`" in text
    assert "--model se_resnet" in text
    assert "--seed 5 --augment camera`, ended after 19 epochs, 1.5 hours" in text
    assert "PrivateTest" not in text
    assert "averages" not in text
    assert "In training, 25% of the images had blur, noise and low light" in text
    accuracy = (probabilities.argmax(axis=1) == public.labels).mean()
    bears = report["robustness"]
    assert bears["as they are"]["accuracy"] == accuracy == report["splits"]["public"]["accuracy"]
    # Of a gray square nothing is blurred, and darkness changes what the tiny model says of it.
    assert bears["blur (Gaussian, σ 1 pixel)"]["accuracy"] == accuracy
    darkened = (255 * (public.images / 255) ** 2.2 * 0.5).astype(np.uint8)
    dark = (Recognizer(model)(darkened).argmax(axis=1) == public.labels).mean()
    assert bears["low light (γ 2.2, half as bright)"]["accuracy"] == dark
    assert f"| low light (γ 2.2, half as bright) | {dark:.1%} |" in text
    assert np.trace(report["confusion"]) == round(60 * accuracy)
    assert report["card"]["training"]["seed"] == 5
    assert "people at work or in education" in text
    pictures = re.findall(r"\]\(([^)]*png)\)", text)
    assert pictures == ["m-confusion.png", "m-confidence.png"]
    for picture in pictures:
        assert min(cv2.imread(str(path.with_name(picture))).shape[:2]) > 300


def test_the_report_tells_of_each_network_of_an_ensemble(make_model_file, report_on, tmp_path):
    pair = {"members": [{"name": name, "training": settle({"seed": seed})} for name, seed in (("a", 1), ("b", 2))]}
    joined = {"members": [{"name": "pair", "training": pair}, {"name": "c", "training": settle({"seed": 3})}]}
    text = report_on(make_model_file(tmp_path / "m.onnx", card_changes={"training": joined})).read_text()
    assert "averages the predictions of 3 networks" in text
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        assert re.search(rf"\| trained by \({name}\) \| `python -m train.run [^`]*--seed {seed}`", text)


def test_which_labels_a_model_saw_is_said_through_its_teachers():
    plain = {"model": "base_cnn", "ferplus": None, "teacher": None}
    voted = plain | {"ferplus": "votes.csv", "ferplus_weight": 0.5}
    origins = [{"name": "old", "training": voted}, {"name": "new", "training": plain}]
    taught = plain | {"teacher": ["a.onnx", "b.onnx"], "teacher_weight": 0.7, "teacher_origins": origins}
    assert labels_seen({}) == labels_seen({"image_size": 224}) == "unknown"
    assert labels_seen(plain) == "those of its data set"
    assert labels_seen(voted) == "those of its data set, mixed with the votes of FER+ (weight 0.5)"
    headed = voted | {"ferplus_weight": 0.0, "ferplus_head": 1.0}
    assert labels_seen(headed) == (
        "those of its data set; an auxiliary head, dropped after training, learned the votes of FER+ (weight 1)"
    )
    assert labels_seen(taught) == (
        "those of its data set, mixed with the predictions of a.onnx, b.onnx (weight 0.7); its teachers had learned "
        "from the labels of their data sets and the votes of FER+"
    )
    both = labels_seen(voted | {"teacher": ["a.onnx"], "teacher_weight": 0.7})
    assert (
        both
        == "those of its data set, mixed with the votes of FER+ (weight 0.5) and the predictions of a.onnx (weight 0.7)"
    )
    asked = plain | {"teacher": ["a.onnx"], "teacher_weight": 0.7, "teacher_views": "varied"}
    assert "the predictions of a.onnx (weight 0.7, for each augmented image)" in labels_seen(asked)
    later = plain | {"init": "first", "init_origin": taught}
    assert labels_seen(later).endswith(
        "; its initial weights had learned from the labels of their data sets, the predictions of other models and the "
        "votes of FER+"
    )
    assert (
        labels_seen(later | taught).split("; ")[1].startswith("its initial weights and its teachers had learned from")
    )
    assert labels_seen(plain | {"init": "x.pth"}).endswith("had learned from unknown labels")
    imported = plain | {"teacher": ["c.onnx"], "teacher_weight": 0.5, "teacher_origins": [{"training": {}}]}
    assert labels_seen(imported).endswith("its teachers had learned from unknown labels")
    members = {
        "members": [{"name": name, "training": seen} for name, seen in zip("abc", (plain, voted, plain), strict=True)]
    }
    assert labels_seen(members) == f"{labels_seen(plain)}; {labels_seen(voted)}"
    again = {"members": [{"name": "joined", "training": members}]}
    assert labels_seen(again) == labels_seen(members)
    taught = plain | {"teacher": ["j.onnx"], "teacher_weight": 0.5, "teacher_origins": [{"training": again}]}
    assert labels_seen(taught).endswith("had learned from the labels of their data sets and the votes of FER+")


def test_an_epoch_that_is_the_last_was_not_chosen():
    best, last = {"model": "base_cnn"}, {"model": "base_cnn", "keep": "last"}
    assert chosen_on_public(last) == "PublicTest chose the temperature; the epoch is the last."
    joined = {"members": [{"name": "a", "training": last}, {"name": "b", "training": best}]}
    assert chosen_on_public(best) == chosen_on_public(joined) == "PublicTest chose the epoch and the temperature."
    # Of an imported checkpoint nothing is known.
    imported = {"members": [{"name": "a", "training": {}}, {"name": "b", "training": {}}]}
    assert chosen_on_public(imported) == "PublicTest chose the temperature."
    assert chosen_on_public({"members": [*imported["members"], joined["members"][0]]}) == chosen_on_public(last)


def test_of_an_imported_checkpoint_nothing_is_claimed(make_model_file, report_on, tmp_path):
    imported = {"image_size": 224, "resize": "bilinear"}
    text = report_on(make_model_file(tmp_path / "m.onnx", card_changes={"training": imported})).read_text()
    assert "trained by" not in text
    assert "| labels | unknown |" in text
    assert "PublicTest chose" not in text


def test_files_and_quantization_are_named(make_model_file, report_on, tmp_path):
    teacher = {"name": "a", "sha256": "ab" * 32, "training": {}}
    training = settle({"teacher": ["a.onnx"], "init": "first"}) | {"teacher_origins": [teacher]}
    training |= {"init_sha256": "ef" * 32, "init_origin": settle({"seed": 9})}
    training |= {"quantization": {"weights": "int8 of 7 bits", "activations": "uint8"}}
    changes = {"training": training, "metrics": {"accuracy_change": -0.0017}}
    text = report_on(make_model_file(tmp_path / "m.onnx", card_changes=changes)).read_text()
    files = "first/model.keras, SHA-256 efefefefefefefef…; a.onnx, SHA-256 abababababababab…"
    assert f"| files used | {files} |" in text
    assert "| quantization | weights int8 of 7 bits, activations uint8: -0.17 points on PublicTest |" in text
    assert re.findall(r"train\.run [^`]*--seed (\d)", text) == ["9", "0"], "in the order in which they were run"


def test_of_other_data_the_report_says_held_out_images(make_model_file, report_on, tmp_path):
    training = settle({"seed": 5}) | {"quantization": {"weights": "int8 of 7 bits", "activations": "uint8"}}
    changes = {"training": training, "metrics": {"accuracy_change": -0.0017}}
    path = report_on(make_model_file(tmp_path / "m.onnx", card_changes=changes), choosing="held-out images")
    text = path.read_text()
    assert "PublicTest" not in text
    assert "PrivateTest" not in text
    assert "| held-out images | 60 |" in text
    assert "| class | held-out images | recall |" in text
    assert "-0.17 points on the images that it was checked on" in text
    assert "Images that were held out of the training data chose the epoch and the temperature." in text
    assert "Held-out images, with each face crop varied" in text
    report = json.loads(path.with_suffix(".json").read_text())
    assert page(report, "m-confusion.png", "m-confidence.png") == text


def test_the_page_that_ships_says_what_its_figures_say():
    name = DEFAULT_MODEL.stem
    report = json.loads(DEFAULT_MODEL.with_suffix(".json").read_text())
    text = page(report, f"{name}-confusion.png", f"{name}-confidence.png")
    assert text == DEFAULT_MODEL.with_suffix(".md").read_text()
