import json

import pytest

from fer_tf.card import ModelCard
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError

VALUES = {
    "name": "base_cnn-original",
    "architecture": "base_cnn",
    "dataset": "original",
    "arithmetic": "standard",
    "framework": "keras",
    "source_file": "model.keras",
    "source_sha256": "00",
    "training": {"epochs": 3},
    "metrics": {"accuracy": 0.5},
}


def test_json_round_trip():
    card = ModelCard(**VALUES, temperature=1.25)
    values = json.loads(card.to_json())
    assert values["labels"] == list(CLASSES)
    assert values["temperature"] == 1.25
    assert values["format_version"] == 1
    assert ModelCard.from_json(card.to_json()) == card


def test_the_mixture_of_the_training_images_is_told_where_it_is_another_than_that_of_fer2013():
    card = ModelCard(**VALUES, training_shares=(0.1, 0.1, 0.1, 0.2, 0.3, 0.1, 0.1))
    assert ModelCard.from_json(card.to_json()) == card
    usual = ModelCard(**VALUES)
    assert usual.training_shares is None
    assert "training_shares" not in json.loads(usual.to_json())  # so that older versions read it


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[1]", "object"),
        ("{}", "format None"),
        ("[" * 200_000, "JSON"),
        (json.dumps({"format_version": 2}), "format 2"),
        (json.dumps({"format_version": 1}), "missing"),
    ],
)
def test_bad_json_is_refused(text, expected):
    with pytest.raises(UserError, match=expected):
        ModelCard.from_json(text)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("labels", list(CLASSES[::-1]), "labels"),
        ("labels", 7, "labels"),
        ("temperature", 0, "temperature"),
        ("temperature", -1.0, "temperature"),
        ("temperature", float("nan"), "temperature"),
        ("temperature", "1", "temperature"),
        ("temperature", 10**400, "temperature"),
        ("temperature", True, "temperature"),
        ("name", 5, "name"),
        ("training", [], "training"),
        ("metrics", None, "metrics"),
        ("training_shares", [0.5, 0.5], "training_shares must be 7 shares that sum to 1"),
        ("training_shares", [1, 1, 0, 0, 0, 0, 0], "training_shares"),
        ("training_shares", [1.5, -0.5, 0, 0, 0, 0, 0], "training_shares"),
        ("training_shares", ["1", 0, 0, 0, 0, 0, 0], "training_shares"),
        ("training_shares", 1, "training_shares"),
        ("more", 1, "unknown more"),
    ],
)
def test_bad_values_are_refused(key, value, expected):
    values = {**json.loads(ModelCard(**VALUES).to_json()), key: value}
    with pytest.raises(UserError, match=expected):
        ModelCard.from_json(json.dumps(values))


def test_says_what_it_must_not_be_used_for():
    assert "at work or in education" in ModelCard(**VALUES).excluded_uses


@pytest.mark.parametrize(
    ("architecture", "dataset", "expected"),
    [
        ("mirror_resnet", "original", True),
        ("mirror_resnet", "stack_sharpen", False),
        ("mirror_resnet", "sobel", False),
        ("base_cnn", "original", False),
        ("mirror_resnet+base_cnn", "original", False),
    ],
)
def test_a_network_that_is_mirror_equivariant_counts_as_that_on_plain_faces_alone(architecture, dataset, expected):
    card = ModelCard(**{**VALUES, "architecture": architecture, "dataset": dataset})
    assert card.is_mirror_equivariant is expected
