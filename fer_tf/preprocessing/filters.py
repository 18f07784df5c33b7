"""Image filters as Keras layers: uint8 [N, H, W] in, uint8 [N, H, W] out, 0 to 255, also on numpy arrays.

Each filter exists once. Training applies it and the exported graph contains it, so a network sees the same input in
both. Beyond the edge of an image its outermost pixels are repeated. The arithmetic is integer, or float with sums in a
fixed order, so TensorFlow and onnxruntime agree in every pixel.
"""

import math
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from fer_tf.errors import UserError

ARITHMETICS = ("standard", "original")
"""`original` overflows as the first project did, which its checkpoints need; `standard` does not."""

_LEVELS = 256


class Filter(keras.layers.Layer):
    """A filter on gray images.

    Args:
        arithmetic: One of `ARITHMETICS`.

    Raises:
        UserError: if `arithmetic` is unknown.
    """

    PARAMETERS: ClassVar[tuple[str, ...]] = ()
    """Names of the filter's own arguments, which are also attributes."""

    def __init__(self, arithmetic: str = "standard", **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.built = True  # there are no weights, and Keras would warn that they are missing
        if arithmetic not in ARITHMETICS:
            raise UserError(f"arithmetic must be one of {', '.join(ARITHMETICS)}. Received: {arithmetic!r}")
        self.arithmetic = arithmetic

    def compute_output_spec(self, images):
        """Returns the spec of the input, since a filter changes neither shape nor dtype."""
        return keras.KerasTensor(images.shape, "uint8")

    @property
    def parameters(self) -> dict[str, float]:
        """The values of `PARAMETERS`."""
        return {name: getattr(self, name) for name in self.PARAMETERS}

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "arithmetic": self.arithmetic, **self.parameters}


@keras.saving.register_keras_serializable("fer_tf")
class HistMedian(Filter):
    """Histogram equalization, then a 3×3 median.

    Level v becomes ⌊(cdf[v] − cdf[0]) · 255 / (H·W − cdf[0])⌋, where cdf[v] counts the pixels of level v or below. In
    standard arithmetic an image of a single level stays the same.

    Original arithmetic first negates the image, v → (256 − v) mod 256. By the formula above, an image of a single level
    then becomes white. A black one, for which the first project divides by zero, stays black.

    Args:
        arithmetic: One of `ARITHMETICS`.
    """

    def call(self, images):
        """Returns the equalized and smoothed images."""
        levels = ops.cast(images, "int32")
        if self.arithmetic == "original":
            levels = ops.where(levels == 0, 0, _LEVELS - levels)
        return ops.cast(_median(self._equalized(levels)), "uint8")

    def _equalized(self, levels):
        """Equalizes int32 [N, H, W]."""
        count, height, width = ops.shape(levels)
        # One histogram for the batch, with 256 bins for each image: sums and gathers on flat indices are many times
        # faster than one-hot encodings.
        bins = ops.reshape(levels + _LEVELS * ops.reshape(ops.arange(count, dtype="int32"), (-1, 1, 1)), (-1,))
        histogram = ops.reshape(
            tf.math.unsorted_segment_sum(ops.ones_like(bins), bins, count * _LEVELS), (count, _LEVELS)
        )
        cdf = ops.cumsum(histogram, axis=1)
        table = (cdf - cdf[:, :1]) * 255 // ops.maximum(height * width - cdf[:, :1], 1)
        if self.arithmetic == "standard":
            constant = ops.any(histogram == height * width, axis=1, keepdims=True)
            table = ops.where(constant, ops.arange(_LEVELS, dtype="int32"), table)
        # `ops.take` and `tf.gather` give the same, but are slow where they gather single elements.
        return ops.reshape(tf.gather_nd(ops.reshape(table, (-1,)), bins[:, None]), (count, height, width))


@keras.saving.register_keras_serializable("fer_tf")
class Sobel(Filter):
    """Magnitude of the Sobel gradient, divided by its maximum in the image, times 255, truncated.

    Both arithmetics give the same. An image of a single level, which has no gradient, becomes black.

    Args:
        arithmetic: One of `ARITHMETICS`.
    """

    def call(self, images):
        """Returns the gradients' magnitudes."""
        return ops.cast(_magnitude(*_gradient(ops.cast(images, "float32"))), "uint8")


@keras.saving.register_keras_serializable("fer_tf")
class Canny(Filter):
    """Canny's edges as 255 on 0, in float32: 5×5 Gaussian, Sobel, thinning to ridges, two thresholds.

    The gradient's magnitude is scaled to 0…255 by its maximum in the image. A pixel is on a ridge if neither neighbor
    along the gradient, rounded to the nearest 45°, is larger; pixels beyond the image never are. A ridge pixel of at
    least `high` is an edge. One of at least `low` is an edge if any of its eight neighbors is such an edge. This is one
    pass of hysteresis, as in the first project: weak edges grow no further. The tests compare it with the same steps in
    float64, built from OpenCV and SciPy.

    The first project's thresholds are 50 and 150. Without its overflow, 4 % of FER-2013's pixels are then edges, often
    none of them in the face; with the defaults 14 % are.

    Args:
        low: Threshold of weak edges, 0 to 255.
        high: Threshold of strong edges, 0 to 255.
        sigma: Standard deviation of the Gaussian, 0.1 to 100 pixels.
        arithmetic: `standard`.

    Raises:
        UserError: if `arithmetic` is `original`, or a number is out of range.
    """

    PARAMETERS = ("low", "high", "sigma")

    def __init__(self, low: float = 20, high: float = 60, sigma: float = 1.4, arithmetic: str = "standard", **kwargs):
        super().__init__(arithmetic, **kwargs)
        if arithmetic != "standard":
            raise UserError(
                "canny exists in standard arithmetic only: in the original's, integers overflow until little but "
                "noise is left; take another data set"
            )
        if not 0 <= low <= high <= 255:
            raise UserError(f"canny's thresholds must be 0 ≤ low ≤ high ≤ 255. Received: low={low:g}, high={high:g}")
        self.low, self.high, self.sigma = low, high, _standard_deviation(sigma)

    def call(self, images):
        """Returns the edges."""
        right, down = _gradient(_blurred(ops.cast(images, "float32"), self.sigma))
        magnitude = _magnitude(right, down)
        ridges = ops.where(_is_ridge(magnitude, right, down), magnitude, 0.0)
        strongest_near = _largest(_shifts(_largest(_shifts(_framed_in_black(ridges), axis=1)), axis=2))
        edges = ops.logical_and(ridges >= self.low, strongest_near >= self.high)
        return ops.cast(edges, "uint8") * ops.cast(255, "uint8")


@keras.saving.register_keras_serializable("fer_tf")
class Sharpen(Filter):
    """Unsharp mask: x + amount · (x − G∗x), G a normalized 3×3 Gaussian, clipped to 0…255 and truncated.

    Both arithmetics give the same. The blur is computed in float64 and stored as float32; in float32 alone, 0.4 % of
    the pixels would differ by one level. It uses shifted sums because onnxruntime has no float64 convolution.

    Args:
        amount: Weight of the detail that is added, -100 to 100; a negative weight removes it.
        sigma: Standard deviation of the Gaussian, 0.1 to 100 pixels.
        arithmetic: One of `ARITHMETICS`.

    Raises:
        UserError: if a number is out of range.
    """

    PARAMETERS = ("amount", "sigma")

    def __init__(self, amount: float = 2.0, sigma: float = 1.0, arithmetic: str = "standard", **kwargs):
        super().__init__(arithmetic, **kwargs)
        if not abs(amount) <= 100:
            raise UserError(f"sharpen's amount must be from -100 to 100. Received: {amount:g}")
        self.amount, self.sigma = amount, _standard_deviation(sigma)
        profile = np.exp(-(np.arange(2) ** 2) / (2 * sigma**2))
        self._weights = np.outer(profile, profile) / (profile[0] + 2 * profile[1]) ** 2

    def call(self, images):
        """Returns the sharpened images."""
        above, level, below = _shifts(_framed(ops.cast(images, "float32")), axis=1)
        left, center, right = _shifts(level, axis=2)
        corners_left, ends, corners_right = _shifts(above + below, axis=2)
        sides, corners = left + right + ends, corners_left + corners_right
        (here, beside), (_, across) = self._weights
        blurred = sum(
            weight * ops.cast(levels, "float64")
            for weight, levels in ((here, center), (beside, sides), (across, corners))
        )
        sharp = center + self.amount * (center - ops.cast(blurred, "float32"))
        return ops.cast(ops.clip(sharp, 0, 255), "uint8")


FILTERS: dict[str, type[Filter]] = {"hist_median": HistMedian, "sobel": Sobel, "canny": Canny, "sharpen": Sharpen}
"""The filters by name."""


def _standard_deviation(sigma: float) -> float:
    """Checks a standard deviation: below 0.1 the weights of our small Gaussians vanish, above 100 they are equal."""
    if not 0.1 <= sigma <= 100:
        raise UserError(f"sigma must be from 0.1 to 100 pixels. Received: {sigma:g}")
    return sigma


def _framed(planes, width: int = 1):
    """Pads planes [N, H, W] by `width` pixels on each side, repeating the outermost ones."""
    # For one pixel `ops.pad` in its symmetric mode gives the same, but it is slower in TensorFlow.
    planes = ops.concatenate([planes[:, :1]] * width + [planes] + [planes[:, -1:]] * width, axis=1)
    return ops.concatenate([planes[:, :, :1]] * width + [planes] + [planes[:, :, -1:]] * width, axis=2)


def _framed_in_black(planes):
    """Pads planes [N, H, W] with zeros, one pixel on each side."""
    return ops.pad(planes, [[0, 0], [1, 1], [1, 1]])


def _shifts(planes, axis: int, size: int = 3) -> list:
    """Returns `size` views of the planes, each a pixel further along the axis and size − 1 pixels shorter."""
    length = ops.shape(planes)[axis] - size + 1
    before = (slice(None),) * axis
    return [planes[(*before, slice(start, start + length))] for start in range(size)]


def _smallest(planes: list):
    return ops.minimum(ops.minimum(planes[0], planes[1]), planes[2])


def _middle(planes: list):
    low, high = ops.minimum(planes[0], planes[1]), ops.maximum(planes[0], planes[1])
    return ops.maximum(low, ops.minimum(high, planes[2]))


def _largest(planes: list):
    return ops.maximum(ops.maximum(planes[0], planes[1]), planes[2])


def _median(planes):
    """Returns the 3×3 median. Columns are sorted first, since neighboring pixels share them."""
    columns = _shifts(_framed(planes), axis=1)
    low, middle, high = (_shifts(rank(columns), axis=2) for rank in (_smallest, _middle, _largest))
    return _middle([_largest(low), _middle(middle), _smallest(high)])


def _gradient(planes) -> tuple:
    """Returns Sobel's derivatives of float32 [N, H, W], to the right and down."""
    framed = _framed(planes)
    above, level, below = _shifts(framed, axis=1)
    left, _, right = _shifts(above + below + 2 * level, axis=2)
    before, level, behind = _shifts(framed, axis=2)
    upper, _, lower = _shifts(before + behind + 2 * level, axis=1)
    return right - left, lower - upper


def _magnitude(right, down):
    """Returns the gradient's magnitude, scaled so that its maximum in each image is 255."""
    magnitude = ops.sqrt(right * right + down * down)
    peak = tf.reduce_max(magnitude, axis=(1, 2), keepdims=True)  # `ops.max` refuses an empty batch
    return magnitude / ops.where(peak > 0, peak, 1.0) * 255


def _blurred(planes, sigma: float):
    """Convolves float32 [N, H, W] with a separable 5×5 Gaussian whose center weighs 1."""
    far, near = (math.exp(-(distance**2) / (2 * sigma**2)) for distance in (2, 1))
    planes = _framed(planes, 2)
    for axis in (1, 2):
        first, second, third, fourth, fifth = _shifts(planes, axis, 5)
        # In this order the sums of a mirror image are the same, and so are its edges, mirrored.
        planes = far * (first + fifth) + near * (second + fourth) + third
    return planes


def _is_ridge(magnitude, right, down):
    """Returns where the magnitude is no smaller than at its two neighbors along the gradient: bool [N, H, W]."""
    rows = _shifts(_framed_in_black(magnitude), axis=1)
    (northwest, north, northeast), (west, _, east), (southwest, south, southeast) = (_shifts(r, axis=2) for r in rows)
    sideways, upright = ops.abs(right), ops.abs(down)
    half_way = math.tan(math.pi / 8)
    rival = ops.where(right * down > 0, ops.maximum(northwest, southeast), ops.maximum(northeast, southwest))
    rival = ops.where(sideways <= half_way * upright, ops.maximum(north, south), rival)
    rival = ops.where(upright <= half_way * sideways, ops.maximum(west, east), rival)
    return magnitude >= rival
