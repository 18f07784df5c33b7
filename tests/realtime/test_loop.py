import itertools
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fer_tf.realtime.capture import ClipSource
from fer_tf.realtime.detect import FaceDetector
from fer_tf.realtime.draw import draw_faces
from fer_tf.realtime.loop import Loop
from fer_tf.realtime.record import VideoSink


def test_every_frame_of_a_file_is_analyzed_in_order_however_slow_that_is(pipeline, clip, gray, rows):
    slow = itertools.cycle([0, 0, 0.003])

    def detector(image):
        time.sleep(next(slow))
        return np.zeros((int(image[0, 0, 0]) % 3, 4), np.int32)

    loop = Loop(pipeline(detector=detector), tables=[rows])
    loop.play(clip((gray(value) for value in range(200)), fps=10))
    assert [(row[1], row[2], row[3]) for row in rows.rows] == [(i, round(i / 10, 3), i) for i in range(200)]
    assert loop.frames == 200
    assert loop.faces == sum(row[4] for row in rows.rows)


class Everything:
    """A table and a recording that keep all they are given."""

    def __init__(self):
        self.rows, self.pictures = [], []
        self.table, self.recording = SimpleNamespace(write=self._table), SimpleNamespace(write=self._recording)

    def _table(self, source, frame, faces):
        self.rows.append(described(faces))

    def _recording(self, image, frame):
        self.pictures.append(image)


def described(faces):
    return [
        (face.track, face.box, *(array.tobytes() for array in (face.crop, face.probabilities, face.raw)))
        for face in faces
    ]


def brightness(faces):
    """Probabilities that depend on the faces."""
    rows = faces[:, :42].reshape(len(faces), 7, -1).astype(np.float32).sum(axis=2) ** 4
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("detect_every", [1, 3])
@pytest.mark.parametrize("boxes_alone", [False, True])
@pytest.mark.parametrize("frames", [36, 20])
def test_rows_and_pictures_are_those_of_the_pipeline_alone(detect_every, boxes_alone, frames, pipeline, clip):
    """Also if the user ends the loop early."""
    pytest.importorskip("skimage")
    from fer_tf.realtime.demo import demo_clip

    def analyzer():
        find = FaceDetector()
        detector = (lambda image: find(image).boxes) if boxes_alone else find
        return pipeline(detector=detector, recognize=brightness, detect_every=detect_every, smoothing=0.1)

    images = list(itertools.islice(demo_clip()[0], 50, 230, 5))  # one to four faces
    found, expected, alone = Everything(), Everything(), analyzer()
    for index, image in enumerate(images[:frames]):
        faces = alone(image, index / 25)
        expected.table.write("clip", None, faces)
        drawn = image.copy()
        draw_faces(drawn, faces)
        expected.recording.write(drawn, None)
    assert len({len(row) for row in expected.rows}) > 1
    Loop(analyzer(), tables=[found.table], max_frames=frames).play(clip(images, fps=25), found.recording)
    assert found.rows == expected.rows
    np.testing.assert_array_equal(found.pictures, expected.pictures)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (480, 640), (4320, 7680)])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_frames_of_any_size_with_any_number_of_faces(shape, count, tmp_path, pipeline, clip, gray, screen):
    height, width = shape
    random = np.random.default_rng(0)
    boxes = [
        (int(x * width), int(y * height), max(1, height // 6), max(1, height // 6))
        for x, y in random.random((count, 2))
    ]
    loop = Loop(pipeline(*boxes), window=screen, show_input=True)
    sink = VideoSink(tmp_path / "out.mp4", fps=25)
    loop.play(clip([gray(9, shape)] * 2), sink)
    sink.close()
    assert loop.frames == 2
    assert loop.faces == 2 * count
    assert [image.shape for image in screen.images] == [(*shape, 3)] * 2
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


@pytest.mark.parametrize("where", ["source", "detector", "network", "table"])
def test_an_error_in_any_thread_arrives_as_what_it_is(where, pipeline, gray):
    before = set(threading.enumerate())

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
    parts = {"detector": {"detector": fail}, "network": {"recognize": fail}}.get(where, {})
    with pytest.raises(ZeroDivisionError, match=where):
        Loop(pipeline((5, 5, 20, 20), **parts), tables=[Table()] if where == "table" else []).play(source)
    assert set(threading.enumerate()) <= before


def test_frames_are_counted_over_all_sources_and_each_begins_anew(pipeline, clip, gray):
    seen = []

    class Tracks:
        def write(self, source, frame, faces):
            seen.append((source, frame.index, [face.track for face in faces]))

    loop = Loop(pipeline((5, 5, 20, 20)), tables=[Tracks()], max_frames=5)
    for name in ("a", "b"):
        loop.play(clip([gray()] * 3, name=name))
    assert seen == [("a", 0, [0]), ("a", 1, [0]), ("a", 2, [0]), ("b", 0, [0]), ("b", 1, [0])]


def test_a_mirror_swaps_before_anything_is_found(pipeline, clip, gray):
    image = gray()
    image[:, :10] = 255
    found = []

    def detector(image):
        found.append(image.copy())
        return np.zeros((0, 4), np.int32)

    Loop(pipeline(detector=detector), mirror=True).play(clip([image]))
    np.testing.assert_array_equal(found[0], image[:, ::-1])


@pytest.mark.parametrize("where", ["detector", "network"])
def test_a_model_that_is_slow_is_waited_for_at_the_end(where, pipeline, clip, gray):
    stop, busy, begun = threading.Event(), threading.Event(), threading.Event()

    def slow(faces):
        begun.set()
        busy.set()
        time.sleep(0.8)
        busy.clear()
        return np.zeros((0, 4), np.int32) if where == "detector" else np.full((len(faces), 7), 1 / 7, np.float32)

    parts = {"detector": slow} if where == "detector" else {"recognize": slow}
    threading.Thread(target=lambda: begun.wait() and stop.set()).start()
    Loop(pipeline((5, 5, 20, 20), **parts), stop=stop).play(clip([gray()] * 9))
    assert not busy.is_set()


def test_the_next_frame_is_searched_while_one_is_recognized(pipeline, clip, gray):
    """Each waits for the other, which would fail in one thread."""
    searched, recognizing = threading.Event(), threading.Event()

    def detector(image):
        if image[0, 0, 0]:  # the second frame
            assert recognizing.wait(10)
            searched.set()
        return np.array([[5, 5, 20, 20]])

    def recognize(faces):
        recognizing.set()
        assert searched.wait(10)
        return np.full((len(faces), 7), 1 / 7, np.float32)

    loop = Loop(pipeline(detector=detector, recognize=recognize))
    loop.play(clip([gray(0), gray(9)]))
    assert loop.frames == 2
