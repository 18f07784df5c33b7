"""FER-2013 in miniature, written in each form that users have."""

import csv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fer_tf import fer2013
from fer_tf.classes import CHALLENGE_CLASSES, CLASSES

PREFIX = {"train": "Training", "public": "PublicTest", "private": "PrivateTest"}


@pytest.fixture
def faces():
    """Ten images of each class and split, as (split, class, pixels)."""
    random = np.random.default_rng(0)
    return [
        (split, name, random.integers(0, 256, (48, 48), np.uint8))
        for split in fer2013.SPLITS
        for name in CLASSES
        for _ in range(10)
    ]


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def member_names(faces) -> list[str]:
    folder = {"train": "train", "public": "test", "private": "test"}
    return [f"{folder[s]}/{name}/{PREFIX[s]}_{(n * 7919) % 9973}.png" for n, (s, name, _) in enumerate(faces)]


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tree(path: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_csv(path: Path, faces, header=("emotion", "pixels", "Usage")) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for split, name, pixels in faces:
            values = {
                "emotion": CHALLENGE_CLASSES.index(name),
                "pixels": " ".join(map(str, pixels.ravel())),
                "usage": PREFIX[split],
            }
            writer.writerow([values[column.strip().lower()] for column in header])
    return path


def members_of(faces) -> dict[str, bytes]:
    return dict(zip(member_names(faces), (png(pixels) for *_, pixels in faces), strict=True))


def assert_equal(left: fer2013.Fer2013, right: fer2013.Fer2013) -> None:
    for split in fer2013.SPLITS:
        np.testing.assert_array_equal(getattr(left, split).images, getattr(right, split).images)
        np.testing.assert_array_equal(getattr(left, split).labels, getattr(right, split).labels)


def assert_holds(data: fer2013.Fer2013, faces) -> None:
    """Each image stands in its split with its label, and nothing else does."""
    for split in fer2013.SPLITS:
        found = getattr(data, split)
        expected = {pixels.tobytes(): CLASSES.index(name) for s, name, pixels in faces if s == split}
        assert {
            image.tobytes(): int(label) for image, label in zip(found.images, found.labels, strict=True)
        } == expected
        assert len(found) == len(expected)


@pytest.fixture
def forms():
    """The functions above: they write images in the forms that users have, and look at what was read."""
    functions = (png, member_names, write_zip, write_tree, write_csv, members_of, assert_equal, assert_holds)
    return SimpleNamespace(PREFIX=PREFIX, **{function.__name__: function for function in functions})
