import dataclasses
import functools
import shutil
from collections.abc import Callable

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.models import load_network, se_resnet  # noqa: E402
from fer_tf.preprocessing.preprocessor import create_preprocessor  # noqa: E402
from fer_tf.train import loop  # noqa: E402
from fer_tf.train.input_pipeline import evaluation_batches  # noqa: E402
from fer_tf.train.prediction import cross_entropy, predictor  # noqa: E402
from fer_tf.train.recorder import Recorder  # noqa: E402
from fer_tf.train.report import write_report  # noqa: E402
from fer_tf.train.run_folder import RunFolder  # noqa: E402
from fer_tf.train.settings import Settings  # noqa: E402

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_epoch_is_kept_that_is_asked_for(keep, noise, tmp_path):
    """PublicTest has other labels here than the same images in training, so it is best before much is learned."""
    public = dataclasses.replace(noise, labels=(noise.labels + 1) % 7)
    settings = small_run(epochs=6, batch_size=10, learning_rate=3e-3, keep=keep)
    folder = RunFolder(tmp_path)
    folder.create(settings)
    loop.fit(folder, noise, public)
    rows = folder.read_history()
    accuracies = [row["public_accuracy"] for row in rows]
    number = 5 if keep == "last" else int(np.argmax(accuracies))
    assert accuracies[5] < max(accuracies)
    images = evaluation_batches(public.images, create_preprocessor("original"))
    logits = predictor(load_network(folder.model))(images)
    assert cross_entropy(logits, public.labels) == pytest.approx(rows[number]["public_loss"], rel=1e-5)
    report = write_report(folder, public)
    assert report["epoch"] == number + 1
    assert report["accuracy"] == pytest.approx(accuracies[number], abs=1e-6)


def small_run(**settings) -> Settings:
    """Returns the settings of two epochs of eleven steps on the noise."""
    usual = {"model": "tiny", "dataset": "original", "epochs": 2, "batch_size": 9, "learning_rate": 1e-3, "seed": 3}
    return Settings(data="-", data_fingerprint="-", augment="none", **usual | settings)


@pytest.fixture(scope="module")
def trained(noise, tiny, tmp_path_factory) -> Callable:
    """A function from settings to the folder of a run that nothing interrupted; each is trained once, and only read.

    Beside it, `first-epoch` is what the folder held after the first epoch, as a run leaves it that is killed then.
    """
    folders = {}

    def train(settings: Settings, targets: dict[str, np.ndarray] | None = None) -> RunFolder:
        if repr(settings) not in folders:
            folder = folders[repr(settings)] = RunFolder(tmp_path_factory.mktemp("run") / "whole")
            folder.create(settings)
            end = Recorder.on_epoch_end

            def keep_first(recorder, epoch, logs=None):
                end(recorder, epoch, logs)
                if epoch == 0:
                    shutil.copytree(folder.path, folder.path.with_name("first-epoch"))

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Recorder, "on_epoch_end", keep_first)
                loop.fit(folder, noise, noise, targets)
        return folders[repr(settings)]

    return train


@pytest.fixture
def assert_resumed(noise, trained) -> Callable:
    """Trains without an interruption, and goes on from its first epoch; holds the networks against each other."""

    def check(settings: Settings, targets: dict[str, np.ndarray] | None = None) -> RunFolder:
        whole = trained(settings, targets)
        resumed = RunFolder(whole.path.with_name("first-epoch"))
        assert len(resumed.read_history()) == 1
        loop.fit(resumed, noise, noise, targets)
        images = np.random.default_rng(0).normal(0, 1, (8, 48, 48, 1)).astype(np.float32)
        first, second = (keras.tree.flatten(load_network(folder.state)(images)) for folder in (whole, resumed))
        for expected, found in zip(first, second, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)
        return whole

    return check


def test_a_run_in_parts_is_resumed_as_if_it_had_not_been_interrupted(assert_resumed):
    settings = small_run(ghost_batches=2)
    whole = assert_resumed(settings)
    assert load_network(whole.model).name == "tiny"


@pytest.mark.parametrize("parts", [1, 2])
def test_a_sharpness_aware_run_is_resumed(parts, trained, assert_resumed):
    settings = small_run(sam=0.5, ghost_batches=parts)
    plain = trained(dataclasses.replace(settings, sam=0.0))
    rows = assert_resumed(settings).read_history()
    # Of all images, by the averaged weights, while the loss of a sharpness-aware run is of others than a plain one's.
    assert abs(rows[-1]["public_loss"] - plain.read_history()[-1]["public_loss"]) > 1e-3


def test_a_run_by_muon_is_resumed(assert_resumed):
    settings = small_run(optimizer="muon")
    assert_resumed(settings)


def test_a_run_in_bfloat16_is_resumed_and_keeps_a_float32_network(assert_resumed):
    settings = small_run(precision="bfloat16")
    whole = assert_resumed(settings)
    assert {layer.compute_dtype for layer in load_network(whole.model).layers} == {"float32"}
    trained = load_network(whole.state)
    assert trained.get_layer("conv").compute_dtype == "bfloat16"
    assert {variable.dtype for variable in trained.weights} == {"float32"}
    assert trained.output.dtype == "float32"


@pytest.mark.parametrize("parts", [1, 2])
def test_a_run_with_a_second_head_is_resumed_and_keeps_the_first(parts, noise, trained, assert_resumed):
    """The second head learns what the labels do not say, and the features change by it."""
    votes = np.eye(10, dtype=np.float32)[noise.images[:, 0, 0] // 26]
    targets = {"classes": np.eye(7, dtype=np.float32)[noise.labels], "votes": votes}
    settings = small_run(label_smoothing=0.0)
    plain = trained(settings)
    settings = dataclasses.replace(settings, ferplus="votes.csv", ferplus_head=1.0, sam=0.5, ghost_batches=parts)
    whole = assert_resumed(settings, targets)
    assert whole.read_history()[0]["loss"] < np.log(7) + np.log(10) / 2  # without that of the second head
    images = np.random.default_rng(0).normal(0, 1, (8, 48, 48, 1)).astype(np.float32)
    kept, state, alone = (load_network(path) for path in (whole.model, whole.state, plain.model))
    shapes = {name: output.shape for name, output in state(images).items()}
    assert shapes == {"classes": (8, 7), "votes": (8, 10)}
    assert (kept.name, kept.output_shape) == ("tiny", (None, 7))
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
    for end, size in loop.growth(start, full, epochs):
        found += [size] * (end - begin)
        begin = end
    assert found == expected


def test_a_run_on_growing_images_sees_each_size_and_can_be_resumed(monkeypatch, assert_resumed):
    """Two phases; the other run goes on in the first. The kept network takes images of the full size."""
    sizes = []
    prepare = loop.training_batches

    def watched(images, labels, preprocessor, **keywords):
        if "first_epoch" in keywords:
            sizes.append((keywords["first_epoch"], preprocessor.image_size))
        return prepare(images, labels, preprocessor, **keywords)

    monkeypatch.setattr(loop, "training_batches", watched)
    monkeypatch.setattr(se_resnet, "se_resnet", functools.partial(se_resnet.se_resnet, blocks=(0, 0, 0)))
    small = {"model": "se_resnet", "widths": [8] * 4, "start_size": 40}
    settings = small_run(epochs=4, batch_size=25, learning_rate=1e-2, **small)
    assert_resumed(settings)
    assert sizes == [(0, 40), (2, 48), (1, 40), (2, 48)]
