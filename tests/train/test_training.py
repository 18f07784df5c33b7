import dataclasses

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.fer2013 import Split  # noqa: E402
from fer_tf.models import create_model, load_network  # noqa: E402
from fer_tf.preprocessing.preprocessor import create_preprocessor  # noqa: E402
from fer_tf.train import training  # noqa: E402
from fer_tf.train.input_pipeline import evaluation_batches, training_batches  # noqa: E402
from fer_tf.train.report import write_report  # noqa: E402
from fer_tf.train.run_folder import RunFolder, Settings  # noqa: E402


@pytest.fixture(scope="module")
def split() -> Split:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (100, 48, 48), np.uint8)
    return Split(images, random.integers(0, 7, 100), np.arange(100).astype(str))


@pytest.fixture(scope="module")
def trained(split, tmp_path_factory):
    """One epoch of 12 steps: the folder, and the trainable weights after each step."""
    settings = Settings("base_cnn", "original", "-", "-", 1, 8, 1e-3, 3, None, "none", ema_steps=1000.0)
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.create(settings)
    weights = []

    class Watcher(training._Recorder):
        def on_train_batch_end(self, batch, logs=None):
            weights.append([variable.numpy() for variable in self.model.trainable_variables])
            super().on_train_batch_end(batch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_Recorder", Watcher)
        training.fit(folder, split, split)
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


def test_normalisation_statistics_belong_to_the_average(trained, split):
    """The first norm's statistics, from the kept convolution's own output on the same batches, in NumPy."""
    folder, _ = trained
    network = load_network(folder.model)
    batches = training_batches(
        split.images, split.labels, create_preprocessor("original"), batch_size=8, augmentation=None, seed=4
    )
    outputs = [network.get_layer("conv1")(images).numpy() for images, _ in batches.take(3)]  # 1 + 12 steps // 5
    weights = 0.9 ** np.array([2, 1, 0]) * 0.1 / (1 - 0.9**3)
    norm = network.get_layer("norm1")
    mean = sum(w * output.mean(axis=(0, 1, 2)) for w, output in zip(weights, outputs, strict=True))
    variance = sum(w * output.var(axis=(0, 1, 2), ddof=1) for w, output in zip(weights, outputs, strict=True))
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-2, atol=1e-6)
    assert sum(weights) == pytest.approx(1)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_epoch_is_kept_that_is_asked_for(keep, split, tmp_path):
    """PublicTest has other labels here than the same images in training, so it is best before much is learned."""
    public = dataclasses.replace(split, labels=(split.labels + 1) % 7)
    settings = Settings("base_cnn", "original", "-", "-", 6, 10, 3e-3, 3, None, "none", keep=keep)
    folder = RunFolder(tmp_path)
    folder.create(settings)
    training.fit(folder, split, public)
    rows = folder.read_history()
    accuracies = [row["public_accuracy"] for row in rows]
    number = 5 if keep == "last" else int(np.argmax(accuracies))
    assert accuracies[5] < max(accuracies)
    images = evaluation_batches(public.images, create_preprocessor("original"))
    logits = training.predictor(load_network(folder.model))(images)
    assert training.cross_entropy(logits, public.labels) == pytest.approx(rows[number]["public_loss"], rel=1e-5)
    report = write_report(folder, public)
    assert report["epoch"] == number + 1
    assert report["accuracy"] == pytest.approx(accuracies[number], abs=1e-6)


def test_the_rate_warms_up_and_ends_at_zero():
    settings = Settings("base_cnn", "original", "-", "-", 10, 8, 1e-3, 0, None, "none")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(7)])
    training._compile(model, settings, steps=50)
    rates = [float(model.optimizer._learning_rate(step)) for step in (0, 50, 100, 300, 500)]
    assert rates == pytest.approx([1e-5, 5.05e-4, 1e-3, 5e-4, 0], rel=1e-3, abs=1e-9)


def test_cross_entropy_is_that_of_scikit_learn():
    from sklearn.metrics import log_loss

    random = np.random.default_rng(0)
    logits, labels = random.normal(0, 2, (50, 7)).astype(np.float32), random.integers(0, 7, 50)
    powers = np.exp(logits.astype(float))
    expected = log_loss(labels, powers / powers.sum(axis=1, keepdims=True), labels=range(7))
    assert training.cross_entropy(logits, labels) == pytest.approx(expected, rel=1e-5)


def test_parts_of_a_batch_are_normalised_by_themselves():
    """Two parts: the logits of two smaller batches, from the same weights."""
    network = create_model("base_cnn", "original", dropout=0)
    images = np.random.default_rng(0).normal(0, 1, (8, 48, 48, 1)).astype(np.float32)
    joined = training._in_parts(network, 2, 8)
    expected = np.concatenate([network(images[:4], training=True), network(images[4:], training=True)])
    whole = network(images, training=True).numpy()
    np.testing.assert_allclose(joined(images, training=True), expected, atol=1e-5)
    assert np.abs(whole - expected).max() > 0.01
    assert [w.path for w in joined.weights] == [w.path for w in network.weights]


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

    metrics = training.sharpness_aware_step(model, 0.7)((images, labels))
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, atol=1e-6)
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)


def assert_resumed(settings, split, tmp_path, monkeypatch) -> RunFolder:
    """Trains without an interruption, and with one after an epoch; holds the networks against each other."""
    whole, interrupted = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    for folder in (whole, interrupted):
        folder.create(settings)
    training.fit(whole, split, split)
    end = training._Recorder.on_epoch_end

    def stop(recorder, epoch, logs=None):
        end(recorder, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training._Recorder, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            training.fit(interrupted, split, split)
    training.fit(interrupted, split, split)
    images = np.random.default_rng(0).normal(0, 1, (8, 48, 48, 1)).astype(np.float32)
    first, second = (load_network(folder.state)(images).numpy() for folder in (whole, interrupted))
    np.testing.assert_allclose(first, second, atol=1e-5)
    return whole


def test_a_run_in_parts_is_resumed_as_if_it_had_not_been_interrupted(split, tmp_path, monkeypatch):
    settings = Settings("base_cnn", "original", "-", "-", 2, 9, 1e-3, 3, None, "none", ghost_batches=2)
    whole = assert_resumed(settings, split, tmp_path, monkeypatch)
    assert load_network(whole.model).name == "base_cnn"


@pytest.mark.parametrize("parts", [1, 2])
def test_a_sharpness_aware_run_is_resumed(parts, split, tmp_path, monkeypatch):
    settings = Settings("base_cnn", "original", "-", "-", 2, 9, 1e-3, 3, None, "none", sam=0.5, ghost_batches=parts)
    plain = RunFolder(tmp_path / "plain")
    plain.create(dataclasses.replace(settings, sam=0.0))
    training.fit(plain, split, split)
    rows = assert_resumed(settings, split, tmp_path, monkeypatch).read_history()
    # Of all images, by the averaged weights, while the loss of a sharpness-aware run is of others than a plain one's.
    assert abs(rows[-1]["public_loss"] - plain.read_history()[-1]["public_loss"]) > 1e-3


def test_a_run_by_muon_is_resumed(split, tmp_path, monkeypatch):
    settings = Settings("base_cnn", "original", "-", "-", 2, 9, 1e-3, 3, None, "none", optimizer="muon")
    assert_resumed(settings, split, tmp_path, monkeypatch)


def test_a_run_in_bfloat16_is_resumed_and_keeps_a_float32_network(split, tmp_path, monkeypatch):
    settings = Settings("base_cnn", "original", "-", "-", 2, 9, 1e-3, 3, None, "none", precision="bfloat16")
    whole = assert_resumed(settings, split, tmp_path, monkeypatch)
    assert {layer.compute_dtype for layer in load_network(whole.model).layers} == {"float32"}
    trained = load_network(whole.state)
    assert trained.get_layer("conv2").compute_dtype == "bfloat16"
    assert {variable.dtype for variable in trained.weights} == {"float32"}
    assert trained.output.dtype == "float32"


@pytest.mark.parametrize("weight", [0.5, 1])
def test_the_loss_of_two_heads_is_the_sum_of_theirs(weight):
    """In PyTorch. The second head's answer to the last image is not known."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (6, 17)).astype(np.float32)
    truth = np.concatenate([random.dirichlet(np.ones(7), 6), random.dirichlet(np.ones(10), 6)], 1).astype(np.float32)
    truth[-1, 7:] = 0

    def entropies(part):
        values = (torch.from_numpy(values[:, part]) for values in (logits, truth))
        return torch.nn.functional.cross_entropy(*values, reduction="none").numpy()

    expected = (entropies(slice(7)) + weight * entropies(slice(7, None))).mean()
    assert float(training.TwoHeadLoss(weight)(truth, logits)) == pytest.approx(expected, rel=1e-5)
    right = truth[:, :7].argmax(axis=1) == logits[:, :7].argmax(axis=1)
    np.testing.assert_array_equal(training.first_accuracy(truth, logits), right)
    np.testing.assert_allclose(training.head_loss(truth, logits), entropies(slice(7)), rtol=1e-5)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_run_with_a_second_head_is_resumed_and_keeps_the_first(parts, split, tmp_path, monkeypatch):
    """The second head learns what the labels do not say, and the features change by it."""
    second = np.eye(10, dtype=np.float32)[split.images[:, 0, 0] // 26]
    first = np.eye(7, dtype=np.float32)[split.labels]
    both = dataclasses.replace(split, labels=np.concatenate([first, second], axis=1))
    settings = Settings("base_cnn", "original", "-", "-", 2, 9, 1e-3, 3, None, "none", label_smoothing=0.0)
    plain = RunFolder(tmp_path / "plain")
    plain.create(settings)
    training.fit(plain, split, split)
    settings = dataclasses.replace(settings, ferplus="votes.csv", ferplus_head=1.0, sam=0.5, ghost_batches=parts)
    fit = training.fit
    monkeypatch.setattr(training, "fit", lambda folder, train, public: fit(folder, both, public))
    whole = assert_resumed(settings, split, tmp_path, monkeypatch)
    assert whole.read_history()[0]["loss"] < np.log(7) + np.log(10) / 2  # without that of the second head
    images = np.random.default_rng(0).normal(0, 1, (8, 48, 48, 1)).astype(np.float32)
    kept, state, alone = (load_network(path) for path in (whole.model, whole.state, plain.model))
    assert (kept.name, kept.output_shape, state.output_shape[-1]) == ("base_cnn", (None, 7), 17)
    assert [w.shape for w in kept.weights] == [w.shape for w in alone.weights]
    assert np.abs(kept(images) - alone(images)).max() > 1e-3


@pytest.mark.parametrize(
    ("start", "full", "epochs", "expected"),
    [
        (None, 48, 7, [48] * 7),
        (48, 48, 2, [48] * 2),
        (32, 48, 9, [32] * 3 + [40] * 3 + [48] * 3),
        (30, 48, 5, [30, 38, 46, 48, 48]),
        (32, 48, 1, [48]),
    ],
)
def test_images_grow_in_equal_phases_and_end_at_full_size(start, full, epochs, expected):
    found, begin = [], 0
    for end, size in training.growth(start, full, epochs):
        found += [size] * (end - begin)
        begin = end
    assert found == expected


def test_a_run_on_growing_images_sees_each_size_and_can_be_resumed(split, tmp_path, monkeypatch):
    """Two phases; one run is interrupted in the first. The kept network takes images of the full size."""
    sizes = []
    prepare = training.training_batches

    def watched(images, labels, preprocessor, **keywords):
        if "first_epoch" in keywords:
            sizes.append((keywords["first_epoch"], preprocessor.image_size))
        return prepare(images, labels, preprocessor, **keywords)

    monkeypatch.setattr(training, "training_batches", watched)
    settings = Settings(
        "se_resnet", "original", "-", "-", 4, 25, 1e-2, 3, None, "none", widths=[8] * 4, start_size=40, ghost_batches=1
    )
    assert_resumed(settings, split, tmp_path, monkeypatch)
    assert sizes == [(0, 40), (2, 48)] * 2 + [(1, 40), (2, 48)]
