"""Reads folders and zips of images, or of the challenge's table."""

import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from fer_tf.classes import ALIASES, CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013.reading import MAX_IMAGES, USAGES, Reading
from fer_tf.fer2013.table import read_table
from fer_tf.images import READABLE_SUFFIXES

_FOLDERS = {
    **USAGES,
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
_TABLES = ("fer2013.csv", "icml_face_data.csv")
_MAX_IMAGE_BYTES = 20_000_000
_MAX_TABLE_BYTES = 2_000_000_000
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
)
"""What the standard library raises on damaged zips."""


def read(path: Path) -> Reading:
    """Reads a folder, a zip or a CSV.

    Raises:
        UserError: if it is none of these, is damaged, or has an image outside the class folders.
    """
    reading = Reading()
    try:
        if path.is_dir():
            _read_folder(path, reading)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _read_zip(path, archive, reading)
        elif path.suffix.lower() == ".csv":
            with open(path, encoding="utf-8-sig", newline="") as file:
                read_table(path, file, reading)
        elif path.suffix.lower() == ".zip":
            raise UserError(f"{path}: not a readable zip (truncated download?); download it again")
        else:
            raise UserError(f"{path}: expected a folder, a .zip or a .csv with FER-2013 in it")
    except _DAMAGED as error:
        raise UserError(f"{path}: damaged zip ({error}); download it again") from None
    return reading


def files_below(folder: Path) -> list[Path]:
    """Returns the files below a folder, sorted.

    Links are followed, except those to nowhere or to a parent. Runs that were trained on the data are left out, since
    they have pictures of their own.
    """
    found, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(root)
        if here in seen:
            folders.clear()
            continue
        seen.add(here)
        if root != str(folder) and {"settings.json", "history.csv"} <= set(names):
            folders.clear()  # a run
            continue
        found += [Path(root, name) for name in names if os.path.isfile(os.path.join(root, name))]
    return sorted(found)


def _read_folder(path: Path, reading: Reading) -> None:
    named = [(file.relative_to(path).as_posix(), file) for file in files_below(path)]
    images = [(name, file) for name, file in named if _is_image(name)]
    table = None if images else _table([name for name, _ in named])
    if table:
        with open(path / table, encoding="utf-8-sig", newline="") as file:
            read_table(path / table, file, reading)
        return
    _count_others(reading, (name for name, _ in named))
    for name, file in tqdm(images, desc="reading images", unit=" images", disable=None):
        place, label = _place(path, name)
        if file.stat().st_size > _MAX_IMAGE_BYTES:
            reading.skip(name, "larger than 20 MB")
        else:
            reading.add_file(place, label, file.read_bytes(), name)


def _read_zip(path: Path, archive: zipfile.ZipFile, reading: Reading) -> None:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_IMAGES:
        raise UserError(f"{path}: {len(members)} members; expected at most {MAX_IMAGES}")
    for member in members:
        _check_member(path, member)
    images = [member for member in members if _is_image(member.filename)]
    table = None if images else _table([member.filename for member in members])
    if table:
        if archive.getinfo(table).file_size > _MAX_TABLE_BYTES:
            raise UserError(f"{path}: {table} is larger than 2 GB; FER-2013's table has 300 MB")
        with archive.open(table) as file:
            read_table(path, io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), reading)
        return
    _count_others(reading, (member.filename.replace("\\", "/") for member in members))
    for member in tqdm(images, desc="reading images", unit=" images", disable=None):
        place, label = _place(path, member.filename)
        try:
            with archive.open(member) as file:  # the size in the directory may lie, so bound what is read
                content = file.read(_MAX_IMAGE_BYTES + 1)
        except (*_DAMAGED, OSError) as error:
            reading.skip(member.filename, str(error))
            continue
        if len(content) > _MAX_IMAGE_BYTES:
            reading.skip(member.filename, "larger than 20 MB")
        else:
            reading.add_file(place, label, content, member.filename)


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    """Raises `UserError` if a member of a zip is encrypted or would lie outside the folder it is extracted to."""
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or (name.parts and name.parts[0].endswith(":")):
        raise UserError(f"{path}: member {member.filename!r} points outside the zip; do not trust this file")
    if member.flag_bits & 0x1:
        raise UserError(f"{path}: encrypted; expected a zip without a password")


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in READABLE_SUFFIXES and not _is_hidden(name)


def _class_of(folder: str) -> str:
    """Returns the class that a folder's name, in lower case, stands for; the name itself if it is no class."""
    return ALIASES.get(folder, folder)


def _count_others(reading: Reading, names: Iterable[str]) -> None:
    """Counts the files in class folders that are no images we read."""
    for path in map(PurePosixPath, names):
        in_class = _class_of(path.parent.name.lower()) in CLASSES
        if in_class and not _is_hidden(str(path)) and not _is_image(path.name):
            reading.others[path.suffix.lower() or "no suffix"] += 1


def _place(path: Path, name: str) -> tuple[str, int]:
    """Returns split and label of an image from its path: `…/<split>/<class>/<Usage>_<id>.jpg`, split optional.

    The folder decides, or the file's name where there is none. In a test folder the split is `test`, `test-public` or
    `test-private`, as the file's name says. It is empty if neither names one.
    """
    *folders, file = name.lower().replace("\\", "/").split("/")
    class_name = _class_of(folders[-1]) if folders else ""
    if class_name not in CLASSES:
        raise UserError(
            f"{path}: {name!r} lies in no class folder; expected <class>/<image> or train/<class>/<image> with the "
            f"classes {', '.join(CLASSES)}"
        )
    split = _FOLDERS.get(folders[-2], "") if len(folders) > 1 else ""
    usage = USAGES.get(file.split("_")[0], "")
    if split == "test" and usage in ("public", "private"):
        split = f"test-{usage}"
    return split or usage, CLASSES.index(class_name)


def _table(names: list[str]) -> str | None:
    """Returns the challenge's table among the names of files, known by its name or by being the only one."""
    tables = [name for name in names if name.lower().endswith(".csv") and not _is_hidden(name)]
    known = [name for name in tables if name.lower().split("/")[-1] in _TABLES]
    return known[0] if known else tables[0] if len(tables) == 1 else None
