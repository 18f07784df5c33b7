"""Reads the challenge's CSV: columns emotion (0 to 6, in the challenge's order), pixels and, if there is one, Usage."""

import csv
import io
import itertools
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fer_tf import limits
from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013.labels import LEFT_OUT, Labels
from fer_tf.fer2013.reading import USAGES, Reading

_COLUMNS = {"emotion": ("emotion", "label", "expression", "class"), "pixels": ("pixels",), "usage": ("usage", "split")}
"""The columns, each with the names that it may have."""

_EXPECTED = "expected a CSV with the columns emotion, pixels, Usage"
_PLACES = {**USAGES, "train": "train", "validation": "validation", "val": "validation", "test": "test"}
_SEPARATORS = ",;\t|"
_MAX_LINE = 1 << 20


def read_table(path: Path, file: io.TextIOBase, labels: Labels, reading: Reading) -> None:
    """Reads the rows of an open table, whose separator is the one that its first line has most of.

    Args:
        path: What error messages call it.
        file: Opened with `newline=""`.
        labels: What labels stand for; numbers are in the challenge's order unless they say otherwise.
        reading: Takes the images.

    Raises:
        UserError: if it is no such table.
    """
    csv.field_size_limit(_MAX_LINE)
    most = limits.limit("IMAGES")
    try:
        first = file.readline(_MAX_LINE)
        lines = itertools.chain([first], iter(lambda: file.readline(_MAX_LINE), ""))
        rows = csv.reader(lines, delimiter=max(_SEPARATORS, key=first.count))
        header = [column.strip().lower() for column in next(rows, [])]
        columns = {
            column: next((header.index(name) for name in names if name in header), None)
            for column, names in _COLUMNS.items()
        }
        missing = [column for column in ("emotion", "pixels") if columns[column] is None]
        if missing:
            found = ", ".join(header)[:80] or "nothing"
            raise UserError(f"{path}: no column {', '.join(missing)}; expected emotion, pixels, Usage; found {found}")
        for number, row in enumerate(tqdm(rows, desc="reading rows", unit=" rows", disable=None), 1):
            if number > most or (number > 10_000 and len(reading.broken) > number / 2):
                break  # whatever this is, it need not be read to its end
            _read_row(f"row {number}", row, columns, labels, reading)
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV ({error}); {_EXPECTED}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file; {_EXPECTED}") from None


def _read_row(name: str, row: list[str], columns: dict[str, int | None], labels: Labels, reading: Reading) -> None:
    try:
        emotion, pixels, usage = ("" if place is None else row[place] for place in columns.values())
        split = "" if columns["usage"] is None else _PLACES[usage.strip().lower()]
        found = labels.numbered(emotion, "csv")
        if found == LEFT_OUT:
            reading.left_out[emotion.strip().lower()] += 1
            return
        if found is None:
            raise ValueError(f"emotion is {emotion[:20]!r}, expected 0 to 6")
        image = _parse_pixels(pixels)
    except IndexError:
        reading.skip(name, "a column is missing")
    except KeyError as error:
        reading.skip(name, f"unknown Usage {error}")
    except ValueError as error:
        reading.skip(name, str(error))
    else:
        reading.add(split, CLASSES.index(found), image, name)


def _parse_pixels(text: str) -> np.ndarray:
    try:
        pixels = np.fromstring(text, dtype=np.int64, sep=" ")
    except ValueError:
        raise ValueError("pixels are not numbers") from None
    if pixels.size != IMAGE_SIZE**2:
        raise ValueError(f"{pixels.size} pixels, expected {IMAGE_SIZE**2}")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError("a pixel is outside 0 to 255")
    return pixels.astype(np.uint8)
