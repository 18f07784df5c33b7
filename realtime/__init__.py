"""Model file and a camera in, labelled frames and rows out. `python -m realtime.webcam`.

A source (`sources`, `capture`) gives frames, a `Pipeline` finds the faces of a frame (`detect`), keeps them apart
(`track`) and names their expressions, `draw` paints them, and sinks (`record`, `tables`, `display`) keep or show the
result; `loop` joins them by threads (`stage`).
`from realtime import FaceDetector, Pipeline`
"""

import importlib

_MODULES = {"Face": "pipeline", "FaceDetector": "detect", "Pipeline": "pipeline", "Reading": "pipeline"}

__all__ = ["Face", "FaceDetector", "Pipeline", "Reading"]


def __getattr__(name: str) -> object:
    """Loads what is exported, so that commands that need less start sooner."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
