import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.catalogue import ARCHITECTURES  # noqa: E402
from fer_tf.models import create_model  # noqa: E402
from fer_tf.models.mirror_resnet import MirrorConvolution  # noqa: E402


def test_a_new_network_is_the_sum_of_its_shortcuts():
    """With each block's last normalization at zero, what the blocks' other weights are makes no difference."""
    model = create_model("resnet50", "original")
    images = np.random.default_rng(0).normal(0, 1, (2, 64, 64, 3)).astype(np.float32)
    before = model(images, training=True).numpy()
    blocks = [layer for layer in model.layers if layer.name.startswith("layer") and ".conv" in layer.name]
    assert len(blocks) == 48
    for layer in blocks:
        layer.kernel.assign(layer.kernel * -3)
    np.testing.assert_allclose(model(images, training=True), before, atol=1e-5)
    assert np.abs(before).max() > 0.01


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_in_bfloat16_weights_and_logits_stay_float32(architecture):
    before = keras.config.dtype_policy().name
    model = create_model(architecture, "original", precision="bfloat16")
    assert keras.config.dtype_policy().name == before
    assert {variable.dtype for variable in model.weights} == {"float32"}
    assert model.output.dtype == "float32"
    convolutions = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, MirrorConvolution))]
    assert {layer.compute_dtype for layer in convolutions} == {"bfloat16"}
