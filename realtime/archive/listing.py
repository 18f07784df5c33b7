"""Lists what is to be labeled: files, folders and patterns, on this machine or in a store that pyarrow can reach."""

import glob
import os
import posixpath
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from fer_tf.errors import UserError
from fer_tf.images import READABLE_SUFFIXES
from fer_tf.realtime.sources import HEIC_PROBLEM, HEIC_SUFFIXES, VIDEO_SUFFIXES


@dataclass(frozen=True, slots=True)
class Item:
    """A file that is to be labeled."""

    source: str
    """What the rows call it."""
    path: str
    """Where it is, whatever it is called: an absolute path, or the address without its query."""
    size: int
    """In bytes."""
    time: float
    """When it was changed, in seconds since 1970."""
    place: str | None = None
    """The address that leads to its store; None for a file of this machine."""


def is_address(text: str) -> bool:
    """Returns whether a text is the address of a store, such as `s3://bucket/folder`."""
    return "://" in text


def open_place(address: str) -> tuple[fs.FileSystem, str]:
    """Returns the store behind an address, and the path in it.

    Raises:
        UserError: if pyarrow knows no such store, or does not reach it.
    """
    try:
        return fs.FileSystem.from_uri(address)
    except (OSError, ValueError) as error:  # pyarrow's own errors are some of these
        problem = f"{shown(address)}: {reason_of(error)}"
        raise UserError(f"{problem}; expected a store that pyarrow knows, such as s3:// or gs://") from None


def reason_of(error: Exception) -> str:
    """Returns what an error of the system or of pyarrow says, in a line."""
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]


def shown(address: str) -> str:
    """Returns an address without its query and without credentials."""
    scheme, _, rest = address.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def list_items(named: Sequence[str], *, recursive: bool = False) -> list[Item]:
    """Lists the files that a user names.

    Args:
        named: Files; folders, which stand for the images and videos in them; patterns that the shell has not expanded;
            addresses of files or folders in a store.
        recursive: Whether folders below folders count, too. Links to folders are not followed.

    Returns:
        The files, each once: in the order of `named`, and by name within a folder.

    Raises:
        UserError: if there is no such file, a folder holds nothing, or a pattern matches nothing.
    """
    found: dict[str, Item] = {}
    for text in named:
        items = _in_store(text, recursive) if is_address(text) else _here(text, recursive)
        for item in items:
            found.setdefault(item.path, item)
    return list(found.values())


def _here(text: str, recursive: bool) -> list[Item]:
    """Lists files of this machine."""
    if not text:
        raise UserError("a source without a name; expected a file, a folder, a pattern or an address")
    if os.path.isdir(text):
        entries = ((entry.path, entry.name, entry.stat()) for entry in _walk(str(Path(text)), recursive))
        return _wanted(text, entries, known_only=True)
    if glob.has_magic(text) and not os.path.exists(text):
        paths = filter(os.path.isfile, glob.iglob(text, recursive=True))
        return _wanted(text, ((path, os.path.basename(path), os.stat(path)) for path in paths), known_only=False)
    try:
        status = os.stat(text)
    except (OSError, ValueError):
        raise UserError(f"{text}: no such file or folder; expected one, a pattern or an address") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{text}: is no ordinary file; for cameras and streams there is the live loop")
    return [_item(text, status)]


def _walk(folder: str, recursive: bool) -> Iterator[os.DirEntry]:
    """Yields the files of a folder that are not hidden."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if recursive and entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, recursive)
            elif entry.is_file():
                yield entry


def _wanted(text: str, entries: Iterator[tuple[str, str, os.stat_result]], *, known_only: bool) -> list[Item]:
    """Returns the files among some, given by path, name and status, that may be images or videos, by name."""
    items, heic = [], 0
    for path, name, status in entries:
        suffix = os.path.splitext(name)[1].lower()
        heic += suffix in HEIC_SUFFIXES
        if not known_only or suffix in _SUFFIXES:
            items.append(_item(path.removeprefix(f".{os.sep}"), status))
    return _sorted(text, items, heic * known_only)


def _item(path: str, status: os.stat_result) -> Item:
    return Item(path, os.path.abspath(path), status.st_size, status.st_mtime)


def _in_store(address: str, recursive: bool) -> list[Item]:
    """Lists files behind an address."""
    store, path = open_place(address)
    scheme = address.partition("://")[0]
    try:
        info = store.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise UserError(f"{shown(address)}: no such file or folder there")
        infos = [info]
        if not info.is_file:
            infos = store.get_file_info(fs.FileSelector(path, recursive=recursive))
    except OSError as error:
        raise UserError(f"{shown(address)}: cannot be listed ({reason_of(error)})") from None
    items, heic = [], 0
    for entry in infos:
        suffix = posixpath.splitext(entry.base_name)[1].lower()
        hidden = entry.base_name.startswith(".")
        heic += suffix in HEIC_SUFFIXES
        if entry.is_file and (entry is info or (suffix in _SUFFIXES and not hidden)):
            source = f"{scheme}://{entry.path}"
            items.append(Item(source, source, entry.size, (entry.mtime_ns or 0) / 1e9, address))
    return _sorted(shown(address), items, heic)


_SUFFIXES = frozenset(READABLE_SUFFIXES + VIDEO_SUFFIXES)


def _sorted(text: str, items: list[Item], heic: int) -> list[Item]:
    """Returns the files by name, or says that there are none."""
    if heic:
        print(f"note: {text}: {HEIC_PROBLEM} (files left out: {heic})", file=sys.stderr)
    if not items:
        raise UserError(f"{text}: there are no images or videos; name others, or add --recursive")
    return sorted(items, key=lambda item: item.source)
