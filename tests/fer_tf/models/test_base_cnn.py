import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.errors import UserError  # noqa: E402
from fer_tf.models import create_model, load_network  # noqa: E402


@pytest.mark.parametrize(("dataset", "channels"), [("original", 1), ("stack_sharpen", 2)])
def test_it_is_the_original_layer_for_layer(dataset, channels, torch_base_cnn):
    """With PyTorch's weights it gives PyTorch's logits, in use and, by the batch's statistics, in training."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs, ours = torch_base_cnn(channels).model, create_model("base_cnn", dataset, dropout=0.0)
    theirs[15].p = 0.0
    for module in theirs:
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
    state = {key: value.numpy() for key, value in theirs.state_dict().items() if "num_batches" not in key}
    assert ours.count_params() == sum(value.size for value in state.values())
    for layer, index in {"conv1": 0, "conv2": 4, "conv3": 8}.items():
        ours.get_layer(layer).set_weights([state[f"{index}.weight"].transpose(2, 3, 1, 0), state[f"{index}.bias"]])
    for layer, index in {"norm1": 2, "norm2": 6, "norm3": 10}.items():
        names = ("weight", "bias", "running_mean", "running_var")
        ours.get_layer(layer).set_weights([state[f"{index}.{name}"] for name in names])
    dense = state["13.weight"].reshape(256, 128, 6, 6).transpose(2, 3, 1, 0).reshape(4608, 256)
    ours.get_layer("dense").set_weights([dense, state["13.bias"]])
    ours.get_layer("logits").set_weights([state["16.weight"].T, state["16.bias"]])

    images = np.random.default_rng(0).uniform(-1, 1, (16, 48, 48, channels)).astype(np.float32)
    turned = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        expected = theirs.eval()(turned).numpy()
        np.testing.assert_allclose(ours(images, training=False).numpy(), expected, atol=2e-5)
        expected = theirs.train()(turned).numpy()
        np.testing.assert_allclose(ours(images, training=True).numpy(), expected, atol=2e-4)
    norm = ours.get_layer("norm1")
    np.testing.assert_allclose(norm.moving_mean.numpy(), theirs[2].running_mean.numpy(), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance.numpy(), theirs[2].running_var.numpy(), rtol=1e-4)


def test_gradients_of_the_fused_normalisation_are_those_of_torch():
    torch = pytest.importorskip("torch")
    import tensorflow as tf

    from fer_tf.models.layers import BatchNormalization

    random = np.random.default_rng(0)
    values, weights = random.normal(0, 1, (2, 4, 5, 6, 3)).astype(np.float32)
    norm = BatchNormalization()
    with tf.GradientTape() as tape:
        images = tf.constant(values)
        tape.watch(images)
        loss = tf.reduce_sum(norm(images, training=True) * weights)
    gradients = tape.gradient(loss, [images, norm.gamma, norm.beta])
    theirs = torch.nn.BatchNorm2d(3)
    turned = torch.from_numpy(values.transpose(0, 3, 1, 2).copy()).requires_grad_()
    (theirs(turned) * torch.from_numpy(weights.transpose(0, 3, 1, 2).copy())).sum().backward()
    expected = [turned.grad.numpy().transpose(0, 2, 3, 1), theirs.weight.grad.numpy(), theirs.bias.grad.numpy()]
    for found, value in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), value, atol=1e-4)


def test_a_saved_network_is_the_same(tmp_path):
    model = create_model("base_cnn", "original")
    model.save(tmp_path / "m.keras")
    images = np.random.default_rng(0).uniform(-1, 1, (4, 48, 48, 1)).astype(np.float32)
    np.testing.assert_array_equal(load_network(tmp_path / "m.keras")(images), model(images))


def test_a_network_of_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="expected one of base_cnn"):
        create_model("vgg19", "original")
    with pytest.raises(UserError, match="no data set 'blurred'"):
        create_model("base_cnn", "blurred")
