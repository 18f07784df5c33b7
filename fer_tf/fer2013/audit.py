"""What is in a data set that a user should know of: counts, blank images, copies, conflicting labels."""

import hashlib

import numpy as np

from fer_tf.classes import CLASSES
from fer_tf.fer2013.splits import SPLITS, Fer2013


def digests(images: np.ndarray) -> list[bytes]:
    """Returns a digest for each image of uint8 [N, 48, 48]; equal for equal pixels."""
    return [hashlib.blake2b(image, digest_size=16).digest() for image in np.ascontiguousarray(images)]


def copies(images: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """Returns bool [N]: which of `images` stand pixel for pixel in any of `others` (each uint8 [N, 48, 48])."""
    known = set().union(*map(digests, others))
    return np.array([digest in known for digest in digests(images)], bool)


def blanks(images: np.ndarray) -> np.ndarray:
    """Returns bool [N]: which images show nothing (standard deviation of the pixels below one level)."""
    return np.array([image.std() < 1 for image in images], bool)


def audit(data: Fer2013) -> str:
    """Returns a text: counts by class and split, blank images, copies inside and across splits, label conflicts."""
    splits = {name: getattr(data, name) for name in SPLITS}
    lines = [f"{data.source}", "", f"{'class':10}" + "".join(f"{name:>9}" for name in (*SPLITS, "all"))]
    counts = np.stack([np.bincount(split.labels, minlength=len(CLASSES)) for split in splits.values()])
    counts = np.concatenate([counts, counts.sum(axis=0, keepdims=True)])
    for index, name in enumerate(CLASSES):
        lines.append(f"{name:10}" + "".join(f"{count:9,}" for count in counts[:, index]))
    lines += [f"{'all':10}" + "".join(f"{count:9,}" for count in counts.sum(axis=1)), ""]

    def say(text: str, count: int) -> None:
        lines.append(f"{text:60}{count:9,}")

    for name, split in splits.items():
        say(f"blank images in {name} (standard deviation below 1)", int(blanks(split.images).sum()))
    for name, split in splits.items():
        labels_of: dict[bytes, set[int]] = {}
        for digest, label in zip(digests(split.images), split.labels.tolist(), strict=True):
            labels_of.setdefault(digest, set()).add(label)
        say(f"redundant copies inside {name}", len(split) - len(labels_of))
        say(
            f"  groups of copies in {name} with conflicting labels",
            sum(len(s) > 1 for s in labels_of.values()),
        )
    train, public, private = (split.images for split in splits.values())
    say("public images that stand pixel for pixel in train", int(copies(public, train).sum()))
    say("private images that stand pixel for pixel in train", int(copies(private, train).sum()))
    say("private images that stand pixel for pixel in public", int(copies(private, public).sum()))
    say("private images that stand pixel for pixel in either", int(copies(private, train, public).sum()))
    return "\n".join([*lines, *(f"note: {note}" for note in data.notes)])
