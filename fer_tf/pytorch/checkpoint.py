"""Reads PyTorch checkpoints without running anything in them."""

import contextlib
import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf.errors import UserError

StateDict = dict[str, np.ndarray]
"""Weights by PyTorch's names: float32, convolutions as [out, in, h, w], dense layers as [out, in]."""

_PREFIXES = ("module.", "_orig_mod.")
_INSIDE = ("state_dict", "model_state_dict")


def read_state_dict(path: Path | str) -> StateDict:
    """Reads the weights of a `.pth` file.

    The file is a state_dict, or a dictionary with one under `state_dict` or `model_state_dict`. Prefixes of
    `DataParallel` and `torch.compile` are stripped from the names. The counters of batch normalization are dropped.

    Raises:
        UserError: if the file is damaged, holds anything but tensors, or holds NaN or infinite values.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected a PyTorch checkpoint (.pth)"
        )
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # about pickles that torch.save did not write
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a PyTorch checkpoint (.pth)") from None
    except Exception as error:  # torch raises nearly anything on damaged files
        raise UserError(f"{path}: {_reason(str(error), path)}") from None
    for name in _INSIDE:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds {type(content).__name__}; expected a state_dict, tensors by name")
    state = {}
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor):
            raise UserError(f"{path}: {name!r} is {type(tensor).__name__}; expected a state_dict, tensors by name")
        short = _without_prefixes(str(name))
        if short in state:
            raise UserError(f"{path}: two tensors are called {short}")
        if short.endswith("num_batches_tracked"):
            continue
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
            raise UserError(f"{path}: {short} is sparse, empty, quantized or complex; expected plain numbers")
        state[short] = tensor.detach().to(torch.float32).numpy()
        if not np.isfinite(state[short]).all():
            raise UserError(f"{path}: {short} holds NaN or infinite values; this checkpoint is of no use")
    return state


def _without_prefixes(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _reason(message: str, path: Path) -> str:
    """Returns in one sentence what torch says in a paragraph."""
    blocked = re.search(r"GLOBAL (\S+)", message)
    names = [blocked[1]] if blocked else []
    if "Unsupported operand" in message:  # torch reads pickles of protocol 2 and 3 only
        names = [name for name in _globals(path) if not name.startswith(("torch.", "collections."))]
        if not names and (zipfile.is_zipfile(path) or path.read_bytes()[:1] == pickle.PROTO):
            return "pickled by a protocol that is not read here; save it anew by torch.save(state_dict, …)"
    if names:
        return f"wants to run {names[0]}, which is no tensor, so it is not loaded; expected a state_dict"
    if "TorchScript" in message:
        return "a TorchScript program, which is not run; expected a state_dict that torch.save wrote"
    return "not a readable PyTorch checkpoint (damaged or cut off); expected a state_dict that torch.save wrote"


def _globals(path: Path) -> list[str]:
    """Returns what a pickle would import, without running it. Unlike torch's own function it reads protocol 4."""
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            content = next((archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")), b"")
    found: list[str] = []
    texts: list[str] = []
    memo: dict[Any, Any] = {}
    last = None
    with contextlib.suppress(ValueError):  # the end of what can be read
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "GLOBAL":
                found.append(str(argument).replace(" ", "."))
            elif operation.name == "STACK_GLOBAL":
                found.append(".".join(texts[-2:]))
            elif operation.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
                memo[len(memo) if argument is None else argument] = last
                continue
            last = memo.get(argument) if operation.name.endswith("GET") else argument
            if isinstance(last, str):
                texts.append(last)
    return found
