import itertools
import threading
import time

import cv2
import numpy as np
import pytest

from fer_tf.realtime.capture import ClipSource
from fer_tf.realtime.detect import FaceDetector
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


def test_rows_are_those_of_the_pipeline_alone(pipeline, clip):
    pytest.importorskip("skimage")
    from fer_tf.realtime.demo import demo_clip

    class All:
        def __init__(self):
            self.seen = []

        def write(self, source, frame, faces):
            self.seen.append([(face.track, face.box) for face in faces])

    table = All()
    images = list(itertools.islice(demo_clip()[0], 55, 75))
    Loop(pipeline(detector=FaceDetector()), tables=[table]).play(clip(images, fps=25))
    alone = pipeline(detector=FaceDetector())
    assert table.seen == [
        [(face.track, face.box) for face in alone(image, index / 25)] for index, image in enumerate(images)
    ]


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


@pytest.mark.parametrize("where", ["source", "pipeline", "table"])
def test_an_error_in_any_thread_arrives_as_what_it_is(where, pipeline, gray):
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
    detector = fail if where == "pipeline" else None
    with pytest.raises(ZeroDivisionError, match=where):
        Loop(pipeline(detector=detector), tables=[Table()] if where == "table" else []).play(source)


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


def test_a_model_that_is_slow_is_waited_for_at_the_end(pipeline, clip, gray):
    stop, busy, begun = threading.Event(), threading.Event(), threading.Event()

    def slow(image):
        begun.set()
        busy.set()
        time.sleep(0.8)
        busy.clear()
        return np.zeros((0, 4), np.int32)

    threading.Thread(target=lambda: begun.wait() and stop.set()).start()
    Loop(pipeline(detector=slow), stop=stop).play(clip([gray()] * 9))
    assert not busy.is_set()
