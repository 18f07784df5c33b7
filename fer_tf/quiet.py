"""Keeps compiled libraries from writing between our lines, and sets what they read from the environment."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def muted_stderr() -> Iterator[None]:
    """Silences stderr for libraries that have no such option.

    TensorFlow describes its build while it is imported; libpng and libjpeg complain about broken images. Only the main
    thread does so, since the whole process has one stderr: threads would take it from each other, and lose what a
    service logs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def silence_opencv() -> None:
    """Silences OpenCV and its FFmpeg, unless their own environment variables are set."""
    import cv2

    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def configure_tensorflow() -> None:
    """Sets the environment variables that TensorFlow and Keras read when they are imported, and tf2onnx later.

    Only commands call this: a program that uses `fer_tf.Pipeline` may have a Keras of its own.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever is set for other projects
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Without VNNI, TensorFlow leaves oneDNN off by default, and training takes up to 1.6 times as long.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Otherwise tf2onnx copies the graph, weights and all, before each of a dozen steps, to undo one that fails.
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")
