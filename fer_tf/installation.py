"""How this copy of the toolkit was installed, and what its user types to run a command or to add an extra."""

import json
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

_NAME = "fer-tf"
_ROOT = Path(__file__).resolve().parents[1]
_NO_TENSORFLOW = (3, 14)
"""The first Python without wheels of TensorFlow."""

_EXTRA_OF_MODULE = {
    "keras": "train",
    "matplotlib": "train",
    "platformdirs": "train",
    "scipy": "train",
    "sklearn": "train",
    "tensorflow": "train",
    "onnx": "export",
    "tf2onnx": "export",
    "torch": "pth",
    "skimage": "demo",
}


def in_checkout() -> bool:
    """Returns whether this code runs from a checkout of the repository."""
    return (_ROOT / "pyproject.toml").is_file() and (_ROOT / "realtime").is_dir()


def program(module: str) -> str:
    """Returns what a user types to run a command.

    Args:
        module: Its module as in the checkout, such as `train.run`.

    Returns:
        `python -m train.run` in a checkout; elsewhere the console command, such as `fer-train`.
    """
    if in_checkout():
        return f"python -m {module}"
    inside = module if module.startswith("fer_tf.") else f"fer_tf.{module}"
    with suppress(metadata.PackageNotFoundError):
        for script in metadata.distribution(_NAME).entry_points:
            if script.module in (inside, f"{inside}.__main__"):
                return script.name
    return f"python -m {inside}"


def remedy(module: str) -> str | None:
    """Returns what to do about a module that an extra would have installed; None if no extra has it."""
    extra = _EXTRA_OF_MODULE.get(module.partition(".")[0])
    if extra is None:
        return None
    if extra != "demo" and sys.version_info >= _NO_TENSORFLOW:
        python = ".".join(map(str, sys.version_info[:2]))
        return f"training and export need TensorFlow, which has no wheels for Python {python}; use Python 3.11 to 3.13"
    return f"run: pip install {_requirement(extra)}"


def _requirement(extra: str) -> str:
    """Returns what to give to pip, so that it adds an extra to what is installed, from where that came."""
    if in_checkout():
        return f'-e "{_ROOT}[{extra}]"'
    origin = _origin()
    url = origin.get("url", "")
    if "dir_info" in origin:
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return f'{editable}"{_path(url)}[{extra}]"'
    if "vcs_info" in origin:
        return f'"{_NAME}[{extra}] @ {origin["vcs_info"]["vcs"]}+{url}"'
    if url.startswith("file:"):
        return f'"{_path(url)}[{extra}]"'
    return f'"{_NAME}[{extra}] @ {url}"' if url else f'"{_NAME}[{extra}]"'


def _origin() -> dict:
    """Returns where pip found this distribution, as PEP 610 says; empty for an index."""
    with suppress(metadata.PackageNotFoundError, ValueError):
        return json.loads(metadata.distribution(_NAME).read_text("direct_url.json") or "{}")
    return {}


def _path(url: str) -> str:
    return url2pathname(unquote(urlparse(url).path))
