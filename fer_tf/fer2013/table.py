"""Reads the challenge's CSV: columns emotion (0 to 6, in the challenge's order), pixels, Usage."""

import csv
import io
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.classes import CHALLENGE_CLASSES, CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013.reading import MAX_IMAGES, USAGES, Reading

_COLUMNS = ("emotion", "pixels", "usage")
_EXPECTED = "expected a CSV with the columns emotion, pixels, Usage"
_MAX_LINE = 1 << 20


def read_table(path: Path, file: io.TextIOBase, reading: Reading) -> None:
    """Reads the rows of an open table.

    Args:
        path: What error messages call it.
        file: Opened with `newline=""`.
        reading: Takes the images.

    Raises:
        UserError: if it is no such table.
    """
    csv.field_size_limit(_MAX_LINE)
    rows = csv.reader(iter(lambda: file.readline(_MAX_LINE), ""))
    try:
        header = [column.strip().lower() for column in next(rows, [])]
        missing = [column for column in _COLUMNS if column not in header]
        if missing:
            found = ", ".join(header)[:80] or "nothing"
            raise UserError(f"{path}: no column {', '.join(missing)}; expected emotion, pixels, Usage; found {found}")
        columns = [header.index(column) for column in _COLUMNS]
        for number, row in enumerate(tqdm(rows, desc="reading rows", unit=" rows", disable=None), 1):
            if number > MAX_IMAGES or (number > 10_000 and len(reading.broken) > number / 2):
                break  # whatever this is, it need not be read to its end
            _read_row(f"row {number}", row, columns, reading)
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV ({error}); {_EXPECTED}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file; {_EXPECTED}") from None


def _read_row(name: str, row: list[str], columns: list[int], reading: Reading) -> None:
    try:
        emotion, pixels, usage = (row[column] for column in columns)
        split = USAGES[usage.strip().lower()]
        label = CLASSES.index(CHALLENGE_CLASSES[_digit(emotion)])
        image = _parse_pixels(pixels)
    except IndexError:
        reading.skip(name, "a column or class is missing")
    except KeyError as error:
        reading.skip(name, f"unknown Usage {error}")
    except ValueError as error:
        reading.skip(name, str(error))
    else:
        reading.add(split, label, image, name)


def _digit(emotion: str) -> int:
    if emotion.strip() not in set("0123456"):
        raise ValueError(f"emotion is {emotion[:20]!r}, expected 0 to 6")
    return int(emotion)


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
