import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fer_tf import fer2013
from fer_tf.recognizer import Recognizer
from train import evaluate


@pytest.fixture
def data(tmp_path) -> fer2013.Fer2013:
    """A data set in which five of twenty private images are copies of train."""
    random = np.random.default_rng(0)

    def split(count: int) -> fer2013.Split:
        images = random.integers(0, 256, (count, 48, 48), np.uint8)
        return fer2013.Split(images, random.integers(0, 7, count), np.array([str(n) for n in range(count)]))

    train, public, private = split(30), split(50), split(20)
    private.images[:5] = train.images[10:15]
    return fer2013.Fer2013(tmp_path, train, public, private)


def test_splits_are_what_they_are_called(data, make_model_file, tmp_path):
    recognizer = Recognizer(make_model_file(tmp_path / "m.onnx"))
    report = evaluate.evaluate(recognizer, data, temperature=1.0, splits="all")
    assert {name: row["n"] for name, row in report.items()} == {
        "public": 50,
        "private": 20,
        "private_deduplicated": 15,
        "all": 70,
    }

    def accuracy(images, labels):
        return (recognizer(images).argmax(axis=1) == labels).mean()

    public, private = data.public, data.private
    assert report["public"]["accuracy"] == accuracy(public.images, public.labels)
    assert report["private"]["accuracy"] == accuracy(private.images, private.labels)
    assert report["private_deduplicated"]["accuracy"] == accuracy(private.images[5:], private.labels[5:])
    both = np.concatenate([public.images, private.images]), np.concatenate([public.labels, private.labels])
    assert report["all"]["accuracy"] == pytest.approx(accuracy(*both))


def test_public_alone_never_looks_at_private(data, make_model_file, tmp_path):
    blind = dataclasses.replace(data, private=None)
    recognizer = Recognizer(make_model_file(tmp_path / "m.onnx"))
    assert list(evaluate.evaluate(recognizer, blind, temperature=1.0)) == ["public"]


def test_the_table_says_which_split_chose(data, make_model_file, tmp_path):
    report = evaluate.evaluate(Recognizer(make_model_file(tmp_path / "m.onnx")), data, temperature=1.0, splits="all")
    text = evaluate.describe(report)
    assert "PublicTest (the choosing split)" in text
    assert f"{report['private']['accuracy']:.2%}" in text
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none.onnx"], "no such model file"),
        ([], "required"),
        (["none.onnx", "--splits", "private"], "invalid choice"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, expected, capfd):
    assert evaluate.main(arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert expected in line
