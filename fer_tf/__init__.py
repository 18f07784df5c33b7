"""Facial expression recognition: train on FER-2013 in Keras, export one ONNX file, run it live by onnxruntime.

Example:
    >>> import fer_tf, numpy
    >>> pipeline = fer_tf.Pipeline()  # the default model
    >>> pipeline.still(numpy.zeros((480, 640), numpy.uint8))  # or the path of a picture
    []

What is exported here is loaded when it is first used, so importing this package takes no time.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer_tf.card import ModelCard
    from fer_tf.classes import CLASSES
    from fer_tf.errors import UserError
    from fer_tf.realtime.detect import Detections, FaceDetector
    from fer_tf.realtime.face import Face, Reading
    from fer_tf.realtime.pipeline import Pipeline
    from fer_tf.recognizer import Recognizer
    from fer_tf.weights import DEFAULT_MODEL

__version__ = "0.2.0"

__all__ = [
    "CLASSES",
    "DEFAULT_MODEL",
    "Detections",
    "Face",
    "FaceDetector",
    "ModelCard",
    "Pipeline",
    "Reading",
    "Recognizer",
    "UserError",
    "__version__",
]

_HOMES = {
    "CLASSES": "classes",
    "DEFAULT_MODEL": "weights",
    "Detections": "realtime.detect",
    "Face": "realtime.face",
    "FaceDetector": "realtime.detect",
    "ModelCard": "card",
    "Pipeline": "realtime.pipeline",
    "Reading": "realtime.face",
    "Recognizer": "recognizer",
    "UserError": "errors",
}

# Since version 1.29, onnxruntime tells its makers of each process, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# A wheel has all rooms inside this package. In a checkout they lie beside it, also when nothing is installed.
_checkout = Path(__file__).resolve().parents[1]
if (_checkout / "pyproject.toml").is_file() and not (Path(__file__).parent / "realtime").exists():
    __path__.append(str(_checkout))


def __getattr__(name: str) -> object:
    """Loads what `__all__` names."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Returns the names that are there or can be loaded."""
    return sorted({*globals(), *__all__})
