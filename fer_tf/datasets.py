"""The data sets: what a network is fed, from the gray face to the tensor.

A data set is `original` (the face as it is), the name of a filter, or `stack_<filter>` (both, as channels).
"""

import keras
from keras import ops

from fer_tf.card import IMAGE_SIZE
from fer_tf.command import UserError
from fer_tf.filters import ARITHMETICS, FILTERS

DATASETS = ("original", *FILTERS, *(f"stack_{name}" for name in FILTERS))


def channels(dataset: str) -> int:
    """Returns how many planes a data set has: 1, or 2 for a stack.

    Raises:
        UserError: if there is no such data set.
    """
    if dataset not in DATASETS:
        raise UserError(f"no data set {dataset!r}; expected one of {', '.join(DATASETS)}")
    return 2 if dataset.startswith("stack_") else 1


@keras.saving.register_keras_serializable("fer_tf")
class Preprocessor(keras.layers.Layer):
    """Filter, stack and scaling as one layer: uint8 [N, 48, 48] → float32 [N, 48, 48, C].

    One plane is scaled to −1…1 (v / 127.5 − 1), the two planes of a stack to 0…1 (v / 255).

    Args:
        dataset: One of `DATASETS`.
        arithmetic: One of `fer_tf.filters.ARITHMETICS`.

    Raises:
        UserError: if either is unknown.
    """

    def __init__(self, dataset: str, arithmetic: str = "standard", **kwargs):
        super().__init__(trainable=False, autocast=False, **kwargs)
        self.dataset, self.arithmetic = dataset, arithmetic
        self._stacked = channels(dataset) == 2
        if arithmetic not in ARITHMETICS:
            raise UserError(f"arithmetic must be one of {', '.join(ARITHMETICS)}. Received: {arithmetic!r}")
        self._filter = None if dataset == "original" else FILTERS[dataset.removeprefix("stack_")](arithmetic=arithmetic)

    def call(self, images):
        """Returns the network's input."""
        filtered = images if self._filter is None else self._filter(images)
        if self._stacked:
            return ops.cast(ops.stack([images, filtered], axis=-1), "float32") / 255
        return ops.cast(ops.expand_dims(filtered, -1), "float32") / 127.5 - 1

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "dataset": self.dataset, "arithmetic": self.arithmetic}


def create_preprocessor(
    dataset: str,
    architecture: str = "base_cnn",
    *,
    image_size: int | None = None,
    arithmetic: str = "standard",
) -> Preprocessor:
    """Returns the layer that feeds a network.

    Args:
        dataset: One of `DATASETS`.
        architecture: One of `fer_tf.models.ARCHITECTURES`; it decides channels, scaling and size.
        image_size: Height and width of the output in pixels; None is what the architecture takes.
        arithmetic: One of `fer_tf.filters.ARITHMETICS`.

    Returns:
        A layer: uint8 [N, 48, 48] → float32 [N, image_size, image_size, C].

    Raises:
        UserError: if one of them is unknown, or if the architecture does not take that size.
    """
    if architecture != "base_cnn":
        raise UserError(f"no architecture {architecture!r}; expected base_cnn")
    if image_size not in (None, IMAGE_SIZE):
        raise UserError(f"base_cnn takes images of {IMAGE_SIZE} pixels only. Received: image_size={image_size!r}")
    return Preprocessor(dataset, arithmetic)
