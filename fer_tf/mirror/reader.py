"""Reads the weights of `mirror_resnet`s back out of the graphs that `ParityWriter` writes."""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from fer_tf.mirror.kernels import Weights, join
from fer_tf.mirror.parity import PARTS
from fer_tf.mirror.writer import SCOPE

_STEM = f"{SCOPE}stem.first/kernel"


def prefixes(model: onnx.ModelProto) -> list[str]:
    """Returns what stands before the names of each group of networks that a `ParityWriter` wrote; [] if there is none.

    It is one group in a file of a single network, and in one whose networks share their convolutions; in other
    ensembles it may be any number.
    """
    return [tensor.name.removesuffix(_STEM) for tensor in model.graph.initializer if tensor.name.endswith(_STEM)]


def read(model: onnx.ModelProto, prefix: str = "") -> tuple[list[Weights], list[float]]:
    """Returns the weights of each network of a group, and the temperatures that divide their logits.

    Args:
        model: Of a model file in float.
        prefix: One of `prefixes(model)`.
    """
    scope = prefix + SCOPE
    values = {
        tensor.name.removeprefix(scope): numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name.startswith(scope)
    }
    count = sum(name.startswith("temperature") for name in values)
    smooth = any(node.name.startswith(f"{scope}stage1.smooth") for node in model.graph.node)
    shares = [_share(values, number, count) for number in range(count)]
    if count > 1:
        shares = [_unpadded(share) for share in shares]
    temperatures = [float(values[f"temperature{number}"]) for number in range(count)]
    return [Weights(_layers(share), smooth) for share in shares], temperatures


def _share(values: dict[str, np.ndarray], number: int, count: int) -> dict[str, np.ndarray]:
    """Returns what belongs to one of the networks that share convolutions, in the shapes of Keras."""
    share = {}
    for name, value in values.items():
        layer, _, kind = name.partition("/")
        if layer == f"logits{number}":
            share[f"logits/{kind}"] = 2 * np.split(value, count)[number] if kind == "kernel" else value
        elif kind and not layer.startswith("logits"):
            own = np.split(value, count)[number]
            share[name] = own.transpose(2, 3, 1, 0) if kind == "kernel" else own
    return share


def _unpadded(share: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the same without the filters of zeros that fill a network up to the width of the widest."""
    widths: dict[str, int] = {}
    for name, value in share.items():
        filters = np.flatnonzero(value.reshape(-1, value.shape[-1]).any(axis=0)) + 1
        widths[_output(name)] = max(widths.get(_output(name), 0), *filters)
    cut = {name: value[..., : widths[_output(name)]] for name, value in share.items()}
    kernels = {name: value for name, value in cut.items() if value.ndim > 1 and not name.startswith("stem")}
    return cut | {name: value[..., : widths[_input(name, widths)], :] for name, value in kernels.items()}


def _output(name: str) -> str:
    """Returns the name of what has as many channels as the output of a layer: its stage, or itself."""
    layer = name.partition("/")[0]
    return layer if layer.endswith("squeeze") else layer.partition(".")[0]


def _input(name: str, stages: Iterable[str]) -> str:
    """Returns the same for the input."""
    layer = name.partition("/")[0]
    stage, _, rest = layer.partition(".")
    if rest.startswith("down"):
        before = _number(stage) - 1
        return f"stage{before}" if before else "stem"
    if layer == "logits":
        return max((name for name in stages if "." not in name and name.startswith("stage")), key=_number)
    return layer.replace("excite", "squeeze") if rest.endswith("excite") else stage


def _number(stage: str) -> int:
    return int(stage.removeprefix("stage"))


def _layers(share: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Puts the kernels together."""
    layers = {}
    for name, kernel in share.items():
        layer, _, kind = name.partition("/")
        if kind == "bias":
            continue
        if layer.endswith(f".even.{PARTS[0]}"):  # by parity
            whole = layer.removesuffix(f".even.{PARTS[0]}")
            parts = (
                np.concatenate([share[f"{whole}.{parity}.{part}/kernel"] for part in PARTS], axis=2)
                for parity in ("even", "odd")
            )
            layers[whole] = (join(*parts), share[f"{layer}/bias"])
        elif layer.endswith(".first0"):  # as it is
            whole = layer.removesuffix(".first0")
            kernel = np.concatenate([kernel, share[f"{whole}.first1/kernel"]], axis=2)
            layers[whole] = (kernel, share[f"{layer}/bias"])
        elif layer == "stem.first":
            layers["stem"] = (kernel, share["stem.first/bias"])
        elif layer.endswith((".squeeze", ".excite")):
            layers[layer] = (kernel[0, 0], share[f"{layer}/bias"])
        elif layer == "logits":
            layers[layer] = (kernel, share["logits/bias"])
    return layers
