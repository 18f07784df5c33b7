"""Copies the weights of a PyTorch checkpoint into our networks."""

from collections.abc import Sequence

import keras
import numpy as np

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.pytorch.checkpoint import StateDict

_BASE_CNN = {
    **{f"conv{number}": f"model.{index}" for number, index in ((1, 0), (2, 4), (3, 8))},
    **{f"norm{number}": f"model.{index}" for number, index in ((1, 2), (2, 6), (3, 10))},
    "dense": "model.13",
    "logits": "model.16",
}
"""PyTorch's name of each layer of BaseCNN; the layers of ResNet50 have PyTorch's names."""

_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def identify(state: StateDict) -> tuple[str, int, int]:
    """Returns the architecture, the number of input channels and the number of classes of a checkpoint.

    They follow from the names and shapes of its tensors.

    Raises:
        UserError: if it is neither a BaseCNN nor a ResNet50.
    """
    for architecture, first, shape, last in (
        ("base_cnn", "model.0.weight", "(32, channels, 3, 3)", "model.16.weight"),
        ("resnet50", "conv1.weight", "(64, channels, 7, 7)", "fc.weight"),
    ):
        if first in state and last in state:
            for name, dimensions in ((first, 4), (last, 2)):
                if state[name].ndim != dimensions:
                    expected = shape if name == first else "(classes, features)"
                    raise UserError(f"{name} must be of shape {expected}, found {state[name].shape}")
            return architecture, state[first].shape[1], len(state[last])
        if first in state or last in state:
            raise UserError(f"{last if first in state else first} is missing; expected it beside the others")
    names = ", ".join(list(state)[:3])
    raise UserError(f"neither a BaseCNN (model.0.weight …) nor a ResNet50 (conv1.weight …); found {names} …")


def in_our_order(state: StateDict, labels: Sequence[str]) -> StateDict:
    """Returns a checkpoint whose last layer answers in the order of `fer_tf.classes.CLASSES`.

    Args:
        state: A BaseCNN or ResNet50 for seven classes, as `identify` knows it.
        labels: Which class each row of its last layer is of.

    Raises:
        UserError: if the bias of the last layer is missing, or has another shape.
    """
    rows = [labels.index(name) for name in CLASSES]
    last = "model.16" if "model.16.weight" in state else "fc"
    turned = dict(state)
    for name in (f"{last}.weight", f"{last}.bias"):
        if name not in state or len(np.atleast_1d(state[name])) != len(rows):
            raise UserError(f"{name} is missing or of another shape; expected a row for each of {len(rows)} classes")
        turned[name] = state[name][rows]
    return turned


def port(state: StateDict, network: keras.Model, *, head: bool = True) -> None:
    """Copies every tensor of a checkpoint into a network, each once.

    Args:
        state: Weights by PyTorch's names.
        network: A BaseCNN or a ResNet50.
        head: Whether to copy the last layer, too. If not, the network keeps its own.

    Raises:
        UserError: if a tensor is missing, left over or of another shape. Some weights are then copied already.
    """
    left, modules = dict(state), _BASE_CNN if network.name == "base_cnn" else {}
    *layers, last = network.layers
    if head:
        layers.append(last)
    else:
        for name in ("weight", "bias"):
            left.pop(f"{modules.get(last.name, last.name)}.{name}", None)
    for layer in layers:
        for variable in layer.weights:
            name = f"{modules.get(layer.name, layer.name)}.{_NAMES[variable.name]}"
            if name not in left:
                raise UserError(f"{name} is missing; expected shape {_torch_shape(variable)}")
            value = left.pop(name)
            if value.shape != _torch_shape(variable):
                raise UserError(f"{name} must be of shape {_torch_shape(variable)}, found {value.shape}")
            variable.assign(_turned(layer, value))
    if left:
        names = ", ".join(f"{name} {value.shape}" for name, value in list(left.items())[:3])
        raise UserError(f"{len(left)} tensors have no place in {network.name}: {names}{' …' if len(left) > 3 else ''}")


def _torch_shape(variable: keras.Variable) -> tuple[int, ...]:
    shape = tuple(variable.shape)
    if len(shape) == 4:
        return shape[3], shape[2], shape[0], shape[1]
    return shape[::-1]


def _turned(layer: keras.layers.Layer, value: np.ndarray) -> np.ndarray:
    """Returns a PyTorch tensor in the layout of a Keras variable."""
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    if layer.name == "dense" and value.ndim == 2:  # PyTorch flattens [128, 6, 6], Keras [6, 6, 128]
        value = value.reshape(-1, 128, 6, 6).transpose(0, 2, 3, 1).reshape(len(value), -1)
    return value.T
