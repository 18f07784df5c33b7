"""The model files that ship, and which of them is used where none is named."""

from pathlib import Path

DEFAULT_MODEL = Path(__file__).parent / "mirror_resnet-original-pair.onnx"
