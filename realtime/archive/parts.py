"""The Parquet files of an archive: the rows of some sources, and in the footer what became of each source."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_tf.errors import UserError, is_out_of_memory
from fer_tf.files import named_errors, written_aside
from fer_tf.realtime.archive.listing import Item, reason_of
from fer_tf.realtime.archive.store import Store
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.face import Face
from fer_tf.realtime.tables import COLUMNS, Row, csv_row, rows_of

FOOTER_KEY = b"fer.sources"

_TEXTS = ("source", "model", "expression", "shown")
_COUNTS = ("frame", "face", "x", "y", "width", "height")
SCHEMA = pa.schema(
    [(name, pa.string() if name in _TEXTS else pa.int32() if name in _COUNTS else pa.float64()) for name in COLUMNS]
)
"""The columns of `docs/formats.md`."""

_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("source", "path"), str),
    **dict.fromkeys(("size", "frames", "faces"), int),
    **{"time": (int, float), "error": (str, type(None))},
}
"""The types of what a footer says of a source."""

_GROUP = 2**16
"""Rows that are kept as Python objects before they are compressed."""


@dataclass(frozen=True)
class Entry:
    """What became of a source; the footer of its part holds these."""

    source: str
    path: str
    size: int
    time: float
    frames: int = 0
    faces: int = 0
    error: str | None = None

    def is_of(self, item: Item) -> bool:
        """Returns whether the file is still the one that was labeled."""
        return (self.path, self.size, self.time) == (item.path, item.size, item.time)


def entry_of(item: Item, *, frames: int = 0, faces: int = 0, error: str | None = None) -> Entry:
    """Returns what became of a file."""
    return Entry(item.source, item.path, item.size, item.time, frames, faces, error)


class Part:
    """Collects rows in memory, compressed, so that hours of video fit; a table of the live loop."""

    def __init__(self) -> None:
        self._buffer = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._buffer, SCHEMA, compression="zstd")
        self._rows: list[Row] = []

    def write(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        """Adds the rows of a frame."""
        self._rows += rows_of(source, frame, faces)
        if len(self._rows) >= _GROUP:
            self._flush()

    def carry_over(self, store: Store, name: str, entries: Iterable[Entry]) -> None:
        """Adds the rows that an existing part has of some sources."""
        # A name that is not UTF-8 would be no string of pyarrow's, but such a file has no rows.
        wanted = pa.array([entry.source for entry in entries if entry.faces], pa.string())
        for table in read_tables(store, name):
            self._writer.write_table(table.filter(pc.is_in(table["source"], value_set=wanted)))

    def finish(self, entries: Sequence[Entry]) -> pa.Buffer:
        """Returns the file, with the sources in its footer."""
        self._flush()
        self._writer.add_key_value_metadata({FOOTER_KEY: json.dumps([asdict(entry) for entry in entries])})
        self._writer.close()
        return self._buffer.getvalue()

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
            self._writer.write_table(pa.table(arrays, schema=SCHEMA))
            self._rows.clear()


def read_entries(store: Store, name: str) -> list[Entry]:
    """Returns what became of the sources of a part.

    Raises:
        UserError: if it is damaged.
    """
    with _whole(store, name), store.open(name) as file:
        footer = pq.read_metadata(file).metadata
        entries = [Entry(**values) for values in json.loads(footer[FOOTER_KEY])]
        if not all(isinstance(value, _KINDS[key]) for entry in entries for key, value in asdict(entry).items()):
            raise ValueError("its footer holds values of other types")
    return entries


def read_tables(store: Store, name: str, columns: Sequence[str] = COLUMNS) -> Iterator[pa.Table]:
    """Yields some columns of a part, in tables that fit into memory.

    Raises:
        UserError: if it is damaged.
    """
    wanted = pa.schema([SCHEMA.field(column) for column in columns])
    with _whole(store, name), store.open(name) as file:
        content = pq.ParquetFile(file)
        for group in range(content.num_row_groups):
            table = content.read_row_group(group, columns=list(columns)).select(list(columns))
            if not table.schema.equals(wanted):
                raise ValueError("its columns are others")
            table.validate(full=True)
            yield table


@contextmanager
def _whole(store: Store, name: str) -> Iterator[None]:
    """Turns what pyarrow and JSON say of a damaged part into a `UserError`."""
    try:
        yield
    except (pa.ArrowException, ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, UserError) or is_out_of_memory(error):
            raise
        raise UserError(
            f"{store.name}/{name}: is damaged ({reason_of(error)}); remove it, and its sources are labeled again"
        ) from None


def drop_repeated(store: Store, parts: dict[str, list[Entry]]) -> None:
    """Leaves each source in one part alone.

    A worker that outlived its driver may have finished a part while the next run gave some of its sources to another.

    Args:
        store: Where the parts are.
        parts: The sources of each part; what is dropped is removed from here, too.
    """
    seen: set[str] = set()
    for name in sorted(parts):
        left = [entry for entry in parts[name] if entry.path not in seen]
        seen |= {entry.path for entry in left}
        if len(left) == len(parts[name]):
            continue
        parts[name] = left
        if left:
            part = Part()
            part.carry_over(store, name, left)
            store.put(name, part.finish(left))
        else:
            store.delete(name)
            del parts[name]


def write_csv(store: Store, names: Iterable[str], path: Path) -> None:
    """Writes all rows as one table, as `CsvSink` would have written them; the sources come part by part."""
    with (
        named_errors(path),
        written_aside(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for name in names:
            for table in read_tables(store, name):
                rows.writerows(map(csv_row, zip(*(column.to_pylist() for column in table.columns), strict=True)))
