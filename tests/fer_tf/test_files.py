import hashlib
import json
import os

import pytest

from fer_tf.files import remove_leftovers, sha256, write_json, written_aside


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


def test_success_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "new" / "a.npz"
    with written_aside(path) as temporary:
        assert temporary.suffix == ".npz"
        assert not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert os.listdir(path.parent) == ["a.npz"]


def test_leftovers_of_killed_writers_go(tmp_path):
    (tmp_path / ".a.part123.json").write_text("half")
    (tmp_path / "a.json").write_text("{}")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["a.json"]


def test_json_and_digest(tmp_path):
    write_json(tmp_path / "a.json", {"ö": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ö": [1, 2.5, None]}
    assert sha256(tmp_path / "a.json") == hashlib.sha256((tmp_path / "a.json").read_bytes()).hexdigest()
