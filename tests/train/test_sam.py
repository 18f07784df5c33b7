import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.train.sam import sharpness_aware_step  # noqa: E402


def test_a_sharpness_aware_step_is_that_of_its_paper():
    """ASAM in PyTorch, with the step up by half of the batch."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    images = random.normal(0, 1, (9, 5)).astype(np.float32)
    labels = np.eye(7, dtype=np.float32)[random.integers(0, 7, 9)]
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7, bias_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.5), keras.losses.CategoricalCrossentropy(from_logits=True))
    weights = [torch.tensor(variable.numpy(), requires_grad=True) for variable in model.trainable_variables]

    def slopes(images, labels, kernel, bias):
        logits = torch.from_numpy(images) @ kernel + bias
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        return loss.item(), torch.autograd.grad(loss, [kernel, bias])

    loss, first = slopes(images[:5], labels[:5], *weights)
    length = torch.cat([(w * slope).flatten() for w, slope in zip(weights, first, strict=True)]).norm()
    moved = [(w + 0.7 * w**2 * slope / length) for w, slope in zip(weights, first, strict=True)]
    _, second = slopes(images, labels, *moved)
    expected = [(w - 0.5 * slope).detach().numpy() for w, slope in zip(weights, second, strict=True)]

    metrics = sharpness_aware_step(model, 0.7)((images, labels))
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, atol=1e-6)
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)
