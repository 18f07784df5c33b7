"""FER+: the votes of ten taggers for each image of FER-2013, as a second opinion on its labels.

Source: Barsoum et al., Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution,
2016, arXiv 1608.01041.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_tf.errors import UserError

ANSWERS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "unknown", "NF")
"""The columns that hold votes: first our classes, in the order of `fer_tf.classes.CLASSES`."""

_MOST_VOTES = 1_000_000
"""For one answer; FER+ has ten taggers."""


@dataclass(frozen=True)
class Votes:
    """The votes for N images."""

    counts: np.ndarray
    """int [N, 10]: the votes for each of our seven classes, contempt, unknown, and not a face."""

    @property
    def shares(self) -> np.ndarray:
        """float32 [N, 7]: of the votes for our classes those for each; zeros where there is none."""
        ours = self.counts[:, :7]
        return (ours / np.maximum(ours.sum(axis=1, keepdims=True), 1)).astype(np.float32)

    @property
    def all_shares(self) -> np.ndarray:
        """float32 [N, 10]: of all votes those for each answer; zeros where there is none."""
        return (self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)).astype(np.float32)

    @property
    def majority(self) -> np.ndarray:
        """Our class with the most votes, the first of equals; −1 where another has more, or none any: int [N]."""
        winner = self.counts.argmax(axis=1)
        return np.where((winner < 7) & (self.counts.sum(axis=1) > 0), winner, -1)

    def __getitem__(self, index) -> "Votes":
        """Returns the votes of some of the images."""
        return Votes(self.counts[index])


def read_votes(path: Path | str, names: Sequence[str]) -> Votes:
    """Reads the votes for images.

    Args:
        path: A CSV with a column for each of the ten answers, and either `image`, the name of a file of FER-2013, or
            a row for each row of the challenge's table (as in Microsoft's `fer2013new.csv`).
        names: Of the images, as in `fer_tf.fer2013.Split.names`. Images of the same file name get no votes.

    Raises:
        UserError: if the file cannot be read, has other columns, or holds votes for none of the images.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            columns = table.fieldnames or []
            missing = [name for name in ANSWERS if name not in columns]
            if missing:
                raise UserError(f"{path}: no column {', '.join(missing)}; expected FER+ votes as CSV")
            by_name = "image" in columns
            votes = {
                row["image"] if by_name else f"row {number}": [_count(row[name]) for name in ANSWERS]
                for number, row in enumerate(table, 1)
            }
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected FER+ votes as CSV") from None
    except (ValueError, TypeError, csv.Error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not FER+ votes; expected a number of votes in each column ({error})") from None
    keys = [str(name).rpartition("/")[2] for name in names]
    times = Counter(keys)  # two pairs of FER-2013's images share a name, and the votes do not say whose they are
    found = [votes.get(key) if times[key] == 1 else None for key in keys]
    if not any(row and any(row) for row in found):
        kind, form = ("file name", "image tree") if by_name else ("row of the challenge's table", "CSV")
        raise UserError(f"{path}: holds votes by {kind}, and none for these images; name FER-2013's {form} with --data")
    return Votes(np.array([row or [0] * len(ANSWERS) for row in found], np.int64).reshape(-1, len(ANSWERS)))


def _count(text: str) -> int:
    """Returns how many votes a cell tells of, or raises `ValueError`."""
    count = int(text)
    if not 0 <= count <= _MOST_VOTES:
        raise ValueError(f"{text!r} is not from 0 to {_MOST_VOTES}")
    return count
