"""The options about model and detector that the commands have in common."""

import argparse
from collections.abc import Callable
from pathlib import Path

from fer_tf import weights
from fer_tf.command import positive
from fer_tf.errors import UserError
from fer_tf.realtime.detect import BACKENDS, SEARCH_SIZE, SMALLEST_FACE, FaceDetector


def add_recognition(add: Callable[..., object], *, search: int = SEARCH_SIZE) -> None:
    """Adds the options.

    Args:
        add: The `add_argument` of a parser.
        search: Default of `--search-size`.
    """
    default = weights.DEFAULT_MODEL
    add(
        "--model",
        type=model_file,
        metavar="MODEL",
        default=default,
        help=f"model file, or one of {', '.join(weights.names())} (default: {default.stem})",
    )
    # The detector refuses other names, since it knows how former ones are called now.
    names = "{" + ",".join(BACKENDS) + "}"
    add("--detector", metavar=names, default="auto", help="face detector (default: auto, which is yunet)")
    help_text = "YuNet file to use instead of ours: from export.detector, or from OpenCV's model zoo"
    add("--detector-model", type=Path, metavar="FILE", help=help_text)
    add(
        "--search-size",
        type=_search_size,
        default=search,
        metavar="PIXELS|full",
        help="search frames with the longer side reduced to this (default: %(default)s). Most faces are found that "
        f"then have 50 pixels or more: in a frame of 3840, from {50 * 3840 // search} on",
    )
    help_text = "leave out faces of less height, in pixels of the frame (default: %(default)s)"
    add("--smallest-face", type=positive(float), default=SMALLEST_FACE, metavar="PIXELS", help=help_text)
    help_text = 'label less probable expressions "uncertain" (default: 0.4)'
    add("--min-confidence", type=float, default=0.4, metavar="P", help=help_text)


def make_detector(arguments: argparse.Namespace) -> FaceDetector:
    """Returns the detector for these options."""
    return FaceDetector(
        arguments.detector,
        model=arguments.detector_model,
        search_size=arguments.search_size,
        smallest_face=arguments.smallest_face,
    )


def model_file(text: str) -> Path:
    """Converts the path or the name of a model to its path; an argparse type."""
    try:
        return weights.find(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _search_size(text: str) -> int | None:
    return None if text == "full" else int(positive()(text))
