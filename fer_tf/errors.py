"""The errors that users can cause."""

_OPENCV_NO_MEMORY = -4
"""`cv::Error::StsNoMem`, which OpenCV's Python module does not name."""


class UserError(ValueError):
    """An error that the user can fix. Its message is one line: what was wrong, what was expected, what to do."""


_NO_MEMORY = (
    "bad_alloc",  # onnxruntime
    "Failed to allocate memory",  # onnxruntime
    "can't start new thread",  # Python: there is no room for its stack
    "failed to map segment",  # the system, when it loads a library
    "cannot allocate memory",  # the system
    "NULL without setting an exception",  # NumPy, of a ufunc
)
"""What errors without a class of their own say when memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception of Python, NumPy, TensorFlow, OpenCV or onnxruntime means that memory ran out."""
    if isinstance(error, SystemError) and error.__cause__:  # C code that goes on after an error
        return is_out_of_memory(error.__cause__)
    of_tensorflow = type(error).__name__ == "ResourceExhaustedError"
    of_opencv = type(error).__module__ == "cv2" and getattr(error, "code", None) == _OPENCV_NO_MEMORY
    of_onnxruntime = type(error).__module__.startswith("onnxruntime")
    told = of_onnxruntime or type(error) in (ImportError, RuntimeError, SystemError)
    by_text = told and any(text in str(error) for text in _NO_MEMORY)
    # Its words about a node that failed end early where there is no memory for them.
    cut_off = of_onnxruntime and "Non-zero status" in str(error) and "Status Message:" not in str(error)
    return isinstance(error, MemoryError) or of_tensorflow or of_opencv or by_text or cut_off
