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

PUBLIC_TEST = "PublicTest"
HELD_OUT = "held-out images"

_MAX_BROKEN = 0.01

LEAST_HELD_OUT = 3
"""How many images of each class are held out at least."""

LEAST_OF_A_CLASS = 9
"""How many different images a class must have for that."""


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
    """A data set in its three splits; `private` may be empty.

    Attributes:
        source: Where it was read from.
        notes: What the reader had to do to it.
        choosing: What `public`, the choosing split, is called: `PublicTest`, or `held-out images` of another data set.
    """

    source: Path
    train: Split
    public: Split
    private: Split
    notes: tuple[str, ...] = ()
    choosing: str = PUBLIC_TEST

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
        UserError: if there are no images, more than 1 % are broken, or too few to hold some out.
    """
    notes = [*reading.notes, *_conversions(path, reading)]
    rows = reading.rows
    is_fer2013 = bool(rows["public"] or rows["test-public"]) and not (rows["validation"] or rows["test"])
    notes += _divide(path, rows)
    splits = {name: _to_arrays(rows[name]) for name in SPLITS}
    for name, what in (("train", "training images"), ("public", "held-out images")):
        if missing := _classes_without(splits[name]):
            notes.append(f"there are no {what} of {', '.join(missing)}")
    return Fer2013(path, **splits, notes=tuple(notes), choosing=PUBLIC_TEST if is_fer2013 else HELD_OUT)


def _classes_without(split: Split) -> list[str]:
    """Returns the classes that a split has no images of; none of an empty split."""
    counts = np.bincount(split.labels, minlength=len(CLASSES))
    return [name for name, count in zip(CLASSES, counts, strict=True) if not count] if len(split) else []


def _conversions(path: Path, reading: Reading) -> list[str]:
    """Returns what is to be told of the images, and names the broken ones on stderr."""
    notes = [f"{count} images {what}" for what, count in reading.converted.items()]
    broken = reading.broken
    if reading.others:
        suffixes = ", ".join(sorted(reading.others))
        notes.append(f"{reading.others.total()} files in class folders are of other formats and left out: {suffixes}")
    total = sum(map(len, reading.rows.values())) + len(broken)
    if left_out := reading.left_out.total():
        told = ", ".join(f"{word} {count}" for word, count in reading.left_out.most_common(12))
        notes.append(f"{left_out} of {left_out + total} images are left out: {told}")
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


def _divide(path: Path, rows: dict[str, list[tuple[int, bytes, str]]]) -> list[str]:
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
    if not rows["public"] and rows["train"]:
        held_out = _choose_held_out(path, rows["train"])
        rows["public"] = [row for row in rows["train"] if row[1] in held_out]
        rows["train"] = [row for row in rows["train"] if row[1] not in held_out]
        notes.append(
            f"{len(rows['public'])} images were held out: one in ten of each class, and at least {LEAST_HELD_OUT}; "
            "their accuracy is a rough guide if they are few"
        )
    return notes


def _choose_held_out(path: Path, rows: list[tuple[int, bytes, str]]) -> set[bytes]:
    """Returns the pixels of the images that are held out: of each class one in ten, and some at least.

    They are chosen by their content, so that copies of an image fall on the same side and adding images moves few.

    Raises:
        UserError: if a class has too few different images.
    """
    held_out: set[bytes] = set()
    for label, name in enumerate(CLASSES):
        different = sorted({row[1] for row in rows if row[0] == label}, key=_digest)
        if not different:
            continue
        if len(different) < LEAST_OF_A_CLASS:
            raise UserError(
                f"{path}: {len(different)} different images of {name}; expected {LEAST_OF_A_CLASS} or more of each "
                f"class, to train on and to hold {LEAST_HELD_OUT} out; add some, leave the class out by --classes "
                f"{name}=-, or put the images to hold out in val/<class>/ beside train/<class>/"
            )
        held_out.update(different[: max(LEAST_HELD_OUT, round(len(different) / 10))])
    return held_out


def _digest(pixels: bytes) -> bytes:
    return hashlib.sha256(pixels).digest()


def _to_arrays(rows: list[tuple[int, bytes, str]]) -> Split:
    rows.sort()
    images = np.frombuffer(b"".join(pixels for _, pixels, _ in rows), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return Split(images, np.array([label for label, _, _ in rows], np.int64), np.array([n for *_, n in rows], str))
