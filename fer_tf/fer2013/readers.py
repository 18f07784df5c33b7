"""Reads folders, zips and tars of images, or of the challenge's table."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from fer_tf import limits
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013.labels import LEFT_OUT, Labels
from fer_tf.fer2013.lists import Entry, read_annotations, read_lists
from fer_tf.fer2013.reading import USAGES, Reading
from fer_tf.fer2013.sources import ARCHIVES, DAMAGED, Source, open_inner, open_source, read_bytes
from fer_tf.fer2013.table import read_table
from fer_tf.images import READABLE_SUFFIXES

_FOLDERS = {
    **USAGES,
    **dict.fromkeys(("train", "train_set", "fer2013train"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "val_set", "valid_set", "fer2013valid"), "validation"),
    **dict.fromkeys(("test", "testing", "test_set", "fer2013test"), "test"),
}
_TABLES = ("fer2013.csv", "icml_face_data.csv", "train.csv")
"""Names of the challenge's table, the best known first; `train.csv` is a part of it."""

_JAFFE = re.compile(r"[a-z]{2}\.(an|di|fe|ha|ne|sa|su)\d\.\d+\.")
"""Names of JAFFE's images: the person, the expression and its number, the number of the image."""

_JAFFE_CLASSES = {name[:2]: name for name in CLASSES}


def read(path: Path, labels: Labels) -> Reading:
    """Reads a folder, a zip, a tar or a CSV.

    Args:
        path: Where.
        labels: What names and numbers stand for.

    Raises:
        UserError: if it is none of these, is damaged, or has an image that nothing tells the class of.
    """
    reading = Reading(notes=labels.notes)
    try:
        with ExitStack() as stack:
            source = open_source(path, stack)
            if source:
                _read_source(path, source, labels, reading, stack)
            elif path.suffix.lower() in (".csv", ".tsv"):
                limits.check("TABLE_BYTES", path.stat().st_size, path)
                with open(path, encoding="utf-8-sig", newline="") as file:
                    read_table(path, file, labels, reading)
            elif path.name.lower().endswith(ARCHIVES):
                raise UserError(f"{path}: not a readable {path.suffix[1:]} (truncated download?); download it again")
            else:
                raise UserError(f"{path}: expected a folder, a .zip, a .tar.gz or a .csv with FER-2013 in it")
    except DAMAGED as error:
        kind = "zip" if path.suffix.lower() == ".zip" else "archive"
        raise UserError(f"{path}: damaged {kind} ({error}); download it again") from None
    return reading


def _read_source(path: Path, source: Source, labels: Labels, reading: Reading, stack: ExitStack) -> None:
    images = [name for name in source.names if is_image(name)]
    if not images:
        if table := _table(source.names):
            limits.check("TABLE_BYTES", source.size(table), f"{path}: {table}")
            with source.open(table) as file:
                read_table(path, io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), labels, reading)
            return
        inner = [name for name in source.names if name.lower().endswith(ARCHIVES) and not _is_hidden(name)]
        if len(inner) == 1 and (opened := open_inner(path, source, inner[0], stack)):
            _read_source(path, opened, labels, reading, stack)
            return
    _count_others(reading, labels, source.names)
    found, by_list = find_labels(path, source, images, labels, reading.left_out)
    for name, faces in tqdm(found.items(), desc="reading images", unit=" images", disable=None):
        try:
            content = read_bytes(source, name, "IMAGE_BYTES")
        except (*DAMAGED, OSError) as error:
            reading.skip(name, str(error))
            continue
        if content is None:
            reading.skip(name, f"larger than {limits.limit('IMAGE_BYTES') // 1_000_000} MB")
            continue
        for label, box in faces:
            reading.add_file(_place(name, by_list=by_list), label, content, name, box)


Labeled = tuple[int, tuple[int, int, int, int] | None]
"""Index of a face's class, and its box, as in `fer_tf.fer2013.lists.Entry`."""


def find_labels(
    path: Path, source: Source, images: list[str], labels: Labels, left_out: Counter[str]
) -> tuple[dict[str, list[Labeled]], bool]:
    """Finds out what images show, by their folders, their names or lists beside them, without reading the images.

    Args:
        path: What error messages call the source.
        source: Where the lists are.
        images: Names of the images in the source.
        labels: What names and numbers stand for.
        left_out: Counts the images of none of our classes, by what they are.

    Returns:
        The faces of each image, without those that are left out; and whether lists say it.

    Raises:
        UserError: if nothing tells the class of an image.
    """
    labels.settle_numbers(path, {PurePosixPath(name).parent.name for name in images})
    lists = _lists_for(path, source, labels, images)
    found: dict[str, list[Labeled]] = {}
    for name in images:
        for entry in _entries(path, name, labels, lists):
            word = labels.find(entry.word)
            if word is None or word == LEFT_OUT:
                known = word or entry.word in (_NOT_LISTED, _ORIGINALS)
                left_out[entry.word.lower() if known else f"label {entry.word[:20]!r}"] += 1
            else:
                found.setdefault(name, []).append((CLASSES.index(word), entry.box))
    return found, bool(lists)


_NOT_LISTED = "not in the list of labels"
_ORIGINALS = "the photographs of which there are aligned faces"


def _lists_for(path: Path, source: Source, labels: Labels, images: list[str]) -> dict[str, list[Entry]]:
    """Returns what lists say of the images, if there are any in no class folder."""
    others = [name for name in images if _by_name(name, labels) is None]
    if not others:
        return {}
    if found := read_annotations(source, others):
        labels.settle_numbers(Path("affectnet"), {entry.word for entries in found.values() for entry in entries})
        return found
    found = read_lists(path, source, labels)
    listed: dict[str, list[Entry]] = {}
    files = {name.lower().rpartition("/")[2] for name in others}
    for name in others:
        file = PurePosixPath(name.lower())
        entries = found.get(file.name) or found.get(f"{file.stem.removesuffix('_aligned')}{file.suffix}")
        if entries and f"{file.stem}_aligned{file.suffix}" in files:
            entries = [Entry(_ORIGINALS)]
        if entries:
            listed[name] = entries
    return listed


def _by_name(name: str, labels: Labels) -> str | None:
    """Returns the word that stands for an image's class in its path; None if it has none."""
    *folders, file = name.lower().split("/")
    if folders and labels.find(folders[-1]) is not None:
        return folders[-1]
    jaffe = _JAFFE.match(file)
    return _JAFFE_CLASSES[jaffe[1]] if jaffe else None


def _entries(path: Path, name: str, labels: Labels, lists: dict[str, list[Entry]]) -> list[Entry]:
    """Returns the faces of an image, or raises `UserError` if nothing tells the class of it."""
    if word := _by_name(name, labels):
        return [Entry(word)]
    if lists:
        return lists.get(name, [Entry(_NOT_LISTED)])
    raise UserError(
        f"{path}: {name!r} lies in no class folder; expected <class>/<image> or train/<class>/<image> with the "
        f"classes {', '.join(CLASSES)}; say what other names stand for by --classes NAME=CLASS, or leave them out by "
        f"NAME={LEFT_OUT}"
    )


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def is_image(name: str, suffixes: Sequence[str] = READABLE_SUFFIXES) -> bool:
    """Returns whether a file of a source is taken for an image, by its suffix and because it is not hidden."""
    return PurePosixPath(name).suffix.lower() in suffixes and not _is_hidden(name)


def _count_others(reading: Reading, labels: Labels, names: Iterable[str]) -> None:
    """Counts the files in class folders that are no images we read."""
    for path in map(PurePosixPath, names):
        in_class = labels.find(path.parent.name) is not None
        if in_class and not _is_hidden(str(path)) and not is_image(path.name):
            reading.others[path.suffix.lower() or "no suffix"] += 1


def _place(name: str, *, by_list: bool) -> str:
    """Returns the split of an image from its path: `…/<split>/<class>/<Usage>_<id>.jpg`, split optional.

    The folder decides, or the file's name where there is none. In a test folder the split is `test`, `test-public` or
    `test-private`, as the file's name says. It is empty if neither names one. Images of a list lie at any depth, and
    their names may begin with a split, as RAF-DB's.
    """
    *folders, file = name.lower().split("/")
    inner = folders[::-1] if by_list else folders[-2:-1]
    split = next((_FOLDERS[folder] for folder in inner if folder in _FOLDERS), "")
    usage = (_FOLDERS if by_list else USAGES).get(file.split("_")[0], "")
    if split == "test" and usage in ("public", "private"):
        split = f"test-{usage}"
    return split or usage


def _table(names: list[str]) -> str | None:
    """Returns the challenge's table among the names of files, known by its name or by being the only one."""
    tables = [name for name in names if name.lower().endswith((".csv", ".tsv")) and not _is_hidden(name)]
    for known in _TABLES:
        for name in tables:
            if name.lower().split("/")[-1] == known:
                return name
    return tables[0] if len(tables) == 1 else None
