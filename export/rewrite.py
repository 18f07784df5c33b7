"""Rewrites the `mirror_resnet`s in model files: several stacked side by side, or each without its parity."""

import hashlib
import math
from collections.abc import Sequence

import onnx
from onnx import numpy_helper, shape_inference

from fer_tf.card import OUTPUT_NAME
from fer_tf.mirror.kernels import Weights
from fer_tf.mirror.parity import ParityWriter
from fer_tf.mirror.plain import PlainWriter
from fer_tf.mirror.reader import prefixes, read
from fer_tf.mirror.writer import SCOPE, Writer

_ALLOWED_PADDING = 0.1
"""Share of the weights. Networks of more different widths are faster apart."""


def stacked(models: Sequence[onnx.ModelProto]) -> onnx.ModelProto | None:
    """Returns a model that gives the mean of the models' probabilities and computes their networks side by side.

    Each convolution is one of all networks, with a group of channels for each. So onnxruntime has fewer and larger
    nodes to run, which pays most for few faces.

    Args:
        models: Of model files; they are not changed.

    Returns:
        The model; None if they are not two or more `mirror_resnet`s with the same layers, similar widths and the same
        preprocessing, as `export.onnx` writes them.
    """
    if len(models) < 2 or any(prefixes(model) != [""] or _end(model, "") != OUTPUT_NAME for model in models):
        return None
    found = [read(model) for model in models]
    if any(len(networks) > 1 for networks, _ in found):  # which would weigh more than one
        return None
    networks = [network for networks, _ in found for network in networks]
    first, *others = networks
    alike = all((network.layers.keys(), network.smooth) == (first.layers.keys(), first.smooth) for network in others)
    if not alike or len({_preprocessing(model) for model in models}) > 1:
        return None
    temperatures = [temperature for _, temperatures in found for temperature in temperatures]
    model = _replaced(models[0], "", ParityWriter, networks, temperatures)
    before = sum(map(_weight, models))
    return model if _weight(model) <= (1 + _ALLOWED_PADDING) * before else None


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a model that gives the same answers, with whole convolutions in place of those by parity.

    Args:
        model: Of a model file in float; it is not changed. Networks that `export.onnx` did not write by parity stay.
    """
    for prefix in prefixes(model):
        model = _replaced(model, prefix, PlainWriter, *read(model, prefix))
    return model


def _replaced(
    model: onnx.ModelProto,
    prefix: str,
    writer: type[Writer],
    networks: Sequence[Weights],
    temperatures: Sequence[float],
) -> onnx.ModelProto:
    """Returns a copy with other networks in place of those under a prefix."""
    replaced = onnx.ModelProto()
    replaced.CopyFrom(model)
    graph, scope = replaced.graph, prefix + SCOPE
    written = writer(networks, _size_of(model, f"{scope}images"), prefix)
    written.write(temperatures, _end(model, prefix))
    place = next(number for number, node in enumerate(graph.node) if node.name.startswith(scope))
    nodes = [node for node in graph.node if not node.name.startswith(scope)]
    weights = [tensor for tensor in graph.initializer if not tensor.name.startswith(scope)]
    for field, values in (
        (graph.node, [*nodes[:place], *written.nodes, *nodes[place:]]),
        (graph.initializer, [*weights, *written.weights.values()]),
        (graph.value_info, []),
    ):
        del field[:]
        field.extend(values)
    return replaced


def _end(model: onnx.ModelProto, prefix: str) -> str:
    """Returns the name of the mean probabilities of the networks under a prefix."""
    *_, last = (node for node in model.graph.node if node.name.startswith(prefix + SCOPE))
    return last.output[0]


def _size_of(model: onnx.ModelProto, images: str) -> tuple[int, int]:
    """Returns height and width of images, float32 [batch, channels, height, width]."""
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    (dimensions,) = (value.type.tensor_type.shape.dim for value in inferred if value.name == images)
    return dimensions[2].dim_value, dimensions[3].dim_value


def _weight(model: onnx.ModelProto) -> int:
    """Returns how many weights the networks of a model have."""
    weights = (tensor for tensor in model.graph.initializer if tensor.name.startswith(SCOPE))
    return sum(math.prod(tensor.dims) for tensor in weights)


def _preprocessing(model: onnx.ModelProto) -> str:
    """Returns a digest of how the images are made, whatever its parts are called and in which order they stand."""
    digests = {tensor.name: _digest(numpy_helper.to_array(tensor).tobytes()) for tensor in model.graph.initializer}
    for node in (node for node in model.graph.node if not node.name.startswith(SCOPE)):
        inputs = (digests.get(name, name).encode() for name in node.input)
        attributes = sorted(attribute.SerializeToString() for attribute in node.attribute)
        whole = _digest(node.op_type.encode(), *inputs, *attributes)
        digests |= {name: f"{whole} {place}" for place, name in enumerate(node.output)}
    return digests[f"{SCOPE}images"]


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
