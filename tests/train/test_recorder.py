import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.models import load_network  # noqa: E402
from fer_tf.preprocessing.preprocessor import create_preprocessor  # noqa: E402
from fer_tf.train import loop  # noqa: E402
from fer_tf.train.input_pipeline import training_batches  # noqa: E402
from fer_tf.train.recorder import Recorder  # noqa: E402
from fer_tf.train.run_folder import RunFolder  # noqa: E402
from fer_tf.train.settings import Settings  # noqa: E402


@pytest.fixture(scope="module")
def trained(noise, tmp_path_factory):
    """One epoch of 12 steps: the folder, and the trainable weights after each step."""
    settings = Settings(
        model="base_cnn",
        dataset="original",
        data="-",
        data_fingerprint="-",
        epochs=1,
        batch_size=8,
        learning_rate=1e-3,
        seed=3,
        augment="none",
    )
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.create(settings)
    weights = []

    class Watcher(Recorder):
        def on_train_batch_end(self, batch, logs=None):
            weights.append([variable.numpy() for variable in self.model.trainable_variables])
            super().on_train_batch_end(batch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "Recorder", Watcher)
        loop.fit(folder, noise, noise)
    return folder, weights


def test_kept_weights_are_the_exponential_average(trained):
    folder, weights = trained
    assert len(weights) == 12
    momentum = 1 - 1 / 1.2  # a tenth of the run, since that is less than ema_steps
    average = weights[0]
    for step in weights[1:]:
        average = [momentum * a + (1 - momentum) * w for a, w in zip(average, step, strict=True)]
    kept = load_network(folder.model).trainable_variables
    for expected, variable in zip(average, kept, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


def test_normalization_statistics_belong_to_the_average(trained, noise):
    """The first norm's statistics, from the kept convolution's own output on the same batches, in NumPy."""
    folder, _ = trained
    network = load_network(folder.model)
    batches = training_batches(
        noise.images, noise.labels, create_preprocessor("original"), batch_size=8, augmentation=None, seed=4
    )
    outputs = [network.get_layer("conv1")(images).numpy() for images, _ in batches.take(3)]  # 1 + 12 steps // 5
    weights = 0.9 ** np.array([2, 1, 0]) * 0.1 / (1 - 0.9**3)
    norm = network.get_layer("norm1")
    mean = sum(w * output.mean(axis=(0, 1, 2)) for w, output in zip(weights, outputs, strict=True))
    variance = sum(w * output.var(axis=(0, 1, 2), ddof=1) for w, output in zip(weights, outputs, strict=True))
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-2, atol=1e-6)
    assert sum(weights) == pytest.approx(1)
