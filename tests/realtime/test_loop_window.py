import csv
import itertools
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fer_tf.realtime import loop as loop_module
from fer_tf.realtime.loop import Loop


def test_a_file_is_shown_at_its_own_pace(pipeline, clip, gray, screen):
    times = []
    screen.show = lambda image: times.append(time.monotonic())
    Loop(pipeline(), window=screen).play(clip([gray()] * 4, fps=20))
    assert times[-1] - times[0] >= 3 / 20 - 0.01


def test_space_pauses_a_file_where_it_is(pipeline, clip, gray, rows, screen):
    polls, before = itertools.count(), {}

    def keys():
        number = next(polls)
        before[number] = len(rows.rows)
        return " " if number in (10, 60) else ""

    screen.keys = keys
    Loop(pipeline(), tables=[rows], window=screen).play(clip([gray(i) for i in range(40)], fps=200))
    assert [row[1] for row in rows.rows] == list(range(40))
    assert before[60] <= before[11] + 1 < 40  # one may be on its way to the screen when the key is pressed


def test_a_pause_at_the_end_of_a_source_can_be_ended_in_the_next(pipeline, clip, gray, rows, screen):
    loop = Loop(pipeline(), tables=[rows], window=screen)
    loop.play(clip([gray()]), last=False)
    keys = iter([" "])
    screen.keys = lambda: next(keys, "")
    loop._react(0)
    polls = itertools.count()
    screen.keys = lambda: {10: " ", 200: "q"}.get(next(polls), "")
    loop.play(clip([gray(i) for i in range(3)], name="next"))
    assert loop.going
    assert [row[:2] for row in rows.rows] == [("clip", 0), ("next", 0), ("next", 1), ("next", 2)]


def test_frames_a_second_leave_out_a_pause(pipeline, clip, gray, screen):
    pause, ends = 1.2, []
    loop = Loop(pipeline(), window=screen)

    def keys():
        if loop.frames == 6 and not ends:
            ends.append(time.monotonic() + pause)
            return " "
        if len(ends) == 1 and time.monotonic() > ends[0]:
            ends.append(None)
            return " "
        return ""

    screen.keys = keys
    loop.play(clip([gray()] * 12, fps=50))
    assert len(ends) == 2
    assert loop._pace[-1][0] - loop._pace[0][0] < pause


def test_s_saves_the_frame_and_its_rows_and_d_hides_the_bars(tmp_path, capsys, pipeline, clip, gray, screen):
    pressed = iter(["", "s", "d", "q"])
    screen.keys = lambda: next(pressed, "") if screen.images else ""
    Loop(pipeline((200, 150, 100, 100)), window=screen, snapshots=tmp_path).play(clip([gray(60, (480, 640))]))
    (picture,) = tmp_path.glob("*.png")
    (table,) = tmp_path.glob("*.csv")
    assert picture.stem == table.stem
    assert str(picture) in capsys.readouterr().err
    image = cv2.imread(str(picture))
    assert image.shape == (480, 640, 3)
    assert (image[150:250, 200:203] != 60).any()
    with open(table, newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["source"], row["x"], row["model"]) == ("clip", "200", "even")
    plain = [(image == 60).mean() for image in (screen.images[0], screen.images[-1])]
    assert plain[1] > plain[0] + 0.02


def test_d_hides_the_bars_of_the_frame_that_is_waited_for_too(pipeline, clip, gray, screen):
    polls = itertools.count()
    screen.keys = lambda: "d" if next(polls) == 8 else ""  # while the second frame is waited for
    Loop(pipeline((200, 150, 100, 100)), window=screen).play(clip([gray(60, (480, 640))] * 3, fps=5))
    plain = [(image == 60).mean() for image in screen.images]
    first, *others = plain
    assert len(others) == 3  # the first frame again, and two more
    assert min(others) > first + 0.01


def test_n_takes_the_next_second_of_a_visible_face_as_its_resting_face(pipeline, clip, gray, screen):
    shown, polls = [], itertools.count()
    screen.keys = lambda: "n" if next(polls) == 5 else ""
    table = SimpleNamespace(write=lambda source, frame, faces: shown.append((frame.time_s, faces[0])))
    loop = Loop(pipeline((200, 150, 100, 100)), tables=[table], window=screen)
    loop.play(clip([gray(60, (480, 640))] * 45, fps=25))
    states = [face.resting for _, face in shown]
    assert set(states) == {"", "taking", "taken"}
    assert states == sorted(states, key=["", "taking", "taken"].index)
    taking = [time_s for time_s, face in shown if face.resting == "taking"]
    assert taking[-1] - taking[0] == pytest.approx(1 - 1 / 25)
    before, after = shown[0][1].probabilities, shown[-1][1].probabilities
    expected = before * (np.full(7, 1 / 7) / [0.04, 0.01, 0.04, 0.06, 0.70, 0.12, 0.03]) ** -0.5
    np.testing.assert_allclose(after, expected / expected.sum(), atol=1e-5)
    assert (screen.images[0][100:150] != screen.images[-1][100:150]).any()  # the label says so


def test_what_cannot_be_saved_ends_nothing(tmp_path, capsys, pipeline, clip, gray, screen):
    (tmp_path / "file").touch()
    pressed = iter(["s", "q"])
    screen.keys = lambda: next(pressed, "") if screen.images else ""
    Loop(pipeline(), window=screen, snapshots=tmp_path / "file").play(clip([gray()]))
    assert capsys.readouterr().err.startswith("error: ")


def test_a_picture_stays_until_it_was_seen_and_one_of_several_for_a_while(monkeypatch, pipeline, clip, gray, screen):
    monkeypatch.setattr(loop_module, "PICTURE_SECONDS", 0.05)
    loop = Loop(pipeline(), window=screen)
    loop.play(clip([gray()]), last=False)
    assert loop.going
    polls = itertools.count()
    screen.keys = lambda: "q" if next(polls) > 40 else ""
    loop.play(clip([gray()]))
    assert next(polls) > 40
    assert not loop.going


def test_a_file_that_was_late_once_keeps_its_pace_afterwards(pipeline, clip, gray, screen):
    times = []

    def show(image):
        times.append(time.monotonic())
        time.sleep(0.4 if len(times) == 3 else 0)

    screen.show = show
    Loop(pipeline(), window=screen).play(clip([gray()] * 9, fps=20))
    late, *after = times[3:]
    assert after[-1] - late > 0.5 * len(after) / 20  # who hurries takes a few milliseconds
