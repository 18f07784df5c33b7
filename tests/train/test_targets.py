import numpy as np
import pytest

pytest.importorskip("onnx")

from fer_tf.fer2013 import Split
from fer_tf.recognizer import Recognizer
from train.targets import soft_targets


@pytest.fixture
def split() -> Split:
    images = np.zeros((3, 48, 48), np.uint8)
    images[1], images[2] = 100, 255
    return Split(images, np.array([0, 3, 6]), np.array(["a.jpg", "b.jpg", "c.jpg"]))


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(axis=-1, keepdims=True)


def test_without_other_opinions_they_are_the_labels(split):
    np.testing.assert_array_equal(soft_targets(split), np.eye(7)[[0, 3, 6]])


def test_opinions_are_mixed(split, make_model_file, tmp_path):
    votes = tmp_path / "votes.csv"
    votes.write_text(
        "image,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
        "a.jpg,0,5,0,0,5,0,0,0,0,0\n"
        "b.jpg,0,0,0,0,0,0,0,0,0,9\n"
    )
    teacher = Recognizer(make_model_file(tmp_path / "m.onnx"))
    mixed = soft_targets(split, ferplus=str(votes), ferplus_weight=0.4)
    np.testing.assert_allclose(mixed[0], [0.8, 0, 0, 0.2, 0, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(mixed[1:], np.eye(7)[[3, 6]])  # who has no votes keeps the label
    taught = soft_targets(
        split, teachers=[teacher, teacher], teacher_weight=0.7, ferplus=str(votes), ferplus_weight=0.4
    )
    brightness = np.array([0, 100, 255]) / 255
    expected = 0.3 * mixed + 0.7 * softmax(brightness[:, None] * np.arange(7))  # what the tiny model says
    np.testing.assert_allclose(taught, expected, atol=1e-6)


def test_only_the_labels_part_is_smoothed(split, make_model_file, tmp_path):
    teacher = Recognizer(make_model_file(tmp_path / "m.onnx"))
    smoothed = soft_targets(split, label_smoothing=0.14)
    np.testing.assert_allclose(smoothed, 0.86 * np.eye(7)[[0, 3, 6]] + 0.02, atol=1e-6)
    taught = soft_targets(split, teachers=[teacher], teacher_weight=0.5, label_smoothing=0.14)
    np.testing.assert_allclose(taught, (smoothed + teacher(split.images)) / 2, atol=1e-6)
