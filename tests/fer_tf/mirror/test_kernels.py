import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.mirror.kernels import folded, join, mirrored, split  # noqa: E402
from fer_tf.models import create_model  # noqa: E402


def test_kernels_are_joined_again():
    kernel = np.random.default_rng(7).normal(size=(3, 3, 8, 6))
    np.testing.assert_allclose(join(*split(kernel)), kernel, atol=1e-12)


@pytest.fixture(scope="module")
def network():
    model = create_model("mirror_resnet", "stack_sharpen", widths=(8, 16, 32), blocks=(2, 1))
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.mark.parametrize("name", ["stem", "stage1.down", "stage2.0.conv1"])
def test_filters_are_mirrored_as_the_network_does(name, network):
    layer = network.get_layer(name)
    kernel = layer.kernel.numpy()
    np.testing.assert_array_equal(mirrored(kernel, lifting=name == "stem"), layer.mirrored(kernel))


@pytest.mark.parametrize("name", ["stem", "stage1.down", "stage2.0.conv2"])
def test_normalizations_are_folded_in(name, network):
    """Against the layers themselves, on the first half of the filters."""
    weights = folded(network)
    layer, norm = network.get_layer(name), network.get_layer(f"{name}.norm")
    features = np.random.default_rng(1).normal(size=(2, 7, 7, layer.input.shape[-1])).astype(np.float32)
    expected = norm(layer(features), training=False).numpy()
    kernel, bias = weights.layers[name]
    layer.kernel.assign(kernel)
    half = len(bias)
    np.testing.assert_allclose(layer(features)[..., :half] + bias, expected[..., :half], rtol=1e-4, atol=1e-4)


def test_the_structure_can_be_seen_in_the_weights(network):
    weights = folded(network)
    assert weights.smooth
    assert weights.stages() == [["stage1.0", "stage1.1"], ["stage2.0"]]
    assert {name for name in weights.layers if "." not in name} == {"stem", "logits"}
