import csv
import itertools
import threading
import time

import cv2
import numpy as np
import pytest

from fer_tf.realtime import loop as loop_module
from fer_tf.realtime.capture import ClipSource, LiveSource, SourceError
from fer_tf.realtime.loop import Loop
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.realtime.record import VideoSink

UNIFORM = np.full(7, 1 / 7, np.float32)


class Card:
    name = "even"


class Recognizer:
    card = Card()

    def __call__(self, faces):
        return np.tile(UNIFORM, (len(faces), 1))


def boxes_at(*boxes):
    return lambda image: np.array(boxes, np.int32).reshape(-1, 4)


def pipeline(*boxes):
    return Pipeline(boxes_at(*boxes), Recognizer())


class Rows:
    """A table in memory."""

    def __init__(self):
        self.rows = []

    def write(self, source, frame, faces):
        self.rows.append((source, frame.index, round(frame.time_s, 3), frame.image[0, 0, 0], len(faces)))


class Screen:
    """Stands for the window: keeps what it shows; `keys` gives the key of each poll."""

    def __init__(self, keys=lambda: ""):
        self.keys, self.images, self.is_open = keys, [], True

    def show(self, image):
        self.images.append(image)

    def poll(self, seconds):
        time.sleep(min(seconds, 0.005))
        key = self.keys()
        self.is_open = self.is_open and key != "q"
        return key


def clip(images, *, name="clip", fps=1000.0):
    images = list(images)
    return ClipSource(name, images, fps=fps, length=len(images))


def gray(value=0, size=(48, 64)):
    return np.full((*size, 3), value, np.uint8)


class Camera:
    """An endless capture: `read` is called with the number of the frame."""

    def __init__(self, read, *, opened=True):
        self.frame, self.opened, self.count = read, opened, itertools.count()

    def isOpened(self):
        return self.opened

    def get(self, name):
        return 25.0 if name == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        time.sleep(0.002)
        image = self.frame(next(self.count))
        return image is not None, image

    def release(self):
        pass


def camera(*reads, monkeypatch, patience=0.01):
    """A live source whose first opening reads by the first of `reads`, and so on; None cannot be opened."""
    monkeypatch.setattr(LiveSource, "patience", patience)
    monkeypatch.setattr(LiveSource, "silence", 0.1)
    openings = iter(reads)

    def open_capture():
        read = next(openings)
        return Camera(read or (lambda _: None), opened=read is not None)

    return LiveSource("camera 0", open_capture, remedy="connect it")


def test_every_frame_of_a_file_is_analyzed_in_order_however_slow_that_is():
    rows = Rows()
    slow = itertools.cycle([0, 0, 0.003])

    def detector(image):
        time.sleep(next(slow))
        return np.zeros((int(image[0, 0, 0]) % 3, 4), np.int32)

    loop = Loop(Pipeline(detector, Recognizer()), tables=[rows])
    loop.play(clip((gray(value) for value in range(200)), fps=10))
    assert [(row[1], row[2], row[3]) for row in rows.rows] == [(i, round(i / 10, 3), i) for i in range(200)]
    assert loop.frames == 200
    assert loop.faces == sum(row[4] for row in rows.rows)


def test_rows_are_those_of_the_pipeline_alone():
    pytest.importorskip("skimage")
    from fer_tf.realtime.demo import demo_clip

    class All:
        def __init__(self):
            self.seen = []

        def write(self, source, frame, faces):
            self.seen.append([(face.track, face.box) for face in faces])

    table = All()
    images = list(itertools.islice(demo_clip()[0], 55, 75))
    Loop(Pipeline(recognizer=Recognizer()), tables=[table]).play(clip(images, fps=25))
    alone = Pipeline(recognizer=Recognizer())
    assert table.seen == [
        [(face.track, face.box) for face in alone(image, index / 25)] for index, image in enumerate(images)
    ]


def test_of_a_camera_the_newest_frame_is_analyzed(monkeypatch):
    rows = Rows()
    source = camera(lambda number: gray(number % 256), monkeypatch=monkeypatch)

    def detector(image):
        time.sleep(0.03)
        return np.zeros((0, 4), np.int32)

    Loop(Pipeline(detector, Recognizer()), tables=[rows], max_frames=8).play(source)
    indices = [row[1] for row in rows.rows]
    assert len(indices) == 8
    assert min(np.diff(indices)[1:]) > 1  # some are left out every time
    assert indices == sorted(indices)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (480, 640), (4320, 7680)])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_frames_of_any_size_with_any_number_of_faces(shape, count, tmp_path):
    height, width = shape
    random = np.random.default_rng(0)
    boxes = [
        (int(x * width), int(y * height), max(1, height // 6), max(1, height // 6))
        for x, y in random.random((count, 2))
    ]
    screen = Screen()
    loop = Loop(pipeline(*boxes), window=screen, show_input=True)
    sink = VideoSink(tmp_path / "out.mp4", fps=25)
    loop.play(clip([gray(9, shape)] * 2), sink)
    sink.close()
    assert loop.frames == 2
    assert loop.faces == 2 * count
    assert [image.shape for image in screen.images] == [(*shape, 3)] * 2
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_a_frame_that_changes_its_size_is_recorded_and_shown(tmp_path, monkeypatch):
    kinds = [gray(9, (48, 64)), gray(9, (96, 30)), np.full((20, 30), 2000, np.uint16), np.zeros((0, 0, 3), np.uint8)]
    source = camera(lambda number: kinds[number // 5 % 4], monkeypatch=monkeypatch, patience=10)
    screen, sink = Screen(), VideoSink(tmp_path / "out.mp4", fps=25)
    Loop(pipeline((1, 2, 10, 10)), window=screen, max_frames=30).play(source, sink)
    sink.close()
    assert len({image.shape for image in screen.images}) == 3
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) >= 30


def test_a_camera_that_stops_is_reported_and_comes_back(tmp_path, monkeypatch, capsys):
    large = gray(0, (240, 320))
    source = camera(
        *(lambda number: large if number < 5 else None, None, lambda number: large + 100), monkeypatch=monkeypatch
    )
    screen, rows, sink = Screen(), Rows(), VideoSink(tmp_path / "out.mp4", fps=25)
    Loop(pipeline(), tables=[rows], window=screen, max_frames=12).play(source, sink)
    sink.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("camera 0: no frame for")
    assert {row[3] for row in rows.rows} == {0, 100}
    alarmed = [image for image in screen.images if (image[-3, :, 2] > 150).mean() > 0.5]
    assert alarmed  # a banner across the bottom of the last frame
    assert (alarmed[0][:20] == 0).all()
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 13  # the banner is one


def test_a_read_that_hangs_is_reported_and_the_window_still_reacts(monkeypatch, capsys):
    release = threading.Event()
    source = camera(lambda number: gray() if number < 3 else release.wait(), monkeypatch=monkeypatch)
    screen = Screen()
    screen.keys = lambda: "q" if len(screen.images) > 5 and (screen.images[-1][-3, :, 2] > 150).any() else ""
    begun = time.monotonic()
    loop = Loop(pipeline(), window=screen)
    loop.play(source)
    assert not loop.going
    assert time.monotonic() - begun < 30
    assert capsys.readouterr().err.count("no frame for") == 1
    release.set()


def test_a_camera_that_never_gives_a_frame_is_an_error(monkeypatch):
    monkeypatch.setattr(loop_module, "FIRST_FRAME_SECONDS", 0.1)
    release = threading.Event()
    source = camera(lambda _: release.wait(), monkeypatch=monkeypatch)
    with pytest.raises(SourceError, match="no frame"):
        Loop(pipeline()).play(source)
    release.set()


def test_a_model_that_takes_long_to_begin_is_not_blamed_on_the_camera(monkeypatch):
    monkeypatch.setattr(loop_module, "FIRST_FRAME_SECONDS", 0.1)
    analyze = pipeline()
    compiling = iter([1.0])

    class Slow:
        reset = analyze.reset

        def __call__(self, image, time_s):
            time.sleep(next(compiling, 0))
            return analyze(image, time_s)

    source = camera(lambda _: time.sleep(0.02) or gray(), monkeypatch=monkeypatch)
    monkeypatch.setattr(LiveSource, "silence", 60)
    loop = Loop(Slow(), max_frames=2)
    loop.play(source)
    assert loop.frames == 2


@pytest.mark.parametrize("where", ["source", "pipeline", "table"])
def test_an_error_in_any_thread_arrives_as_what_it_is(where):
    def fail(*_):
        raise ZeroDivisionError(where)

    def images():
        yield gray()
        if where == "source":
            fail()
        yield gray()

    class Table:
        write = fail

    source = ClipSource("x", images(), fps=25, length=2)
    detector = fail if where == "pipeline" else boxes_at()
    with pytest.raises(ZeroDivisionError, match=where):
        Loop(Pipeline(detector, Recognizer()), tables=[Table()] if where == "table" else []).play(source)


def test_the_stop_event_ends_it(monkeypatch):
    stop = threading.Event()
    loop = Loop(pipeline(), stop=stop, on_frame=lambda: loop.frames == 5 and stop.set())
    loop.play(camera(lambda _: gray(), monkeypatch=monkeypatch))
    assert loop.frames == 5
    assert not loop.going


def test_frames_are_counted_over_all_sources_and_each_begins_anew():
    seen = []

    class Tracks:
        def write(self, source, frame, faces):
            seen.append((source, frame.index, [face.track for face in faces]))

    loop = Loop(pipeline((5, 5, 20, 20)), tables=[Tracks()], max_frames=5)
    for name in ("a", "b"):
        loop.play(clip([gray()] * 3, name=name))
    assert seen == [("a", 0, [0]), ("a", 1, [0]), ("a", 2, [0]), ("b", 0, [0]), ("b", 1, [0])]


def test_a_mirror_swaps_before_anything_is_found():
    image = gray()
    image[:, :10] = 255
    found = []

    def detector(image):
        found.append(image.copy())
        return np.zeros((0, 4), np.int32)

    Loop(Pipeline(detector, Recognizer()), mirror=True).play(clip([image]))
    np.testing.assert_array_equal(found[0], image[:, ::-1])


def test_a_file_is_shown_at_its_own_pace():
    screen = Screen()
    times = []
    screen.show = lambda image: times.append(time.monotonic())
    Loop(pipeline(), window=screen).play(clip([gray()] * 4, fps=20))
    assert times[-1] - times[0] >= 3 / 20 - 0.01


def test_space_pauses_a_file_where_it_is():
    screen, rows = Screen(), Rows()
    polls, before = itertools.count(), {}

    def keys():
        number = next(polls)
        before[number] = len(rows.rows)
        return " " if number in (10, 60) else ""

    screen.keys = keys
    Loop(pipeline(), tables=[rows], window=screen).play(clip([gray(i) for i in range(40)], fps=200))
    assert [row[1] for row in rows.rows] == list(range(40))
    assert before[60] <= before[11] + 1 < 40  # one may be on its way to the screen when the key is pressed


def test_a_pause_at_the_end_of_a_source_can_be_ended_in_the_next():
    screen, rows = Screen(), Rows()
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


def test_a_camera_that_stops_during_a_pause_is_reported_after_it(monkeypatch, capsys):
    release = threading.Event()
    source = camera(lambda number: gray() if number < 3 else release.wait(), monkeypatch=monkeypatch)
    screen = Screen()
    loop = Loop(pipeline(), window=screen)
    loop._paused = True  # in the source before
    polls = itertools.count()
    screen.keys = lambda: {100: " ", 200: "q"}.get(next(polls), "")
    loop.play(source)
    assert loop.frames == 1
    assert capsys.readouterr().err.count("no frame for") == 1
    release.set()


def test_frames_a_second_leave_out_a_pause():
    pause, ends = 1.2, []
    screen = Screen()
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


def test_a_model_that_is_slow_is_waited_for_at_the_end():
    stop, busy, begun = threading.Event(), threading.Event(), threading.Event()

    def slow(image):
        begun.set()
        busy.set()
        time.sleep(0.8)
        busy.clear()
        return np.zeros((0, 4), np.int32)

    threading.Thread(target=lambda: begun.wait() and stop.set()).start()
    Loop(Pipeline(slow, Recognizer()), stop=stop).play(clip([gray()] * 9))
    assert not busy.is_set()


def test_a_camera_is_drained_during_a_pause(monkeypatch):
    screen, rows = Screen(), Rows()
    polls = itertools.count()
    paused = []

    def keys():
        number = next(polls)
        if number == 20:
            paused.append(len(rows.rows))
        if number == 80:
            paused.append(len(rows.rows))
        return " " if number in (20, 80) else "q" if number > 120 else ""

    screen.keys = keys
    source = camera(lambda number: gray(), monkeypatch=monkeypatch)
    Loop(pipeline(), tables=[rows], window=screen).play(source)
    before, after = paused
    assert after - before <= 1
    assert rows.rows[after][1] - rows.rows[before - 1][1] > 30  # what came meanwhile is not shown later


def test_s_saves_the_frame_and_its_rows_and_d_hides_the_bars(tmp_path, capsys):
    screen = Screen()
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


def test_what_cannot_be_saved_ends_nothing(tmp_path, capsys):
    (tmp_path / "file").touch()
    screen = Screen()
    pressed = iter(["s", "q"])
    screen.keys = lambda: next(pressed, "") if screen.images else ""
    Loop(pipeline(), window=screen, snapshots=tmp_path / "file").play(clip([gray()]))
    assert capsys.readouterr().err.startswith("error: ")


def test_a_picture_stays_until_it_was_seen_and_one_of_several_for_a_while(monkeypatch):
    monkeypatch.setattr(loop_module, "PICTURE_SECONDS", 0.05)
    screen = Screen()
    loop = Loop(pipeline(), window=screen)
    loop.play(clip([gray()]), last=False)
    assert loop.going
    polls = itertools.count()
    screen.keys = lambda: "q" if next(polls) > 40 else ""
    loop.play(clip([gray()]))
    assert next(polls) > 40
    assert not loop.going


def test_a_file_that_was_late_once_keeps_its_pace_afterwards():
    screen, times = Screen(), []

    def show(image):
        times.append(time.monotonic())
        time.sleep(0.4 if len(times) == 3 else 0)

    screen.show = show
    Loop(pipeline(), window=screen).play(clip([gray()] * 9, fps=20))
    late, *after = times[3:]
    assert after[-1] - late > 0.5 * len(after) / 20  # who hurries takes a few milliseconds


def test_the_frame_of_an_outage_is_recorded_at_its_own_time(monkeypatch):
    source = camera(
        lambda number: gray() if number < 5 else None, lambda number: gray(), monkeypatch=monkeypatch, patience=0.3
    )
    written = []

    class Recording:
        def write(self, image, frame):
            written.append((frame.index, frame.time_s))

    loop = Loop(pipeline(), max_frames=8)
    loop.play(source, Recording())
    outage = next(n for n in range(1, len(written)) if written[n][0] == written[n - 1][0])
    (_, last), (_, shown), (_, again) = written[outage - 1 : outage + 2]
    assert last + 0.1 <= shown <= again  # a camera is silent for a tenth of a second before that is a problem here
