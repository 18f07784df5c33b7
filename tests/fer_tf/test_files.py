import errno
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fer_tf.errors import UserError
from fer_tf.files import check_writable, remove_leftovers, sha256, write_json, write_text, written_aside


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_halfway():
        with written_aside(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]
    path = tmp_path / "new" / "deep" / "a.txt"
    with pytest.raises(RuntimeError):
        fail_halfway()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_success_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "new" / "a.npz"
    with written_aside(path) as temporary:
        assert temporary.suffix == ".npz"
        assert not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert os.listdir(path.parent) == ["a.npz"]


@pytest.mark.parametrize("named", [None, "temporary"])
def test_a_full_disk_is_told_of_the_file_that_was_asked_for(tmp_path, named):
    def fill_up():
        with written_aside(tmp_path / "model.onnx") as temporary:
            temporary.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), named and str(temporary))

    with pytest.raises(OSError, match=re.escape(f"'{tmp_path / 'model.onnx'}'")):
        fill_up()


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real" / "a.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "new"


def test_a_device_is_written_to_and_not_replaced():
    write_text("/dev/null", "x")
    assert Path("/dev/null").is_char_device()


def test_a_pipe_is_written_to_by_its_name_below_dev():
    """Its own name, to which that one resolves, is no path."""
    reading, writing = os.pipe()
    path = f"/dev/fd/{writing}"
    if not Path(path).exists():
        pytest.skip("no names of open files on this system")
    check_writable(path)
    write_text(path, "x")
    assert os.read(reading, 9) == b"x"
    os.close(reading)
    os.close(writing)


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "a.json"))):
        write_json(tmp_path / "a.json", 1)
    with pytest.raises(UserError, match="is a folder"):
        check_writable(tmp_path / "a.json")


def test_a_file_to_be_replaced_needs_a_folder_that_may_be_written(tmp_path, monkeypatch):
    (tmp_path / "a.json").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: path == tmp_path / "a.json")  # root may write everywhere
    check_writable(tmp_path / "a.json", in_place=True)
    with pytest.raises(UserError, match="may not be written"):
        check_writable(tmp_path / "a.json")


def test_leftovers_of_killed_writers_go(tmp_path):
    (tmp_path / ".a.part123.json").write_text("half")
    (tmp_path / "a.json").write_text("{}")
    alike = [".archive.part1.rar.txt", ".notes.parts", ".a.part123.folder"]
    (tmp_path / alike[2]).mkdir()
    for name in alike[:2]:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(["a.json", *alike])


WRITER = """
import sys, time
from fer_tf.files import written_aside
with written_aside(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write_and_what_another_writes_stays(tmp_path):
    writers = []
    for name in ("killed.npz", "at-work.npz"):
        command = [sys.executable, "-c", WRITER, str(tmp_path / name)]
        writers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert writers[-1].stdout.readline() == "half\n"
    writers[0].kill()
    writers[0].wait()
    write_text(tmp_path / "other.txt", "x")
    (left,) = (name for name in os.listdir(tmp_path) if name.startswith("."))
    assert left.startswith(".at-work.part")
    writers[1].kill()
    writers[1].wait()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["other.txt"]


BUSY = """
import sys, time
from fer_tf import files
end = time.monotonic() + 2
while time.monotonic() < end:
    files._swept.clear()  # as a process that has just begun
    files.write_text(sys.argv[1], "a")
"""


def test_processes_that_write_to_a_folder_do_not_take_each_others_files_for_leftovers(tmp_path):
    commands = [[sys.executable, "-c", BUSY, str(tmp_path / f"{number}.txt")] for number in range(3)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    assert [writer.communicate()[1] for writer in writers] == [""] * 3
    assert sorted(os.listdir(tmp_path)) == ["0.txt", "1.txt", "2.txt"]


def test_a_writer_that_writes_nothing_replaces_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError, match="nothing was written"), written_aside(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_place_is_judged_without_making_it(tmp_path, monkeypatch):
    check_writable(tmp_path / "new" / "deep" / "a.json")
    assert not os.listdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="its folder cannot be made"):
        check_writable(tmp_path / "file" / "deep" / "a.json")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(UserError, match=f"{re.escape(str(tmp_path))}: may not be written"):
        check_writable(tmp_path / "new" / "deep" / "a.json")


def test_json_and_digest(tmp_path):
    write_json(tmp_path / "a.json", {"ö": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ö": [1, 2.5, None]}
    write_json(tmp_path / "b.json", {"data": "gesichter\udce4.zip"})  # as Python has a path that is not UTF-8
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8")) == {"data": "gesichter\udce4.zip"}
    assert sha256(tmp_path / "a.json") == hashlib.sha256((tmp_path / "a.json").read_bytes()).hexdigest()
