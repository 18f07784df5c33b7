"""Lists of labels beside images that lie in no class folders: those of RAF-DB, ExpW, FER+ and AffectNet, and tables."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from fer_tf.errors import UserError
from fer_tf.fer2013.labels import NO_MAJORITY, Labels
from fer_tf.fer2013.sources import Source, read_bytes
from fer_tf.ferplus import ANSWERS, VOTED_IN_FOLDERS
from fer_tf.images import READABLE_SUFFIXES

_SUFFIXES = (".txt", ".lst", ".csv")
_NAMES = ("image", "img", "path", "pth", "file", "filename", "file_name", "image_name", "name", "subdirectory_filepath")
_LABELS = ("label", "emotion", "expression", "class")


@dataclass(frozen=True)
class Entry:
    """What a list says of a face: its label, as the list has it, and the box of the face if it is not the image."""

    word: str
    box: tuple[int, int, int, int] | None = None
    """Left, top, right and bottom in pixels."""


def read_lists(path: Path, source: Source, labels: Labels) -> dict[str, list[Entry]]:
    """Reads all lists of labels in a source.

    Args:
        path: What error messages call it.
        source: Where the lists are.
        labels: Learns what the numbers of the lists stand for.

    Returns:
        The faces of each image, by the name of its file in lower case.

    Raises:
        UserError: if the numbers of a list may be those of several data sets.
    """
    found: dict[str, list[Entry]] = {}
    for name in source.names:
        if PurePosixPath(name).suffix.lower() not in _SUFFIXES:
            continue
        content = read_bytes(source, name, "TABLE_BYTES")
        if content is None:
            continue
        text = content.decode("utf-8-sig", "replace").replace("\0", " ")
        for image, entry in _rows(text, labels, is_csv=name.lower().endswith(".csv")):
            entries = found.setdefault(image, [])
            if not entries or (entry.box and entry not in entries):  # the same image may stand in two lists
                entries.append(entry)
    labels.settle_numbers(path, {entry.word for entries in found.values() for entry in entries})
    return found


def read_annotations(source: Source, images: Iterable[str]) -> dict[str, list[Entry]]:
    """Returns the entries of images as AffectNet has them: `images/7.jpg` beside `annotations/7_exp.npy`; by path."""
    found = {}
    names = set(source.names)
    for image in images:
        path = PurePosixPath(image)
        label = str(path.parent.parent / "annotations" / f"{path.stem}_exp.npy")
        if path.parent.name != "images" or label not in names:
            continue
        content = read_bytes(source, label, "JSON_BYTES") or b""
        try:
            word = str(np.load(io.BytesIO(content), allow_pickle=False).reshape(-1)[0])
        except (ValueError, EOFError, OSError, IndexError, MemoryError):
            word = ""  # which is no label, and counted as such
        found[image] = [Entry(word)]
    return found


def _rows(text: str, labels: Labels, *, is_csv: bool) -> Iterable[tuple[str, Entry]]:
    """Yields the faces that a list names, with the names of their files in lower case."""
    lines = iter(text.splitlines())
    rows = csv.reader(lines) if is_csv else (line.split() for line in lines)
    columns: tuple[int, int] | None = None
    try:
        entry: Entry | None
        for number, row in enumerate(rows):
            cells = [cell.strip() for cell in row]
            if number == 0 and (columns := _columns(cells)):
                continue
            if columns and len(cells) > max(columns):
                image, entry = cells[columns[0]], Entry(cells[columns[1]])
            else:
                entry = _entry(cells, labels)
                image = next((cell for cell in cells[:2] if cell.lower().endswith(READABLE_SUFFIXES)), "")
            name = image.replace("\\", "/").rpartition("/")[2].lower()
            if entry and name.endswith(READABLE_SUFFIXES):
                yield name, entry
    except csv.Error as error:
        raise UserError(f"a list of labels is not a readable CSV ({error}); repair it") from None


def _columns(cells: list[str]) -> tuple[int, int] | None:
    """Returns the columns of image and label in the first row of a table; None if it is no such row."""
    names = [cell.lower() for cell in cells]
    image = next((names.index(name) for name in _NAMES if name in names), None)
    label = next((names.index(name) for name in _LABELS if name in names), None)
    return None if image is None or label is None else (image, label)


def _entry(cells: list[str], labels: Labels) -> Entry | None:
    """Returns what a row without a header says, by how many cells it has."""
    if len(cells) == 2:  # RAF-DB: name, label
        return Entry(cells[1])
    if len(cells) == 2 + len(ANSWERS):  # FER+: name and box, or Usage and name; votes
        return _majority(cells[2:])
    if len(cells) == 8:  # ExpW: name, number of the face, top, left, right, bottom, confidence, label
        try:
            top, left, right, bottom = (int(float(cell)) for cell in cells[2:6])
        except (ValueError, OverflowError):
            return None
        return Entry(labels.numbered(cells[7], "expw") or cells[7], (left, top, right, bottom))
    return None


def _majority(votes: list[str]) -> Entry | None:
    """Returns the answer that most annotators of FER+ gave."""
    try:
        counts = [int(vote) for vote in votes]
    except ValueError:
        return None
    most = [name for name, count in zip(VOTED_IN_FOLDERS, counts, strict=True) if count == max(counts)]
    return Entry(most[0] if len(most) == 1 else NO_MAJORITY)
