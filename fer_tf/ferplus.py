"""FER+: ten annotators' votes for each image of FER-2013.

Source: Barsoum et al., Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution,
2016, arXiv 1608.01041.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_tf import limits
from fer_tf.errors import UserError

ANSWERS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "unknown", "NF")
"""The columns with votes. The first seven are our classes, in the order of `fer_tf.classes.CLASSES`."""

VOTED_IN_FOLDERS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
"""The answers in the order of `label.csv`, which lies in each of the image folders that Microsoft's script makes."""

_MOST_VOTES = 1_000_000
"""The most that a cell may hold; FER+ has ten annotators."""


@dataclass(frozen=True)
class Votes:
    """The votes on N images."""

    counts: np.ndarray
    """int [N, 10]: the number of votes for each of `ANSWERS`."""

    @property
    def shares(self) -> np.ndarray:
        """float32 [N, 7]: each class's share of the votes for our classes; zeros where there are none."""
        ours = self.counts[:, :7]
        return (ours / np.maximum(ours.sum(axis=1, keepdims=True), 1)).astype(np.float32)

    @property
    def all_shares(self) -> np.ndarray:
        """float32 [N, 10]: each answer's share of all votes; zeros where there are none."""
        return (self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)).astype(np.float32)

    @property
    def majority(self) -> np.ndarray:
        """The class with the most votes: int [N], the first in a tie; −1 if another answer wins, or without votes."""
        winner = self.counts.argmax(axis=1)
        return np.where((winner < 7) & (self.counts.sum(axis=1) > 0), winner, -1)

    def __getitem__(self, index) -> "Votes":
        """Returns the votes on some of the images."""
        return Votes(self.counts[index])


def read_votes(path: Path | str, names: Sequence[str] | np.ndarray) -> Votes:
    """Reads the votes on images.

    Args:
        path: A CSV with a column for each of `ANSWERS`. It has a column `image` with file names of FER-2013, or a row
            for each row of the challenge's CSV, as in Microsoft's `fer2013new.csv`.
        names: Names of the images, as in `fer_tf.fer2013.Split.names`. Images that share a file name get no votes.

    Raises:
        UserError: if the file cannot be read, lacks a column, or has votes for none of the images.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file; expected FER+ votes as CSV")
    try:
        limits.check("TABLE_BYTES", path.stat().st_size, path)
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
        kind, form = ("file name", "image tree") if by_name else ("row of the challenge's CSV", "CSV")
        raise UserError(f"{path}: has votes by {kind}, but none for these images; read FER-2013 from its {form}")
    return Votes(np.array([row or [0] * len(ANSWERS) for row in found], np.int64).reshape(-1, len(ANSWERS)))


def _count(text: str) -> int:
    """Returns the number of votes in a cell, or raises `ValueError`."""
    count = int(text)
    if not 0 <= count <= _MOST_VOTES:
        raise ValueError(f"{text!r} is not from 0 to {_MOST_VOTES}")
    return count
