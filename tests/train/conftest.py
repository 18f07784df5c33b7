"""Fixtures of the training room."""

import csv
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from fer_tf import fer2013
from fer_tf.catalogue import ARCHITECTURES, Architecture


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Options of a small run, but for its folders."""
    return ["--dataset", "original", "--epochs", "3", "--batch-size", "32", "--seed", "5"]


@pytest.fixture(scope="session")
def finished(small, class_folders, tmp_path_factory) -> Path:
    """A run of three epochs that nothing interrupted; nobody writes in it."""
    pytest.importorskip("keras")
    from fer_tf.train import run

    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert run.main([*small, "--data", str(class_folders), "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def tiny() -> Iterator[str]:
    """The name of a network with a layer of each kind, for tests of what happens around a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", Architecture(f"{__name__}:build_tiny", resizable=False))
        yield "tiny"


def build_tiny(channels: int):
    """Returns the network; it takes float32 [N, 48, 48, channels]."""
    import keras
    from keras import layers

    from fer_tf.models.layers import BatchNormalization

    images = keras.Input((48, 48, channels), name="images")
    features = layers.AveragePooling2D(4, name="pool")(images)
    features = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(features)
    features = layers.Flatten(name="flatten")(BatchNormalization(name="norm")(features))
    features = layers.Dense(32, activation="relu", name="dense")(features)
    features = layers.Dropout(0.5, name="dropout")(features)
    return keras.Model(images, layers.Dense(7, dtype="float32", name="logits")(features), name="tiny")


@pytest.fixture
def interrupted(monkeypatch) -> Callable[[], AbstractContextManager]:
    """A context in which every training is stopped after its next epoch, as by Ctrl-C."""
    pytest.importorskip("keras")
    from fer_tf.train.recorder import Recorder

    end = Recorder.on_epoch_end

    def stop(recorder, epoch, logs=None):
        end(recorder, epoch, logs)
        raise KeyboardInterrupt

    @contextmanager
    def context() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(Recorder, "on_epoch_end", stop)
            yield

    return context


@pytest.fixture
def voted(class_folders, tmp_path) -> tuple[Path, np.ndarray, Path]:
    """The class folders' images under names of their own, votes for those to train on, and their table."""
    data = tmp_path / "data"
    for number, path in enumerate(sorted(class_folders.rglob("*.png"))):  # votes are by file name
        copy = data / path.parent.relative_to(class_folders) / f"{number}.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    train = fer2013.load(data).train
    answers = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "unknown", "NF")
    votes = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), len(train))
    votes[3] = 0
    table = tmp_path / "votes.csv"
    named = zip(train.names, votes, strict=True)
    rows = [["image", *answers], *([name.rpartition("/")[2], *row] for name, row in named)]
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return data, votes, table


@pytest.fixture(scope="session")
def noise() -> fer2013.Split:
    """A hundred images of noise with random labels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (100, 48, 48), np.uint8)
    return fer2013.Split(images, random.integers(0, 7, 100), np.arange(100).astype(str))
