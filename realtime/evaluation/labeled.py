"""Lists labeled pictures, in class folders or in a table, without reading them."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_tf import limits
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013.labels import LEFT_OUT, Labels
from fer_tf.fer2013.readers import find_labels, is_image
from fer_tf.fer2013.sources import Folder
from fer_tf.images import HEIC_PROBLEM, HEIC_SUFFIXES, READABLE_SUFFIXES, reads_heic

_COLUMNS = {
    "path": ("path", "pth", "image", "file", "filename", "file_name", "image_name"),
    "label": ("label", "emotion", "expression", "class"),
    "person": ("person", "subject"),
}
"""The columns of a table, each with the names that it may have."""

_EXPECTED = "expected a CSV with the columns path, label and, if you know it, person"
_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class LabeledPicture:
    """A picture, and what it is said to show."""

    path: Path
    label: int
    """Index into `fer_tf.CLASSES`."""
    person: str = ""
    """Who is in it, by any name; empty if that is not known."""


@dataclass
class Listing:
    """The pictures to measure on."""

    pictures: list[LabeledPicture] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """How many pictures are left out, by what they are."""
    notes: Sequence[str] = ()
    """What the numbers of classes were taken for."""


def list_pictures(path: Path, classes: Sequence[str] = ()) -> Listing:
    """Lists the pictures in the class folders below a folder, or in a table.

    Folders are read as `fer_tf.fer2013.load` reads them: by the names of class folders, or by the lists of known data
    sets. A table is a CSV with the columns `path` (from the table's folder on), `label` and, optionally, `person`.

    Args:
        path: The folder or the table.
        classes: What names or numbers of classes stand for, as in `fer_tf.fer2013.load`.

    Raises:
        UserError: if there are no labeled pictures, if nothing tells what a class is, or if the table is no such table.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected a folder of class folders, or a table (.csv)")
    labels = Labels(classes)
    listing = Listing(notes=labels.notes)
    if path.is_dir():
        _add_folder(path, labels, listing)
    else:
        _add_table(path, labels, listing)
    limits.check("IMAGES", len(listing.pictures), path)
    if not listing.pictures:
        told = ", ".join(f"{count} {what}" for what, count in listing.left_out.most_common(12))
        raise UserError(f"{path}: no labeled pictures" + (f" (left out: {told})" if told else ""))
    return listing


def _add_folder(path: Path, labels: Labels, listing: Listing) -> None:
    source = Folder(path)
    suffixes = (*READABLE_SUFFIXES, *(HEIC_SUFFIXES if reads_heic() else ()))
    images = [name for name in source.names if is_image(name, suffixes)]
    found, _ = find_labels(path, source, images, labels, listing.left_out)
    for name, faces in found.items():
        if len(faces) > 1 or faces[0][1]:
            listing.left_out["with boxes around faces in a list"] += 1
        else:
            listing.pictures.append(LabeledPicture(path / name, faces[0][0]))
    if not reads_heic() and (count := sum(is_image(name, HEIC_SUFFIXES) for name in source.names)):
        listing.left_out[f"HEIC ({HEIC_PROBLEM})"] += count


def _add_table(path: Path, labels: Labels, listing: Listing) -> None:
    limits.check("TABLE_BYTES", path.stat().st_size, path)
    try:
        rows = list(_rows(path))
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV ({error}); {_EXPECTED}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file; {_EXPECTED}") from None
    labels.settle_numbers(path, {word for _, word, _ in rows})
    words: dict[Path, str] = {}
    for name, word, person in rows:
        picture, found = path.parent / name, labels.find(word)
        if words.setdefault(picture, word) != word:
            raise UserError(f"{path}: {name!r} is labeled {words[picture]!r} and {word!r}; leave one of the rows")
        if found is None or found == LEFT_OUT:
            listing.left_out[word.lower() if found else f"label {word[:20]!r}"] += 1
        else:
            listing.pictures.append(LabeledPicture(picture, CLASSES.index(found), person))
    listing.pictures = list(dict.fromkeys(listing.pictures))


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yields path, label and person of each row of a table."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        lines = csv.reader(file, delimiter=max(_SEPARATORS, key=first.count))
        header = [column.strip().lower() for column in next(lines, [])]
        places = {
            column: next((header.index(name) for name in names if name in header), None)
            for column, names in _COLUMNS.items()
        }
        if missing := [column for column in ("path", "label") if places[column] is None]:
            found = ", ".join(header)[:80] or "nothing"
            raise UserError(f"{path}: no column {', '.join(missing)}; {_EXPECTED}; found {found}")
        needed = max(place for place in places.values() if place is not None)
        for number, row in enumerate(lines, 2):
            if not any(cell.strip() for cell in row):
                continue
            if len(row) <= needed:
                raise UserError(f"{path}: row {number} has {len(row)} cells; expected {len(header)}, as in the first")
            yield tuple("" if place is None else row[place].strip() for place in places.values())  # type: ignore[misc]
