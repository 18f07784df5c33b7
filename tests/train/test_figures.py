import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fer_tf.recognizer import Recognizer, predict
from fer_tf.table import to_text
from fer_tf.train.figures import evaluate, evaluation_split
from fer_tf.train.summary import summarize


def test_splits_are_what_they_are_called(data_set, make_model_file, tmp_path):
    recognizer = Recognizer(make_model_file(tmp_path / "m.onnx"))
    probabilities = predict(recognizer, evaluation_split(data_set, "all").images)
    report = evaluate(probabilities, data_set, temperature=1.0, splits="all")
    assert {name: row["n"] for name, row in report.items()} == {
        "public": 50,
        "private": 20,
        "private_deduplicated": 15,
        "all": 70,
    }

    def accuracy(images, labels):
        return (recognizer(images).argmax(axis=1) == labels).mean()

    public, private = data_set.public, data_set.private
    assert report["public"]["accuracy"] == accuracy(public.images, public.labels)
    assert report["private"]["accuracy"] == accuracy(private.images, private.labels)
    assert report["private_deduplicated"]["accuracy"] == accuracy(private.images[5:], private.labels[5:])
    both = np.concatenate([public.images, private.images]), np.concatenate([public.labels, private.labels])
    assert report["all"]["accuracy"] == pytest.approx(accuracy(*both))


def test_public_alone_never_looks_at_private(data_set, make_model_file, tmp_path):
    blind = dataclasses.replace(data_set, private=None)
    recognizer = Recognizer(make_model_file(tmp_path / "m.onnx"))
    probabilities = predict(recognizer, evaluation_split(blind, "public").images)
    assert list(evaluate(probabilities, blind, temperature=1.0)) == ["public"]


def test_the_table_says_which_split_chose(data_set, make_model_file, tmp_path):
    probabilities = Recognizer(make_model_file(tmp_path / "m.onnx"))(evaluation_split(data_set, "all").images)
    report = evaluate(probabilities, data_set, temperature=1.0, splits="all")
    text = to_text(summarize(report))
    assert "PublicTest (the choosing split)" in text
    assert f"{report['private']['accuracy']:.2%}" in text
    assert json.loads(json.dumps(report)) == report
