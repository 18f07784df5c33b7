"""Writes a model file, whoever made it: checked, run and compared before it takes its place."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_tf.card import METADATA_KEY, ModelCard
from fer_tf.errors import UserError
from fer_tf.files import check_writable, written_aside
from fer_tf.recognizer import Recognizer

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-5
"""Largest difference of a probability that rounding may make."""


def check_output(
    path: Path,
    sources: Sequence[Path],
    digest: str,
    *,
    force: bool = False,
    digest_of: Callable[[ModelCard], str | None] = lambda card: card.source_sha256,
) -> None:
    """Raises `UserError` if a model file cannot, or must not, be written.

    Args:
        path: The file to write.
        sources: The files that it is made from; none of them is ever replaced.
        digest: SHA-256 of the sources.
        force: Whether to replace a file that was made from something else.
        digest_of: Takes the card of a model file and returns the SHA-256 of what it was made from.
    """
    _check_name(path)
    check_writable(path)
    if not path.exists():
        return
    if any(path.samefile(source) for source in sources):
        raise UserError(f"{path} is what the new file is made from; name another -o")
    try:
        found = digest_of(Recognizer(path).card)
    except UserError:  # no model file
        found = None
    if found != digest and not force:
        names = ", ".join(source.name for source in sources)
        raise UserError(f"{path} exists and was not made from {names}; name another -o, or replace it with --force")


def publish(graph: "onnx.ModelProto", card: ModelCard, path: Path, prove: Callable[[Recognizer], object]) -> None:
    """Writes a model file. It takes its place only after onnx.checker, onnxruntime and `prove` have passed it.

    Args:
        graph: The model; the card and the name of the producer are put into it.
        card: What goes into its metadata.
        path: The file to write, `.onnx`.
        prove: Runs the file as it was written, and raises `UserError` if it does not do what it should.

    Raises:
        UserError: if `path` does not end in `.onnx`, or if the file fails its proof; nothing is written then.
    """
    import onnx

    _check_name(path)
    graph.producer_name, graph.producer_version = "fer-tf", ""
    onnx.helper.set_model_props(graph, {METADATA_KEY: card.to_json()})
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UserError(f"{path}: would be no valid ONNX ({error}); is what it is made from damaged?") from None
    with written_aside(path) as temporary:
        onnx.save(graph, temporary)
        try:
            prove(Recognizer(temporary))
        except UserError as error:
            raise UserError(str(error).replace(str(temporary), str(path))) from None


def compare(
    recognizer: Recognizer, faces: np.ndarray, expected: np.ndarray, *, source: str, tolerance: float = TOLERANCE
) -> float:
    """Compares a model file, as onnxruntime runs it, with what it was made from.

    Args:
        recognizer: The file.
        faces: uint8 [N, 48, 48], N > 0, given to it in one call.
        expected: float [N, 7], the probabilities that it should return for them.
        source: What returned those, for the message.
        tolerance: Largest difference of a probability that is allowed. A temperature below 1 widens the rounding
            errors of the logits, so it allows as many times more.

    Returns:
        The largest difference.

    Raises:
        UserError: if that is too large, or NaN.
    """
    difference = float(np.abs(recognizer(faces) - expected).max())
    allowed = tolerance / min(recognizer.card.temperature, 1)
    if not difference <= allowed:
        raise UserError(
            f"onnxruntime differs from {source} by {difference:.1e} (allowed {allowed:.1e}); nothing written"
        )
    return difference


def _check_name(path: Path) -> None:
    if path.suffix != ".onnx":
        raise UserError(f"{path}: a model file is called <name>.onnx")
