import numpy as np
import pytest

pytest.importorskip("keras")

from fer_tf.train.prediction import cross_entropy


def test_cross_entropy_is_that_of_scikit_learn():
    from sklearn.metrics import log_loss

    random = np.random.default_rng(0)
    logits, labels = random.normal(0, 2, (50, 7)).astype(np.float32), random.integers(0, 7, 50)
    powers = np.exp(logits.astype(float))
    expected = log_loss(labels, powers / powers.sum(axis=1, keepdims=True), labels=range(7))
    assert cross_entropy(logits, labels) == pytest.approx(expected, rel=1e-5)
