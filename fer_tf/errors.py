"""The errors that users can cause."""

_OPENCV_NO_MEMORY = -4
"""`cv::Error::StsNoMem`, which OpenCV's Python module does not name."""


class UserError(ValueError):
    """An error that the user can fix. Its message is one line: what was wrong, what was expected, what to do."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception of Python, TensorFlow or OpenCV means that memory ran out."""
    of_tensorflow = type(error).__name__ == "ResourceExhaustedError"
    of_opencv = type(error).__module__ == "cv2" and getattr(error, "code", None) == _OPENCV_NO_MEMORY
    return isinstance(error, MemoryError) or of_tensorflow or of_opencv
