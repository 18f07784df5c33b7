"""Writes files so that they are complete or absent: under a temporary name first, then moved into place."""

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from fer_tf import limits
from fer_tf.errors import UserError
from fer_tf.locks import lock

_MOVES_OPEN_FILES = os.name != "nt"
"""Whether a file can be moved or removed while it is open, and locked."""

_swept: set[Path] = set()
"""Folders from which this process has removed what killed writers left."""


@contextmanager
def written_aside(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`. On success the file there replaces `path`; on failure it is removed.

    The temporary name keeps the suffix, by which many writers choose their format. Missing folders are created, and
    removed again on failure. What killed writers left in the folder is removed, too.

    Raises:
        OSError: if the file cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path  # a pipe or device, which nothing can take the place of
        return
    path = path.resolve()  # a link stays, and its target is replaced
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary: Path | None = None
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if path.parent not in _swept:
            remove_leftovers(path.parent)
            _swept.add(path.parent)
        temporary, file = _create_beside(path)
        with file:
            created = os.stat(temporary).st_mtime_ns
            yield temporary
            status = os.stat(temporary)
            if not status.st_size and status.st_mtime_ns == created:
                raise FileNotFoundError(errno.ENOENT, "nothing was written", str(path))
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            if _MOVES_OPEN_FILES:  # while it is locked, no one else removes it
                os.replace(temporary, path)
        if not _MOVES_OPEN_FILES:
            os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)  # a full disk is reported without a name
        if temporary:
            temporary.unlink(missing_ok=True)
        with suppress(OSError):  # others may have written there meanwhile
            for folder in missing:
                folder.rmdir()
        raise


def _create_beside(path: Path) -> tuple[Path, IO[bytes]]:
    """Creates a temporary file beside `path`, and returns its path and the file, which is locked if it can be."""
    while True:
        # By chance, not by the process: hosts that share the folder may have processes of the same number.
        temporary = path.with_name(f".{path.stem}.part{secrets.randbits(63)}{path.suffix}")
        file = open(temporary, "wb")  # noqa: SIM115
        try:
            lock(file)
        except BlockingIOError:  # another process takes it for a leftover, and removes it
            file.close()
            continue
        except OSError:  # this file system has no locks
            return temporary, file
        if temporary.exists():  # it may have been removed before it was locked
            return temporary, file
        file.close()


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of killed writers from `folder`, and no files with similar names.

    Those of writers that are still at work are locked, and stay.
    """
    for path in folder.glob(".*.part*"):
        if re.fullmatch(r"\..*\.part\d+(\.\w+)?", path.name) and path.is_file():
            with suppress(OSError):
                with open(path, "rb+") as file:
                    lock(file)
                    if _MOVES_OPEN_FILES:
                        path.unlink(missing_ok=True)
                path.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` as UTF-8."""
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(value: Any) -> str:
    """Returns `value` as indented JSON, valid in UTF-8 even if it holds paths that are not."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Python keeps the bytes of such a path as lone surrogates, which Python and JSON escape alike.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON."""
    write_text(path, to_json(value) + "\n")


def read_json(path: Path, *, wrote: str) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Args:
        path: The file.
        wrote: The command that writes such files, for messages.

    Raises:
        UserError: if there is none, or if the file is damaged or too large.
    """
    if not path.is_file():
        raise UserError(f"{path}: not a file; expected a JSON object that {wrote} wrote")
    limits.check("JSON_BYTES", path.stat().st_size, path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object")
    return values


def sha256(path: Path | str) -> str:
    """Returns the hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(path: Path | str, *, in_place: bool = False) -> None:
    """Checks that a file can be written, without creating it or its folder.

    Args:
        path: The file to write or replace; its folder need not exist yet.
        in_place: Whether an existing file is written to, not replaced, so that its folder need not be writable.

    Raises:
        UserError: if it cannot.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; expected the name of a file")
        needed = [path] if path.exists() else []
        if not needed or (path.is_file() and not in_place):
            folder = path.resolve().parent
            needed.append(next(place for place in (folder, *folder.parents) if place.exists()))
            if not needed[-1].is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise UserError(f"{path}: its folder cannot be made ({error.strerror}); choose another place") from None
    for place in needed:
        if not os.access(place, os.W_OK):
            raise UserError(f"{place}: may not be written; choose another place or change the permissions")


@contextmanager
def named_errors(path: Path | str) -> Iterator[None]:
    """Turns the error of a file that cannot be written into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
