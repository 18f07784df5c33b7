"""The files that ship, and which of them are used where none is named."""

from pathlib import Path

DEFAULT_MODEL = Path(__file__).parent / "mirror_resnet-original-pair.onnx"

FACE_DETECTOR = Path(__file__).parent / "face_detector.onnx"
"""libfacedetection's YuNet, whose license stands in `face_detector.LICENSE`."""
