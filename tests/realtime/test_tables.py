import csv
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from fer_tf.command import UserError
from realtime.capture import Frame
from realtime.pipeline import Face, Reading
from realtime.tables import CsvSink

COLUMNS = (
    "source,time_s,frame,face,x,y,width,height,model,expression,confidence,"
    "p_angry,p_disgust,p_fear,p_happy,p_neutral,p_sad,p_surprise,"
    "raw_angry,raw_disgust,raw_fear,raw_happy,raw_neutral,raw_sad,raw_surprise"
)
ROW = np.array([0.05, 0.1, 0.15, 0.4, 0.2, 0.06, 0.04], np.float32)
SOURCE, MODEL = 'a "b", c\nd', 'tiny, "2"\r\n'


def frame(index, time_s):
    return Frame(np.zeros((48, 64, 3), np.uint8), index, time_s)


def face(track, *readings, box=(1, 2, 30, 40)):
    """A face with readings of (model, probabilities, raw)."""
    return Face(box, track, np.zeros((48, 48), np.uint8), tuple(Reading(*reading) for reading in readings))


@pytest.mark.parametrize("name", ["file/out.csv", "folder"])
def test_where_no_table_can_be_is_an_error(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=name):
        CsvSink(tmp_path / name)


def test_the_csv_file_has_a_row_for_each_face_and_model_at_once(tmp_path):
    path = tmp_path / "new" / "out.csv"
    sink = CsvSink(path)
    first = face(3, (MODEL, ROW, ROW[::-1]), ("other", ROW[::-1], ROW))
    second = face(12, (MODEL, ROW, ROW), ("other", ROW, ROW), box=(-50, 60, 70, 80))
    sink.write(SOURCE, frame(0, 0.0), [])
    sink.write(SOURCE, frame(7, 1.23456), [first, second])
    with open(path, newline="", encoding="utf-8") as file:  # before it is closed
        text = file.read()
    sink.close()
    assert text.split("\n")[0] == COLUMNS
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
    written = [float(rows[0][key]) for key in COLUMNS.split(",")[11:]]
    np.testing.assert_allclose(written, [*ROW, *ROW[::-1]], atol=1e-4)


KILLED = """
import os, signal, sys
import numpy as np
from realtime.capture import Frame
from realtime.pipeline import Face, Reading
from realtime.tables import CsvSink
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
