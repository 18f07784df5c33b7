"""Recovers the weights of a Keras network from the graph of a model file."""

import re
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from fer_tf.errors import UserError
from fer_tf.mirror.kernels import join
from fer_tf.models.mirror_resnet import MirrorConvolution


def load_model_file(model: keras.Model, path: str, batches: Iterable[tf.Tensor]) -> bool:
    """Reads the weights out of a graph that `fer_tf.export.convert` made.

    There, each normalization has become one factor and one summand for each channel, and most factors have gone into
    the convolution before them. So the factors and summands are first put in as normalizations that leave all else as
    it is. Then the mean and variance of their inputs are measured, and γ and β set so that a normalization by these
    does the same. So the network answers as the file does, even when it normalizes by the statistics of a batch.
    Kernels keep the factors that went into them, so a step changes them otherwise than in the run they come from.

    Args:
        model: Gets the weights.
        path: The model file.
        batches: Some preprocessed training images, float32 [N, H, W, C] each.

    Returns:
        Whether the file's network smooths its features.

    Raises:
        UserError: if the file is damaged or of another network.
    """
    values = _Graph(path)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    read = _read_by_parity if values.has(".even") else _read
    if values.mirror_weights:
        read = _read_mirror_weights
    for layer in (layer for layer in model.layers if layer.weights):
        found = read(values, layer)
        if layer in norms:
            found += [np.zeros(layer.gamma.shape), np.full(layer.gamma.shape, 1 - layer.epsilon)]
        layer.set_weights(found)

    probe = keras.Model(model.inputs, [layer.input for layer in norms])
    measure = tf.function(lambda images: [_moments(inputs) for inputs in probe(images, training=False)])
    weights, measured = [], []
    for images in batches:
        weights.append(len(images))
        measured.append(measure(images))
    for layer, of_batches in zip(norms, zip(*measured, strict=True), strict=True):
        moments = np.average(of_batches, axis=0, weights=weights)
        mean, square = moments.reshape(2, -1, layer.gamma.shape[0]).mean(axis=1)  # of the channels that share a factor
        variance = np.maximum(square - mean**2, 0)
        factor, summand, *_ = layer.get_weights()
        layer.set_weights([factor * np.sqrt(variance + layer.epsilon), summand + factor * mean, mean, variance])
    return values.mirror_weights.smooth if values.mirror_weights else values.has(".smooth")


def _read(values: "_Graph", layer: keras.Layer) -> list[np.ndarray]:
    """Returns what a layer learns, and of a normalisation the factors and summands, where the layer is as it was."""
    if isinstance(layer, keras.layers.BatchNormalization):
        width, channels = layer.gamma.shape[0], layer.input.shape[-1]  # which may be halves that share factors
        factors = values.take(layer.name, (channels,), "mul", default=np.ones(channels))
        return [factors[:width], values.take(layer.name, (channels,), "add")[:width]]
    *sides, channels, filters = layer.kernel.shape
    if not sides:
        found = [values.take(layer.name, (channels, filters), "mul")]
    elif not isinstance(layer, MirrorConvolution):
        found = [_kernel(values, layer.name, (*sides, channels, filters))]
    elif layer.stride == 1:  # both halves are convolved at once
        found = [_kernel(values, layer.name, (*sides, channels, 2 * filters))[..., :filters]]
    else:
        found = [_kernel(values, layer.name, (*sides, channels, filters), operation="first")]
    if getattr(layer, "use_bias", False):
        found.append(values.take(layer.name, (filters,), "add"))
    return found


def _read_mirror_weights(values: "_Graph", layer: keras.Layer) -> list[np.ndarray]:
    """Returns the same of a graph that `fer_tf.mirror` wrote, in which normalizations are folded into the kernels."""
    layers = values.mirror_weights.layers if values.mirror_weights else {}
    found = list(layers.get(layer.name.removesuffix(".norm"), ()))
    if found and isinstance(layer, keras.layers.BatchNormalization):
        found[0] = np.ones_like(found[1])
    elif isinstance(layer, MirrorConvolution):
        found = found[:1]
    shapes = [tuple(weight.shape) for weight in layer.weights]
    if not found or [value.shape for value in found] != shapes[: len(found)]:
        raise values.lacks(layer.name, shapes[0])
    return found


def _read_by_parity(values: "_Graph", layer: keras.Layer) -> list[np.ndarray]:
    """Returns the same of a graph that version 0.1 wrote by parity."""
    if isinstance(layer, keras.layers.BatchNormalization):
        width, name = layer.gamma.shape[0], layer.name.removesuffix(".norm")
        # Both halves of a layer that is not computed by parity share one summand, named after either of them.
        names = [f"{name}.{part}" for part in ("even", "first", "second")]
        return [np.ones(width), values.take(names, (width,), "add")]
    *sides, channels, filters = layer.kernel.shape
    if isinstance(layer, MirrorConvolution):
        if not values.has(f"{layer.name}.even"):
            return [_kernel(values, f"{layer.name}.first", (*sides, channels, filters))]
        shape = (3, 1, 3 * channels // 2, filters)
        return [join(*(_kernel(values, f"{layer.name}.{part}", shape) for part in ("even", "odd")))]
    if layer.name == "logits":
        kernel = values.take(layer.name, (channels, filters), "mul")
    else:
        kernel = _kernel(values, layer.name, (1, 1, channels, filters))[0, 0]
    return [kernel, values.take(layer.name, (filters,), "add")]


def _kernel(values: "_Graph", name: str, shape: tuple[int, ...], operation: str = "") -> np.ndarray:
    """Returns a kernel of Keras's shape, [height, width, channels, filters]."""
    height, width, channels, filters = shape
    found = values.take(name, (filters, channels, height, width), "mul", operation=operation)
    return found.transpose(2, 3, 1, 0)


def _moments(features: tf.Tensor) -> tf.Tensor:
    """Returns the mean of each channel of [N, H, W, C], and of its square, as float64 [2, C]."""
    features = tf.cast(features, tf.float64)
    return tf.stack([tf.reduce_mean(features, axis=(0, 1, 2)), tf.reduce_mean(features**2, axis=(0, 1, 2))])


class _Graph:
    """The constants of a model file, by the Keras layer that they come from."""

    def __init__(self, path: str):
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper

        from fer_tf.mirror.reader import prefixes, read

        try:
            model = onnx.load(path)
        except (DecodeError, OSError, ValueError) as error:
            raise UserError(f"{path}: not a readable ONNX file ({error})") from None
        self._path, graph = path, model.graph
        self.mirror_weights = next((read(model, prefix)[0][0] for prefix in prefixes(model)), None)
        """Of the first network that `fer_tf.mirror` wrote; None if there is none."""
        constants = {tensor.name: tensor for tensor in graph.initializer}
        self._values = [
            (f"{name}|{node.name}", node.op_type, numpy_helper.to_array(constants[name]))
            for node in graph.node
            for name in node.input
            if name in constants
        ]
        self._names = [name for node in graph.node for name in (node.name, *node.input)]

    def has(self, layer: str) -> bool:
        """Tells whether something in the graph comes from a layer of this name, or of one that ends so."""
        named = re.compile(rf"{re.escape(layer)}(_\d+)?/")
        return any(named.search(name) for name in self._names)

    def take(
        self,
        layer: str | list[str],
        shape: tuple[int, ...],
        role: str,
        default: np.ndarray | None = None,
        operation: str = "",
    ) -> np.ndarray:
        """Returns the layer's constant of this shape that is a factor (`mul`) or a summand (`add`), or the default.

        Where a layer has several, `operation` names the one that takes it. Of a list, any of the layers will do.

        Raises:
            UserError: if there is none, and no default.
        """
        layers = [layer] if isinstance(layer, str) else layer
        for value in self._of(layers, role, operation):
            # A value for each channel may have any number of other axes, of size 1.
            alike = value.shape == shape or (len(shape) == 1 and value.size == max(value.shape, default=1) == shape[0])
            if value.dtype == np.float32 and alike:
                return value.reshape(shape)
        if default is None:
            raise self.lacks(layers[0], shape)
        return default

    def lacks(self, layer: str, shape: tuple[int, ...]) -> UserError:
        """Returns an error that says that there are no such weights."""
        return UserError(
            f"{self._path}: has no float32 weights of shape {list(shape)} for the layer {layer}; "
            "expected a model file of the same architecture, made by export.onnx or export.from_pth"
        )

    def _of(self, layers: list[str], role: str, operation: str) -> Iterator[np.ndarray]:
        """Yields the factors or summands whose name, or whose node's, tells that they come from one of the layers."""
        named = re.compile(rf"[/|]({'|'.join(map(re.escape, layers))})(_\d+)?/{operation}")
        for name, kind, value in self._values:
            summand = kind == "Add" or (kind == "Conv" and value.ndim == 1)
            if summand == (role == "add") and named.search(name):
                yield value
