"""How this copy of the toolkit was installed, and what its user types to run a command or to add an extra."""

import json
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

_NAME = "fer-tf"
_ROOT = Path(__file__).resolve().parents[1]
_NO_TENSORFLOW = (3, 14)
"""The first Python without wheels of TensorFlow."""

_EXTRA_OF_MODULE = {
    "keras": "train",
    "matplotlib": "train",
    "onnx": "train",
    "platformdirs": "train",
    "scipy": "train",
    "sklearn": "train",
    "tensorflow": "train",
    "tf2onnx": "export",
    "torch": "pth",
    "skimage": "demo",
    "pyarrow": "cluster",
    "ray": "cluster",
    "pillow_heif": "heic",
}
"""The extra that brings each module that the live loop does without."""

_WITHOUT_TENSORFLOW = ("cluster", "demo", "heic")
"""Extras that install on any Python that the live loop runs on."""


def in_checkout() -> bool:
    """Returns whether this code runs from a checkout of the repository."""
    return (_ROOT / "pyproject.toml").is_file() and (_ROOT / "realtime").is_dir()


def program(module: str) -> str:
    """Returns what a user types to run a command, for messages that name one.

    Args:
        module: Its module as in the checkout, such as `train.run`.

    Returns:
        `python -m train.run` in the folder of a checkout; elsewhere the console command, such as `fer-train`.
    """
    if in_checkout() and Path.cwd() == _ROOT:
        return f"python -m {module}"
    inside = module if module.startswith("fer_tf.") else f"fer_tf.{module}"
    with suppress(metadata.PackageNotFoundError):
        for script in metadata.distribution(_NAME).entry_points:
            if script.module in (inside, f"{inside}.__main__"):
                return script.name
    return f"python -m {inside}"


def remedy(module: str) -> str | None:
    """Returns what to do about a missing module; None if none of the extras would have installed it."""
    extra = _EXTRA_OF_MODULE.get(module.partition(".")[0])
    if extra is None:
        return None
    if extra not in _WITHOUT_TENSORFLOW and sys.version_info >= _NO_TENSORFLOW:
        python = ".".join(map(str, sys.version_info[:2]))
        return f"training and export need TensorFlow, which has no wheels for Python {python}; use Python 3.11 to 3.13"
    requirement = _requirement(extra)
    return f"run: pip install {requirement}" if requirement else f"install {_NAME} with its extra {extra!r}"


def _requirement(extra: str) -> str | None:
    """Returns what pip needs to add an extra from where we were installed from; None if nothing was installed."""
    if in_checkout():
        return f'-e "{_ROOT}[{extra}]"'
    try:
        distribution = metadata.distribution(_NAME)
    except metadata.PackageNotFoundError:
        return None
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")  # PEP 610; an index leaves none
    url = origin.get("url", "")
    if "dir_info" in origin:
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return f'{editable}"{_path(url)}[{extra}]"'
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return f'"{_NAME}[{extra}] @ {vcs["vcs"]}+{url}@{vcs["commit_id"]}"'
    if url.startswith("file:"):
        return f'"{_path(url)}[{extra}]"'
    return f'"{_NAME}[{extra}] @ {url}"' if url else f'"{_NAME}[{extra}]"'


def _path(url: str) -> str:
    return url2pathname(urlparse(url).path)
