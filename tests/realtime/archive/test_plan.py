import dataclasses
import os

import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra cluster")

from fer_tf.errors import UserError
from fer_tf.realtime.archive.listing import Item, list_items
from fer_tf.realtime.archive.parts import entry_of
from fer_tf.realtime.archive.plan import LARGEST_BYTES, LARGEST_PART, make_plan


def items(*sizes):
    return [Item(f"v{number}.mp4", f"/v{number}.mp4", size, 1.0) for number, size in enumerate(sizes)]


def parts_of(plan, errors=()):
    return {
        shard.name: [entry_of(item, error="broken" if item.source in errors else None) for item in shard.items]
        for shard in plan.shards
    }


def test_each_file_is_in_one_shard_and_large_ones_come_first():
    plan = make_plan(items(*range(1000)), {})
    assert sorted(plan.items, key=lambda item: item.size) == items(*range(1000))
    sizes = [max(item.size for item in shard.items) for shard in plan.shards]
    assert sizes == sorted(sizes, reverse=True)
    assert 64 <= len(plan.shards) <= 160


def test_shards_stay_within_their_limits():
    plan = make_plan(items(*[3 * LARGEST_BYTES // 2] * 3, *[LARGEST_BYTES // 3] * 700, *[1] * 30_000), {})
    for shard in plan.shards:
        assert len(shard.items) <= LARGEST_PART
        assert shard.size <= LARGEST_BYTES or len(shard.items) == 1


def test_what_a_killed_run_left_is_divided_as_before():
    files = items(*range(5000))
    plan = make_plan(files, {})
    parts = parts_of(plan)
    some = {name: parts[name] for name in sorted(parts)[::3]}
    rest = make_plan(files, some)
    assert {shard.name: shard.items for shard in rest.shards} == {
        shard.name: shard.items for shard in plan.shards if shard.name not in some
    }
    assert not make_plan(files, parts).shards


def test_failed_and_changed_files_are_done_again_in_their_part():
    files = items(*[5] * 640)
    parts = parts_of(make_plan(files, {}), errors=["v3.mp4", "v4.mp4"])
    files[7] = dataclasses.replace(files[7], size=6)
    files[8] = dataclasses.replace(files[8], time=2.0)
    plan = make_plan(files, parts)
    assert sorted(plan.changed) == ["v7.mp4", "v8.mp4"]
    assert sorted(item.source for item in plan.items) == ["v7.mp4", "v8.mp4"]
    for shard in plan.shards:
        assert {*shard.kept} == {entry for entry in parts[shard.name] if entry.source not in plan.changed}
    retried = make_plan(files, parts, retry_failed=True)
    assert sorted(item.source for item in retried.items) == ["v3.mp4", "v4.mp4", "v7.mp4", "v8.mp4"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.MP4", "a.jpg", "notes.txt", ".hidden.mp4", "below/c.avi", "below/.d.mp4", "e.heic"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "in" / name).write_bytes(b"12")
    (tmp_path / "in/below/loop").symlink_to(tmp_path / "in")
    return tmp_path


def names(*sources, **options):
    return [item.source for item in list_items(sources, **options)]


def test_what_lies_in_a_folder(folder, capsys):
    assert names("in") == names("in/") == names("./in") == ["in/a.jpg", "in/b.MP4"]
    assert names("in", recursive=True) == ["in/a.jpg", "in/b.MP4", "in/below/c.avi"]
    assert "e.heic" not in capsys.readouterr().out
    os.chdir("in")
    assert names(".") == ["a.jpg", "b.MP4"]


def test_a_file_is_listed_once_whatever_it_is_called(folder):
    assert names("in/b.MP4", "in", str(folder / "in/a.jpg"), "in/*.MP4") == ["in/b.MP4", "in/a.jpg"]
    assert names("in/notes.txt") == ["in/notes.txt"]
    (item,) = list_items(["in/b.MP4"])
    assert (item.path, item.size, item.time) == (str(folder / "in/b.MP4"), 2, os.stat("in/b.MP4").st_mtime)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "a source without a name"),
        ("0", "0: no such file or folder"),
        ("gone.mp4", "gone.mp4: no such file or folder"),
        ("*.mov", "there are no images or videos"),
        ("rtsp://host/stream", "rtsp://host/stream: Unrecognized filesystem type"),
    ],
)
def test_what_is_no_file(folder, source, message):
    with pytest.raises(UserError, match=message.replace("*", r"\*")):
        list_items([source])
