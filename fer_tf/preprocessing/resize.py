"""Pillow's bilinear resize, bit for bit, in operations that convert to ONNX."""

import functools

import numpy as np
from keras import ops

RESIZE = "bilinear as Pillow's, in whole levels"
"""How a model card describes `resize`."""


def resize(images, size: int):
    """Resizes images bit for bit as Pillow's `Image.resize(…, Resampling.BILINEAR)` does.

    A horizontal, then a vertical pass, each rounded to whole levels. All sums are exact in float64.

    Args:
        images: uint8 [N, H, W] with known H and W.
        size: Height and width of the result in pixels.

    Returns:
        uint8 [N, size, size]; the images themselves if they have this size.
    """
    if tuple(images.shape[1:]) == (size, size):
        return images
    for _ in ("across", "down"):
        # Of three axes, as the images are: else Keras reshapes them, and the exported graph loses track of their size.
        weights = ops.convert_to_tensor(_resize_matrix(images.shape[2], size).T[None], "float64")
        levels = ops.floor(ops.matmul(ops.cast(images, "float64"), weights) + 0.5)
        images = ops.transpose(ops.cast(levels, "uint8"), (0, 2, 1))
    return images


@functools.cache
def _resize_matrix(size: int, new_size: int) -> np.ndarray:
    """Returns Pillow's weight of each old pixel in each new one, float64 [new_size, size].

    The weights form a triangle around the new pixel's center, as wide as two old or two new pixels, whichever is wider.
    Pillow stores them in fixed point, which decides ties.
    """
    scale = size / new_size
    reach = max(scale, 1)
    matrix = np.zeros((new_size, size))
    for row, weights in enumerate(matrix):
        center = (row + 0.5) * scale
        reached = np.arange(max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), size))
        triangle = np.maximum(1 - np.abs(reached + 0.5 - center) / reach, 0)
        weights[reached] = np.floor(triangle / triangle.sum() * 2**22 + 0.5) / 2**22
    return matrix
