import re

import numpy as np
import pytest

pytest.importorskip("keras")

from fer_tf.errors import UserError
from fer_tf.models import create_model
from fer_tf.pytorch.port import identify, port


@pytest.fixture
def state(base_cnn):
    """What `read_state_dict` returns of it."""
    return {name: value.numpy() for name, value in base_cnn.state_dict().items() if "num_batches" not in name}


@pytest.fixture
def network():
    return create_model("base_cnn", "stack_sharpen")


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(5, 48, 48, 2)).astype(np.float32)


def test_a_ported_network_answers_as_torch_does(torch, base_cnn, state, network, images):
    assert identify(state) == ("base_cnn", 2, 7)
    port(state, network)
    with torch.inference_mode():
        expected = base_cnn(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(network(images, training=False), expected, atol=1e-5)


def test_without_its_head_a_checkpoint_of_other_classes_fits(torch, base_cnn, state, network, images):
    state |= {"model.16.weight": np.ones((8, 256), np.float32), "model.16.bias": np.ones(8, np.float32)}
    assert identify(state) == ("base_cnn", 2, 8)
    head = network.get_layer("logits")
    before = head.get_weights()
    port(state, network, head=False)
    for old, new in zip(before, head.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with torch.inference_mode():
        features = base_cnn.model[:15](torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    found = network(images, training=False)
    np.testing.assert_allclose(found, features @ before[0] + before[1], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model.2.running_mean", None, "model.2.running_mean is missing; expected shape (32,)"),
        ("model.4.weight", np.ones((64, 32, 5, 5)), "model.4.weight must be of shape (64, 32, 3, 3), found (64, 32, 5"),
        ("model.13.bias", np.ones(255), "model.13.bias must be of shape (256,), found (255,)"),
        ("model.17.weight", np.ones(3), "1 tensors have no place in base_cnn: model.17.weight (3,)"),
    ],
    ids=["missing", "another kernel", "another shape", "left over"],
)
def test_each_tensor_has_its_place(name, value, message, state, network):
    state |= {name: value}
    if value is None:
        del state[name]
    with pytest.raises(UserError, match=re.escape(message)):
        port(state, network)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["features.0.weight"], "neither a BaseCNN (model.0.weight …) nor a ResNet50"),
        (["model.0.weight"], "model.16.weight is missing"),
        (["fc.weight"], "conv1.weight is missing"),
    ],
)
def test_an_unknown_network_is_named(names, message):
    with pytest.raises(UserError, match=re.escape(message)):
        identify(dict.fromkeys(names, np.ones((32, 1, 3, 3))))
