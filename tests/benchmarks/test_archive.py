import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

from benchmarks import archive  # noqa: E402


def test_the_cost_of_a_program_holds_that_of_its_children():
    code = "import time\nwhile time.process_time() < 0.6: pass"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    before = time.monotonic()
    cost, begun = archive._measured([sys.executable, "-c", start], lambda: time.monotonic() - before > 0.2)
    assert 0.3 < cost.cpu < 2
    assert 0.2 < begun < cost.wall <= time.monotonic() - before


def test_a_program_that_fails_is_said():
    with pytest.raises(archive.UserError, match="no such file"):
        archive._measured([sys.executable, "-c", "import sys; print('no such file', file=sys.stderr); sys.exit(2)"])


def test_excerpts_have_different_lengths(tmp_path):
    av = pytest.importorskip("av")
    pytest.importorskip("skimage")
    lengths = set()
    for path in archive._write_clips(tmp_path / "clips", 3).iterdir():
        with av.open(str(path)) as video:
            lengths.add(sum(1 for _ in video.decode(video=0)))
    assert lengths == {62, 93, 125}


def test_what_is_no_folder_is_refused(tmp_path, capsys):
    assert archive.main([str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
