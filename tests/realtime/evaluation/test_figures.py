import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fer_tf.classes import CLASSES
from fer_tf.realtime.evaluation.figures import measure_mixtures, resting_faces
from fer_tf.realtime.evaluation.labeled import LabeledPicture
from fer_tf.realtime.evaluation.page import page, tables
from fer_tf.realtime.evaluation.recognized import Recognized
from fer_tf.table import to_text

EVERYDAY = np.array([0.06, 0.02, 0.03, 0.30, 0.45, 0.09, 0.05])
FER2013 = np.array([3995, 436, 4097, 7215, 4965, 4830, 3171]) / 28709
REST = np.array([0.04, 0.01, 0.04, 0.06, 0.70, 0.12, 0.03])
NEUTRAL = CLASSES.index("neutral")
CARDS = {
    "a": SimpleNamespace(training_shares=None),
    "b": SimpleNamespace(training_shares=(0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)),
}


@pytest.fixture
def recognized():
    """Two models on 300 pictures of 30 people, two more without a face, and a broken one."""
    random = np.random.default_rng(0)
    labels = random.choice(7, 300, p=EVERYDAY)
    rows = random.dirichlet(np.ones(7), (2, 300)) + 0.5 * np.eye(7)[labels]
    rows /= rows.sum(axis=2, keepdims=True)
    pictures = [LabeledPicture(Path(f"{i}.jpg"), int(k), f"p{i % 30}" if i % 3 else "") for i, k in enumerate(labels)]
    missed = [LabeledPicture(Path("m.jpg"), 0, ""), LabeledPicture(Path("n.jpg"), 1, "p1")]
    return Recognized(pictures, rows.astype(np.float32), missed, {"x.jpg": "x.jpg: is not a readable picture"}, 5)


def corrected(rows, expected, trained):
    """Saerens, Latinne and Decaestecker's formula, in probabilities."""
    rows = rows.astype(float) * expected / trained
    return rows / rows.sum(axis=1, keepdims=True)


def test_figures_are_scikit_learns_for_each_model_and_mixture(recognized):
    sklearn = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    report = measure_mixtures(recognized, CARDS, ["everyday", "even", "fer2013"], resting_weight=0.5)
    labels = recognized.labels
    present = np.unique(labels)
    right = {}
    for name, rows in zip(CARDS, recognized.probabilities, strict=True):
        trained = FER2013 if name == "a" else np.array(CARDS["b"].training_shares)
        for mixture, expected in (("everyday", EVERYDAY), ("even", np.full(7, 1 / 7)), ("fer2013", FER2013)):
            probabilities = corrected(rows, expected, trained)
            predicted = probabilities.argmax(axis=1)
            right[name, mixture] = predicted == labels
            found = report["models"][name][mixture]
            assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, predicted))
            assert found["balanced_accuracy"] == pytest.approx(sklearn.balanced_accuracy_score(labels, predicted))
            f1 = sklearn.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
            assert found["macro_f1"] == pytest.approx(f1)
            entropy = sklearn.log_loss(labels, probabilities, labels=range(7))
            assert found["cross_entropy"] == pytest.approx(entropy, rel=1e-4)
            confusion = sklearn.confusion_matrix(labels, predicted, labels=range(7))
            np.testing.assert_array_equal(found["confusion"], confusion)
            count = int(right[name, mixture].sum())
            wilson = stats.binomtest(count, 302).proportion_ci(0.95, "wilson")
            assert found["of_all"]["accuracy"] == pytest.approx(count / 302)
            assert found["of_all"]["accuracy_interval"] == pytest.approx([wilson.low, wilson.high])
            assert sum(found["reliability"]["n"]) == 300
    for mixture in ("everyday", "even", "fer2013"):
        test = report["models"]["b"][mixture]["mcnemar"]
        only_first = int((right["a", mixture] & ~right["b", mixture]).sum())
        only_this = int((~right["a", mixture] & right["b", mixture]).sum())
        assert (test["against"], test["only_first"], test["only_this"]) == ("a", only_first, only_this)
        assert test["p"] == pytest.approx(stats.binomtest(only_first, only_first + only_this).pvalue)
        assert "mcnemar" not in report["models"]["a"][mixture]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_pictures_are_counted(recognized):
    report = measure_mixtures(recognized, CARDS, ["even"], resting_weight=0.5)
    counts = {name: report[name] for name in ("pictures", "recognized", "missed", "broken", "several_faces")}
    assert counts == {"pictures": 303, "recognized": 300, "missed": 2, "broken": 1, "several_faces": 5}
    assert report["missed_by_class"] == dict.fromkeys(CLASSES, 0) | {"angry": 1, "disgust": 1}
    assert sum(report["labeled"].values()) == 302
    assert report["missed_pictures"] == ["m.jpg", "n.jpg"]


def test_a_resting_face_is_of_other_neutral_pictures_of_the_same_person():
    labels = [NEUTRAL, 3, NEUTRAL, NEUTRAL, NEUTRAL, NEUTRAL, 3, NEUTRAL, 3, NEUTRAL]
    people = ["a", "a", "a", "a", "a", "b", "b", "", "", "c"]
    pictures = [LabeledPicture(Path("x"), *pair) for pair in zip(labels, people, strict=True)]
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 10)
    rest = resting_faces(rows, pictures)
    expected = {0: (2, 3, 4), 1: (0, 2, 3), 2: (0, 3, 4), 3: (0, 2, 4), 4: (0, 2, 3), 6: (5,)}
    for index in range(10):
        if index in expected:
            mean = np.log(rows[list(expected[index])]).mean(axis=0)
            np.testing.assert_allclose(rest[index], mean)
        else:
            assert np.isnan(rest[index]).all()  # b's only neutral picture, unknown people, c's only picture


def test_resting_faces_are_held_against_the_same_pictures_without(recognized):
    sklearn = pytest.importorskip("sklearn.metrics")
    rows, weight = recognized.probabilities[0], 0.7
    rest = resting_faces(rows, recognized.pictures)
    known = np.flatnonzero(~np.isnan(rest[:, 0]))
    assert 0 < len(known) < 300
    report = measure_mixtures(recognized, CARDS, ["everyday"], resting_weight=weight)
    found = report["models"]["a"]["everyday"]["resting"]
    labels, right = recognized.labels[known], []
    plain = corrected(rows, EVERYDAY, FER2013)[known]
    # In probabilities: times (the template over the geometric mean at rest) to the power of the weight.
    rested = plain * (REST / np.exp(rest[known])) ** weight
    for name, probabilities in (("without", plain), ("with_resting", rested)):
        predicted = probabilities.argmax(axis=1)
        right.append(predicted == labels)
        assert found[name]["n"] == found["n"] == len(known)
        assert found[name]["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, predicted))
        assert found[name]["balanced_accuracy"] == pytest.approx(sklearn.balanced_accuracy_score(labels, predicted))
    assert found["mcnemar"]["only_without"] == (right[0] & ~right[1]).sum()
    assert found["mcnemar"]["only_with"] == (~right[0] & right[1]).sum()
    assert found["with_resting"] != found["without"]


def test_without_people_there_are_no_resting_faces(recognized):
    alone = [LabeledPicture(picture.path, picture.label) for picture in recognized.pictures]
    recognized = Recognized(alone, recognized.probabilities, [], {}, 0)
    report = measure_mixtures(recognized, CARDS, ["even"], resting_weight=0.5)
    assert report["models"]["a"]["even"]["resting"] is None
    told = {"crops": True, "resting_weight": 0.5, "measured_by": "x", "notes": [], "left_out": {}, **report}
    text = page(told)
    assert "resting" not in text
    assert "missed" not in text


def test_page_and_terminal_say_the_same_figures(recognized):
    report = measure_mixtures(recognized, CARDS, ["everyday", "even"], resting_weight=0.5)
    report |= {"crops": False, "resting_weight": 0.5, "measured_by": "this", "notes": ["so"], "left_out": {"x": 3}}
    text, written = to_text(tables(report)), page(report)
    first = "303 pictures: a face found in 300; none in 2; several in 5, where the largest counts; 1 could not be read."
    for shown in (text, written):
        assert first in shown
        for name in CARDS:
            for mixture in ("everyday", "even"):
                assert f"{report['models'][name][mixture]['accuracy']:.1%}" in shown
    assert "`this`" in written
    assert "Left out: x 3." in written
    assert "- `m.jpg`" in written
    assert "- `x.jpg: is not a readable picture`" in written
    blocks = [block.splitlines() for block in written.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 11
    for lines in blocks:  # every table is one: as many cells in each row
        assert len({line.count("|") for line in lines}) == 1


def test_names_that_others_chose_show_as_text(recognized):
    markdown_it = pytest.importorskip("markdown_it")
    name, path = "<b>a|b</b> `c` [d](http://example.com)", "/x/`<i>`|e.jpg"
    missed = [LabeledPicture(Path(path), 0, "")]
    recognized = Recognized(recognized.pictures, recognized.probabilities, missed, {path: f"{path}: broken"}, 0)
    report = measure_mixtures(
        recognized, dict(zip((name, "b"), CARDS.values(), strict=True)), ["even"], resting_weight=1
    )
    report |= {"crops": False, "resting_weight": 1, "measured_by": f"x '{path}'", "notes": [], "left_out": {name: 1}}
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(page(report))
    parts = [part for token in tokens for part in token.children or ()]
    assert not [token for token in [*tokens, *parts] if token.type in ("html_block", "html_inline", "link_open")]
    shown = ["".join(part.content for part in token.children) for token in tokens if token.type == "inline"]
    assert shown.count(name) == 5  # in each table but that of the others
    assert f"Measured by x '{path}'." in shown
    assert f"Left out: {name} 1." in shown
    assert shown[-3:] == [path, "Pictures that could not be read", f"{path}: broken"]
