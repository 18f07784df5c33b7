"""What the two forms of a graph of `mirror_resnet`s have in common."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper

from fer_tf.mirror.kernels import Weights

SCOPE = "network/"
"""What the names of all nodes and weights begin with, behind the prefixes that joining model files gives them."""


class Writer:
    """Writes networks that have the same layers as nodes and weights.

    Args:
        networks: Their weights.
        size: Height and width of the images in pixels.
        prefix: Stands before all names.
    """

    def __init__(self, networks: Sequence[Weights], size: tuple[int, int], prefix: str = ""):
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}
        self.images = f"{prefix}{SCOPE}images"
        """The tensor that goes into the networks, float32 [batch, channels, height, width]."""
        self._networks, self._size, self._scope = list(networks), size, prefix + SCOPE
        self._channels: dict[str, int] = {}

    def write(self, temperatures: Sequence[float], output: str) -> None:
        """Writes all from the images to `output`, the mean of the networks' probabilities, [batch, 7].

        Args:
            temperatures: Of each network; its logits are divided by it.
            output: The name of the tensor.
        """
        answers = []
        for number, (logits, temperature) in enumerate(zip(self._logits(), temperatures, strict=True)):
            divisor = self._constant(f"temperature{number}", temperature)
            scaled = self._node("Div", f"scaled{number}", logits, divisor)
            answers.append(self._node("Softmax", f"softmax{number}", scaled, axis=-1))
        if len(answers) > 1:
            self._node("Mean", "average", *answers)
        self.nodes[-1].output[0] = output

    def _logits(self) -> list[str]:
        """Writes the networks, and returns the logits of each."""
        raise NotImplementedError

    def _node(self, kind: str, name: str, *inputs: str, **attributes) -> str:
        """Writes a node and returns its output, which bears its name."""
        name = self._scope + name
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        if kind == "Conv":
            self._channels[name] = self.weights[inputs[1]].dims[0]
        elif inputs[0] in self._channels:
            self._channels[name] = self._channels[inputs[0]]
        return name

    def _constant(self, name: str, value: ArrayLike, kind: type = np.float32) -> str:
        name = self._scope + name
        self.weights[name] = numpy_helper.from_array(np.asarray(value, kind), name)
        return name

    def _layer(
        self, kind: str, name: str, features: str, kernel: np.ndarray, bias: np.ndarray | None, **options
    ) -> str:
        """Writes a `Conv` or `Gemm` with its weights, in ONNX's shapes."""
        weights = [self._constant(f"{name}/kernel", kernel)]
        if bias is not None:
            weights.append(self._constant(f"{name}/bias", bias))
        return self._node(kind, name, features, *weights, **options)

    def _relu(self, features: str) -> str:
        return self._node("Relu", f"{features.removeprefix(self._scope)}.relu", features)

    def _smooth(self, name: str, *features: str) -> list[str]:
        """Takes means of 2×2, which makes the sides shorter by a pixel."""
        self._size = (self._size[0] - 1, self._size[1] - 1)
        return [
            self._node("AveragePool", f"{name}{number}", tensor, kernel_shape=[2, 2])
            for number, tensor in enumerate(features)
        ]

    def _pads(self, *, second: bool = False) -> list[int]:
        """Returns a 3×3 convolution's padding above, left, below and right, for a stride of 2.

        Args:
            second: Whether for the second filters of the pairs; an even width gives them other columns.
        """
        above, left = (side % 2 for side in self._size)
        return [above, 1, 1, left] if second else [above, left, 1, 1]

    def _halve(self) -> None:
        self._size = (-(-self._size[0] // 2), -(-self._size[1] // 2))
