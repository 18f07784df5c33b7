"""What `--init` names: weights of a run, of a model file or of a PyTorch checkpoint, put into a new network."""

import os
import re
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from fer_tf.errors import UserError
from fer_tf.models import load_network
from fer_tf.models.mirror_parity import join
from fer_tf.models.mirror_resnet import MirrorConvolution
from fer_tf.pytorch.checkpoint import StateDict, read_state_dict
from fer_tf.pytorch.port import identify, port
from fer_tf.train.run_folder import RunFolder

_SMOOTHING = keras.layers.AveragePooling2D


def initialise(model: keras.Model, source: str, batches: tf.data.Dataset) -> None:
    """Puts the weights of a source into a new network.

    Args:
        model: Gets them.
        source: A run's folder, a model file (`.onnx`), or a PyTorch checkpoint, of which a last layer for other
            classes is left away.
        batches: Some preprocessed training images, float32 [N, H, W, C] each; for a model file.

    Raises:
        UserError: if the source is damaged or of another network.
    """
    if os.path.isdir(source):
        _from_run(model, RunFolder(source))
    elif source.endswith(".onnx"):
        _from_model_file(model, source, batches)
    else:
        _from_checkpoint(model, source)


def read_checkpoint(path: str, architecture: str, channels: int) -> tuple[StateDict, int]:
    """Returns the weights of a PyTorch checkpoint, and for how many classes its last layer is.

    Raises:
        UserError: if it is damaged, or of another architecture or number of channels.
    """
    state = read_state_dict(path)
    try:
        *found, classes = identify(state)
    except UserError as error:
        raise UserError(f"--init {path}: {error}") from None
    if found != [architecture, channels]:
        raise UserError(
            f"--init {path}: holds a {found[0]} of {found[1]} channels; "
            f"expected a {architecture} of {channels} channels"
        )
    return state, classes


def _from_run(model: keras.Model, run: RunFolder) -> None:
    """Copies the weights of the epoch that a run keeps."""
    network = load_network(run.model)
    weights = network.get_weights()
    found, expected = ([array.shape for array in arrays] for arrays in (weights, model.get_weights()))
    if found != expected:
        raise UserError(
            f"--init {run.path}: holds a {run.settings.model} for {run.settings.dataset}, whose weights have other "
            f"shapes than those of the {model.name} to be trained"
        )
    model.set_weights(weights)
    _tell_if_not_smooth(model, run.path, any(isinstance(layer, _SMOOTHING) for layer in network.layers))


def _from_checkpoint(model: keras.Model, path: str) -> None:
    """Ports a PyTorch checkpoint."""
    state, classes = read_checkpoint(path, model.name, model.input_shape[-1])
    try:
        port(state, model, head=classes == model.output_shape[-1])
    except UserError as error:
        raise UserError(f"--init {path}: {error}") from None
    if classes != model.output_shape[-1]:
        print(f"{path}: its last layer is for {classes} classes and was left away; ours starts anew")


def _from_model_file(model: keras.Model, path: str, batches: tf.data.Dataset) -> None:
    """Reads the weights out of a graph that `fer_tf.export.convert` made.

    There, each normalisation has become one factor and one summand a channel, and most factors have gone into the
    convolution before them. So the factors and summands are first put in as normalisations that leave all else as it
    is. Then the mean and variance of what comes in are measured, and γ and β made those with which a normalisation by
    these does the same. So the network answers as the file does, also when it normalises by a batch's own statistics.
    Kernels keep the factors that went into them, so that a step changes them otherwise than in the run they come from.
    """
    values = _Graph(path)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    read = _read_by_parity if values.has(".even") else _read
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
    _tell_if_not_smooth(model, path, values.has(".smooth"))


def _tell_if_not_smooth(model: keras.Model, path: str, smooth: bool) -> None:
    """Tells of weights from before `mirror_resnet` smoothed its features; in today's network they answer otherwise."""
    if not smooth and any(isinstance(layer, _SMOOTHING) for layer in model.layers):
        print(f"{path}: its network did not smooth its features as the one to be trained does; it begins less right")


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


def _read_by_parity(values: "_Graph", layer: keras.Layer) -> list[np.ndarray]:
    """Returns the same of a graph that `by_parity` has made, in which normalisations are folded into the kernels."""
    if isinstance(layer, keras.layers.BatchNormalization):
        width, name = layer.gamma.shape[0], layer.name.removesuffix(".norm")
        # Both halves of a layer that is not computed by parity have one summand, which bears the name of either.
        bearers = [f"{name}.{part}" for part in ("even", "first", "second")]
        return [np.ones(width), values.take(bearers, (width,), "add")]
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

        try:
            graph = onnx.load(path).graph
        except (DecodeError, OSError, ValueError) as error:
            raise UserError(f"--init {path}: not a readable ONNX file ({error})") from None
        self._path = path
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
            raise UserError(
                f"--init {self._path}: has no float32 weights of shape {list(shape)} for the layer {layers[0]}; "
                "expected a model file of the same architecture, made by export.onnx or export.from_pth"
            )
        return default

    def _of(self, layers: list[str], role: str, operation: str) -> Iterator[np.ndarray]:
        """Yields the factors or summands whose name, or whose node's, tells that they come from one of the layers."""
        named = re.compile(rf"[/|]({'|'.join(map(re.escape, layers))})(_\d+)?/{operation}")
        for name, kind, value in self._values:
            summand = kind == "Add" or (kind == "Conv" and value.ndim == 1)
            if summand == (role == "add") and named.search(name):
                yield value
