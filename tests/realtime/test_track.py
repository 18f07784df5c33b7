import cv2
import numpy as np
import pytest

from fer_tf.realtime.detect import Detections
from fer_tf.realtime.track import Track, Tracker

IMAGE = np.zeros((480, 640, 3), np.uint8)


class Script:
    """Stands for a detector: gives what it is told to for each frame, and counts."""

    def __init__(self, boxes=()):
        self.boxes, self.calls = list(boxes), 0

    def __call__(self, image):
        self.calls += 1
        return np.array(self.boxes, np.int32).reshape(-1, 4)


def run(positions, times):
    """Tracks faces that are at `positions` (a list of boxes for each time) and returns the id of each box."""
    detector = Script()
    tracker = Tracker(detector)
    ids = []
    for boxes, time_s in zip(positions, times, strict=True):
        detector.boxes = boxes
        of_box = {tuple(map(int, track.box)): track.id for track in tracker(IMAGE, time_s)}
        ids.append([of_box[tuple(box)] for box in boxes])
    return ids


@pytest.mark.parametrize("fps", [4, 10, 30, 120])
def test_ids_stay_with_moving_faces_at_any_frame_rate(fps):
    times = np.arange(0, 3, 1 / fps)
    # One walks right, one comes closer, one stays; and the detector gives them in changing order.
    positions = [
        [
            (int(20 + 120 * time_s), 20, 80, 80),
            (300, int(200 - 10 * time_s), int(100 + 30 * time_s), int(100 + 30 * time_s)),
            (60, 300, 60, 60),
        ]
        for time_s in times
    ]
    rng = np.random.default_rng(0)
    orders = [rng.permutation(3) for _ in times]
    ids = run([[boxes[i] for i in order] for boxes, order in zip(positions, orders, strict=True)], times)
    of_face = {tuple(row[list(order).index(i)] for i in range(3)) for row, order in zip(ids, orders, strict=True)}
    assert len(of_face) == 1
    assert len(set(of_face.pop())) == 3


def test_new_faces_are_counted_from_left_to_right():
    assert run([[(300, 0, 50, 50), (10, 0, 50, 50), (150, 0, 50, 50)]], [0.0]) == [[2, 0, 1]]


@pytest.mark.parametrize(("gap", "same"), [(0.1, True), (0.6, True), (1.5, False)])
@pytest.mark.parametrize("fps", [10, 60])
def test_a_lost_face_keeps_its_id_for_a_moment(gap, same, fps):
    box = (100, 100, 80, 80)
    times = np.arange(0, 3, 1 / fps)
    ids = run([[] if 1 <= time_s < 1 + gap else [box] for time_s in times], times)
    assert ids[0] == [0]
    assert ids[-1] == [0 if same else 1]


def test_frames_that_are_far_apart_do_not_lose_a_face():
    assert run([[(100, 100, 80, 80)]] * 3, [0.0, 5.0, 10.0]) == [[0]] * 3


def test_no_id_is_given_twice():
    near, far = (10, 10, 50, 50), (500, 300, 50, 50)
    ids = run([[near], [far], [near], [], [near], [far]], [0.0, 2.0, 4.0, 6.0, 8.0, 8.1])
    assert ids == [[0], [1], [2], [], [3], [4]]


def test_a_face_of_quite_another_size_is_another_face():
    assert run([[(100, 100, 200, 200)], [(170, 170, 60, 60)]], [0.0, 0.04]) == [[0], [1]]


def test_the_nearest_pair_is_matched_first():
    ids = run([[(100, 0, 50, 50), (160, 0, 50, 50)], [(152, 0, 50, 50)]], [0.0, 0.04])
    assert ids == [[0, 1], [1]]


@pytest.mark.parametrize(
    "times",
    [[0.0] * 5, [0.0, float("nan"), 0.1, float("inf"), 0.2], [5.0, 5.1, 0.0, 0.1, 0.2], [9.0, 6.0, 3.0, 1.0, 0.0]],
)
def test_time_may_stand_still_or_go_back(times):
    assert run([[(100, 100, 80, 80)]] * 5, times) == [[0]] * 5
    # Having gone back it goes on, so that lost faces are forgotten as ever.
    ids = run([[(100, 100, 80, 80)]] * 5 + [[], [(100, 100, 80, 80)]], [*times, times[-1] + 1, times[-1] + 2])
    assert ids[-1] == [1]


@pytest.mark.parametrize("fps", [1, 7, 30, 200])
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_smoothing_depends_on_time_alone(fps, tau):
    track = Track(0, np.zeros(4), 5.0)
    before, after = np.float32([[1, 0, 0, 0, 0, 0, 0]]), np.float32([[0, 0.25, 0, 0.75, 0, 0, 0]])
    np.testing.assert_array_equal(track.smooth(before, tau), before)
    for index in range(1, 2 * fps + 1):
        track.seen_s = 5.0 + index / fps
        smoothed = track.smooth(after, tau)
    np.testing.assert_allclose(smoothed, after + (before - after) * np.exp(-2 / tau), atol=1e-6)
    assert smoothed.dtype == np.float32
    np.testing.assert_allclose(smoothed.sum(axis=-1), 1, atol=1e-6)


def test_without_smoothing_each_reading_stands_for_itself():
    track = Track(0, np.zeros(4), 0.0)
    for row in np.random.default_rng(0).dirichlet(np.ones(7), 5).astype(np.float32):
        np.testing.assert_array_equal(track.smooth(row, 0), row)


def textured(shape, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (shape[0] // 4, shape[1] // 4, 3), np.uint8)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC)


def scene(x, y, side, *, size=(640, 480)):
    """A textured face of `side` pixels at x, y before a background that stays."""
    matrix = np.array([[side / 100, 0, x], [0, side / 100, y]])
    face = cv2.warpAffine(textured((100, 100), 1), matrix, size)
    mask = cv2.warpAffine(np.full((100, 100), 255, np.uint8), matrix, size)
    return np.where(mask[..., None] > 127, face, textured(size[::-1]))


def test_between_detections_boxes_follow_the_face():
    path = [(100 + 4 * i, 80 + 2 * i, 100 + i) for i in range(31)]
    detector = Script()
    tracker = Tracker(detector, detect_every=10)
    for index, (x, y, side) in enumerate(path):
        detector.boxes = [(x, y, side, side)]
        (track,) = tracker(scene(x, y, side), index / 25)
        np.testing.assert_allclose(track.box, (x, y, side, side), atol=4)
        assert track.id == 0
    assert detector.calls == 4


def test_a_face_that_cannot_be_followed_is_looked_for_at_once():
    detector = Script([(100, 80, 100, 100)])
    tracker = Tracker(detector, detect_every=100)
    for index in range(3):
        assert len(tracker(scene(100, 80, 100), index / 25)) == 1
    assert detector.calls == 1
    detector.boxes = []
    assert tracker(textured((480, 640), 7), 0.2) == []
    assert detector.calls == 2
    assert tracker(textured((480, 640), 8), 0.3) == []
    assert detector.calls == 2  # with nothing to follow it is every Nth frame again


def test_a_face_that_leaves_the_frame_is_not_followed_out_of_it():
    detector = Script([(0, 100, 100, 100)])
    tracker = Tracker(detector, detect_every=100)
    for index in range(12):
        tracks = tracker(scene(-6 * index, 100, 100), index / 25)
        detector.boxes = []
    assert tracks == []


def test_a_face_keeps_its_id_when_frames_change_their_size():
    detector = Script([(300, 200, 100, 100)])
    tracker = Tracker(detector, detect_every=100)
    tracker(IMAGE, 0.0)
    for reduction in (2, 8, 1):
        detector.boxes = [[side // reduction for side in (300, 200, 100, 100)]]
        (track,) = tracker(IMAGE[::reduction, ::reduction], 0.1)
        assert track.id == 0
        np.testing.assert_array_equal(track.box, detector.boxes[0])
    assert detector.calls == 4


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (20, 20)])
def test_tiny_frames_can_be_followed(size):
    tracker = Tracker(Script([(0, 0, 1, 1)]), detect_every=3)
    for index in range(7):
        tracker(np.full((*size, 3), 9, np.uint8), index / 25)


def test_landmarks_stay_where_they_are_in_the_face():
    random = np.random.default_rng(0)
    texture = cv2.GaussianBlur(random.integers(0, 256, (480, 640, 3), np.uint8), (0, 0), 3)
    points = np.array([[[220, 180], [260, 190], [240, 210], [225, 230], [255, 235]]], np.float32)
    found = Detections(np.array([[200, 150, 80, 100]], np.int32), np.ones(1), points)
    tracker = Tracker(lambda image: found, detect_every=2)
    (track,) = tracker(texture, 0.0)
    np.testing.assert_allclose(track.landmarks, points[0])
    (track,) = tracker(np.roll(texture, (4, 6), axis=(0, 1)), 0.04)  # followed, not detected
    np.testing.assert_allclose(track.landmarks, points[0] + (6, 4), atol=1)


def test_a_detector_of_boxes_alone_gives_no_landmarks():
    (track,) = Tracker(Script([(10, 10, 50, 50)]))(IMAGE, 0.0)
    assert track.landmarks is None


def test_of_two_boxes_about_as_near_the_one_that_overlaps_more_is_the_same_face():
    # 20 pixels to the right they share 60 / 100 of their area; the small one, 18 to the left, shares 44² / 80².
    right, small = (120, 100, 80, 80), (100, 118, 44, 44)
    assert run([[(100, 100, 80, 80)], [small, right]], [0.0, 0.04]) == [[0], [1, 0]]


@pytest.mark.parametrize(("sizes", "unseen", "same"), [(1, 0.04, False), (1, 0.5, True), (2, 0.5, False)])
def test_a_face_may_have_moved_further_the_longer_it_was_not_seen(sizes, unseen, same):
    assert run([[(100, 100, 80, 80)], [(100 + 80 * sizes, 100, 80, 80)]], [0.0, unseen]) == [[0], [0 if same else 1]]
