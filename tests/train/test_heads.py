import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.models import create_model  # noqa: E402
from fer_tf.train.heads import with_ghost_batches, with_votes_head  # noqa: E402
from fer_tf.train.loop import compile_model  # noqa: E402
from fer_tf.train.settings import Settings  # noqa: E402


def test_parts_of_a_batch_are_normalized_by_themselves():
    """Two parts: the logits of two smaller batches, from the same weights."""
    network = create_model("base_cnn", "original", dropout=0)
    images = np.random.default_rng(0).normal(0, 1, (8, 48, 48, 1)).astype(np.float32)
    joined = with_ghost_batches(network, 2, 8)
    expected = np.concatenate([network(images[:4], training=True), network(images[4:], training=True)])
    whole = network(images, training=True).numpy()
    np.testing.assert_allclose(joined(images, training=True), expected, atol=1e-5)
    assert np.abs(whole - expected).max() > 0.01
    assert [w.path for w in joined.weights] == [w.path for w in network.weights]


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_the_loss_of_two_heads_is_the_sum_of_theirs(weight):
    """In PyTorch. The votes for the last image are not known."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    images = random.normal(0, 2, (6, 5)).astype(np.float32)
    truth = {name: random.dirichlet(np.ones(n), 6).astype(np.float32) for name, n in (("classes", 7), ("votes", 10))}
    truth["votes"][-1] = 0
    features = keras.layers.Dense(4)(inputs := keras.Input((5,)))
    model = with_votes_head(keras.Model(inputs, keras.layers.Dense(7)(features)), 10)
    logits = {name: output.numpy() for name, output in model(images).items()}
    compile_model(model, Settings(data="-", data_fingerprint="-", ferplus="v.csv", ferplus_head=weight), steps=1)
    found = model.test_on_batch(images, truth, return_dict=True)
    entropies = {
        name: torch.nn.functional.cross_entropy(torch.from_numpy(logits[name]), torch.from_numpy(truth[name])).item()
        for name in truth
    }
    assert found["loss"] == pytest.approx(entropies["classes"] + weight * entropies["votes"], rel=1e-5)
    assert found["classes_cross_entropy"] == pytest.approx(entropies["classes"], rel=1e-5)
    right = truth["classes"].argmax(axis=1) == logits["classes"].argmax(axis=1)
    assert found["classes_accuracy"] == pytest.approx(right.mean())
