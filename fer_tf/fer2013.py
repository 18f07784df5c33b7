"""Reads FER-2013 in each form that users have. `python -m fer_tf.fer2013 [PATH]` prints an audit of it.

Forms: the Kaggle image tree (`train/<class>/…`, `test/<class>/…`) as a folder or inside its zip, which is read in
place; the challenge's CSV (`fer2013.csv`, `icml_face_data.csv`), alone, in a folder or in a zip; and a user's own
folder of class folders.
"""

import csv
import hashlib
import io
import json
import lzma
import os
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from tqdm import tqdm

from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.classes import ALIASES, CHALLENGE_CLASSES, CLASSES
from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.files import written_aside
from fer_tf.images import IMAGE_SUFFIXES, decode, middle_square
from fer_tf.quiet import silence_opencv

silence_opencv()  # what is wrong with an image is said once, by us

SPLITS = ("train", "public", "private")
DEFAULT_PATHS = ("data/fer2013.zip", "../shared/data/fer2013.zip")

_USAGES = {"training": "train", "publictest": "public", "privatetest": "private"}
_FOLDERS = {
    **_USAGES,
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
_TESTS = ("test", "test-public", "test-private")
_TABLES = ("fer2013.csv", "icml_face_data.csv")
_MAX_MEMBERS = 1_000_000
_MAX_IMAGE_BYTES = 20_000_000
_MAX_TABLE_BYTES = 2_000_000_000
_MAX_LINE = 1 << 20
_MAX_BROKEN = 0.01
_CACHE_VERSION = 4
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)
"""What the standard library raises on damaged zips."""


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
    """A data set in its three splits; `private` may be empty. `notes` say what the reader had to do to it."""

    source: Path
    train: Split
    public: Split
    private: Split
    notes: tuple[str, ...] = ()

    def fingerprint(self, *names: str) -> str:
        """Returns a SHA-256 over images and labels of the splits of these names.

        Without names it is of train and public: equal for equal training data.
        """
        digest = hashlib.sha256()
        for split in (getattr(self, name) for name in names or ("train", "public")):
            digest.update(split.images.tobytes())
            digest.update(split.labels.tobytes())
        return digest.hexdigest()


def find(path: str | os.PathLike | None = None) -> Path:
    """Returns where the data is: `path`, else `$FER2013`, else `data/fer2013.zip` or `../shared/data/fer2013.zip`.

    Raises:
        UserError: if nothing is there.
    """
    for given, what in ((path, "--data"), (os.environ.get("FER2013"), "$FER2013")):
        if given:
            if not Path(given).exists():
                raise UserError(f"{what} {given}: no such file or folder; expected FER-2013 as zip, folder or CSV")
            return Path(given)
    for default in DEFAULT_PATHS:
        if Path(default).exists():
            return Path(default)
    raise UserError(
        f"FER-2013 not found: neither --data nor $FER2013 is given and there is no {' or '.join(DEFAULT_PATHS)}; "
        "download it from kaggle.com/datasets/msambare/fer2013 and name the zip with --data"
    )


def load(path: str | os.PathLike, *, cache: bool = True) -> Fer2013:
    """Reads a data set; from the second time on, from a decoded copy in `$FER_TF_CACHE` or the user's cache directory.

    The order of the arrays depends on labels and pixels alone, so that equal images in a folder, a zip or a CSV
    give equal arrays. Broken images are named on stderr, skipped and counted.

    Args:
        path: A folder, a zip or a CSV.
        cache: Whether to read and write the decoded copy.

    Raises:
        UserError: if there is no data set there, or more than 1 % of its images are broken.
    """
    path = Path(path).absolute()
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected FER-2013 as zip, folder or CSV")
    cached = _Cache(path) if cache else None
    data = cached.read() if cached else None
    if data is None:
        data = _read(path)
        if cached:
            cached.write(data)
    return data


# ------------------------------------------------------------------------------------------------ reading


@dataclass
class _Reading:
    """What has been read so far, and what had to be done to it."""

    rows: dict[str, list[tuple[int, bytes, str]]] = field(
        default_factory=lambda: {place: [] for place in (*SPLITS, "validation", *_TESTS, "")}
    )
    converted: Counter = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    others: Counter = field(default_factory=Counter)
    """Suffixes of the files in class folders that are not taken for images."""

    def add(self, split: str, label: int, image: np.ndarray, name: str) -> None:
        self.rows[split].append((label, image.tobytes(), name))

    def leave_out(self, names: Iterable[str]) -> None:
        for path in map(PurePosixPath, names):
            folder = path.parent.name.lower()
            if ALIASES.get(folder, folder) in CLASSES and not _is_hidden(str(path)) and not _is_image(path.name):
                self.others[path.suffix.lower() or "no suffix"] += 1

    def skip(self, name: str, reason: str) -> None:
        self.broken.append(f"{name} ({reason})")


def _read(path: Path) -> Fer2013:
    reading = _Reading()
    try:
        if path.is_dir():
            _read_folder(path, reading)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _read_zip(path, archive, reading)
        elif path.suffix.lower() == ".csv":
            with open(path, encoding="utf-8-sig", newline="") as file:
                _read_csv(path, file, reading)
        elif path.suffix.lower() == ".zip":
            raise UserError(f"{path}: not a readable zip (truncated download?); download it again")
        else:
            raise UserError(f"{path}: expected a folder, a .zip or a .csv with FER-2013 in it")
    except _DAMAGED as error:
        raise UserError(f"{path}: damaged zip ({error}); download it again") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file; expected a CSV with the columns emotion, pixels, Usage") from None
    return _arrange(path, reading)


def _read_folder(path: Path, reading: _Reading) -> None:
    named = [(file.relative_to(path).as_posix(), file) for file in _files(path)]
    images = [(name, file) for name, file in named if _is_image(name)]
    table = None if images else _table([name for name, _ in named])
    if table:
        with open(path / table, encoding="utf-8-sig", newline="") as file:
            _read_csv(path / table, file, reading)
        return
    reading.leave_out(name for name, _ in named)
    for name, file in tqdm(images, desc="reading images", unit=" images", disable=None):
        place = _place(path, name)
        if file.stat().st_size > _MAX_IMAGE_BYTES:
            reading.skip(name, "larger than 20 MB")
        else:
            _decode(reading, place, name, file.read_bytes())


def _read_zip(path: Path, archive: zipfile.ZipFile, reading: _Reading) -> None:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > _MAX_MEMBERS:
        raise UserError(f"{path}: {len(members)} members; expected at most {_MAX_MEMBERS}")
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or (name.parts and name.parts[0].endswith(":")):
            raise UserError(f"{path}: member {member.filename!r} points outside the zip; do not trust this file")
        if member.flag_bits & 0x1:
            raise UserError(f"{path}: encrypted; expected a zip without a password")
    images = [member for member in members if _is_image(member.filename)]
    table = None if images else _table([member.filename for member in members])
    if table:
        if archive.getinfo(table).file_size > _MAX_TABLE_BYTES:
            raise UserError(f"{path}: {table} is larger than 2 GB; FER-2013's table has 300 MB")
        with archive.open(table) as file:
            _read_csv(path, io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), reading)
        return
    reading.leave_out(member.filename.replace("\\", "/") for member in members)
    for member in tqdm(images, desc="reading images", unit=" images", disable=None):
        place = _place(path, member.filename)
        try:
            with archive.open(member) as file:  # the size in the directory may lie, so bound what is read
                content = file.read(_MAX_IMAGE_BYTES + 1)
        except (*_DAMAGED, OSError) as error:
            reading.skip(member.filename, str(error))
            continue
        if len(content) > _MAX_IMAGE_BYTES:
            reading.skip(member.filename, "larger than 20 MB")
        else:
            _decode(reading, place, member.filename, content)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(name)


def _place(path: Path, name: str) -> tuple[str, int]:
    """Returns split and label of an image from its path: `…/<split>/<class>/<Usage>_<id>.jpg`, split optional.

    The folder decides, and the file's name where there is none. The split is empty if neither names one; of a test
    folder it is `test`, `test-public` or `test-private`, as the file's name says.
    """
    *folders, file = name.lower().replace("\\", "/").split("/")
    class_name = folders[-1] if folders else ""
    class_name = ALIASES.get(class_name, class_name)
    if class_name not in CLASSES:
        raise UserError(
            f"{path}: {name!r} lies in no class folder; expected <class>/<image> or train/<class>/<image> with the "
            f"classes {', '.join(CLASSES)}"
        )
    split = _FOLDERS.get(folders[-2], "") if len(folders) > 1 else ""
    usage = _USAGES.get(file.split("_")[0], "")
    if split == "test" and usage in ("public", "private"):
        split = f"test-{usage}"
    return split or usage, CLASSES.index(class_name)


def _decode(reading: _Reading, place: tuple[str, int], name: str, content: bytes) -> None:
    """Decodes one image file to uint8 [48, 48] and adds it, or notes that it is broken."""
    image = decode(content)
    if image is None:
        image = _decode_floats(content)
        if image is None:
            reading.skip(name, "not a readable image")
            return
        reading.converted["of floats were converted to 8 bits"] += 1
    if (image != image[..., :1]).any():
        reading.converted["in colour were converted to gray"] += 1
    image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # which leaves gray as it is
    if image.shape[0] != image.shape[1]:
        reading.converted["that are not square were cut to the square in their middle"] += 1
        image = middle_square(image)
    if image.shape != (IMAGE_SIZE, IMAGE_SIZE):
        reading.converted[f"of another size were resized to {IMAGE_SIZE}x{IMAGE_SIZE}"] += 1
        shrinks = min(image.shape) >= IMAGE_SIZE
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=interpolation)
    reading.add(*place, image, name)


def _decode_floats(content: bytes) -> np.ndarray | None:
    """Returns an image of numbers from 0 to 1, which OpenCV makes none of 8 bits of, as uint8 [H, W, 3]; else None."""
    image = decode(content, cv2.IMREAD_UNCHANGED)
    if image is None or not np.issubdtype(image.dtype, np.floating):
        return None
    image = np.clip(np.nan_to_num(image) * 255, 0, 255).round().astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image[..., :3]


def _table(names: list[str]) -> str | None:
    """Returns the challenge's table among the names of files, known by its name or by being the only one."""
    tables = [name for name in names if name.lower().endswith(".csv") and not _is_hidden(name)]
    known = [name for name in tables if name.lower().split("/")[-1] in _TABLES]
    return known[0] if known else tables[0] if len(tables) == 1 else None


def _read_csv(path: Path, file: io.TextIOBase, reading: _Reading) -> None:
    """Reads the challenge's table: columns emotion (0 to 6, in the challenge's order), pixels, Usage."""
    csv.field_size_limit(_MAX_LINE)
    rows = csv.reader(iter(lambda: file.readline(_MAX_LINE), ""))
    try:
        header = [column.strip().lower() for column in next(rows, [])]
        missing = [column for column in ("emotion", "pixels", "usage") if column not in header]
        if missing:
            found = ", ".join(header)[:80] or "nothing"
            raise UserError(f"{path}: no column {', '.join(missing)}; expected emotion, pixels, Usage; found {found}")
        columns = [header.index(column) for column in ("emotion", "pixels", "usage")]
        for number, row in enumerate(tqdm(rows, desc="reading rows", unit=" rows", disable=None), 1):
            if number > _MAX_MEMBERS or (number > 10_000 and len(reading.broken) > number / 2):
                break  # this is no such table, and need not be read to its end
            try:
                emotion, pixels, usage = (row[column] for column in columns)
                split = _USAGES[usage.strip().lower()]
                label = CLASSES.index(CHALLENGE_CLASSES[_digit(emotion)])
                image = _parse_pixels(pixels)
            except IndexError:
                reading.skip(f"row {number}", "a column or class is missing")
            except KeyError as error:
                reading.skip(f"row {number}", f"unknown Usage {error}")
            except ValueError as error:
                reading.skip(f"row {number}", str(error))
            else:
                reading.add(split, label, image, f"row {number}")
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV ({error}); expected the columns emotion, pixels, Usage") from None


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


def _arrange(path: Path, reading: _Reading) -> Fer2013:
    """Makes splits of what was read, in an order that depends on labels and pixels alone."""
    notes = [f"{count} images {what}" for what, count in reading.converted.items()]
    rows, broken = reading.rows, reading.broken
    if reading.others:
        suffixes = ", ".join(sorted(reading.others))
        notes.append(f"{reading.others.total()} files in class folders are of other formats and left out: {suffixes}")
    total = sum(map(len, rows.values())) + len(broken)
    if not total:
        classes = ", ".join(CLASSES)
        instead = f" of {', '.join(IMAGE_SUFFIXES)}" if reading.others else ""
        raise UserError(
            f"{path}: no images{instead}; expected train/<class>/… and test/<class>/… with the classes {classes}"
        )
    if broken:
        if len(broken) > _MAX_BROKEN * total:
            raise UserError(f"{path}: {len(broken)} of {total} images are broken, the first: {broken[0]}; repair it")
        for line in broken[:10]:
            print(f"skipped: {line}", file=sys.stderr)
        if len(broken) > 10:
            print(f"skipped: {len(broken) - 10} more", file=sys.stderr)
        notes.append(f"{len(broken)} broken images were skipped: {', '.join(broken[:10])}")
    if rows["validation"]:
        rows["public"] += rows["validation"]
        for name in _TESTS:
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
    if not rows["public"]:
        rows["public"] = [row for row in rows["train"] if _is_held_out(row[1])]
        rows["train"] = [row for row in rows["train"] if not _is_held_out(row[1])]
        if rows["public"]:
            notes.append(f"one in ten of the training images ({len(rows['public'])}) was held out as 'public'")
    if not rows["train"] and not rows["public"] and not rows["private"]:
        raise UserError(f"{path}: no images")
    splits = {split: _to_arrays(rows[split]) for split in SPLITS}
    return Fer2013(path, **splits, notes=tuple(notes))


def _is_held_out(pixels: bytes) -> bool:
    # By content, so that copies of an image fall on the same side and adding images moves none.
    return hashlib.sha256(pixels).digest()[0] < 26


def _to_arrays(rows: list[tuple[int, bytes, str]]) -> Split:
    rows.sort()
    images = np.frombuffer(b"".join(pixels for _, pixels, _ in rows), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return Split(images, np.array([label for label, _, _ in rows], np.int64), np.array([n for *_, n in rows], str))


# -------------------------------------------------------------------------------------------------- cache


class _Cache:
    """The decoded copy of one source, valid while size and modification time of the source stay."""

    def __init__(self, source: Path):
        import platformdirs

        self._source = source
        self._key = json.dumps([_CACHE_VERSION, str(source), _state(source)])
        name = hashlib.sha256(os.fsencode(source)).hexdigest()[:16]
        folder = os.environ.get("FER_TF_CACHE") or platformdirs.user_cache_dir("fer-tf")
        self._path = Path(folder) / f"{name}.npz"

    def read(self) -> Fer2013 | None:
        """Returns the copy, or None if there is none that is readable and of the source as it is now."""
        try:
            with open(self._path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                if str(arrays["key"]) != self._key:
                    return None
                splits = {s: Split(*(arrays[f"{s}_{f}"] for f in ("images", "labels", "names"))) for s in SPLITS}
                return Fer2013(self._source, **splits, notes=tuple(json.loads(str(arrays["notes"]))))
        except Exception:  # whatever is wrong with it, the source is there to be read again
            return None

    def write(self, data: Fer2013) -> None:
        """Keeps the copy; a cache directory that cannot be written costs time, not the data."""
        arrays = {f"{s}_{f}": getattr(getattr(data, s), f) for s in SPLITS for f in ("images", "labels", "names")}
        try:
            with written_aside(self._path) as temporary:
                np.savez(temporary, key=self._key, notes=json.dumps(data.notes), **arrays)
        except OSError as error:
            print(f"note: no decoded copy kept in {self._path.parent} ({error.strerror})", file=sys.stderr)


def _state(source: Path) -> str:
    """Returns what changes when a file, or any file in a folder, is changed, moved or renamed."""
    files = _files(source) if source.is_dir() else [source]
    stats = ((str(file), file.stat()) for file in files)
    return hashlib.sha256(repr([(name, s.st_size, s.st_mtime_ns) for name, s in stats]).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    """Returns the files below a folder, sorted; links are followed, those to nowhere or to a parent left out."""
    found, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(root)
        if here in seen:
            folders.clear()
            continue
        seen.add(here)
        if root != str(folder) and {"settings.json", "history.csv"} <= set(names):
            folders.clear()  # a run that was trained on the data, with pictures of its own
            continue
        found += [Path(root, name) for name in names if os.path.isfile(os.path.join(root, name))]
    return sorted(found)


# -------------------------------------------------------------------------------------------------- audit


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


@command
def main(argv: list[str] | None = None) -> None:
    """Prints the audit of a data set."""
    parser = Parser("fer_tf.fer2013", description="Print an audit of FER-2013 or a folder like it.")
    parser.add_argument("path", nargs="?", help="zip, folder or CSV (default: as --data elsewhere)")
    print(audit(load(find(parser.parse_args(argv).path))))


if __name__ == "__main__":
    raise SystemExit(main())
