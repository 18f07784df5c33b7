"""Where a model file goes, and that it replaces none that was made from something else."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fer_tf.card import ModelCard
from fer_tf.errors import UserError
from fer_tf.files import check_writable
from fer_tf.recognizer import Recognizer


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
        path: Where to.
        sources: What it is made from; none of it is ever replaced.
        digest: SHA-256 of that.
        force: Whether a file that was made from something else may be replaced.
        digest_of: The SHA-256 of what a model file was made from, by its card.
    """
    if path.suffix != ".onnx":
        raise UserError(f"{path}: a model file is called <name>.onnx")
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
