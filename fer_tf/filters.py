"""Image filters as Keras layers: uint8 [N, H, W] in, uint8 [N, H, W] out, 0 to 255, also on numpy arrays.

Each filter exists once. The tf.data pipeline maps it, and the exported graph contains it, so what a network was
trained on is what it gets in use. All of them are exact: the tests hold every pixel against an independent source.
"""

import keras
import numpy as np
from keras import ops

from fer_tf.command import UserError

ARITHMETICS = ("standard", "original")
"""`original` is the wrapping arithmetic of the first project, which its checkpoints need; `standard` has no wraps."""


class Filter(keras.layers.Layer):
    """A filter on gray images.

    Args:
        arithmetic: One of `ARITHMETICS`.

    Raises:
        UserError: if `arithmetic` is another.
    """

    def __init__(self, arithmetic: str = "standard", **kwargs):
        super().__init__(trainable=False, autocast=False, **kwargs)
        if arithmetic not in ARITHMETICS:
            raise UserError(f"arithmetic must be one of {', '.join(ARITHMETICS)}. Received: {arithmetic!r}")
        self.arithmetic = arithmetic

    def compute_output_spec(self, images):
        """Returns the spec of the images: a filter changes neither shape nor dtype."""
        return keras.KerasTensor(images.shape, "uint8")

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "arithmetic": self.arithmetic}


@keras.saving.register_keras_serializable("fer_tf")
class Sharpen(Filter):
    """Unsharp mask: x + amount · (x − G∗x), G a normalised 3×3 Gaussian, clipped to 0…255 and truncated.

    Both arithmetics are the same. The blur is summed in float64 and stored as float32; a float32 sum differs by one
    level in 0.4 % of the pixels. It is written as shifted multiply-adds since onnxruntime has no float64 convolution.

    Args:
        amount: Weight of the detail that is added.
        sigma: Standard deviation of the Gaussian, in pixels.
        arithmetic: One of `ARITHMETICS`.
    """

    def __init__(self, amount: float = 2.0, sigma: float = 1.0, arithmetic: str = "standard", **kwargs):
        super().__init__(arithmetic, **kwargs)
        self.amount, self.sigma = amount, sigma
        profile = np.exp(-(np.arange(-1, 2) ** 2) / (2 * sigma**2))
        kernel = np.outer(profile, profile)
        self._kernel = kernel / kernel.sum()

    def call(self, images):
        """Returns the sharpened images."""
        sharp = ops.cast(images, "float32")
        blurred = sum(
            weight * plane
            for weight, plane in zip(self._kernel.ravel(), _neighbourhood(images, "float64"), strict=True)
        )
        sharp = sharp + self.amount * (sharp - ops.cast(blurred, "float32"))
        return ops.cast(ops.clip(sharp, 0, 255), "uint8")

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "amount": self.amount, "sigma": self.sigma}


FILTERS: dict[str, type[Filter]] = {"sharpen": Sharpen}
"""The filters by the name that data sets call them."""


def _neighbourhood(images, dtype: str) -> list:
    """Returns the nine planes of each pixel's 3×3 neighbourhood, row by row, edges replicated."""
    padded = ops.pad(ops.cast(images, dtype), [[0, 0], [1, 1], [1, 1]], mode="symmetric")
    height, width = ops.shape(images)[1:]
    return [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
