"""Turns gray faces into the input of a network.

A data set is `original` (the face as it is), the name of a filter, or `stack_<filter>` (both, as channels). The
architecture decides the number of channels, the size and the scale.
"""

import keras
from keras import ops

from fer_tf.catalogue import ARCHITECTURES, DATASETS, IMAGE_SIZE, known
from fer_tf.errors import UserError
from fer_tf.preprocessing.filters import ARITHMETICS, FILTERS, Filter
from fer_tf.preprocessing.resize import RESIZE, resize


def create_preprocessor(
    dataset: str,
    architecture: str = "base_cnn",
    *,
    image_size: int | None = None,
    arithmetic: str = "standard",
    filter_parameters: dict[str, float] | None = None,
) -> "Preprocessor":
    """Returns the layer that prepares faces for a network.

    Args:
        dataset: One of `DATASETS`.
        architecture: One of `fer_tf.catalogue.ARCHITECTURES`; it decides channels, scaling and size.
        image_size: Height and width of the output in pixels; None is the architecture's default.
        arithmetic: One of `fer_tf.preprocessing.filters.ARITHMETICS`.
        filter_parameters: Parameters of the data set's filter by name; the others keep their defaults.

    Returns:
        A layer: uint8 [N, 48, 48] → float32 [N, image_size, image_size, C].

    Raises:
        UserError: if a name is unknown, if the architecture does not take this size, or if a filter parameter is out of
            range.
    """
    expected = ARCHITECTURES[known("architecture", architecture, ARCHITECTURES)]
    image_size = expected.image_size if image_size is None else image_size
    if image_size != expected.image_size and not expected.resizable:
        raise UserError(
            f"{architecture} takes images of {expected.image_size} pixels only. Received: image_size={image_size!r}"
        )
    preprocessor = Preprocessor(
        dataset,
        rgb=expected.rgb,
        image_size=image_size,
        arithmetic=arithmetic,
        filter_parameters=filter_parameters,
    )
    if image_size < expected.smallest:
        raise UserError(
            f"{architecture} takes images of {expected.smallest} pixels or more. Received: image_size={image_size!r}"
        )
    return preprocessor


@keras.saving.register_keras_serializable("fer_tf")
class Preprocessor(keras.layers.Layer):
    """Filter, stack, resizing and scaling as one layer: uint8 [N, 48, 48] → float32 [N, image_size, image_size, C].

    | data set | gray planes | RGB |
    |---|---|---|
    | one image | itself, scaled to −1…1 | three times itself, scaled to −1…1 |
    | stack | original and filtered, scaled to 0…1 | original, filtered, filtered − original + 128, scaled to −1…1 |

    The difference is clipped to 0…255 in standard arithmetic, and taken modulo 256 in original arithmetic. Scaling to
    −1…1 is v / 127.5 − 1, and to 0…1 it is v / 255. `resize` comes before the scaling, on whole levels.

    Args:
        dataset: One of `DATASETS`.
        rgb: Whether to make three channels.
        image_size: Height and width of the output in pixels.
        arithmetic: One of `fer_tf.preprocessing.filters.ARITHMETICS`.
        filter_parameters: Parameters of the data set's filter by name; the others keep their defaults.

    Raises:
        UserError: if a name is unknown, if the data set does not exist in this arithmetic, or if a number is out of
            range.
    """

    def __init__(
        self,
        dataset: str,
        *,
        rgb: bool = False,
        image_size: int = IMAGE_SIZE,
        arithmetic: str = "standard",
        filter_parameters: dict[str, float] | None = None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        known("data set", dataset, DATASETS)
        known("arithmetic", arithmetic, ARITHMETICS)
        if not isinstance(image_size, int) or image_size < 1:
            raise UserError(f"image_size must be a whole number of pixels above 0. Received: {image_size!r}")
        self.dataset, self.rgb, self.image_size, self.arithmetic = dataset, rgb, image_size, arithmetic
        self._stacked = dataset.startswith("stack_")
        self._filter = _filter_of(dataset, arithmetic, filter_parameters or {})

    def call(self, images):
        """Returns the network's input."""
        # Scaled before they are stacked: onnxruntime is slow at arithmetic along an axis of a single channel.
        planes = [self._scaled(resize(plane, self.image_size)) for plane in self._planes(images)]
        return ops.stack(planes * 3 if self.rgb and not self._stacked else planes, axis=-1)

    @property
    def filter_parameters(self) -> dict[str, float]:
        """All parameters of the filter, by name; none without a filter."""
        return self._filter.parameters if self._filter else {}

    @property
    def resizing(self) -> dict[str, int | str]:
        """What a card records of the resizing; empty if images are not resized."""
        return {} if self.image_size == IMAGE_SIZE else {"image_size": self.image_size, "resize": RESIZE}

    def _planes(self, images) -> list:
        """Returns the distinct planes of the data set, each uint8 [N, 48, 48]."""
        filtered = images if self._filter is None else self._filter(images)
        if not self._stacked:
            return [filtered]
        return [images, filtered, self._difference(images, filtered)] if self.rgb else [images, filtered]

    def _scaled(self, plane):
        levels = ops.cast(plane, "float32")
        return levels / 255 if self._stacked and not self.rgb else levels / 127.5 - 1

    def _difference(self, images, filtered):
        difference = ops.cast(filtered, "int32") - ops.cast(images, "int32") + 128
        if self.arithmetic == "standard":
            return ops.cast(ops.clip(difference, 0, 255), "uint8")
        # Made positive first, since runtimes differ in the remainder of a negative number.
        return ops.cast((difference + 256) % 256, "uint8")

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        names = ("dataset", "rgb", "image_size", "arithmetic", "filter_parameters")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _filter_of(dataset: str, arithmetic: str, parameters: dict[str, float]) -> Filter | None:
    """Returns the filter of a data set; None for `original`."""
    name = dataset.removeprefix("stack_")
    kind = FILTERS.get(name)
    known = kind.PARAMETERS if kind else ()
    if unknown := [parameter for parameter in parameters if parameter not in known]:
        has = f"its parameters are {', '.join(known)}" if known else "it has no parameters"
        raise UserError(f"no {unknown[0]!r} in data set {dataset}; {has}")
    return kind(arithmetic=arithmetic, **parameters) if kind else None
