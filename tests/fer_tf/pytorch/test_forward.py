import numpy as np
import pytest

from fer_tf.pytorch.forward import torch_logits


@pytest.mark.parametrize("count", [1, 5])
def test_base_cnn_is_that_of_torch_modules(count, torch, base_cnn):
    images = np.random.default_rng(0).normal(size=(count, 48, 48, 2)).astype(np.float32)
    with torch.inference_mode():
        expected = base_cnn(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    found = torch_logits({name: value.numpy() for name, value in base_cnn.state_dict().items()}, images)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32


def test_a_bottleneck_of_resnet50_follows_its_formula(torch):
    """All weights zero but one path through the network, which can be followed by hand."""
    state = {}

    def layer(convolution, norm, kernel):
        outputs = kernel.shape[0]
        state[f"{convolution}.weight"] = kernel
        values = {"running_mean": 0, "running_var": 1 - 1e-5, "weight": 1, "bias": 0}
        state.update({f"{norm}.{name}": np.full(outputs, value, np.float32) for name, value in values.items()})

    def zeros(outputs, inputs, size):
        return np.zeros((outputs, inputs, size, size), np.float32)

    first = zeros(64, 3, 7)
    first[0, 0, 3, 3] = 1  # the red channel, as it is
    layer("conv1", "bn1", first)
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            layer(f"{name}.conv1", f"{name}.bn1", zeros(width, inputs, 1))
            layer(f"{name}.conv2", f"{name}.bn2", zeros(width, width, 3))
            layer(f"{name}.conv3", f"{name}.bn3", zeros(4 * width, width, 1))
            state[f"{name}.bn3.bias"][1] = 1  # each block adds 1 to the second channel
            if not block:
                shortcut = zeros(4 * width, inputs, 1)
                shortcut[0, 0] = shortcut[1, 1] = 1
                layer(f"{name}.downsample.0", f"{name}.downsample.1", shortcut)
            inputs = 4 * width
    state["fc.weight"], state["fc.bias"] = np.zeros((7, 2048), np.float32), np.arange(7, dtype=np.float32)
    state["fc.weight"][0, 0] = state["fc.weight"][1, 1] = 1
    images = np.zeros((2, 64, 64, 3), np.float32)
    images[1, ..., 0] = 3
    expected = np.tile(np.arange(7, dtype=np.float32), (2, 1))
    expected[:, 1] += 3 + 4 + 6 + 3
    expected[1, 0] += 3
    np.testing.assert_allclose(torch_logits(state, images), expected, atol=1e-4)
