"""Computes a mirror-equivariant network with half the multiply-adds, by the parity of its features."""

from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from fer_tf.models.mirror_resnet import MirrorConvolution


class _Halves(NamedTuple):
    """The two halves of the channels of [N, H, W, C]. Mirroring the image mirrors and swaps them."""

    first: keras.KerasTensor
    second: keras.KerasTensor


def by_parity(network: keras.Model, height: int, width: int) -> keras.Model:
    """Returns a network with the answers of a trained `mirror_resnet` and about half its multiply-adds.

    Let u = f + g be the sum of the two halves f and g of the features, and v = f − g their difference. Mirroring the
    image mirrors u. It also mirrors v, and flips its sign. So the sum of a pair of filters needs only the symmetric
    part of their kernels for u and the antisymmetric part for v, and their difference needs the reverse. A symmetric
    row of three weights takes two products: one with the pixel, one with the sum of its neighbors. An antisymmetric row
    takes one, with the difference of the neighbors. That makes three for u and v together instead of six. Normalization
    is folded into the kernels.

    Source: Cohen and Welling, Steerable CNNs, 2016, arXiv 1612.08498, for features split by how the group acts on them.

    Args:
        network: A `mirror_resnet`.
        height: Height of the images in pixels.
        width: Width of the images. A convolution of stride 2 whose input has an even width is computed as it is; this
            never happens if `width` is a multiple of 8.

    Returns:
        A model: float32 [N, height, width, channels] → logits, float32 [N, 7].
    """
    return _Parity(network).build(height, width)


def split(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernels that compute the mean of each pair of filters, and half their difference.

    Args:
        kernel: float32 [3, 3, C, F], the first filter of each pair, as `MirrorConvolution` learns it.

    Returns:
        `even` and `odd`, float32 [3, 1, 3C / 2, F] each. Let u be the sum of the halves and v their difference. The
        input of `even` is u, the mean of u's left and right neighbors, and half the left less the right neighbor of v.
        The input of `odd` is the same with u and v swapped.
    """
    first, second = np.split(kernel, 2, axis=2)
    even, odd = (
        np.concatenate([part[:, 1:2], part[:, :1] + part[:, 2:], part[:, :1] - part[:, 2:]], axis=2) / 2
        for part in (first + second[:, ::-1], first - second[:, ::-1])
    )
    return even, odd


def join(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Returns the kernel [3, 3, C, F] that `split` turned into these."""
    both = []
    for part in (even, odd):
        middle, total, difference = np.split(part, 3, axis=2)
        both.append(np.concatenate([total + difference, 2 * middle, total - difference], axis=1))
    return np.concatenate([(both[0] + both[1]) / 2, (both[0] - both[1])[:, ::-1] / 2], axis=2)


class _Parity:
    """Rebuilds a network layer by layer, with halves instead of features."""

    def __init__(self, network: keras.Model):
        self._network = network
        self._names = [layer.name for layer in network.layers]

    def build(self, height: int, width: int) -> keras.Model:
        images = keras.Input((height, width, self._network.input_shape[-1]), name="images")
        halves = _each(layers.ReLU(), self._convolution(images, "stem"))
        stages = self._count("stage{}.down")
        for stage in range(1, stages + 1):
            if (name := f"stage{stage}.smooth") in self._names:  # older networks have none
                halves = _each(layers.AveragePooling2D(2, strides=1, name=name), halves)
            halves = _each(layers.ReLU(), self._convolution(halves, f"stage{stage}.down"))
            for block in range(self._count(f"stage{stage}.{{}}.conv1", start=0)):
                halves = self._residual(halves, f"stage{stage}.{block}")
        pooled = layers.Flatten()(_pooled(halves))
        kernel, bias = self._network.get_layer("logits").get_weights()
        logits = layers.Dense(len(bias), name="logits")
        outputs = logits(pooled)
        logits.set_weights([kernel, bias])
        return keras.Model(images, outputs, name=self._network.name)

    def _count(self, pattern: str, start: int = 1) -> int:
        """Returns how many layers have names of this pattern, numbered from `start`."""
        number = start
        while pattern.format(number) in self._names:
            number += 1
        return number - start

    def _residual(self, shortcut: _Halves, name: str) -> _Halves:
        """Adds two convolutions, their pairs of channels weighted by squeeze-and-excitation."""
        halves = _each(layers.ReLU(), self._convolution(shortcut, f"{name}.conv1"))
        halves = self._convolution(halves, f"{name}.conv2")
        weights = _pooled(halves)
        for part, activation in (("squeeze", "relu"), ("excite", "sigmoid")):
            kernel, bias = self._network.get_layer(f"{name}.{part}").get_weights()
            weights = _convolve(weights, kernel[None, None], bias, name=f"{name}.{part}", activation=activation)
        added = (
            layers.Add()([layers.Multiply()([half, weights]), before])
            for half, before in zip(halves, shortcut, strict=True)
        )
        return _each(layers.ReLU(), added)

    def _convolution(self, features: keras.KerasTensor | _Halves, name: str) -> _Halves:
        """Convolves and normalizes."""
        layer, norm = self._network.get_layer(name), self._network.get_layer(f"{name}.norm")
        gamma, beta, mean, variance = norm.get_weights()
        factor = gamma / np.sqrt(variance + norm.epsilon)
        kernel, bias = layer.get_weights()[0] * factor, beta - mean * factor
        if layer.lifting:
            return self._plain(features, layer, kernel, bias)
        if layer.stride == 2 and features.first.shape[2] % 2 == 0:
            return self._plain(layers.Concatenate()(features), layer, kernel, bias)
        total, difference = layers.Add()(features), _subtract(*features)
        even, odd = split(kernel)
        even_part = layers.Concatenate()([total, _neighbors(total, 1), _neighbors(difference, -1)])
        odd_part = layers.Concatenate()([difference, _neighbors(difference, 1), _neighbors(total, -1)])
        middle = _convolve(even_part, even, bias, name=f"{name}.even", strides=layer.stride)
        distance = _convolve(odd_part, odd, name=f"{name}.odd", strides=layer.stride)
        return _Halves(layers.Add()([middle, distance]), _subtract(middle, distance))

    def _plain(self, features: keras.KerasTensor, layer: MirrorConvolution, kernel: np.ndarray, bias: np.ndarray):
        """Convolves with the filters of both halves, without use of parity."""
        height, width = features.shape[1:3]
        rows, columns = ((1, 1), (1, 1)) if layer.stride == 1 else ((height % 2, 1), (width % 2, 1))
        halves = []
        for half, filters, sides in (
            ("first", kernel, columns),
            ("second", layer.mirrored(kernel), columns[::-1]),
        ):
            padded = layers.ZeroPadding2D((rows, sides))(features)
            name = f"{layer.name}.{half}"
            halves.append(_convolve(padded, filters, bias, name=name, strides=layer.stride, padding="valid"))
        return _Halves(*halves)


def _each(layer: keras.Layer, halves: Iterable[keras.KerasTensor]) -> _Halves:
    """Applies a layer to both halves."""
    return _Halves(*map(layer, halves))


def _pooled(halves: _Halves) -> keras.KerasTensor:
    """Returns the mean of each pair of channels over the image, [N, 1, 1, C / 2].

    It pools over a window because a mean would need a change of layout in ONNX.
    """
    return layers.Average()(_each(layers.AveragePooling2D(halves.first.shape[1:3]), halves))


def _neighbors(features: keras.KerasTensor, sign: int) -> keras.KerasTensor:
    """Returns half the left neighbor of each pixel plus `sign` times half the right one.

    The kernel has two weights and a gap between them, which saves the product with a zero in the middle.
    """
    return _depthwise(features, [0.5, 0.5 * sign], dilation_rate=(1, 2))


def _subtract(minuend: keras.KerasTensor, subtrahend: keras.KerasTensor) -> keras.KerasTensor:
    """Returns a difference. onnxruntime fuses Add into a convolution; for Sub it changes the layout back and forth."""
    return layers.Add()([_depthwise(subtrahend, [-1]), minuend])


def _depthwise(features: keras.KerasTensor, row: list[float], **options) -> keras.KerasTensor:
    """Convolves each channel with the same row of weights."""
    layer = layers.DepthwiseConv2D((1, len(row)), padding="same", use_bias=False, **options)
    outputs = layer(features)
    layer.set_weights([np.tile(np.reshape(row, (1, -1, 1, 1)), (1, 1, features.shape[-1], 1))])
    return outputs


def _convolve(features: keras.KerasTensor, kernel: np.ndarray, bias: np.ndarray | None = None, **options):
    """Convolves with a given kernel, [height, width, channels, filters]."""
    layer = layers.Conv2D(
        kernel.shape[-1], kernel.shape[:2], use_bias=bias is not None, **{"padding": "same"} | options
    )
    outputs = layer(features)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return outputs
