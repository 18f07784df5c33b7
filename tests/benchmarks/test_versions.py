import sys
from pathlib import Path

import pytest

from benchmarks import versions

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_this_version_against_itself(monkeypatch, capsys):
    pytest.importorskip("skimage")
    monkeypatch.setattr(versions, "_STARTS", 1)
    assert versions.main([str(ROOT), "--rounds", "2", "--frames", "2"]) in (0, 1)  # 1 on a busy machine
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == ["earlier version", "this version", "this version, INT8"]
    assert {len(row) for row in rows} == {9}
    assert {row[7] for row in rows[2:]} == {"4.0"}
    assert all(float(row[8]) > 50 for row in rows[2:])
    assert rows[2][2] in ("1.00", "refused")
    assert sum(" version: " in line and line.endswith(" s") for line in lines) == 2


def test_what_is_no_checkout_is_refused(tmp_path, capsys):
    assert versions.main([str(tmp_path)]) == 2
    assert "no checkout" in capsys.readouterr().err


def test_a_loop_that_fails_is_said(tmp_path, capfd):
    (tmp_path / "realtime").mkdir()
    (tmp_path / "realtime" / "loop.py").write_text("broken")
    with versions._Version(tmp_path, tmp_path) as loop, pytest.raises(versions.UserError, match="too early"):
        loop.run(1)
