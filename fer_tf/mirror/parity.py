"""Writes `mirror_resnet`s as ONNX graphs in which onnxruntime can fuse each convolution with what follows it."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper

from fer_tf.card import OUTPUT_NAME
from fer_tf.classes import CLASSES
from fer_tf.mirror.kernels import folded, mirrored, split
from fer_tf.mirror.writer import Writer

if TYPE_CHECKING:
    import keras

PARTS = ("middle", "mean", "slope")
"""What `split` takes kernels apart for: a pixel, the mean of its neighbors, and half their difference."""

_ROWS: dict[str, list[float]] = {
    "same": [1],
    "negative": [-1],
    "zero": [0],
    "mean": [0.5, 0, 0.5],
    "slope": [0.5, 0, -0.5],
}
"""What `ParityWriter` convolves channels by, each by itself."""

_VECTOR = 16
"""The most channels that onnxruntime computes at once. It fuses groups of multiples of this number only."""


def complete(network: "keras.Model", preprocessing: onnx.ModelProto, temperature: float) -> onnx.ModelProto:
    """Returns the graph of preprocessing, network, temperature and softmax.

    Args:
        network: A `mirror_resnet`.
        preprocessing: uint8 [batch, 48, 48] → float32 [batch, height, width, channels]; it is not changed.
        temperature: Divides the logits.
    """
    model = onnx.ModelProto()
    model.CopyFrom(preprocessing)
    (images,) = model.graph.output
    height, width = (side.dim_value for side in images.type.tensor_type.shape.dim[1:3])
    writer = ParityWriter([folded(network)], (height, width))
    writer.write([temperature], OUTPUT_NAME)
    planes = helper.make_node("Transpose", [images.name], [writer.images], name="planes", perm=[0, 3, 1, 2])
    model.graph.node.extend([planes, *writer.nodes])
    model.graph.initializer.extend(writer.weights.values())
    images.CopyFrom(helper.make_tensor_value_info(OUTPUT_NAME, onnx.TensorProto.FLOAT, ["batch", len(CLASSES)]))
    return model


class ParityWriter(Writer):
    """Writes networks by parity, in half the multiply-adds. Several share their convolutions, as groups of these.

    Features are two tensors, one for each half, or their sum and difference. In each, the channels of one network
    follow those of the other, padded by zeros to the same number.

    onnxruntime computes convolutions in a layout of its own, and adds to their results in passing. To subtract, or to
    take the same value for all of a channel, it would change the layout and back. So these are convolutions of each
    channel by itself.
    """

    def _logits(self) -> list[str]:
        kernels, biases = self._of("stem")
        filters = {"first": kernels, "second": [mirrored(kernel, lifting=True) for kernel in kernels]}
        first, second = (
            self._relu(self._convolve(f"stem.{half}", self.images, kernels, biases, shared=True))
            for half, kernels in filters.items()
        )
        for number, blocks in enumerate(self._networks[0].stages(), 1):
            first, second = self._down(first, second, f"stage{number}")
            for block in blocks:
                first, second = self._residual(first, second, block)
        pooled = self._node("GlobalAveragePool", "pooled", self._node("Add", "sum", first, second))
        pooled = self._node("Flatten", "flat", pooled)
        kernels, biases = self._of("logits")
        channels = self._padded(len(kernel) for kernel in kernels)
        padded = np.zeros((len(kernels), len(kernels), channels, len(CLASSES)), np.float32)
        for number, kernel in enumerate(kernels):
            padded[number, number, : len(kernel)] = kernel / 2  # the sum of the halves is twice their mean
        return [
            self._layer("Gemm", f"logits{number}", pooled, kernel.reshape(-1, len(CLASSES)), bias)
            for number, (kernel, bias) in enumerate(zip(padded, biases, strict=True))
        ]

    def _of(self, name: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the kernels of a layer, and the biases."""
        layers = [network.layers[name] for network in self._networks]
        return [kernel for kernel, _ in layers], [bias for _, bias in layers]

    def _down(self, first: str, second: str, stage: str) -> tuple[str, str]:
        """Smooths, and halves height and width."""
        name, smooth = f"{stage}.down", self._networks[0].smooth
        odd = self._size[1] % 2 == (0 if smooth else 1)
        if odd:
            first, second = self._parities(name, first, second)
        if smooth:
            first, second = self._smooth(f"{stage}.smooth", first, second)
        if odd:
            mean, difference = self._by_parity(name, first, second, stride=2)
            halves = self._halves(name, mean, mean, difference)
        else:
            halves = self._as_it_is(name, first, second)
        self._halve()
        return halves

    def _residual(self, first: str, second: str, name: str) -> tuple[str, str]:
        """Adds two convolutions, the pairs of channels of their result weighted by what is in all of it."""
        conv1, conv2 = f"{name}.conv1", f"{name}.conv2"
        mean, difference = self._by_parity(conv1, *self._parities(conv1, first, second))
        halves = self._halves(conv1, mean, mean, difference)
        mean, difference = self._by_parity(conv2, *self._parities(conv2, *halves))
        everywhere = self._row("zero", f"{name}.zero", mean)
        weights = self._node("Add", f"{name}.weights", everywhere, self._weights(name, mean))
        mean = self._node("Mul", f"{name}.mean", mean, weights)
        difference = self._node("Mul", f"{name}.difference", difference, weights)
        first = self._node("Add", f"{name}.first", self._row("same", f"{name}.first.before", first), mean)
        second = self._node("Add", f"{name}.second", self._row("same", f"{name}.second.before", second), mean)
        return self._halves(name, first, second, difference)

    def _weights(self, name: str, mean: str) -> str:
        """Squeezes and excites."""
        weights = self._node("GlobalAveragePool", f"{name}.pooled", mean)
        for part, activation in (("squeeze", "Relu"), ("excite", "Sigmoid")):
            kernels, biases = self._of(f"{name}.{part}")
            kernels = [kernel[None, None] for kernel in kernels]
            weights = self._convolve(f"{name}.{part}", weights, kernels, biases, pads=[0] * 4)
            weights = self._node(activation, f"{name}.{part}.{activation.lower()}", weights)
        return weights

    def _parities(self, name: str, first: str, second: str) -> tuple[str, str]:
        """Returns the sum and the difference of the halves."""
        negative = self._row("negative", f"{name}.negative", second)
        return self._node("Add", f"{name}.sum", first, second), self._node("Add", f"{name}.difference", negative, first)

    def _halves(self, name: str, first: str, second: str, difference: str) -> tuple[str, str]:
        """Adds half the difference to the first, subtracts it from the second, and returns both after ReLU."""
        first, second = (
            self._node("Add", f"{name}.{half}.add", self._row(row, f"{name}.{half}.{row}", difference), mean)
            for half, mean, row in (("first", first, "same"), ("second", second, "negative"))
        )
        return self._relu(first), self._relu(second)

    def _by_parity(self, name: str, total: str, difference: str, stride: int = 1) -> tuple[str, str]:
        """Convolves sum and difference, and returns the mean of the halves of the result, and half their difference."""
        kernels, biases = self._of(name)
        options = {"strides": [1, stride], "pads": [0, 1, 0, 1]}
        neighbors = {
            (row, pair): self._row(row, f"{name}.{row}{pair}", features, **options)
            for pair, features in enumerate((total, difference))
            for row in ("mean", "slope")
        }
        pads = [1 if stride == 1 else self._size[0] % 2, 0, 1, 0]
        results = []
        for number, parity in enumerate(("even", "odd")):
            pieces = [np.split(split(kernel)[number], 3, axis=2) for kernel in kernels]
            features = ((total, difference)[number], neighbors["mean", number], neighbors["slope", 1 - number])
            result = ""
            for place, (part, feature) in enumerate(zip(PARTS, features, strict=True)):
                part_name, first = f"{name}.{parity}.{part}", place == 0
                found = self._convolve(
                    part_name,
                    feature,
                    [piece[place] for piece in pieces],
                    biases if first and parity == "even" else None,
                    strides=[stride, stride if first else 1],  # neighbors have the stride already
                    pads=pads,
                )
                result = self._node("Add", f"{part_name}.add", found, result) if result else found
            results.append(result)
        return results[0], results[1]

    def _as_it_is(self, name: str, first: str, second: str) -> tuple[str, str]:
        """Convolves halves of even width, which cannot be halved symmetrically, by the filters of either half."""
        kernels, biases = self._of(name)
        halves = []
        for half, filters in (("first", kernels), ("second", [mirrored(kernel) for kernel in kernels])):
            pads = self._pads(second=half == "second")
            ones, others = zip(*(np.split(kernel, 2, axis=2) for kernel in filters), strict=True)
            of_first = self._convolve(f"{name}.{half}0", first, ones, biases, strides=[2, 2], pads=pads)
            of_second = self._convolve(f"{name}.{half}1", second, others, None, strides=[2, 2], pads=pads)
            halves.append(self._relu(self._node("Add", f"{name}.{half}.add", of_second, of_first)))
        return halves[0], halves[1]

    def _row(self, row: str, name: str, features: str, **options) -> str:
        """Convolves each channel by a row of weights."""
        channels = self._channels[features]
        kernel = np.tile(np.reshape(_ROWS[row], (1, 1, 1, -1)), (channels, 1, 1, 1))
        inputs = (features, self._constant(f"{row}{channels}", kernel))
        return self._node("Conv", name, *inputs, kernel_shape=kernel.shape[2:], group=channels, **options)

    def _convolve(
        self,
        name: str,
        features: str,
        kernels: Sequence[np.ndarray],
        biases: Sequence[np.ndarray] | None,
        *,
        shared: bool = False,
        **options,
    ) -> str:
        """Convolves by kernels of Keras's shape, one for each network, of features of its own or `shared` ones."""
        options = {"pads": [1] * 4, "group": 1 if shared else len(kernels)} | options
        height, width, channels, _ = kernels[0].shape
        if not shared:
            channels = self._padded(kernel.shape[2] for kernel in kernels)
        filters = self._padded(kernel.shape[3] for kernel in kernels)
        stacked = np.zeros((len(kernels), filters, channels, height, width), np.float32)
        for number, kernel in enumerate(kernels):
            stacked[number, : kernel.shape[3], : kernel.shape[2]] = kernel.transpose(3, 2, 0, 1)
        bias = None
        if biases:
            bias = np.concatenate([np.pad(part, (0, filters - len(part))) for part in biases])
        return self._layer("Conv", name, features, stacked.reshape(-1, channels, height, width), bias, **options)

    def _padded(self, channels: Iterable[int]) -> int:
        """Returns the number of channels that networks of so many get side by side."""
        most = max(channels)
        return most if len(self._networks) == 1 else most + -most % _VECTOR
