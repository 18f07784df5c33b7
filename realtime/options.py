"""The options about model and detector that the commands have in common, and what they stand for."""

import argparse
from collections.abc import Callable
from pathlib import Path

from fer_tf import weights
from fer_tf.command import positive
from fer_tf.errors import UserError
from fer_tf.realtime.detect import BACKENDS, FaceDetector
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.recognizer import Recognizer


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


def add_video(add: Callable[..., object]) -> None:
    """Adds those that matter where frames follow each other, by the `add_argument` of a parser."""
    add("--compare", type=model_file, metavar="MODEL", help="second model, run on the same faces")
    add("--detect-every", type=positive(), default=1, metavar="N", help="detect in every Nth frame (default: 1)")
    help_text = "time constant for averaging probabilities; 0 turns it off (default: 0.3)"
    add("--smoothing", type=float, default=0.3, metavar="SECONDS", help=help_text)


def make_detector(options: argparse.Namespace) -> FaceDetector:
    """Returns the detector that the options of `add_recognition` stand for."""
    return FaceDetector(options.detector, model=options.detector_model)


def make_pipeline(options: argparse.Namespace, *, threads: int | None = None, provider: str | None = None) -> Pipeline:
    """Returns the pipeline that the options of `add_recognition` and `add_video` stand for.

    Args:
        options: The options.
        threads: How many threads the networks may use; None leaves it to onnxruntime.
        provider: The execution provider of onnxruntime; None is that of the CPU.

    Raises:
        UserError: if a number is out of range, or a model or the provider cannot be used.
    """
    providers = {"providers": [provider]} if provider else {}
    files = [options.model] + [options.compare] * bool(options.compare)
    recognizer, *others = (Recognizer(file, threads=threads, **providers) for file in files)
    return Pipeline(
        make_detector(options),
        recognizer,
        compare=others[0] if others else None,
        smoothing=options.smoothing,
        detect_every=options.detect_every,
        min_confidence=options.min_confidence,
    )


def model_file(text: str) -> Path:
    """Converts the path or the name of a model to its path; an argparse type."""
    try:
        return weights.find(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
