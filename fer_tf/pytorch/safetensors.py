"""Reads `.safetensors` files: a length, a JSON header that says where each tensor lies, and the numbers.

Format: https://github.com/huggingface/safetensors
"""

import json
import math
from pathlib import Path

import numpy as np

from fer_tf import limits
from fer_tf.errors import UserError

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}
_MAX_HEADER = 100_000_000


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a file by name: float32, or whole numbers.

    Raises:
        UserError: if the file is damaged, or larger than the limit `CHECKPOINT_BYTES` allows.
    """
    size = path.stat().st_size
    limits.check("CHECKPOINT_BYTES", size, path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER):
            raise UserError(f"{path}: not a readable .safetensors file (damaged or cut off); expected tensors by name")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            content = file.read()
            tensors = {name: _tensor(name, told, content) for name, told in header.items()}
            if sum(math.prod(told["shape"]) * _size(told) for told in header.values()) != len(content):
                raise ValueError("its tensors do not fill it")
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise UserError(f"{path}: a damaged .safetensors file ({str(error)[:120]}); download it again") from None
    return tensors


def _size(told: dict) -> int:
    return np.dtype(_DTYPES[told["dtype"]]).itemsize


def _tensor(name: str, told: dict, content: bytes) -> np.ndarray:
    if told["dtype"] not in _DTYPES:
        raise UserError(f"{name} is of {told['dtype']!r}; expected one of {', '.join(_DTYPES)}")
    shape, (start, end) = told["shape"], told["data_offsets"]
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, start, end)):
        raise ValueError(f"shape or place of {name}")
    if end > len(content) or end - start != math.prod(shape) * _size(told):
        raise ValueError(f"{name} is not as long as its shape")
    values = np.frombuffer(content[start:end], _DTYPES[told["dtype"]]).reshape(shape)
    if told["dtype"] == "BF16":  # the upper half of a float32
        values = (values.astype("<u4") << 16).view("<f4")
    return values if told["dtype"].startswith("I") else values.astype(np.float32)
