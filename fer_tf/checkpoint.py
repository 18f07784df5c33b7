"""PyTorch checkpoints, read without running anything in them. The one place that imports torch."""

import re
import warnings
from pathlib import Path

import numpy as np

from fer_tf.command import UserError

StateDict = dict[str, np.ndarray]
"""Weights by PyTorch's names, float32, in PyTorch's layouts: convolutions [out, in, h, w], dense layers [out, in]."""

_PREFIXES = ("module.", "_orig_mod.")
_INSIDE = ("state_dict", "model_state_dict")


def read_state_dict(path: Path | str) -> StateDict:
    """Reads the weights of a `.pth` file.

    It may be a bare state_dict, or a dictionary with one under `state_dict` or `model_state_dict`. What
    `DataParallel` and `torch.compile` put before the names goes; so do the counters of batch normalisation.

    Raises:
        UserError: if the file is damaged, holds anything but tensors, or holds numbers that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a PyTorch checkpoint (.pth)")
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles by other hands than torch.save's
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything on damaged files
        raise UserError(f"{path}: {_reason(str(error))}") from None
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
        state[short] = tensor.detach().to(torch.float32).numpy()
        if not np.isfinite(state[short]).all():
            raise UserError(f"{path}: {short} holds NaN or infinite values; this checkpoint is of no use")
    return state


def torch_logits(state: StateDict, images: np.ndarray) -> np.ndarray:
    """Runs PyTorch's own forward pass over the weights of a BaseCNN or a ResNet50.

    Args:
        state: What `read_state_dict` returned.
        images: float32 [N, H, W, C].

    Returns:
        float32 [N, classes].
    """
    import torch
    from torch.nn import functional

    weights = {name: torch.tensor(value) for name, value in state.items()}
    features = torch.tensor(images.transpose(0, 3, 1, 2))

    def convolution(features, name: str, stride: int = 1):
        kernel = weights[f"{name}.weight"]
        return functional.conv2d(features, kernel, weights.get(f"{name}.bias"), stride, kernel.shape[-1] // 2)

    def normalisation(features, name: str):
        statistics = (weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(features, *statistics)

    def dense(features, name: str):
        return functional.linear(features, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def base_cnn(features):
        for index in (0, 4, 8):
            features = functional.relu(convolution(features, f"model.{index}"))
            features = functional.max_pool2d(normalisation(features, f"model.{index + 2}"), 2)
        return dense(functional.relu(dense(features.flatten(1), "model.13")), "model.16")

    def bottleneck(features, name: str, stride: int):
        shortcut = features
        if f"{name}.downsample.0.weight" in weights:
            shortcut = convolution(features, f"{name}.downsample.0", stride)
            shortcut = normalisation(shortcut, f"{name}.downsample.1")
        for number, step in ((1, 1), (2, stride), (3, 1)):
            features = normalisation(convolution(features, f"{name}.conv{number}", step), f"{name}.bn{number}")
            features = functional.relu(features) if number < 3 else features
        return functional.relu(features + shortcut)

    def resnet50(features):
        features = functional.relu(normalisation(convolution(features, "conv1", 2), "bn1"))
        features = functional.max_pool2d(features, 3, 2, 1)
        for stage, blocks in enumerate((3, 4, 6, 3), 1):
            for block in range(blocks):
                features = bottleneck(features, f"layer{stage}.{block}", 2 if stage > 1 and not block else 1)
        return dense(features.mean((2, 3)), "fc")

    with torch.inference_mode():
        return (base_cnn if "model.0.weight" in weights else resnet50)(features).numpy()


def _without_prefixes(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _reason(message: str) -> str:
    """Returns one sentence of what torch says in a paragraph."""
    blocked = re.search(r"GLOBAL (\S+)", message)
    if blocked:
        return f"wants to run {blocked[1]}, which is no tensor, so it is not loaded; expected a state_dict"
    return "not a readable PyTorch checkpoint (damaged or cut off); expected a state_dict that torch.save wrote"
