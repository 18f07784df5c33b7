import csv

import cv2
import numpy as np
import pytest

from fer_tf.classes import CLASSES
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.draw import COLORS
from fer_tf.realtime.pipeline import Face, Reading
from fer_tf.realtime.tables import COLUMNS, CsvSink
from fer_tf.realtime.timeline import Strip, draw_timeline, main, read_strips

FRAME = np.zeros((4, 4, 3), np.uint8)


def shows(expression, probability=1.0):
    row = np.zeros(7, np.float32)
    row[CLASSES.index(expression)] = probability
    row[CLASSES.index("neutral")] += 1 - probability
    return row


def strip(times, rows, *, source="a", face=0):
    return Strip(source, face, "m", np.array(times, float), np.array(rows, float))


def area(image, name):
    """Returns the mask of the pixels in the color of an expression, without the legend."""
    mask = (image == COLORS[name]).all(axis=-1)
    mask[:64] = False
    return mask


@pytest.fixture
def table(tmp_path):
    """Two sources, two models; face 3 is seen for two seconds and others for less long."""
    path = tmp_path / "faces.csv"
    sink = CsvSink(path)
    for index in range(50):
        faces = []
        for track, frames in ((3, 50), (0, 30), (7, 10)):
            if index < frames:
                readings = [Reading("m", shows("happy"), shows("sad")), Reading('n, "2"', shows("fear"), shows("sad"))]
                faces.append(Face((0, 0, 9, 9), track, FRAME, tuple(readings)))
        sink.write("one\n.mp4", Frame(FRAME, index, index / 25), faces)
    alone = Face((0, 0, 9, 9), 0, FRAME, (Reading("m", shows("sad"), shows("sad")),))
    sink.write("two.png", Frame(FRAME, 0, 0.0), [alone])
    sink.close()
    return path


def test_a_table_that_a_spreadsheet_saved_is_read(table):
    strips = read_strips(table)
    table.write_text(table.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert [strip.name for strip in read_strips(table)] == [strip.name for strip in strips]


def test_strips_are_read_as_they_were_written(table):
    strips = read_strips(table)
    expected = [("one\n.mp4", face, model, n) for face, n in ((3, 50), (0, 30), (7, 10)) for model in ("m", 'n, "2"')]
    found = [(entry.source, entry.face, entry.model, len(entry.times)) for entry in strips]
    assert found == [*expected, ("two.png", 0, "m", 1)]
    np.testing.assert_allclose(strips[0].times, np.arange(50) / 25)
    np.testing.assert_allclose(strips[1].probabilities, np.tile(shows("fear"), (50, 1)))


def test_a_table_of_version_0_1_is_read_and_drawn(table):
    strips = read_strips(table)
    with open(table, newline="", encoding="utf-8") as file:
        rows = [row[:-1] for row in csv.reader(file)]
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    assert rows[0][-1] == "raw_surprise"
    for before, after in zip(strips, read_strips(table), strict=True):
        assert before.name == after.name
        np.testing.assert_array_equal(before.probabilities, after.probabilities)
    assert main([str(table)]) == 0


def test_areas_are_as_large_as_the_probabilities_and_bands_as_long_as_the_time():
    # A third of the time 80 % "happy", then 60 % "sad"; the rest is "neutral".
    times = np.arange(0, 9, 0.04)
    rows = [shows("happy", 0.8) if time_s < 3 else shows("sad", 0.6) for time_s in times]
    image = draw_timeline([strip(times, rows)])
    happy, sad, neutral = (area(image, name) for name in ("happy", "sad", "neutral"))
    plot = 130
    width = happy.any(axis=0).sum()
    assert sad.any(axis=0).sum() == pytest.approx(2 * width, rel=0.02)
    columns = np.flatnonzero(happy.any(axis=0))
    middle = columns[len(columns) // 2]
    band = happy[:, middle].sum() - round(0.8 * plot)
    assert band == pytest.approx(16, abs=3)
    assert neutral[:, middle].sum() == pytest.approx(0.2 * plot, abs=3)
    assert np.flatnonzero(sad.any(axis=0)).min() == pytest.approx(columns.max() + 1, abs=8)


def test_nothing_is_drawn_where_a_face_was_not_seen():
    times = np.concatenate([np.arange(0, 2, 0.04), np.arange(6, 8, 0.04)])
    image = draw_timeline([strip(times, [shows("happy")] * len(times))])
    columns = area(image, "happy").any(axis=0)
    seen = np.flatnonzero(columns)
    inside = columns[seen.min() : seen.max() + 1]
    assert inside.mean() == pytest.approx(0.5, abs=0.02)
    assert not inside[int(0.3 * len(inside)) : int(0.7 * len(inside))].any()


def test_a_blink_of_the_detector_is_no_gap():
    times = [time_s for index, time_s in enumerate(np.arange(0, 4, 0.04)) if index % 10]
    columns = area(draw_timeline([strip(times, [shows("happy")] * len(times))]), "happy").any(axis=0)
    seen = np.flatnonzero(columns)
    assert columns[seen.min() : seen.max() + 1].all()


def test_more_frames_than_pixels_are_averaged():
    times = np.arange(0, 1000, 0.01)
    rows = np.where((np.arange(len(times)) % 4 == 0)[:, None], shows("fear"), shows("happy"))
    image = draw_timeline([strip(times, rows)])
    assert area(image, "fear")[:, 800].sum() == pytest.approx(0.25 * 130, abs=4)


def test_strips_of_a_source_share_their_time_axis():
    long, short = np.arange(0, 8, 0.04), np.arange(4, 6, 0.04)
    image = draw_timeline(
        [
            strip(long, [shows("happy")] * len(long)),
            strip(short, [shows("sad")] * len(short), face=1),
            strip(short, [shows("fear")] * len(short), source="b"),
        ]
    )
    happy, sad, fear = (np.flatnonzero(area(image, name).any(axis=0)) for name in ("happy", "sad", "fear"))
    assert len(sad) == pytest.approx(len(happy) / 4, rel=0.05)
    assert sad.min() - happy.min() == pytest.approx(len(happy) / 2, rel=0.05)
    assert len(fear) == len(happy)


@pytest.mark.parametrize("times", [[0.0], [5.0, 5.0], [0.0, 1e-3], [0.0, 3.0], [0.0, 90.0], [10.0, 40000.0], [0, 1e8]])
def test_any_times_can_be_drawn(times):
    image = draw_timeline([strip(times, [shows("happy")] * len(times))])
    assert area(image, "happy").any()


def test_the_longest_seen_are_drawn_and_the_rest_is_said(table, capsys):
    assert main([str(table), "--most", "2"]) == 0
    few = cv2.imread(str(table.with_name(f"{table.stem}-timeline.png")))
    assert "left out: 5" in capsys.readouterr().out
    output = table.parent / "new" / "all.jpg"
    assert main([str(table), "-o", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "left out" not in printed
    assert str(output) in printed
    assert cv2.imread(str(output)).shape[0] > 2 * few.shape[0]
    assert area(few, "fear").any()
    assert not area(few, "sad").any()


def test_a_picture_of_the_same_name_is_left_alone(table):
    picture = table.with_suffix(".png")
    picture.write_bytes(b"a picture that somebody took")
    assert main([str(table)]) == 0
    assert picture.read_bytes() == b"a picture that somebody took"


def test_what_a_jpeg_cannot_hold_is_said(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("fer_tf.realtime.timeline._FINER", 1)  # nothing that anyone sees is drawn
    path = tmp_path / "x.csv"
    path.write_text("\n".join([HEADER, *(ROW.replace(",0,0,1,2", f",0,{face},1,2") for face in range(300))]))
    assert len(read_strips(path)) == 300
    output = tmp_path / "all.jpg"
    assert main([str(path), "--most", "300", "-o", str(output)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "use .png" in line
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        (["--face", "7"], {"happy", "fear"}),
        (["--model", "m"], {"happy", "sad"}),
        (["--model", 'n, "2"', "--face", "0"], {"fear"}),
        (["--source", "two.png"], {"sad"}),
    ],
)
def test_one_face_model_or_source_can_be_chosen(table, arguments, drawn):
    assert main([str(table), *arguments]) == 0
    image = cv2.imread(str(table.with_name(f"{table.stem}-timeline.png")))
    assert {name for name in CLASSES if area(image, name).sum() > 500} == drawn


HEADER = ",".join(COLUMNS)
ROW = "a,0.0,0,0,1,2,3,4,m,happy,1.0,0,0,0,1,0,0,0,0,0,0,1,0,0,0,happy"
WRONG = {
    "missing": (None, "No such file"),
    "empty": (b"", "first line"),
    "another table": (b"a,b,c\n1,2,3\n", "first line"),
    "an older table": (HEADER.replace(",raw_angry", "").encode(), "first line"),
    "no faces": (f"{HEADER}\n".encode(), "no faces"),
    "a short row": (f"{HEADER}\n{ROW}\n{ROW[:-6]}\n".encode(), "line 3"),
    "a long row": (f"{HEADER}\n{ROW},0\n".encode(), "line 2"),
    "a word for a number": (f"{HEADER}\n{ROW.replace('0.0', 'x')}\n".encode(), "line 2"),
    "not a number": (f"{HEADER}\n{ROW.replace('0.0', 'nan')}\n".encode(), "line 2"),
    "a probability above 1": (f"{HEADER}\n{ROW.replace('1.0,0,0,0,1', '1.0,0,0,0,7')}\n".encode(), "line 2"),
    "no text": (b"\xff\xfe\x00\x01" * 99, "line 1"),
    "a picture": (cv2.imencode(".png", FRAME)[1].tobytes(), "line 1"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_file_that_is_no_table_is_said_in_one_line(content, message, tmp_path, capsys):
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "x-timeline.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.pdf"], ".png"),
        (["--face", "99"], "there is 0, 3, 7"),
        (["--model", "resnet"], "no model 'resnet'"),
        (["--source", "two.png", "--face", "3"], "no source"),
        (["--most", "0"], "--most"),
    ],
)
def test_wrong_options_are_said_in_one_line(table, arguments, message, capsys):
    assert main([str(table), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("path", [".", "/", ""])
def test_a_folder_is_no_table(path, capsys):
    assert main([path]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("step", "gap"), [(0.04, 0.5), (1.0, 10.0)])
def test_a_gap_of_half_a_second_or_of_ten_slow_frames_is_empty(step, gap):
    before = np.arange(50) * step
    times = np.concatenate([before, 50 * step + gap + before])
    columns = area(draw_timeline([strip(times, [shows("happy")] * 100)]), "happy").any(axis=0)
    seen = np.flatnonzero(columns)
    empty = 1 - columns[seen.min() : seen.max() + 1].mean()
    assert empty == pytest.approx(gap / (100 * step + gap), abs=0.01)


def test_a_folder_that_is_no_archive(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "no archive; expected a CSV file, or a folder of" in capsys.readouterr().err
