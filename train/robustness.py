"""How a webcam differs from the data set: variations of face crops that a model should be robust to."""

from collections.abc import Callable

import cv2
import numpy as np

Images = np.ndarray
"""uint8 [N, H, W]."""

# A poor camera, at its worst. Training images can be varied up to the same strength (`fer_tf.train.augmentation`).
BLUR = 1.0
"""Standard deviation of the Gaussian, in pixels."""
NOISE = 12.0
"""Standard deviation, in levels of 0 to 255."""
GAMMA = 2.2
LIGHT = 0.5
"""Share of the light that is left."""
POOR_CAMERA_SHARE = 0.25
"""Share of the training images that are varied so, where they are."""


def _each(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Images], Images]:
    return lambda images: np.stack([function(image) for image in images])


def _blurred(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), BLUR, borderType=cv2.BORDER_REPLICATE)


def _noisy(images: Images) -> Images:
    noise = np.random.default_rng(0).normal(0, NOISE, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def _dark(images: Images) -> Images:
    return (255 * (images / 255) ** GAMMA * LIGHT).astype(np.uint8)


def _compressed(image: np.ndarray) -> np.ndarray:
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE))


def _covered(rows: slice, columns: slice) -> Callable[[Images], Images]:
    def cover(images: Images) -> Images:
        covered = images.copy()
        covered[:, rows, columns] = 0
        return covered

    return cover


def _moved(*, right: float = 0, down: float = 0, scale: float = 1) -> Callable[[Images], Images]:
    def move(image: np.ndarray) -> np.ndarray:
        height, width = image.shape
        x, y = (width - 1) / 2, (height - 1) / 2
        matrix = np.array([[scale, 0, x - scale * x + right], [0, scale, y - scale * y + down]])
        return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)

    return _each(move)


VARIATIONS: dict[str, Callable[[Images], Images]] = {
    "as they are": lambda images: images,
    f"blur (Gaussian, σ {BLUR:g} pixel)": _each(_blurred),
    f"noise (σ {NOISE:g} levels)": _noisy,
    f"low light (γ {GAMMA:g}, half as bright)": _dark,
    "JPEG (quality 20)": _each(_compressed),
    "eyes covered": _covered(slice(12, 22), slice(4, 44)),
    "mouth covered": _covered(slice(32, 44), slice(10, 38)),
    "4 pixels to the right": _moved(right=4),
    "4 pixels down": _moved(down=4),
    "15 % larger": _moved(scale=1.15),
    "15 % smaller": _moved(scale=1 / 1.15),
}
"""Functions of face crops, uint8 [N, 48, 48] to the same; equal images give equal results."""
