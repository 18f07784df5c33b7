"""The place where the parts of an archive go: a folder, or whatever pyarrow's file systems reach."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from fer_tf.errors import UserError
from fer_tf.files import named_errors, remove_leftovers, to_json, written_aside
from fer_tf.locks import claim
from fer_tf.realtime.archive.listing import is_address, open_place, reason_of, shown

MARKER = "running.json"
"""What tells others, in a store without locks, that a run is at work."""

BEAT = 60.0
"""Seconds after which the marker is renewed."""

STALE = 300.0
"""Seconds after which a marker that was not renewed is taken for that of a run that was killed."""


class Store:
    """A folder of whole files. Readers never see half of one.

    Args:
        place: A folder, or the address of one. It need not exist.

    Attributes:
        name: The place as messages name it.
        place: The same for other processes: a folder is absolute.

    Raises:
        UserError: if pyarrow does not know that kind of address.
    """

    def __init__(self, place: str):
        self.folder = None if is_address(place) else Path(place).absolute()
        self.name = shown(place) if is_address(place) else place
        self.place = place if self.folder is None else str(self.folder)
        self._files, self._path = open_place(place) if self.folder is None else (fs.LocalFileSystem(), self.place)
        if self.folder and self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{place}: is a file; expected a folder, which may be new")

    def names(self) -> list[str]:
        """Returns the names of the parts."""
        selector = fs.FileSelector(self._path, allow_not_found=True)
        try:
            names = [info.base_name for info in self._files.get_file_info(selector) if info.is_file]
        except OSError as error:
            raise UserError(f"{self.name}: cannot be listed ({reason_of(error)})") from None
        return sorted(name for name in names if name.startswith("part-") and name.endswith(".parquet"))

    def open(self, name: str) -> pa.NativeFile:
        """Opens a file to read in any order."""
        return self._files.open_input_file(f"{self._path}/{name}")

    def put(self, name: str, content: bytes | pa.Buffer) -> None:
        """Writes a file: aside and moved, or as one object.

        Raises:
            UserError: if it cannot be written.
        """
        try:
            if self.folder is None:
                with self._files.open_output_stream(f"{self._path}/{name}") as stream:
                    stream.write(content)
            else:
                with written_aside(self.folder / name) as temporary:
                    temporary.write_bytes(content)
        except OSError as error:
            raise UserError(f"{self.name}/{name}: cannot be written ({reason_of(error)})") from None

    def put_json(self, name: str, value: Any) -> None:
        """Writes a value as indented JSON."""
        self.put(name, (to_json(value) + "\n").encode())

    def read_json(self, name: str) -> Any:
        """Returns the value in a JSON file; None if there is none.

        Raises:
            UserError: if it is damaged.
        """
        try:
            with self.open(name) as file:
                return json.loads(file.read())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise UserError(f"{self.name}/{name}: is damaged; choose another --output") from None

    def delete(self, name: str) -> None:
        """Deletes a file."""
        self._files.delete_file(f"{self._path}/{name}")

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other runs from writing there, and removes what killed ones left.

        A folder is locked until this process ends. Other stores have no locks: a marker is kept that says who is at
        work, and since it is read before it is written, two runs that begin in the same second do not see each other.

        Raises:
            UserError: if another run is at work.
        """
        if self.folder is None:
            with self._marked():
                yield
            return
        with named_errors(self.name):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = claim(self.folder / ".lock")
        with file:
            remove_leftovers(self.folder)
            yield

    @contextlib.contextmanager
    def _marked(self) -> Iterator[None]:
        mine = {"host": socket.gethostname(), "process": os.getpid(), "since": _now()}
        other = self.read_json(MARKER)
        if other and not _is_over(other):
            raise UserError(
                f"{self.name}: a run on {other['host']} is writing there (process {other['process']}, since "
                f"{other['since']}); wait until it ends. If it was killed, try again in {STALE / 60:.0f} minutes"
            )
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT):
                with contextlib.suppress(UserError):  # the next one may arrive
                    self.put_json(MARKER, mine | {"seen": time.time()})

        self.put_json(MARKER, mine | {"seen": time.time()})
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            with contextlib.suppress(OSError):
                self.delete(MARKER)


def _is_over(marker: dict[str, Any]) -> bool:
    """Returns whether the run that wrote a marker has ended."""
    if time.time() - marker["seen"] > STALE:
        return True
    if marker["host"] != socket.gethostname() or os.name == "nt":
        return False
    try:
        os.kill(marker["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return marker["process"] == os.getpid()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
