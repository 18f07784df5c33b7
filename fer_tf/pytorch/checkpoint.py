"""Reads PyTorch checkpoints without running anything in them."""

import math
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import limits
from fer_tf.errors import UserError
from fer_tf.pytorch.inspection import imports_of, open_checked
from fer_tf.pytorch.safetensors import read_safetensors

StateDict = dict[str, np.ndarray]
"""Weights by PyTorch's names: float32, convolutions as [out, in, h, w], dense layers as [out, in]."""

_PREFIXES = ("module.", "_orig_mod.")
_INSIDE = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
_FIRST = ("model.0.weight", "conv1.weight")
"""The first tensor of a BaseCNN and of a ResNet50. What stands before it is the name that a larger module has for it,
as in PyTorch Lightning's checkpoints."""


def read_state_dict(path: Path | str) -> StateDict:
    """Reads the weights of a `.pth` or `.safetensors` file.

    A `.pth` is a state_dict, or a dictionary with one under `state_dict`, `model_state_dict`, `model_state`, `model`,
    `net`, `network` or `weights`. Prefixes of `DataParallel`, `torch.compile` and PyTorch Lightning are stripped from
    the names. The counters of batch normalization are dropped.

    Raises:
        UserError: if the file is damaged, holds anything but tensors, holds NaN or infinite values, or has more than
            the limit `CHECKPOINT_BYTES` allows.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected a PyTorch checkpoint (.pth)"
        )
    try:
        content = read_safetensors(path) if path.suffix.lower() == ".safetensors" else _load(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a PyTorch checkpoint (.pth)") from None
    while isinstance(content, dict):
        inside = next((content[name] for name in _INSIDE if isinstance(content.get(name), dict)), None)
        if inside is None:
            break
        content = inside
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds {type(content).__name__}; expected a state_dict, tensors by name")
    state: StateDict = {}
    total = 0
    for name, tensor in content.items():
        short = _without_prefixes(str(name))
        if short in state:
            raise UserError(f"{path}: two tensors are called {short}")
        if short.endswith("num_batches_tracked"):
            continue
        total += 4 * math.prod(_shape(path, short, tensor))
        limits.check("CHECKPOINT_BYTES", total, f"{path}: its tensors have")
        state[short] = _numbers(path, short, tensor)
        if not np.isfinite(state[short]).all():
            raise UserError(f"{path}: {short} holds NaN or infinite values; this checkpoint is of no use")
    return _without_outer_name(state)


def _load(path: Path) -> Any:
    """Returns the content of a file that `torch.save` wrote."""
    import torch

    try:
        # The warnings are about pickles that torch.save did not write.
        with open_checked(path) as file, warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, UserError):
        raise
    except Exception as error:  # torch raises nearly anything on damaged files
        raise UserError(f"{path}: {_reason(str(error), path)}") from None


def _shape(path: Path, name: str, tensor: Any) -> tuple[int, ...]:
    """Returns the shape of a tensor, if it is one of plain numbers that are all there."""
    if isinstance(tensor, np.ndarray):
        return tensor.shape
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise UserError(f"{path}: {name!r} is {type(tensor).__name__}; expected a state_dict, tensors by name")
    # The order matters: a nested tensor has no shape, and a sparse one no storage.
    unusual = tensor.is_nested or tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized
    if unusual or tensor.is_complex() or tensor.is_neg():
        raise UserError(
            f"{path}: {name} is nested, sparse, empty, quantized, complex or conjugate; expected plain numbers"
        )
    if math.prod(tensor.shape) * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError(f"{path}: {name} is of shape {list(tensor.shape)}, but the file has fewer numbers; save a copy")
    return tuple(tensor.shape)


def _numbers(path: Path, name: str, tensor: Any) -> np.ndarray:
    if isinstance(tensor, np.ndarray):
        return tensor.astype(np.float32, copy=False)
    import torch

    try:
        return tensor.detach().to(torch.float32).numpy()
    except Exception as error:  # torch raises nearly anything on unusual tensors
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: {name} cannot be read ({reason}); expected plain numbers") from None


def _without_prefixes(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _without_outer_name(state: StateDict) -> StateDict:
    """Strips what stands before the name of a network's first tensor, if all names begin with it."""
    if not any(name in state for name in _FIRST):
        outer = (name.removesuffix(first) for name in state for first in _FIRST if name.endswith(f".{first}"))
        for prefix in sorted(outer, key=len):
            if all(name.startswith(prefix) for name in state):
                return {name.removeprefix(prefix): values for name, values in state.items()}
    return state


def _reason(message: str, path: Path) -> str:
    """Returns in one sentence what torch says in a paragraph."""
    blocked = re.search(r"GLOBAL (\S+)", message)
    names = [blocked[1]] if blocked else []
    if "Unsupported operand" in message:  # torch reads pickles of protocol 2 and 3 only
        names = [name for name in imports_of(path) if not name.startswith(("torch.", "collections."))]
        if not names and (zipfile.is_zipfile(path) or path.read_bytes()[:1] == pickle.PROTO):
            return "pickled by a protocol that is not read here; save it anew by torch.save(state_dict, …)"
    if names:
        return f"wants to run {names[0]}, which is no tensor, so it is not loaded; expected a state_dict"
    if "TorchScript" in message:
        return "a TorchScript program, which is not run; expected a state_dict that torch.save wrote"
    return "not a readable PyTorch checkpoint (damaged or cut off); expected a state_dict that torch.save wrote"
