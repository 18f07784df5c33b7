"""Folders, zips and tars, which are read alike."""

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from fer_tf import limits
from fer_tf.errors import UserError

DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
)
"""What the standard library raises on damaged archives."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Suffixes of the archives that are read."""


class Source(Protocol):
    """Files by name. `names` are relative, with slashes."""

    names: list[str]

    def open(self, name: str) -> IO[bytes]:
        """Opens one of the files."""

    def size(self, name: str) -> int:
        """Returns how many bytes a file says that it has."""


def read_bytes(source: Source, name: str, limit: str) -> bytes | None:
    """Returns the content of a file; None if it is larger than a limit of `fer_tf.limits`."""
    most = limits.limit(limit)
    if source.size(name) > most:
        return None
    with source.open(name) as file:  # what an archive says of a size may be wrong, so bound what is read
        content = file.read(most + 1)
    return content if len(content) <= most else None


class Folder:
    """The files below a folder."""

    def __init__(self, path: Path):
        self._files = {file.relative_to(path).as_posix(): file for file in files_below(path)}
        self.names = list(self._files)

    def open(self, name: str) -> IO[bytes]:  # noqa: D102 (see `Source`)
        return open(self._files[name], "rb")

    def size(self, name: str) -> int:  # noqa: D102
        return self._files[name].stat().st_size


class Zip:
    """The members of a zip, in its order."""

    def __init__(self, path: Path, file: Any, stack: ExitStack):
        self._archive = stack.enter_context(zipfile.ZipFile(file))
        members = [member for member in self._archive.infolist() if not member.is_dir()]
        limits.check("IMAGES", len(members), f"{path}: its members are")
        if any(member.flag_bits & 0x1 for member in members):
            raise UserError(f"{path}: encrypted; expected a zip without a password")
        self._members = {member.filename.replace("\\", "/"): member for member in members}
        self.names = _checked(path, self._members)

    def open(self, name: str) -> IO[bytes]:  # noqa: D102
        return self._archive.open(self._members[name])

    def size(self, name: str) -> int:  # noqa: D102
        return self._members[name].file_size


class Tar:
    """The files of a tar, compressed or not, in its order."""

    def __init__(self, path: Path, file: Any, stack: ExitStack):
        opened = {"fileobj": file} if hasattr(file, "read") else {"name": file}
        self._archive = stack.enter_context(tarfile.open(mode="r:*", **opened))  # noqa: SIM115
        self._members, total = {}, 0
        for number, member in enumerate(self._archive):  # which unpacks what lies before, so count as it goes
            total += member.size
            limits.check("ARCHIVE_BYTES", total, f"{path}: unpacked")
            limits.check("IMAGES", number, f"{path}: its members are")
            if member.isfile():
                self._members[member.name.removeprefix("./")] = member
        self.names = _checked(path, self._members)

    def open(self, name: str) -> IO[bytes]:  # noqa: D102
        file = self._archive.extractfile(self._members[name])
        assert file is not None  # it is a file
        return file

    def size(self, name: str) -> int:  # noqa: D102
        return self._members[name].size


def open_source(path: Path, stack: ExitStack) -> Source | None:
    """Opens a folder, zip or tar until `stack` is closed; returns None for another file.

    Raises:
        UserError: if a member of an archive is encrypted or lies outside it, or if there are too many.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise UserError(f"{path}: not a file or folder; expected FER-2013 as zip, folder or CSV")
    return _open_archive(path, path, stack)


def open_inner(path: Path, source: Source, name: str, stack: ExitStack) -> Source | None:
    """Opens an archive that is a member of another, as that of the challenge in Kaggle's zip."""
    content = read_bytes(source, name, "TABLE_BYTES")
    return None if content is None else _open_archive(path, io.BytesIO(content), stack)


def _open_archive(path: Path, file: Any, stack: ExitStack) -> Source | None:
    for is_kind, kind in ((zipfile.is_zipfile, Zip), (tarfile.is_tarfile, Tar)):
        if is_kind(file):
            return kind(path, file, stack)
        if hasattr(file, "seek"):
            file.seek(0)
    return None


def _checked(path: Path, names: Iterable[str]) -> list[str]:
    """Returns the names of members, or raises `UserError` if one would lie outside the folder it is extracted to."""
    names = list(names)
    for name in map(PurePosixPath, names):
        if name.is_absolute() or ".." in name.parts or (name.parts and name.parts[0].endswith(":")):
            raise UserError(f"{path}: member {str(name)!r} points outside the archive; do not trust this file")
    return names


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
