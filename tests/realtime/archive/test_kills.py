"""Whatever is killed, giving the command again ends in the rows of an undisturbed run."""

import json
import signal
from pathlib import Path

import pytest

from ...processes import kill, wait_for, workers_of


@pytest.fixture
def slow(copies):
    """The clips, of which one takes some seconds."""
    (copies / "clip1.mp4").rename(copies / "slow.mp4")
    return copies


def parts(output):
    """Returns the sources of each part; fails if one cannot be read."""
    pq = pytest.importorskip("pyarrow.parquet")
    found = {}
    for path in output.glob("part-*.parquet"):
        pq.read_table(path)
        found[path.name] = [entry["source"] for entry in json.loads(pq.read_metadata(path).metadata[b"fer.sources"])]
    return found


def test_killed_workers_and_drivers_leave_the_same_rows(
    slow, start_archive, run_archive, call_archive, live_rows, tmp_path
):
    output, table = tmp_path / "out", tmp_path / "rows.csv"
    arguments = (slow, "--output", output, "--csv", table, "--workers", 2)
    with start_archive(*arguments, SLOW="4") as driver:
        wait_for(lambda: parts(output))
        second = call_archive(*arguments)
        assert second.returncode == 2
        assert "another run is writing it" in second.stderr
        for worker in workers_of(driver.pid, "_Actor"):
            kill(worker)
        wait_for(lambda: len(parts(output)) >= 4)
        kill(driver.pid)
    assert driver.returncode == -signal.SIGKILL
    before = parts(output)
    assert not table.exists()
    assert "slow.mp4" not in {Path(source).name for sources in before.values() for source in sources}
    done = run_archive(*arguments)
    assert done.returncode == 1
    after = parts(output)
    assert before.items() <= after.items()
    assert sorted(Path(source).name for sources in after.values() for source in sources) == [
        *("clip0.mp4", "clip2.mp4", "clip3.mp4", "clip4.mp4", "cut.mp4", "empty.mp4", "slow.mp4")
    ]
    assert sorted(table.read_text().splitlines()) == live_rows(slow)
    assert "ended its worker" not in (output / "failures.csv").read_text()


@pytest.mark.skipif(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="ignored here, and so by the driver")
def test_ctrl_c_ends_it_in_order(slow, start_archive, tmp_path):
    output = tmp_path / "out"
    with start_archive(slow, "--output", output, "--workers", 2, SLOW="60") as driver:
        wait_for(lambda: len(parts(output)) >= 6)
        workers = workers_of(driver.pid, "_Actor")
        driver.send_signal(signal.SIGINT)
        driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert json.loads((output / "summary.json").read_text())["sources"] == 6
    assert (output / "failures.csv").exists()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
