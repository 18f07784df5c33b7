"""Separate pictures through one pipeline, also from several threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_tf import photograph
from fer_tf.errors import UserError
from fer_tf.realtime.detect import STILL_SEARCH_SIZE, FaceDetector
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.recognizer import Recognizer


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer("weights/base_cnn-stack_sharpen.onnx", threads=1)


@pytest.fixture(scope="module")
def pictures():
    """A face in one place, which differs so much from picture to picture that its label does, too."""
    pytest.importorskip("skimage")
    face = cv2.resize(photograph.read_photograph()[:300, 90:390], (120, 120), interpolation=cv2.INTER_AREA)
    random = np.random.default_rng(0)
    made = []
    for index in range(24):
        image = np.full((160, 160, 3), 120, np.uint8)
        turn = cv2.getRotationMatrix2D((60, 60), random.uniform(-25, 25), random.uniform(0.7, 1.1))
        turn[:, 2] += random.uniform(5, 35, 2)
        gain, noise = random.uniform(0.3, 1.7), random.normal(0, index, image.shape)
        image = cv2.warpAffine(face, turn, (160, 160), image, borderMode=cv2.BORDER_TRANSPARENT)
        made.append(np.clip(image * gain + noise, 0, 255).astype(np.uint8))
    return made


@pytest.fixture(scope="module")
def expected(pictures, recognizer):
    """What a fresh pipeline finds in each picture."""
    answers = [described(Pipeline(FaceDetector(), recognizer, expect="fer2013").still(image)) for image in pictures]
    assert sum(map(bool, answers)) > 12
    assert len({answer[0][2] for answer in answers if answer}) > 1
    return answers


def described(faces):
    return [(face.track, face.box, face.label, face.probabilities.tolist(), face.raw.tolist()) for face in faces]


def test_pictures_do_not_influence_each_other_in_any_order(pictures, expected, recognizer):
    pipeline = Pipeline(FaceDetector(), recognizer, expect="fer2013")
    for seed in range(3):
        for index in np.random.default_rng(seed).permutation(len(pictures)):
            assert described(pipeline.still(pictures[index])) == expected[index]


def test_as_frames_of_a_stream_they_would(pictures, expected, recognizer):
    pipeline = Pipeline(FaceDetector(), recognizer, expect="fer2013")
    answers = [pipeline(image, index / 25) for index, image in enumerate(pictures)]
    assert [[face.label for face in faces] for faces in answers] != [[face[2] for face in faces] for faces in expected]


@pytest.mark.parametrize("detect_every", [1, 3])
def test_between_the_frames_of_a_stream_they_change_nothing(detect_every, pictures, expected, recognizer):
    alone, mixed = (Pipeline(FaceDetector(), recognizer, detect_every=detect_every, expect="fer2013") for _ in range(2))
    for index, (frame, picture) in enumerate(zip(pictures, reversed(pictures), strict=True)):
        assert described(mixed(frame, index / 25)) == described(alone(frame, index / 25))
        assert described(mixed.still(picture)) == expected[len(pictures) - 1 - index]


def test_a_picture_without_a_time_is_no_frame(pictures, recognizer):
    pipeline = Pipeline(FaceDetector(), recognizer, expect="fer2013")
    with pytest.raises(UserError, match=r"time.*still\(picture\)"):
        pipeline(pictures[0])
    for nonsense in (float("nan"), float("inf"), 10**400, "1", np.zeros(3)):
        with pytest.raises(UserError, match="time_s must be a number"):
            pipeline(pictures[0], nonsense)
    assert pipeline(pictures[0], np.float32(0)) is not None


def test_pictures_are_searched_more_closely_than_frames_unless_a_size_is_given(recognizer):
    pytest.importorskip("skimage")
    person = cv2.resize(photograph.read_photograph()[:260, 110:370], (68, 68), interpolation=cv2.INTER_AREA)
    room = np.full((1000, STILL_SEARCH_SIZE, 3), 120, np.uint8)
    room[500:568, 900:968] = person
    pipeline = Pipeline(recognizer=recognizer)
    assert (len(pipeline.still(room)), len(pipeline(room, 0.0))) == (1, 0)
    for size, count in ((320, 0), (STILL_SEARCH_SIZE, 1), (None, 1)):
        pipeline = Pipeline(FaceDetector(search_size=size), recognizer)
        assert (len(pipeline.still(room)), len(pipeline(room, 0.0))) == (count, count)


def test_600_requests_of_8_threads_get_600_right_answers(pictures, expected, recognizer):
    detector = FaceDetector()
    shared = Pipeline(detector, recognizer, expect="fer2013")
    begin = threading.Barrier(8)
    files = [cv2.imencode(".png", image)[1].tobytes() for image in pictures]

    def serve(thread):
        begin.wait(timeout=60)
        own = Pipeline(detector, recognizer, expect="fer2013")  # some make one for each request
        order = np.random.default_rng(thread).integers(0, len(pictures), 75)
        return [described((own if n % 5 == 0 else shared).still(files[n])) == expected[n] for n in order]

    with ThreadPoolExecutor(8) as pool:
        right = [answer for answers in pool.map(serve, range(8)) for answer in answers]
    assert (len(right), right.count(False)) == (600, 0)


def test_a_cascade_can_be_shared_too(pictures):
    detector = FaceDetector("haar")
    sizes = [cv2.resize(image, (0, 0), fx=scale, fy=scale) for image in pictures[:6] for scale in (1, 1.5, 2.2)]

    def find(image):
        return sorted(detector(image).boxes.tolist())  # OpenCV itself searches in several threads

    alone = list(map(find, sizes))
    assert any(alone)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(find, sizes * 4)) == alone * 4


class SizedNetwork:
    """Stands for OpenCV's FaceDetectorYN, which has to be told the size of the next image."""

    def setInputSize(self, size):
        self.size = size

    def detect(self, image):
        time.sleep(0.001)
        assert self.size == image.shape[1::-1]
        return 0, None


def test_a_network_of_opencv_can_be_shared_too(tmp_path, monkeypatch):
    model = tmp_path / "yunet.onnx"
    model.touch()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *args, **kwargs: SizedNetwork())
    detector = FaceDetector(model=model)
    images = [np.zeros((100 + 10 * n, 90, 3), np.uint8) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert not any(map(len, pool.map(detector, images * 20)))


def test_a_second_thread_in_a_stream_is_told_what_to_do(pictures, expected, recognizer):
    """Whoever gets no error gets the answers of a stream of its own."""
    shared, begin = Pipeline(FaceDetector(), recognizer, expect="fer2013"), threading.Barrier(8)

    def serve(thread):
        begin.wait(timeout=60)
        answers = []
        for index, image in enumerate(pictures):
            try:
                answers.append(described(shared(image, index / 25)))
            except UserError as error:
                answers.append(str(error))
        return answers

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(serve, range(8)))
    alone = Pipeline(FaceDetector(), recognizer, expect="fer2013")
    right = [described(alone(image, index / 25)) for index, image in enumerate(pictures)]
    refused = [answer for answer in answers if answer != right]
    assert len(refused) == 7
    for messages in refused:
        assert all("a Pipeline for each stream" in message and "still(picture)" in message for message in messages)


def test_a_stream_may_move_to_another_thread_after_a_reset(pictures, recognizer):
    pipeline = Pipeline(FaceDetector(), recognizer, expect="fer2013")
    here = [described(pipeline(image, index / 25)) for index, image in enumerate(pictures)]
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(UserError, match="second thread"):
            pool.submit(pipeline, pictures[0], 9.0).result()
        pipeline.reset()
        there = [pool.submit(pipeline, image, index / 25) for index, image in enumerate(pictures)]
        assert [described(faces.result()) for faces in there] == here


def test_nobody_resets_a_pipeline_while_a_frame_is_in_it(recognizer):
    inside, go_on = threading.Event(), threading.Event()

    def detector(image):
        inside.set()
        assert go_on.wait(timeout=60)
        return np.zeros((0, 4), np.int32)

    pipeline = Pipeline(detector, recognizer)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(pipeline, np.zeros((48, 48, 3), np.uint8), 0.0)
        assert inside.wait(timeout=60)
        with pytest.raises(UserError, match="second thread"):
            pipeline.reset()
        go_on.set()
        assert running.result(timeout=60) == []
    pipeline.reset()


def test_two_threads_share_a_stream_as_the_live_loop_does(pictures, recognizer):
    one, two = (Pipeline(FaceDetector(), recognizer, expect="fer2013") for _ in range(2))
    right = [described(one(image, index / 25)) for index, image in enumerate(pictures)]
    with ThreadPoolExecutor(1) as tracking, ThreadPoolExecutor(1) as recognizing:
        tracks = [tracking.submit(two.track, image, index / 25) for index, image in enumerate(pictures)]
        found = [
            recognizing.submit(lambda image, tracked: two.recognize(image, tracked.result()), *pair)
            for pair in zip(pictures, tracks, strict=True)
        ]
        assert [described(faces.result()) for faces in found] == right


def test_the_name_of_a_detector_will_do(pictures, recognizer):
    by_name, by_hand = Pipeline("haar", recognizer), Pipeline(FaceDetector("haar"), recognizer)
    answers = [described(by_name.still(image)) for image in pictures]
    assert answers == [described(by_hand.still(image)) for image in pictures]
    assert any(answers)
    for name in ("nose", ""):
        with pytest.raises(UserError, match="expected auto, yunet, haar"):
            Pipeline(name, recognizer)
    for nonsense in (5, object(), Path("haar")):
        with pytest.raises(UserError, match="detector must be"):
            Pipeline(nonsense, recognizer)


def test_the_numbers_of_faces_go_from_left_to_right(recognizer):
    boxes = np.array([[90, 10, 50, 50], [5, 60, 40, 40], [50, 0, 30, 30]])
    faces = Pipeline(lambda _: boxes, recognizer).still(np.zeros((120, 160), np.uint8))
    assert [face.track for face in faces] == [0, 1, 2]
    assert all(left.box < right.box for left, right in pairwise(faces))
