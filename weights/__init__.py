"""The files that ship, and which of them are the defaults."""

from pathlib import Path

from fer_tf.errors import UserError

DEFAULT_MODEL = Path(__file__).parent / "mirror_resnet-original-pair.onnx"
"""The model file that is used where none is named."""

FACE_DETECTOR = Path(__file__).parent / "face_detector.onnx"
"""libfacedetection's YuNet; its license is in `face_detector.LICENSE`."""


def names() -> tuple[str, ...]:
    """Returns the names of the models that are present: a wheel has the default alone, a checkout has them all."""
    return tuple(sorted(file.stem for file in DEFAULT_MODEL.parent.glob("*.onnx") if file != FACE_DETECTOR))


def find(model: Path | str) -> Path:
    """Returns the path of a model file.

    Example:
        >>> find("mirror_resnet-original-pair") == DEFAULT_MODEL
        True

    Args:
        model: Path of a model file, or one of `names()`. An existing file takes precedence over a name.

    Raises:
        UserError: if there is neither.
    """
    path = Path(model)
    if path.is_file():
        return path
    if str(model) not in names():
        raise UserError(f"{model}: no such model file; expected a path, or a name: {', '.join(names())}")
    return DEFAULT_MODEL.with_name(f"{model}.onnx")
