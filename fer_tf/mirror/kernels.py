"""Splits the filters of a `mirror_resnet` by parity, so that they take half the multiply-adds.

Let u = f + g be the sum of the two halves f and g of the features, and v = f − g their difference. Mirroring the image
mirrors u. It also mirrors v, and flips its sign. So the sum of a pair of filters needs only the symmetric part of their
kernels for u and the antisymmetric part for v, and their difference needs the reverse. A symmetric row of three weights
takes two products: one with the pixel, one with the sum of its neighbors. An antisymmetric row takes one, with the
difference of the neighbors. That makes three for u and v together instead of six.

Source: Cohen and Welling, Steerable CNNs, 2016, arXiv 1612.08498, for features split by how the group acts on them.
"""

from itertools import count, takewhile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras


class Weights(NamedTuple):
    """The weights of a trained `mirror_resnet`, each normalization folded into the layer before it."""

    layers: dict[str, tuple[np.ndarray, np.ndarray]]
    """Kernel and bias of each layer by its name, float32, in Keras's shapes: [3, 3, C, F] and [F] of a convolution, for
    the first filter of each pair; [C, F] and [F] of a dense layer."""
    smooth: bool
    """Whether features are smoothed before each convolution of stride 2. Older networks have no such layer."""

    def stages(self) -> list[list[str]]:
        """Returns the names of the residual blocks of each stage."""
        stages = takewhile(lambda stage: f"{stage}.down" in self.layers, (f"stage{number}" for number in count(1)))
        return [
            list(takewhile(lambda block: f"{block}.conv1" in self.layers, (f"{stage}.{number}" for number in count())))
            for stage in stages
        ]


def folded(network: "keras.Model") -> Weights:
    """Returns the weights of a trained `mirror_resnet`."""
    names, layers = {layer.name for layer in network.layers}, {}
    for layer in network.layers:
        if f"{layer.name}.norm" in names:
            norm = network.get_layer(f"{layer.name}.norm")
            gamma, beta, mean, variance = norm.get_weights()
            factor = gamma / np.sqrt(variance + norm.epsilon)
            layers[layer.name] = (layer.get_weights()[0] * factor, beta - mean * factor)
        elif layer.weights and not layer.name.endswith(".norm"):
            layers[layer.name] = tuple(layer.get_weights())
    return Weights(layers, smooth="stage1.smooth" in names)


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


def mirrored(kernel: np.ndarray, *, lifting: bool = False) -> np.ndarray:
    """Returns the second filter of each pair, the first ones given; `MirrorConvolution.mirrored` in NumPy."""
    reversed_columns = kernel[:, ::-1]
    return reversed_columns if lifting else np.roll(reversed_columns, kernel.shape[2] // 2, axis=2)
