"""Random variations of the training images, made before the filter sees them."""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from fer_tf.train.robustness import GAMMA, LIGHT, NOISE, POOR_CAMERA_SHARE


def augment(
    images: tf.Tensor,
    seed: tf.Tensor,
    *,
    shift: float = 5.0,
    rotation: float = 12.0,
    zoom: float = 1.15,
    contrast: float = 0.25,
    brightness: float = 25.0,
    erase_probability: float = 0.5,
    erase_area: tuple[float, float] = (0.02, 0.2),
    poor_camera: float = 0.0,
) -> tf.Tensor:
    """Returns one random variation of each image; equal seeds give equal variations.

    Mirroring, shift, rotation and zoom are one affine map, so the image is resampled once (bilinear, reflected at
    the border). Then contrast and brightness change, some images become those of a poor camera, and a rectangle of one
    random gray level is put in (random erasing: Zhong et al. 2017, arXiv 1708.04896).

    Args:
        images: uint8 [N, H, W].
        seed: int [2].
        shift: Largest shift to each side, in pixels.
        rotation: Largest rotation to each side, in degrees.
        zoom: Largest factor of magnification; its inverse is the smallest.
        contrast: Largest change of the contrast, as a part of it.
        brightness: Largest change of the brightness, in levels.
        erase_probability: Part of the images that get a rectangle.
        erase_area: Smallest and largest part of the image that the rectangle covers.
        poor_camera: Part of the images that are darkened, blurred and given noise, each more or less.

    Returns:
        uint8 [N, H, W].
    """
    count, height, width = tf.unstack(tf.shape(images))
    draws = tf.random.stateless_uniform([13, count], seed)
    signed = 2 * draws - 1
    faces = tf.cast(images, tf.float32)

    angle = signed[0] * (rotation * 3.141592653589793 / 180)
    scale = zoom ** signed[1]
    mirror = tf.where(draws[2] < 0.5, -1.0, 1.0)
    shifts = signed[3:5] * shift
    faces = _affine(faces, mirror * tf.cos(angle) / scale, tf.sin(angle) / scale, mirror, shifts)

    mean = tf.reduce_mean(faces, axis=[1, 2], keepdims=True)
    gain = 1 + signed[5, :, None, None] * contrast
    faces = (faces - mean) * gain + mean + signed[6, :, None, None] * brightness

    if poor_camera:
        faces = _as_of_a_poor_camera(faces, poor_camera, seed)

    area = erase_area[0] + draws[7] * (erase_area[1] - erase_area[0])
    aspect = 3.0 ** signed[8]
    rectangle = tf.minimum(tf.sqrt([area * aspect, area / aspect]), 1.0)  # [2, N], parts of height and width
    start = draws[9:11] * (1 - rectangle)
    rows = (tf.range(tf.cast(height, tf.float32)) + 0.5) / tf.cast(height, tf.float32)
    columns = (tf.range(tf.cast(width, tf.float32)) + 0.5) / tf.cast(width, tf.float32)
    in_rows = (rows > start[0, :, None]) & (rows < (start + rectangle)[0, :, None])
    in_columns = (columns > start[1, :, None]) & (columns < (start + rectangle)[1, :, None])
    erased = in_rows[:, :, None] & in_columns[:, None, :] & (draws[11] < erase_probability)[:, None, None]
    faces = tf.where(erased, draws[12, :, None, None] * 255, faces)
    return tf.cast(tf.round(tf.clip_by_value(faces, 0, 255)), tf.uint8)


def _affine(faces: tf.Tensor, cosine: tf.Tensor, sine: tf.Tensor, mirror: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    """Resamples float32 [N, H, W] by a map from output to input coordinates about the centre of the image."""
    height, width = tf.unstack(tf.cast(tf.shape(faces)[1:], tf.float32))
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    xx, xy = cosine, -sine
    yx, yy = mirror * sine, mirror * cosine
    x0 = centre_x + shifts[0] - xx * centre_x - xy * centre_y
    y0 = centre_y + shifts[1] - yx * centre_x - yy * centre_y
    zeros = tf.zeros_like(xx)
    maps = tf.stack([xx, xy, x0, yx, yy, y0, zeros, zeros], axis=1)
    moved = keras.ops.image.affine_transform(
        faces[..., None], maps, interpolation="bilinear", fill_mode="reflect", data_format="channels_last"
    )
    return moved[..., 0]


def _as_of_a_poor_camera(faces: tf.Tensor, part: float, seed: tf.Tensor) -> tf.Tensor:
    """Darkens, blurs and adds noise, up to the strength of `fer_tf.train.robustness`.

    Args:
        faces: float32 [N, H, W], of which values outside of 0 to 255 are clipped first.
        part: Of the images; the others stay as they are.
        seed: As for `augment`, whose own draws are others.
    """
    seed, noise_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    draws = tf.random.stateless_uniform([5, tf.shape(faces)[0], 1, 1], seed)
    light = tf.clip_by_value(faces / 255, 0, 1)
    light = light ** (1 + (GAMMA - 1) * draws[0]) * (1 - (1 - LIGHT) * draws[1]) * 255
    blurred = light
    for axis in (1, 2, 1, 2):  # twice (¼ ½ ¼) in each direction has the variance of BLUR, one pixel
        blurred = _smoothed(blurred, axis)
    shot = light + draws[2] * (blurred - light)
    shot += NOISE * draws[3] * tf.random.stateless_normal(tf.shape(faces), noise_seed)
    return tf.where(draws[4] < part, shot, faces)


def _smoothed(faces: tf.Tensor, axis: int) -> tf.Tensor:
    """Convolves with (¼, ½, ¼) along an axis, the border pixel repeated."""
    size = tf.shape(faces)[axis]
    places = tf.range(size)
    before, after = (tf.gather(faces, tf.clip_by_value(places + step, 0, size - 1), axis=axis) for step in (-1, 1))
    return (before + after) / 4 + faces / 2


_light = functools.partial(
    augment, shift=2.5, rotation=6.0, zoom=1.07, contrast=0.12, brightness=12.0, erase_probability=0.0
)

AUGMENTATIONS: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None] = {
    "none": None,
    "light": _light,
    "light-camera": functools.partial(_light, poor_camera=POOR_CAMERA_SHARE),
    "standard": augment,
    "camera": functools.partial(augment, poor_camera=POOR_CAMERA_SHARE),
}
"""What a run's `augment` stands for; the names are those of `fer_tf.train.settings.AUGMENTATIONS`."""
