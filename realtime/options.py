"""The options about model and detector that the commands have in common."""

import argparse
from collections.abc import Callable
from pathlib import Path

from fer_tf import weights
from fer_tf.errors import UserError
from fer_tf.realtime.detect import BACKENDS


def add_recognition(add: Callable[..., object]) -> None:
    """Adds the options, by the `add_argument` of a parser."""
    default = weights.DEFAULT_MODEL
    add(
        "--model",
        type=model_file,
        metavar="MODEL",
        default=default,
        help=f"model file, or one of {', '.join(weights.names())} (default: {default.stem})",
    )
    add("--detector", choices=("auto", *BACKENDS), default="auto", help="face detector (default: auto)")
    add("--detector-model", type=Path, metavar="FILE", help="model file of the detector yunet")
    help_text = 'label less probable expressions "uncertain" (default: 0.4)'
    add("--min-confidence", type=float, default=0.4, metavar="P", help=help_text)


def model_file(text: str) -> Path:
    """Converts the path or the name of a model to its path; an argparse type."""
    try:
        return weights.find(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
