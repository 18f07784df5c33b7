import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.models import create_model  # noqa: E402


@pytest.fixture(scope="module")
def network():
    return create_model("se_resnet", "stack_sharpen", widths=(8, 16, 24), blocks=(2, 1))


def randomize(network):
    random = np.random.default_rng(0)
    for variable in network.variables:
        low = 0.5 if "variance" in variable.path or "gamma" in variable.path else -0.5
        variable.assign(random.uniform(low, low + 1, variable.shape))


def test_it_computes_what_its_sources_say(network):
    """Against the same network in PyTorch."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    randomize(network)
    inputs = np.random.default_rng(1).uniform(-1, 1, (3, 48, 48, 2)).astype(np.float32)

    def tensor(name, variable):
        return torch.tensor(np.array(getattr(network.get_layer(name), variable)))

    def convolution(x, name, stride=1):
        kernel = tensor(name, "kernel").permute(3, 2, 0, 1)
        # An even size padded for stride 2 has nothing before it and one pixel behind.
        x = F.conv2d(F.pad(x, (0, 1, 0, 1)), kernel, stride=2) if stride == 2 else F.conv2d(x, kernel, padding=1)
        norm = f"{name}.norm"
        statistics = tensor(norm, "moving_mean"), tensor(norm, "moving_variance")
        return F.batch_norm(x, *statistics, tensor(norm, "gamma"), tensor(norm, "beta"), eps=1e-5)

    def dense(x, name):
        return x @ tensor(name, "kernel") + tensor(name, "bias")

    x = F.relu(convolution(torch.tensor(inputs).permute(0, 3, 1, 2), "stem"))
    for stage, blocks in ((1, 2), (2, 1)):
        x = F.relu(convolution(x, f"stage{stage}.down", stride=2))
        for block in range(blocks):
            name = f"stage{stage}.{block}"
            y = convolution(F.relu(convolution(x, f"{name}.conv1")), f"{name}.conv2")
            weights = torch.sigmoid(dense(F.relu(dense(y.mean((2, 3)), f"{name}.squeeze")), f"{name}.excite"))
            x = F.relu(x + y * weights[:, :, None, None])
    expected = dense(x.mean((2, 3)), "logits")
    np.testing.assert_allclose(network(inputs), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", ["se_resnet", "mirror_resnet"])
def test_its_blocks_start_as_the_identity(architecture):
    with_blocks = create_model(architecture, "original", widths=(8, 8), blocks=(2,))
    without = create_model(architecture, "original", widths=(8, 8), blocks=(0,))
    for layer in without.layers:
        layer.set_weights(with_blocks.get_layer(layer.name).get_weights()) if layer.weights else None
    images = np.random.default_rng(0).normal(0, 1, (2, 48, 48, 1)).astype(np.float32)
    np.testing.assert_allclose(with_blocks(images), without(images), atol=1e-6)
