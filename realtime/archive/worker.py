"""Labels the sources of one shard after the other. It runs in a process of its own, perhaps on another machine."""

import contextlib
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import cv2

from fer_tf.cluster import check_version
from fer_tf.errors import UserError
from fer_tf.quiet import silence_opencv
from fer_tf.realtime.archive.listing import Item, open_place
from fer_tf.realtime.archive.parts import Entry, Part, entry_of
from fer_tf.realtime.archive.store import Store
from fer_tf.realtime.loop import Loop
from fer_tf.realtime.options import make_pipeline
from fer_tf.realtime.sources import open_source


class Labeler:
    """One pipeline, on one thread.

    Args:
        output: `Store.place` of where the parts go.
        version: The version of whoever gives the work.
        options: The options of `fer_tf.realtime.options`. Files are named by what is in them, as bytes, since they need
            not be on this machine.

    Raises:
        UserError: if this is another version.
    """

    def __init__(self, output: str, version: str, options: Mapping[str, Any]):
        check_version(version)
        silence_opencv()
        cv2.setNumThreads(1)
        self._store = Store(output)
        with tempfile.TemporaryDirectory(prefix="fer-tf-") as folder:
            written = {name: _written(value, Path(folder, f"{name}.onnx")) for name, value in options.items()}
            self._pipeline = make_pipeline(Namespace(**written), threads=1)
        self._part = Part()

    def label(self, item: Item, *, anew: bool) -> Entry:
        """Labels a source, and keeps its rows.

        Args:
            item: The source.
            anew: Whether it is the first of its shard.

        Returns:
            What became of it. Whatever is wrong with it is an error in there, not an exception.
        """
        if anew:
            self._part = Part()
        loop, error = Loop(self._pipeline, tables=[self._part]), None
        try:
            with _as_file(item) as path:
                try:
                    source = open_source(path)
                    source.name = item.source
                    loop.play(source)
                    error = source.failure
                except Exception as problem:
                    error = str(problem).replace(path, item.source)
                    if not isinstance(problem, UserError):
                        error = f"{item.source}: {type(problem).__name__}: {error}"
        except OSError as problem:
            error = f"{item.source}: cannot be fetched ({problem})"
        return entry_of(item, frames=loop.frames, faces=loop.faces, error=error and " ".join(error.split()))

    def finish(self, name: str, entries: Sequence[Entry], kept: Sequence[Entry], *, anew: bool) -> None:
        """Writes the part of the shard.

        Args:
            name: Its name.
            entries: What became of the sources that were labeled.
            kept: Sources of the part that is there whose rows stay.
            anew: Whether no source of this shard was labeled here, since all were left out.

        Raises:
            UserError: if it cannot be written.
        """
        if anew:
            self._part = Part()
        if kept:
            self._part.carry_over(self._store, name, kept)
        self._store.put(name, self._part.finish([*kept, *entries]))


def _written(value: Any, path: Path) -> Any:
    """Returns the value of an option, with bytes written to `path`; those of a list to files beside it."""
    if isinstance(value, list):
        return [_written(part, path.with_stem(f"{path.stem}-{number}")) for number, part in enumerate(value)]
    if not isinstance(value, bytes):
        return value
    path.write_bytes(value)
    return path


@contextlib.contextmanager
def _as_file(item: Item) -> Iterator[str]:
    """Yields the path of a file with the content of a source; OpenCV reads nothing else."""
    if item.place is None:
        yield item.path
        return
    store, _ = open_place(item.place)
    with tempfile.TemporaryDirectory(prefix="fer-tf-") as folder:
        path = Path(folder, f"source{PurePosixPath(item.path).suffix}")
        with store.open_input_stream(item.path.partition("://")[2]) as content, open(path, "wb") as file:
            shutil.copyfileobj(content, file, 2**20)
        yield str(path)
