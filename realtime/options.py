"""The options about model and detector that the commands have in common, and what they stand for."""

import argparse
from collections.abc import Callable
from pathlib import Path

from fer_tf import mixture, weights
from fer_tf.command import positive
from fer_tf.errors import UserError
from fer_tf.realtime.detect import BACKENDS, SEARCH_SIZE, SMALLEST_FACE, STILL_SEARCH_SIZE, FaceDetector
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.realtime.resting import WEIGHT, Resting
from fer_tf.recognizer import Recognizer


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
    add_detection(add, search=search)
    help_text = 'label less probable expressions "uncertain" (default: 0.4)'
    add("--min-confidence", type=float, default=0.4, metavar="P", help=help_text)
    add(
        "--expect",
        type=expected_mixture,
        default=mixture.DEFAULT,
        metavar="MIXTURE",
        help="expressions to expect: everyday; even, for posed faces and balanced sets; fer2013, which the shipped "
        "models learned from; or shares such as happy=.3,neutral=.5 (default: %(default)s)",
    )
    add(
        "--resting-pictures",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="one to three pictures of a person at rest, for sources that show this person alone",
    )
    help_text = "how much of what is particular in a resting face is taken away, 0 to 1 (default: %(default)s)"
    add("--resting-weight", type=float, default=WEIGHT, metavar="SHARE", help=help_text)


def add_detection(add: Callable[..., object], *, search: int = STILL_SEARCH_SIZE) -> None:
    """Adds those of `add_recognition` that say how faces are found; the arguments are the same."""
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


def check_crops(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Raises `UserError` if `--crops` is asked for together with one of `add_detection`, which then does nothing."""
    for name in ("detector", "detector_model", "search_size", "smallest_face"):
        if arguments.crops and getattr(arguments, name) != parser.get_default(name):
            parser.error(f"--crops searches no faces, so leave out --{name.replace('_', '-')}")


def add_video(add: Callable[..., object]) -> None:
    """Adds those that matter where frames follow each other, by the `add_argument` of a parser."""
    add("--compare", type=model_file, metavar="MODEL", help="second model, run on the same faces")
    add("--detect-every", type=positive(), default=1, metavar="N", help="detect in every Nth frame (default: 1)")
    help_text = "time constant for averaging probabilities; 0 turns it off (default: 0.3)"
    add("--smoothing", type=float, default=0.3, metavar="SECONDS", help=help_text)
    add(
        "--resting",
        type=_resting,
        metavar="SECONDS|auto",
        help="take each face's first seconds as its resting face, or (auto) the median of what it has shown so far",
    )


def make_detector(arguments: argparse.Namespace) -> FaceDetector:
    """Returns the detector for these options."""
    return FaceDetector(
        arguments.detector,
        model=arguments.detector_model,
        search_size=arguments.search_size,
        smallest_face=arguments.smallest_face,
    )


def make_pipeline(options: argparse.Namespace, *, threads: int | None = None, provider: str | None = None) -> Pipeline:
    """Returns the pipeline that the options of `add_recognition` and `add_video` stand for.

    Args:
        options: The options.
        threads: How many threads the networks may use; None is one for each core.
        provider: The execution provider of onnxruntime; None is that of the CPU.

    Raises:
        UserError: if a number is out of range, or a model or the provider cannot be used.
    """
    providers = {"providers": [provider]} if provider else {}
    files = [options.model] + [options.compare] * bool(options.compare)
    recognizer, *others = (Recognizer(file, threads=threads, **providers) for file in files)
    pipeline = Pipeline(
        make_detector(options),
        recognizer,
        compare=others[0] if others else None,
        smoothing=options.smoothing,
        detect_every=options.detect_every,
        min_confidence=options.min_confidence,
        expect=options.expect,
        resting=options.resting,
        resting_weight=options.resting_weight,
    )
    if options.resting_pictures:
        pipeline.rest(options.resting_pictures)
    return pipeline


def model_file(text: str) -> Path:
    """Converts the path or the name of a model to its path; an argparse type."""
    try:
        return weights.find(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def expected_mixture(text: str) -> str:
    """Returns the text of `--expect` if it names a mixture; an argparse type."""
    try:
        mixture.expected_shares(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _search_size(text: str) -> int | None:
    return None if text == "full" else int(positive()(text))


def _resting(text: str) -> Resting:
    try:
        return "auto" if text == "auto" else float(positive(float)(text))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor auto") from None
