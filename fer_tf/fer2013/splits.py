"""The three splits as arrays, and how what was read is divided among them."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013.reading import Reading
from fer_tf.images import READABLE_SUFFIXES

SPLITS = ("train", "public", "private")
"""Names of the splits: Training, PublicTest and PrivateTest."""

_MAX_BROKEN = 0.01


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        images: uint8 [N, 48, 48], gray, 0 to 255.
        labels: int64 [N], indices into `fer_tf.classes.CLASSES`.
        names: str [N], path of each image in its source, or `row <number>` of a CSV, counted from 1.
    """

    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: np.ndarray | slice) -> "Split":
        return Split(self.images[index], self.labels[index], self.names[index])


@dataclass(frozen=True)
class Fer2013:
    """A data set in its three splits; `private` may be empty. `notes` say what the reader had to do to it."""

    source: Path
    train: Split
    public: Split
    private: Split
    notes: tuple[str, ...] = ()

    def fingerprint(self, *names: str) -> str:
        """Returns a SHA-256 over images and labels of the named splits; by default, of train and public."""
        digest = hashlib.sha256()
        for split in (getattr(self, name) for name in names or ("train", "public")):
            digest.update(split.images.tobytes())
            digest.update(split.labels.tobytes())
        return digest.hexdigest()


def arrange(path: Path, reading: Reading) -> Fer2013:
    """Divides what was read into splits, in an order that depends on labels and pixels alone.

    Raises:
        UserError: if there are no images, or more than 1 % are broken.
    """
    notes = [*_conversions(path, reading), *_divide(reading.rows)]
    splits = {name: _to_arrays(reading.rows[name]) for name in SPLITS}
    return Fer2013(path, **splits, notes=tuple(notes))


def _conversions(path: Path, reading: Reading) -> list[str]:
    """Returns what is to be told of the images, and names the broken ones on stderr."""
    notes = [f"{count} images {what}" for what, count in reading.converted.items()]
    broken = reading.broken
    if reading.others:
        suffixes = ", ".join(sorted(reading.others))
        notes.append(f"{reading.others.total()} files in class folders are of other formats and left out: {suffixes}")
    total = sum(map(len, reading.rows.values())) + len(broken)
    if not total:
        classes = ", ".join(CLASSES)
        formats = f" of {', '.join(READABLE_SUFFIXES)}" if reading.others else ""
        raise UserError(
            f"{path}: no images{formats}; expected train/<class>/… and test/<class>/… with the classes {classes}"
        )
    if broken:
        if len(broken) > _MAX_BROKEN * total:
            raise UserError(f"{path}: {len(broken)} of {total} images are broken, the first: {broken[0]}; repair it")
        for line in broken[:10]:
            print(f"skipped: {line}", file=sys.stderr)
        if len(broken) > 10:
            print(f"skipped: {len(broken) - 10} more", file=sys.stderr)
        notes.append(f"{len(broken)} broken images were skipped: {', '.join(broken[:10])}")
    return notes


def _divide(rows: dict[str, list[tuple[int, bytes, str]]]) -> list[str]:
    """Moves the rows of all places to those of the three splits; returns what is to be told of it."""
    notes = []
    if rows["validation"]:
        rows["public"] += rows["validation"]
        for name in ("test", "test-public", "test-private"):
            rows["private"] += rows[name]
        notes.append("the validation images stand as 'public', the choosing split, and test images as 'private'")
    else:
        rows["public"] += rows["test-public"] + rows["test"]
        rows["private"] += rows["test-private"]
        if rows["test"]:
            notes.append(
                f"{len(rows['test'])} test images carry no PublicTest or PrivateTest in their names, so they cannot be "
                "split and stand whole as 'public', the choosing split"
            )
    if rows[""]:
        rows["train"] += rows[""]
        notes.append(f"{len(rows[''])} images lie in no split and count as training images")
    if not rows["public"]:
        rows["public"] = [row for row in rows["train"] if _is_held_out(row[1])]
        rows["train"] = [row for row in rows["train"] if not _is_held_out(row[1])]
        if rows["public"]:
            notes.append(f"one in ten of the training images ({len(rows['public'])}) was held out as 'public'")
    return notes


def _is_held_out(pixels: bytes) -> bool:
    # By content, so that copies of an image fall on the same side and adding images moves none.
    return hashlib.sha256(pixels).digest()[0] < 26


def _to_arrays(rows: list[tuple[int, bytes, str]]) -> Split:
    rows.sort()
    images = np.frombuffer(b"".join(pixels for _, pixels, _ in rows), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return Split(images, np.array([label for label, _, _ in rows], np.int64), np.array([n for *_, n in rows], str))
