import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("onnx")

from fer_tf.fer2013 import Split
from fer_tf.lineage import told_once
from fer_tf.recognizer import Recognizer
from fer_tf.train import run
from fer_tf.train.evaluate import evaluate
from fer_tf.train.model_report import chosen_on_public, files_of, labels_seen, write_model_report


@pytest.fixture
def public() -> Split:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 1, 1)) * np.ones((60, 48, 48))
    return Split(images.astype(np.uint8), random.integers(0, 7, 60), np.arange(60).astype(str))


@pytest.fixture
def report_on(public, tmp_path):
    """Writes the report on a model file, and returns where."""
    from fer_tf.fer2013 import Fer2013

    def report(model: Path) -> Path:
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
        )
        return path

    return report


def test_the_report_says_what_is_measured(public, make_model_file, report_on, tmp_path):
    training = run.settle({"model": "se_resnet", "seed": 5, "augment": "camera"}) | {"hours": 1.5, "epochs_done": 19}
    model = make_model_file(tmp_path / "m.onnx", card_changes={"training": training})
    probabilities = Recognizer(model)(public.images)
    path = report_on(model)
    text, report = path.read_text(), json.loads(path.with_suffix(".json").read_text())
    assert "`python -m train.evaluate m.onnx --report m.md`" in text
    assert "--model se_resnet" in text
    assert "--seed 5 --augment camera`, ended after 19 epochs, 1.5 hours" in text
    assert "PrivateTest" not in text
    assert "networks in one graph" not in text
    assert "what one in four training images had" in text
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
    pair = {"members": [{"name": name, "training": run.settle({"seed": seed})} for name, seed in (("a", 1), ("b", 2))]}
    joined = {"members": [{"name": "pair", "training": pair}, {"name": "c", "training": run.settle({"seed": 3})}]}
    text = report_on(make_model_file(tmp_path / "m.onnx", card_changes={"training": joined})).read_text()
    assert "3 networks in one graph, whose answers are averaged: a model file of" in text
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        assert re.search(rf"\| trained by \({name}\) \| `python -m train.run [^`]*--seed {seed}`", text)


def test_which_labels_a_model_saw_is_said_through_its_teachers():
    plain = {"model": "base_cnn", "ferplus": None, "teacher": None}
    voted = plain | {"ferplus": "votes.csv", "ferplus_weight": 0.5}
    origins = [{"name": "old", "training": voted}, {"name": "new", "training": plain}]
    taught = plain | {"teacher": ["a.onnx", "b.onnx"], "teacher_weight": 0.7, "teacher_origins": origins}
    assert labels_seen({}) == labels_seen({"image_size": 224}) == "not known"
    assert labels_seen(plain) == "those of its data set"
    assert labels_seen(voted) == "those of its data set, mixed with the votes of FER+ (by 0.5)"
    headed = voted | {"ferplus_weight": 0.0, "ferplus_head": 1.0}
    assert labels_seen(headed) == (
        "those of its data set; beside them a second head, which is not kept, learned the votes of FER+ (weight 1)"
    )
    assert labels_seen(taught) == (
        "those of its data set, mixed with the answers of a.onnx, b.onnx (by 0.7); its teachers had learned from "
        "the labels of their data sets and the votes of FER+"
    )
    both = labels_seen(voted | {"teacher": ["a.onnx"], "teacher_weight": 0.7})
    assert both == "those of its data set, mixed with the votes of FER+ (by 0.5) and the answers of a.onnx (by 0.7)"
    asked = plain | {"teacher": ["a.onnx"], "teacher_weight": 0.7, "teacher_views": "varied"}
    assert "the answers of a.onnx (by 0.7, asked of each image as it was varied)" in labels_seen(asked)
    later = plain | {"init": "first", "init_origin": taught}
    assert labels_seen(later).endswith(
        "; its first weights had learned from the labels of their data sets, the answers of other models and the votes "
        "of FER+"
    )
    assert labels_seen(later | taught).split("; ")[1].startswith("its first weights and its teachers had learned from")
    assert labels_seen(plain | {"init": "x.pth"}).endswith("had learned from labels that are not known")
    imported = plain | {"teacher": ["c.onnx"], "teacher_weight": 0.5, "teacher_origins": [{"training": {}}]}
    assert labels_seen(imported).endswith("its teachers had learned from labels that are not known")
    members = {
        "members": [{"name": name, "training": seen} for name, seen in zip("abc", (plain, voted, plain), strict=True)]
    }
    assert labels_seen(members) == f"{labels_seen(plain)}; {labels_seen(voted)}"
    again = {"members": [{"name": "joined", "training": members}]}
    assert labels_seen(again) == labels_seen(members)
    taught = plain | {"teacher": ["j.onnx"], "teacher_weight": 0.5, "teacher_origins": [{"training": again}]}
    assert labels_seen(taught).endswith("had learned from the labels of their data sets and the votes of FER+")


def test_what_a_family_of_models_shares_is_told_once():
    """Each generation begins with the last and learns from the two before: in full, its record doubles each time."""
    records, trees = [{"model": "base_cnn", "seed": 0, "ferplus": "v.csv"}], [{"model": "base_cnn", "seed": 0}]
    records[0] |= {"ferplus_weight": 0.5}
    trees[0] |= records[0]
    for seed in range(1, 9):
        names = [f"{number}.onnx" for number in range(max(0, seed - 2), seed)]
        own = {"model": "base_cnn", "seed": seed, "ferplus": None, "init": "x", "teacher": names, "teacher_weight": 0.5}

        def born(family, own=own, names=names):
            joined = {"members": [{"name": "last", "sha256": names[-1], "training": family[-1]}]}
            alone = {"name": "first", "sha256": names[0], "training": family[max(0, len(family) - 2)]}
            return own | {"init_origin": family[-1], "teacher_origins": [alone, {"sha256": "j", "training": joined}]}

        trees.append(born(trees))
        records.append(told_once(born(records)))
    assert [len(re.findall('"seed"', json.dumps(record))) for record in records] == list(range(1, 10))
    assert len(json.dumps(records[-1])) < len(json.dumps(trees[-1])) / 50
    assert [labels_seen(record) for record in records] == [labels_seen(tree) for tree in trees]
    line, lines = records[-1], []
    while line:
        lines.append(line["seed"])
        line = line.get("init_origin")
    assert lines == list(range(8, -1, -1))
    assert told_once(records[-1]) == records[-1]


def test_an_epoch_that_is_the_last_was_not_chosen():
    best, last = {"model": "base_cnn"}, {"model": "base_cnn", "keep": "last"}
    assert chosen_on_public(last) == "PublicTest chose the temperature; the epoch is the last."
    joined = {"members": [{"name": "a", "training": last}, {"name": "b", "training": best}]}
    assert chosen_on_public(best) == chosen_on_public(joined) == "PublicTest chose the epoch and the temperature."
    # Of an imported checkpoint nothing is known.
    imported = {"members": [{"name": "a", "training": {}}, {"name": "b", "training": {}}]}
    assert chosen_on_public(imported) == "PublicTest chose the temperature."
    assert chosen_on_public({"members": [*imported["members"], joined["members"][0]]}) == chosen_on_public(last)


def test_the_files_of_a_run_are_told_apart_by_their_digests():
    teachers = [{"name": "a", "sha256": "ab" * 32, "training": {}}, {"name": "a", "sha256": "cd" * 32, "training": {}}]
    taught = {
        "teacher": ["a.onnx", "a.onnx"],
        "teacher_origins": teachers,
        "init": "first.pth",
        "init_sha256": "ef" * 32,
    }
    assert files_of(taught) == [
        "first.pth, SHA-256 efefefefefefefef…",
        "a.onnx, SHA-256 abababababababab…",
        "a.onnx, SHA-256 cdcdcdcdcdcdcdcd…",
    ]
    begun = {"init": "first", "init_sha256": "ef" * 32, "init_origin": {"model": "base_cnn"}}
    assert files_of(begun) == ["first/model.keras, SHA-256 efefefefefefefef…"]  # the folder of a run
    assert files_of({"teacher": None, "init": "first"}) == []  # as older runs kept none
