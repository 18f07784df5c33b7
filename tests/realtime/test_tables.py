import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.realtime import webcam
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.pipeline import Face, Reading
from fer_tf.realtime.tables import CsvSink, JsonlSink, SummarySink, from_cell, to_cell
from fer_tf.realtime.timeline import read_strips

ROOT = Path(__file__).parents[2]
COLUMNS = (
    "source,time_s,frame,face,x,y,width,height,model,expression,confidence,"
    "p_angry,p_disgust,p_fear,p_happy,p_neutral,p_sad,p_surprise,"
    "raw_angry,raw_disgust,raw_fear,raw_happy,raw_neutral,raw_sad,raw_surprise,shown"
)
ROW = np.array([0.05, 0.1, 0.15, 0.4, 0.2, 0.06, 0.04], np.float32)
SOURCE, MODEL = 'a "b", c\nd', 'tiny, "2"\r\n'


def frame(index, time_s):
    return Frame(np.zeros((48, 64, 3), np.uint8), index, time_s)


def face(track, *readings, box=(1, 2, 30, 40)):
    """A face with readings of (model, probabilities, raw)."""
    return Face(box, track, np.zeros((48, 48), np.uint8), tuple(Reading(*reading) for reading in readings))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r\n", "\n", "'", "'="])
def test_a_spreadsheet_runs_nothing_that_is_in_a_table_and_the_text_comes_back(tmp_path, start):
    source, model = f"{start}cmd|' /C calc'!A0", f"{start}1+1"
    sink = CsvSink(tmp_path / "out.csv")
    sink.write(source, frame(0, 0.0), [face(0, (model, ROW, ROW), box=(-5, -6, 30, 40))])
    sink.close()
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["source"], row["model"]) == (f"'{source}", f"'{model}")
    assert (row["x"], row["y"]) == ("-5", "-6")  # numbers stay numbers
    (strip,) = read_strips(tmp_path / "out.csv")
    assert (strip.source, strip.model) == (source, model)


def test_a_lone_carriage_return_breaks_no_row(tmp_path):
    sink = CsvSink(tmp_path / "out.csv")
    sink.write("a\r=b", frame(0, 0.0), [face(0, ("x", ROW, ROW))])
    sink.close()
    assert [strip.source for strip in read_strips(tmp_path / "out.csv")] == [r"a\r=b"]


def test_what_is_harmless_stays_as_it_is():
    for text in ("talk.mp4", "a=b.mp4", "", "5-6", "rtsp://host/1", "ü"):
        assert to_cell(text) == text
        assert from_cell(text) == text


@pytest.mark.parametrize("kind", [CsvSink, JsonlSink, SummarySink])
@pytest.mark.parametrize("name", ["file/out.csv", "folder"])
def test_where_no_table_can_be_is_an_error(tmp_path, kind, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=name):
        kind(tmp_path / name)


def test_the_csv_file_has_a_row_for_each_face_and_model_at_once(tmp_path):
    path = tmp_path / "new" / "out.csv"
    sink = CsvSink(path)
    first = face(3, (MODEL, ROW, ROW[::-1]), ("other", ROW[::-1], ROW))
    second = face(12, (MODEL, ROW, ROW, "uncertain"), ("other", ROW, ROW), box=(-50, 60, 70, 80))
    sink.write(SOURCE, frame(0, 0.0), [])
    sink.write(SOURCE, frame(7, 1.23456), [first, second])
    with open(path, newline="", encoding="utf-8") as file:  # before it is closed
        text = file.read()
    sink.close()
    assert text.split("\n")[0] == COLUMNS
    assert f"\n{COLUMNS}\n" in (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert [(row["source"], row["model"], row["face"]) for row in rows] == [
        (SOURCE, MODEL, "3"),
        (SOURCE, "other", "3"),
        (SOURCE, MODEL, "12"),
        (SOURCE, "other", "12"),
    ]
    assert {(row["time_s"], row["frame"]) for row in rows} == {("1.235", "7")}
    assert [rows[3][key] for key in ("x", "y", "width", "height")] == ["-50", "60", "70", "80"]
    assert [row["expression"] for row in rows] == ["happy"] * 4
    assert float(rows[0]["confidence"]) == pytest.approx(0.4)
    assert [row["shown"] for row in rows] == ["happy", "happy", "uncertain", "happy"]
    written = [float(rows[0][key]) for key in COLUMNS.split(",")[11:-1]]
    np.testing.assert_allclose(written, [*ROW, *ROW[::-1]], atol=1e-4)


def test_the_documented_row_is_what_the_default_says(tmp_path):
    path = tmp_path / "demo.csv"
    assert webcam.main(["--source", "demo", "--no-window", "--max-frames", "2", "--csv", str(path)]) == 0
    (documented,) = re.findall(r"^demo,.*$", (ROOT / "docs/formats.md").read_text(encoding="utf-8"), re.MULTILINE)
    row, found = documented.split(","), path.read_text(encoding="utf-8").splitlines()[-1].split(",")
    assert (found[:4], found[8:10]) == (row[:4], row[8:10])
    np.testing.assert_allclose(np.float64(found[4:8]), np.float64(row[4:8]), atol=2)
    np.testing.assert_allclose(np.float64(found[10:-1]), np.float64(row[10:-1]), atol=0.02)
    assert found[-1] == row[-1] == "happy"


def test_the_jsonl_file_has_a_line_for_each_frame_at_once(tmp_path):
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path)
    sink.write(SOURCE, frame(0, 0.0), [])
    sink.write(
        SOURCE, frame(1, 0.04), [face(3, (MODEL, ROW, ROW[::-1]), ("other", ROW, ROW)), face(4, ("m", ROW, ROW))]
    )
    empty, full = map(json.loads, path.read_text(encoding="utf-8").splitlines())  # before it is closed
    sink.close()
    assert empty == {"source": SOURCE, "time_s": 0.0, "frame": 0, "faces": []}
    assert (full["time_s"], full["frame"]) == (0.04, 1)
    assert [(entry["face"], entry["box"], entry["certain"]) for entry in full["faces"]] == [
        (3, [1, 2, 30, 40], True),
        (4, [1, 2, 30, 40], True),
    ]
    reading, other = full["faces"][0]["readings"]
    assert (reading["model"], reading["expression"], reading["confidence"]) == (MODEL, "happy", 0.4)
    assert other["model"] == "other"
    assert list(reading["probabilities"]) == list(reading["raw"]) == list(CLASSES)
    np.testing.assert_allclose(list(reading["probabilities"].values()), ROW, atol=1e-4)
    np.testing.assert_allclose(list(reading["raw"].values()), ROW[::-1], atol=1e-4)


def summarize(path, *frames):
    """Writes (source, time, faces) each, and returns what the summary says of the sources and of the faces."""
    sink = SummarySink(path)
    for index, (source, time_s, faces) in enumerate(frames):
        sink.write(source, frame(index, time_s), faces)
    assert not path.exists()  # it is written at once when all is known
    sink.close()
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert list(summary) == ["sources", "faces"]
    return summary["sources"], {(entry["source"], entry["face"], entry["model"]): entry for entry in summary["faces"]}


def shows(track, expression, confidence=0.7):
    row = np.full(7, (1 - confidence) / 6, np.float32)
    row[CLASSES.index(expression)] = confidence
    return face(track, ("m", row, row))


def test_the_summary_counts_seconds_of_the_stream(tmp_path):
    # Half a second of "happy" in many frames, then a whole second of "sad" in two.
    times = [*np.arange(0, 0.5, 0.1), 0.5, 1.0]
    labels = ["happy"] * 5 + ["sad"] * 2
    frames = [("a", time_s, [shows(0, label)]) for time_s, label in zip(times, labels, strict=True)]
    sources, faces = summarize(tmp_path / "out.json", *frames)
    assert sources == [{"source": "a", "frames": 7, "seconds": 1.5}]
    (entry,) = faces.values()
    assert (entry["first_s"], entry["last_s"], entry["frames"], entry["seconds"]) == (0.0, 1.0, 7, 1.5)
    assert entry["mean_confidence"] == pytest.approx(0.7)
    assert list(entry["expressions"]) == list(CLASSES)
    assert {name: value for name, value in entry["expressions"].items() if value} == {"happy": 0.5, "sad": 1.0}


def test_the_summary_keeps_sources_faces_and_models_apart(tmp_path):
    both = face(2, ("m", ROW, ROW), (MODEL, np.eye(7, dtype=np.float32)[0], ROW))
    frames = [
        *((SOURCE, time_s, [shows(0, "fear", 0.5 + time_s), shows(1, "sad")]) for time_s in (0.0, 0.1)),
        (SOURCE, 0.2, [shows(1, "sad")]),
        *(("other", time_s, [both]) for time_s in (0.0, 0.2)),
        ("a picture", 0.0, [shows(0, "happy")]),
    ]
    sources, entries = summarize(tmp_path / "out.json", *frames)
    assert [source["source"] for source in sources] == [SOURCE, "other", "a picture"]
    fear, sad = entries[SOURCE, 0, "m"], entries[SOURCE, 1, "m"]
    assert (fear["seconds"], fear["last_s"], fear["mean_confidence"]) == (0.2, 0.1, 0.55)
    assert (sad["seconds"], sad["last_s"], sad["mean_confidence"]) == (0.3, 0.2, 0.7)
    assert entries["other", 2, "m"]["expressions"]["happy"] == 0.4
    assert entries["other", 2, MODEL]["expressions"]["angry"] == 0.4
    assert entries["a picture", 0, "m"]["seconds"] == 0
    assert len(entries) == 5


def test_a_pause_or_a_step_back_is_no_expression(tmp_path):
    times = (0.0, 0.1, 60.0, 60.1, 0.0, 0.1)
    (source,), _ = summarize(tmp_path / "out.json", *(("a", time_s, [shows(0, "sad")]) for time_s in times))
    assert source["seconds"] == pytest.approx(0.1 + 2 + 0.1 + 0 + 0.1 + 0.1)


@pytest.mark.parametrize("kind", [CsvSink, JsonlSink, SummarySink])
def test_a_table_of_no_frame_replaces_none(tmp_path, kind):
    for name in ("old", "new"):
        path = tmp_path / name
        if name == "old":
            path.write_text("what was there")
        kind(path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "what was there"


def test_a_table_of_frames_without_faces_has_its_heading_only(tmp_path):
    (tmp_path / "out.csv").write_text("what was there")
    sink = CsvSink(tmp_path / "out.csv")
    sink.write("a", frame(0, 0.0), [])
    sink.close()
    assert (tmp_path / "out.csv").read_text() == f"{COLUMNS}\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
@pytest.mark.parametrize("kind", [CsvSink, JsonlSink])
def test_a_table_that_another_run_writes_is_left_to_it(tmp_path, kind):
    path, alone = tmp_path / "both", tmp_path / "alone"
    first, second, reference = kind(path), kind(path), kind(alone)
    for sink in (first, reference):
        sink.write("a", frame(0, 0.0), [])
    with pytest.raises(UserError, match="another run"):
        second.write("b", frame(0, 0.0), [])
    second.close()
    for sink in (first, reference):
        sink.write("a", frame(1, 0.1), [])
        sink.close()
    assert path.read_text() == alone.read_text()
    third = kind(path)  # which nobody writes by now
    third.write("c", frame(0, 0.0), [])
    third.close()
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs /dev/null")
def test_a_device_may_be_written_by_several_runs():
    sinks = [CsvSink("/dev/null"), JsonlSink("/dev/null")]
    for sink in sinks:
        sink.write("a", frame(0, 0.0), [])
    for sink in sinks:
        sink.close()


KILLED = """
import os, signal, sys
import numpy as np
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.pipeline import Face, Reading
from fer_tf.realtime.tables import CsvSink
table = CsvSink(sys.argv[1])
row = np.full(7, 1 / 7, np.float32)
for index in range(200):
    face = Face((1, 2, 3, 4), 0, np.zeros((48, 48), np.uint8), (Reading("tiny", row, row),))
    table.write("x", Frame(np.zeros((4, 4, 3), np.uint8), index, index / 25), [face])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_table_is_whole(tmp_path):
    path = tmp_path / "out.csv"
    done = subprocess.run([sys.executable, "-c", KILLED, path], env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 201
    assert all(line.endswith("\n") for line in lines)
    assert len(list(csv.DictReader(lines))) == 200
