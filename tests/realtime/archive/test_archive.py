"""The command from end to end, against what the live loop writes for the same files."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ...processes import LOOPBACK, listening, processes_below, wait_for, workers_of

BROKEN = ("crash.png", "cut.mp4", "empty.mp4")


@pytest.fixture(scope="module")
def labeled(clips, start_archive, tmp_path_factory):
    """A run over the clips and a file that ends its worker; with the addresses that its processes listened on."""
    folder = tmp_path_factory.mktemp("archive")
    sources, output, table = folder / "clips", folder / "out", folder / "rows.csv"
    shutil.copytree(clips, sources)
    (sources / "crash.png").write_bytes(b"any")
    child = start_archive(sources, "--output", output, "--csv", table, "--workers", 2)
    wait_for(lambda: workers_of(child.pid, "_Actor"))
    processes = processes_below(child.pid) | {child.pid}
    addresses = listening(processes)
    output_text, errors = child.communicate(timeout=300)
    return SimpleNamespace(
        sources=sources, output=output, table=table, code=child.returncode, text=output_text, errors=errors,
        processes=processes, addresses=addresses,
    )  # fmt: skip


def test_rows_are_those_of_the_live_loop(labeled, live_rows):
    for name in ("clip0.mp4", "clip1.mp4", "clip2.mp4", "clip3.mp4", "clip4.mp4", "cut.mp4", "empty.mp4"):
        assert (labeled.sources / name).exists()
    lines = labeled.table.read_text().splitlines()
    assert len(lines) > 20
    assert sorted(lines) == live_rows(labeled.sources)


def test_files_that_fail_are_named_and_the_rest_is_done(labeled):
    assert labeled.code == 1
    with open(labeled.output / "failures.csv", newline="") as file:
        failures = {Path(row["source"]).name: row["error"] for row in csv.DictReader(file)}
    assert sorted(failures) == sorted(BROKEN)
    assert failures["crash.png"].endswith("crash.png: ended its worker 3 times; left out")
    for error in failures.values():
        assert f"error: {error}" in labeled.errors.splitlines()
    summary = json.loads((labeled.output / "summary.json").read_text())
    assert (summary["sources"], summary["failed"], summary["frames"]) == (8, 3, 21)
    assert "8 sources, 21 frames" in labeled.text


def test_nothing_listens_beyond_this_machine(labeled):
    assert len(labeled.addresses) >= 4
    assert set(labeled.addresses) <= LOOPBACK


def test_no_process_is_left(labeled):
    wait_for(lambda: not any(Path(f"/proc/{process}").exists() for process in labeled.processes))


def test_each_part_tells_what_became_of_its_sources(labeled):
    pq = pytest.importorskip("pyarrow.parquet")
    found = {}
    for path in labeled.output.glob("part-*.parquet"):
        rows = pq.read_table(path)
        for entry in json.loads(pq.read_metadata(path).metadata[b"fer.sources"]):
            assert entry["source"] not in found
            found[entry["source"]] = entry
            status = Path(entry["source"]).stat()
            assert (entry["size"], entry["time"]) == (status.st_size, status.st_mtime)
            assert rows["source"].to_pylist().count(entry["source"]) == entry["faces"]
    assert {Path(name).name for name in found} == {path.name for path in labeled.sources.iterdir()}
    assert {Path(name).name for name, entry in found.items() if entry["error"]} == set(BROKEN)


def test_the_timeline_reads_the_folder(labeled, tmp_path):
    from fer_tf.realtime.timeline import main, read_strips

    plots = [tmp_path / name for name in ("folder.png", "table.png")]
    for source, plot in zip((labeled.output, labeled.table), plots, strict=True):
        assert main([str(source), "--output", str(plot), "--source", str(labeled.sources / "clip1.mp4")]) == 0
    assert plots[0].read_bytes() == plots[1].read_bytes()
    assert read_strips(labeled.table)


def test_a_finished_job_is_not_done_again(labeled, call_archive):
    before = {path.name: path.stat().st_mtime_ns for path in labeled.output.glob("part-*")}
    done = call_archive(labeled.sources, "--output", labeled.output, "--dry-run")
    assert done.stdout.startswith("8 sources: 8 done, 0 to do\n")
    assert "3 failed before; --retry-failed" in done.stdout
    done = call_archive(labeled.sources, "--output", labeled.output)
    assert done.returncode == 1
    assert {path.name: path.stat().st_mtime_ns for path in labeled.output.glob("part-*")} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--smoothing", "0.5"], "out: was labeled with smoothing 0.3, and this is 0.5; use the same, or choose"),
        (["--min-confidence", "2"], "min_confidence must lie between 0 and 1, found 2.0"),
        (["--address", "127.0.0.1:1", "--output", "new"], "--address 127.0.0.1:1: no cluster there"),
        (["--output", "ftp://host/folder"], "ftp://host/folder: Unrecognized filesystem type"),
    ],
    ids=["other settings", "a wrong option", "no cluster", "no store"],
)
def test_what_is_wrong_is_said_in_a_line(labeled, call_archive, options, message, tmp_path):
    options = [str(tmp_path / "new") if text == "new" else text for text in options]
    done = call_archive(labeled.sources, "--output", labeled.output, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def changeable(labeled, tmp_path):
    """The folder of sources, without what ends its worker; afterwards it is as before."""
    shutil.copytree(labeled.sources, tmp_path / "before")
    (labeled.sources / "crash.png").unlink()
    yield labeled.sources
    shutil.rmtree(labeled.sources)
    shutil.copytree(tmp_path / "before", labeled.sources)


def test_what_failed_and_what_changed_is_labeled_again(labeled, changeable, run_archive, live_rows, tmp_path):
    output, table = shutil.copytree(labeled.output, tmp_path / "out"), tmp_path / "rows.csv"
    shutil.copy(changeable / "clip0.mp4", changeable / "cut.mp4")  # changed, and whole now
    shutil.copy(changeable / "clip2.mp4", changeable / "clip1.mp4")
    (changeable / "empty.mp4").unlink()
    shutil.copy(changeable / "clip3.mp4", changeable / "new.mp4")
    done = run_archive(changeable, "--output", output, "--csv", table, "--retry-failed", "--workers", 1)
    assert done.stdout.count("changed since it was labeled") == 2
    assert sorted(table.read_text().splitlines()) == live_rows(changeable)
    assert done.returncode == 1  # the empty file is gone, and its failure is still told
