"""Writes `mirror_resnet`s as ONNX graphs of whole convolutions, which is the form to compute them in 8 bits."""

import re

import numpy as np
import onnx

from fer_tf.mirror.kernels import Weights, mirrored
from fer_tf.mirror.writer import SCOPE, Writer

_IN_8_BITS = re.compile(rf"(.*/)?{SCOPE}\d+\.stage(\d+\.\d+\.conv\d|(?!1\.)\d+\.down(\..*)?)")


class PlainWriter(Writer):
    """Writes networks apart: both filters of each pair in one kernel, both halves of the features in one tensor."""

    def _logits(self) -> list[str]:
        self._axes = self._constant("sides", [2, 3], np.int64)
        size, logits = self._size, []
        for number, network in enumerate(self._networks):
            self._size = size
            logits.append(self._network(network, f"{number}."))
        return logits

    def _network(self, network: Weights, prefix: str) -> str:
        kernel, bias = network.layers["stem"]
        features = self._whole(f"{prefix}stem", self.images, kernel, mirrored(kernel, lifting=True), bias=bias)
        features = self._relu(features)
        for number, blocks in enumerate(network.stages(), 1):
            stage = f"stage{number}"
            if network.smooth:
                (features,) = self._smooth(f"{prefix}{stage}.smooth", features)
            features = self._relu(self._down(f"{prefix}{stage}.down", features, *network.layers[f"{stage}.down"]))
            for block in blocks:
                features = self._residual(prefix, features, network, block)
        return self._pooled(f"{prefix}logits", features, *network.layers["logits"])

    def _down(self, name: str, features: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        """Convolves with a stride of 2; an even width gives either half of the filters columns of its own."""
        if self._size[1] % 2:
            outputs = self._whole(
                name, features, kernel, mirrored(kernel), bias=bias, strides=[2, 2], pads=self._pads()
            )
        else:
            halves = [
                self._layer("Conv", f"{name}.{half}", features, _onnx(kernel), bias, strides=[2, 2], pads=pads)
                for half, kernel, pads in (
                    ("first", kernel, self._pads()),
                    ("second", mirrored(kernel), self._pads(second=True)),
                )
            ]
            outputs = self._node("Concat", name, *halves, axis=1)
        self._halve()
        return outputs

    def _residual(self, prefix: str, shortcut: str, network: Weights, block: str) -> str:
        """Adds two convolutions, the pairs of channels of their result weighted by what is in all of it."""
        features = shortcut
        for conv in ("conv1", "conv2"):
            kernel, bias = network.layers[f"{block}.{conv}"]
            features = self._whole(f"{prefix}{block}.{conv}", features, kernel, mirrored(kernel), bias=bias)
            features = self._relu(features) if conv == "conv1" else features
        squeezed = self._relu(self._pooled(f"{prefix}{block}.squeeze", features, *network.layers[f"{block}.squeeze"]))
        kernel, bias = network.layers[f"{block}.excite"]
        excited = self._layer("Gemm", f"{prefix}{block}.excite", squeezed, np.tile(kernel, 2), np.tile(bias, 2))
        weights = self._node("Sigmoid", f"{prefix}{block}.sigmoid", excited)
        weights = self._node("Unsqueeze", f"{prefix}{block}.weights", weights, self._axes)
        weighted = self._node("Mul", f"{prefix}{block}.weighted", features, weights)
        return self._relu(self._node("Add", f"{prefix}{block}.add", weighted, shortcut))

    def _pooled(self, name: str, features: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        """Takes the mean of each pair of channels over the image through a dense layer."""
        pooled = self._node("GlobalAveragePool", f"{name}.pooled", features)
        flat = self._node("Flatten", f"{name}.flat", pooled)
        return self._layer("Gemm", name, flat, np.concatenate([kernel, kernel]) / 2, bias)

    def _whole(self, name: str, features: str, *kernels: np.ndarray, bias: np.ndarray, **options) -> str:
        """Convolves by the filters of both halves, of Keras's shape."""
        kernel = np.concatenate(kernels, axis=3)
        return self._layer("Conv", name, features, _onnx(kernel), np.tile(bias, 2), **{"pads": [1] * 4} | options)


def in_8_bits(model: onnx.ModelProto) -> list[str]:
    """Returns the names of the nodes that lose little by rounding to 8 bits, of those that a `PlainWriter` wrote.

    They are convolutions, and the ReLUs behind them. The stem and the first down-sampling are not among them, nor are
    the layers that squeeze and excite: they are little work, but to round them costs accuracy.
    """
    names = [node.name for node in model.graph.node if node.op_type == "Conv" and _IN_8_BITS.fullmatch(node.name)]
    return names + [node.name for node in model.graph.node if node.op_type == "Relu" and node.input[0] in names]


def _onnx(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(3, 2, 0, 1)
