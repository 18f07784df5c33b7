"""Limits of what is read, so that a damaged or hostile file cannot take all memory or time. Each can be raised."""

import os

from fer_tf.errors import UserError

DEFAULTS = {
    "ARCHIVE_BYTES": 20_000_000_000,
    "CHECKPOINT_BYTES": 4_000_000_000,
    "IMAGES": 1_000_000,
    "IMAGE_BYTES": 20_000_000,
    "JSON_BYTES": 10_000_000,
    "PIXELS": 2**28,
    "TABLE_BYTES": 2_000_000_000,
}
"""The limits by name: of a data set's tar when it is unpacked, of all tensors of a checkpoint, of the images of a
data set, of the file of one image of it, of a run's JSON or history, of a picture or video frame, and of a table."""


def limit(name: str) -> int:
    """Returns a limit: `$FER_TF_MAX_<name>`, else the default.

    Raises:
        UserError: if the variable is no whole number above 0.
    """
    text = os.environ.get(f"FER_TF_MAX_{name}")
    if text is None:
        return DEFAULTS[name]
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text)):
        raise UserError(f"$FER_TF_MAX_{name} is {text[:40]!r}; expected a whole number above 0")
    return int(text)


def excess(name: str, found: int) -> str | None:
    """Returns how much is too much, and how to raise the limit; None if `found` is within it."""
    allowed = limit(name)
    if found <= allowed:
        return None
    unit = "bytes" if name.endswith("BYTES") else name.lower()
    return f"{found:,} {unit}; expected at most {allowed:,}, which $FER_TF_MAX_{name} raises"


def check(name: str, found: int, what: object) -> None:
    """Raises `UserError`, which begins with `what` has too much, if `found` is above a limit."""
    if too_much := excess(name, found):
        raise UserError(f"{what}: {too_much}")
