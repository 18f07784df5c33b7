# ruff: noqa: E402
import contextlib
import json
import os
import socket
import time

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra cluster")
fs = pytest.importorskip("pyarrow.fs")
pq = pytest.importorskip("pyarrow.parquet")

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.realtime.archive import store as module
from fer_tf.realtime.archive.listing import Item
from fer_tf.realtime.archive.parts import Part, drop_repeated, entry_of, read_entries, read_tables, write_csv
from fer_tf.realtime.archive.store import MARKER, STALE, Store
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.pipeline import Face, Reading
from fer_tf.realtime.tables import CsvSink

IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path, monkeypatch):
    """A store; a bucket is a folder that pyarrow writes to by itself."""
    if request.param == "folder":
        return Store(str(tmp_path / "out"))
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(module, "open_place", lambda address: (fs.LocalFileSystem(), str(tmp_path / "out")))
    return Store("s3://key:secret@bucket/out?region=x")


def faces(random, count=2):
    for track in range(count):
        rows = random.dirichlet(np.ones(len(CLASSES)), 2).astype(np.float32)
        yield Face((track, -1, 5, 6), track, IMAGE, (Reading("m", *rows), Reading('n, "2"', *rows[::-1])))


def fill(table, source, frames):
    random = np.random.default_rng(len(source))
    for index in range(frames):
        table.write(source, Frame(IMAGE, index, index / 29.97), list(faces(random)))


def item(source):
    return Item(source, f"/{source}", 1, 2.5)


def put(store, name, *sources):
    part = Part()
    for source in sources:
        fill(part, source, 3)
    entries = [entry_of(item(source), frames=3, faces=6) for source in sources]
    entries.append(entry_of(item(f"{name}\udcff"), error="the name is not UTF-8"))
    store.put(name, part.finish(entries))
    return entries


def test_rows_come_back_as_the_live_loop_writes_them(store, tmp_path):
    entries = put(store, "part-1.parquet", "ä\n.mp4", "b.mp4")
    with contextlib.closing(CsvSink(tmp_path / "live.csv")) as live:
        for entry in entries[:2]:
            fill(live, entry.source, 3)
    write_csv(store, store.names(), tmp_path / "archive.csv")
    assert (tmp_path / "archive.csv").read_bytes() == (tmp_path / "live.csv").read_bytes()
    assert read_entries(store, "part-1.parquet") == entries


def test_long_videos_are_kept_compressed(store, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_tf.realtime.archive.parts._GROUP", 10)
    put(store, "part-1.parquet", "a.mp4", "b.mp4")
    assert pq.ParquetFile(tmp_path / "out/part-1.parquet").num_row_groups == 2
    assert pq.read_table(tmp_path / "out/part-1.parquet").num_rows == 24


def test_a_source_stays_in_one_part(store, tmp_path):
    parts = {
        "part-1.parquet": put(store, "part-1.parquet", "a.mp4", "b.mp4"),
        "part-2.parquet": put(store, "part-2.parquet", "b.mp4", "c.mp4"),
        "part-3.parquet": put(store, "part-3.parquet", "c.mp4")[:1],
    }
    drop_repeated(store, parts)
    assert store.names() == sorted(parts) == ["part-1.parquet", "part-2.parquet"]
    for name, sources in (("part-1.parquet", {"a.mp4", "b.mp4"}), ("part-2.parquet", {"c.mp4"})):
        assert {entry.source for entry in read_entries(store, name)} == sources | {f"{name}\udcff"}
        assert set(pq.read_table(tmp_path / "out" / name)["source"].to_pylist()) == sources


def test_the_second_run_is_told(store):
    with store.claimed():
        if store.folder is None:  # by its marker; a process may follow itself
            marker = store.read_json(MARKER)
            store.put_json(MARKER, marker | {"host": "elsewhere"})
        with pytest.raises(UserError, match=r"is writing"), Store(store.place).claimed():
            pass
    with store.claimed():
        pass
    assert store.read_json(MARKER) is None
    assert "secret" not in store.name


@pytest.mark.parametrize(
    ("changes", "is_over"),
    [
        ({}, False),
        ({"seen": time.time() - STALE - 1}, True),
        ({"host": socket.gethostname(), "process": 2**22 + 1}, True),
        ({"host": socket.gethostname(), "process": os.getppid()}, False),
    ],
    ids=["elsewhere", "silent", "ended here", "alive here"],
)
def test_what_killed_runs_leave_in_a_bucket(changes, is_over):
    marker = {"host": "elsewhere", "process": 1, "since": "", "seen": time.time()} | changes
    assert module._is_over(marker) == is_over


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    store.put_json("a.json", [1])
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"a\.json: cannot be written \(No space left on device\)"):
        store.put_json("a.json", [2])
    assert json.loads((tmp_path / "a.json").read_text()) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="is a file; expected a folder"):
        Store(str(tmp_path / "out"))


@pytest.mark.parametrize("damage", ["cut", "footer", "types", "deep", "columns"])
def test_a_damaged_part_is_named_with_what_to_do(damage, tmp_path):
    store = Store(str(tmp_path))
    name = "part-a.parquet"
    entry = {"source": "a", "path": "/a", "size": 1, "time": 0.5, "frames": 1, "faces": 1, "error": None}
    texts = {"footer": "[1]", "types": json.dumps([entry | {"size": "1"}]), "deep": "[" * 100_000}
    table = pa.table({"source": ["a"]}).replace_schema_metadata({"fer.sources": texts.get(damage, json.dumps([entry]))})
    pq.write_table(table, tmp_path / name)
    if damage == "cut":
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    read = read_tables if damage == "columns" else read_entries
    with pytest.raises(UserError, match=rf"{name}: is damaged .* remove it"):
        list(read(store, name))
