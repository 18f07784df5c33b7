import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.models import create_model, load_network  # noqa: E402

WIDTHS, BLOCKS = (8, 16, 32), (2, 1)


@pytest.fixture(scope="module")
def network():
    model = create_model("mirror_resnet", "stack_sharpen", widths=WIDTHS, blocks=BLOCKS, dropout=0)
    random = np.random.default_rng(0)
    for variable in model.variables:
        low = 0.5 if "variance" in variable.path or "gamma" in variable.path else -0.5
        variable.assign(random.uniform(low, low + 1, variable.shape))
    return model


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [48, 42])
def test_it_computes_two_networks_that_look_at_each_other(network, size, training):
    """Against PyTorch, by the other way to make such a network: the image and its mirror image, one behind the other
    in a batch, with the same filters for both, each of which also takes the mirrored features of the other. 42 pixels
    are halved to 21, then to 10."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    inputs = np.random.default_rng(1).uniform(-1, 1, (3, size, size, 2)).astype(np.float32)

    def tensor(name, variable):
        return torch.tensor(np.array(getattr(network.get_layer(name), variable)))

    def convolution(x, name, stride=1, lifting=False):
        if not lifting:
            x = torch.cat([x, x.roll(len(x) // 2, 0).flip(3)], 1)
        before = 1 - (x.shape[3] % 2 == 0) if stride == 2 else 1  # as TensorFlow pads: less before than behind
        x = F.conv2d(F.pad(x, (before, 1, before, 1)), tensor(name, "kernel").permute(3, 2, 0, 1), stride=stride)
        norm = f"{name}.norm"
        mean, variance = tensor(norm, "moving_mean"), tensor(norm, "moving_variance")
        return F.batch_norm(x, mean, variance, tensor(norm, "gamma"), tensor(norm, "beta"), training=training, eps=1e-5)

    def dense(x, name):
        return x @ tensor(name, "kernel") + tensor(name, "bias")

    def pooled(x):
        return x.reshape(2, -1, *x.shape[1:]).mean((0, 3, 4))

    x = torch.tensor(inputs).permute(0, 3, 1, 2)
    x = F.relu(convolution(torch.cat([x, x.flip(3)]), "stem", lifting=True))
    for stage, count in enumerate(BLOCKS, 1):
        x = F.relu(convolution(F.avg_pool2d(x, 2, stride=1), f"stage{stage}.down", stride=2))
        for block in range(count):
            name = f"stage{stage}.{block}"
            y = convolution(F.relu(convolution(x, f"{name}.conv1")), f"{name}.conv2")
            weights = torch.sigmoid(dense(F.relu(dense(pooled(y), f"{name}.squeeze")), f"{name}.excite"))
            x = F.relu(x + y * torch.cat([weights, weights])[:, :, None, None])
    expected = dense(pooled(x), "logits")
    kept = network.get_weights()
    np.testing.assert_allclose(network(inputs, training=training), expected, rtol=1e-3, atol=1e-3)
    network.set_weights(kept)


@pytest.mark.parametrize("size", [48, 42, 33])
def test_it_answers_alike_for_mirrored_images_only(network, size):
    images = np.random.default_rng(2).uniform(-1, 1, (4, size, size, 2)).astype(np.float32)
    logits = network(images).numpy()
    np.testing.assert_allclose(network(images[:, :, ::-1]), logits, rtol=1e-4, atol=1e-4)
    assert np.abs(network(images[:, ::-1]) - logits).max() > 0.01


def test_a_step_keeps_it_so_in_bfloat16_too():
    model = create_model("mirror_resnet", "original", precision="bfloat16", widths=WIDTHS, blocks=BLOCKS, dropout=0)
    images = np.random.default_rng(3).normal(0, 1, (8, 48, 48, 1)).astype(np.float32)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # or the step is traced twice
    model.fit(images, np.arange(8) % 7, epochs=3, verbose=0)
    logits = model(images).numpy()
    assert logits.std() > 0.01
    np.testing.assert_allclose(model(images[:, :, ::-1]), logits, atol=0.05 * logits.std())


def test_it_has_half_the_convolutions_weights_of_an_se_resnet_and_is_read_back(network, tmp_path):
    def kernels(model):
        return sum(np.prod(weights.shape) for weights in model.weights if len(weights.shape) == 4)

    assert kernels(network) * 2 == kernels(create_model("se_resnet", "stack_sharpen", widths=WIDTHS, blocks=BLOCKS))
    network.save(tmp_path / "x.keras")
    images = np.random.default_rng(4).uniform(-1, 1, (2, 48, 48, 2)).astype(np.float32)
    np.testing.assert_array_equal(load_network(tmp_path / "x.keras")(images), network(images))
