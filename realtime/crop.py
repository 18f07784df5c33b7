"""Face crops: gray squares of 48 pixels, turned level where the head is tilted.

Every step is arithmetic on whole numbers, or on float64 without fused multiply-adds, in the order written here. A port
to another language that follows it gets the same gray levels.
"""

import functools
import math

import cv2
import numpy as np

from fer_tf.catalogue import IMAGE_SIZE

LEAST_TILT = 10.0
"""Tilt in degrees up to which faces are left as they are: it is no larger than the error of the landmarks."""

_TURNED_SIDE = 2 * IMAGE_SIZE
"""Side in pixels to which larger squares are reduced, by a whole factor, before they are turned."""


def crop_face(
    image: np.ndarray,
    box: tuple[int, int, int, int],
    landmarks: np.ndarray | None = None,
    *,
    size: int = IMAGE_SIZE,
    least_tilt: float = LEAST_TILT,
) -> np.ndarray:
    """Crops a face: the square around the center of its box, and as high as the box, without distortion.

    A face whose eye line is tilted by more than `least_tilt` degrees is turned level around that center. Where the
    square extends beyond the frame, the border of the frame is repeated.

    Args:
        image: uint8 [H, W, 3], BGR.
        box: Left, top, width and height in pixels.
        landmarks: float [5, 2], in pixels, as in `Detections`; None leaves the face as it is.
        size: Side of the crop in pixels.
        least_tilt: Degrees, 0 to 90.

    Returns:
        uint8 [size, size], gray.
    """
    left, top, width, height = box
    side = max(1, height)
    left += (width - side) // 2
    cosine, sine = (1.0, 0.0) if landmarks is None else _direction(landmarks, least_tilt)
    if sine == 0:
        return resample(_gray_square(image, left, top, side), size)
    return resample(_turned(image, left, top, side, cosine, sine), size)


def tilt(landmarks: np.ndarray) -> float:
    """Returns by how many degrees the eye line is turned clockwise, -180 to 180; `landmarks` as in `crop_face`."""
    right, down = np.subtract(landmarks[1], landmarks[0])
    return math.degrees(math.atan2(down, right))


def _direction(landmarks: np.ndarray, least_tilt: float) -> tuple[float, float]:
    """Returns cosine and sine of the angle to turn a face by; 1 and 0 to leave it."""
    right, down = (float(value) for value in np.subtract(landmarks[1], landmarks[0], dtype=np.float64))
    length = math.sqrt(right * right + down * down)
    # The detector finds no faces that lie on the side or upside down, so such eyes are an error.
    if right > 0 and abs(down) > length * math.sin(math.radians(least_tilt)):
        return right / length, down / length
    return 1.0, 0.0


def _gray_square(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """Returns uint8 [side, side]: (3735 B + 19235 G + 9798 R + 16384) >> 15 of each pixel, the border repeated."""
    rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, image.shape[1] - 1)
    inside = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    gray = cv2.cvtColor(inside, cv2.COLOR_BGR2GRAY)
    if gray.shape == (side, side):
        return gray
    return gray[np.ix_(rows - rows[0], columns - columns[0])]


def _turned(image: np.ndarray, left: int, top: int, side: int, cosine: float, sine: float) -> np.ndarray:
    """Turns a square around its center, with bilinear interpolation: uint8 [n, n], n being `side` over a whole factor.

    The upright square around it is first averaged over blocks of factor × factor pixels. Both steps round half up.
    """
    factor = max(1, side // _TURNED_SIDE)
    count = max(1, side // factor)  # pixels of the result
    reach = count * 3 // 4 + 2  # half of the upright square, in blocks; the half diagonal is 0.71 of the side
    # Halved at the end, since the center may lie between two pixels.
    start_x, start_y = ((2 * corner + side - 2 * reach * factor) // 2 for corner in (left, top))
    around = _gray_square(image, start_x, start_y, 2 * reach * factor)
    if factor > 1:
        sums = cv2.integral(around, sdepth=cv2.CV_64F)[::factor, ::factor]
        sums = np.diff(np.diff(sums, axis=0), axis=1)
        around = np.floor((2 * sums + factor * factor) / (2 * factor * factor))
    around = around.astype(np.float64)
    middle_x = (left + side / 2 - start_x) / factor - 0.5
    middle_y = (top + side / 2 - start_y) / factor - 0.5
    offsets = (np.arange(count) - (count - 1) / 2) * (side / factor / count)
    x = middle_x + cosine * offsets[None, :] - sine * offsets[:, None]
    y = middle_y + sine * offsets[None, :] + cosine * offsets[:, None]
    column, row = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, down = x - column, y - row
    place = row * (2 * reach) + column
    flat = around.ravel()
    upper = flat[place] + right * (flat[place + 1] - flat[place])
    place += 2 * reach
    lower = flat[place] + right * (flat[place + 1] - flat[place])
    turned: np.ndarray = np.floor(upper + down * (lower - upper) + 0.5)
    return turned.astype(np.uint8)


def resample(square: np.ndarray, size: int) -> np.ndarray:
    """Resizes a gray square: by area to shrink, by cubic interpolation to enlarge.

    The weighted sums are whole numbers below 2**53. They are divided once, and rounded half up.

    Args:
        square: uint8 [side, side].
        size: Side of the result.

    Returns:
        uint8 [size, size].
    """
    side = len(square)
    if side == size:
        return square
    if side > size:
        # The summed-area table of an image whose pixels are squares is linear between its entries.
        table = cv2.integral(square, sdepth=cv2.CV_64F)
        sums = np.diff(np.diff(_between(_between(table, size).T, size).T, axis=0), axis=1)
        total = side * side
    else:
        sums = _cubic(_cubic(square.astype(np.float64), size).T, size).T
        total = (4 * (2 * size) ** 3) ** 2
    rounded: np.ndarray = np.floor(np.clip((2 * sums + total) / (2 * total), 0, 255))
    return rounded.astype(np.uint8)


def _between(table: np.ndarray, size: int) -> np.ndarray:
    """Interpolates the rows of a summed-area table at the edges of the new pixels, times `size`: [size + 1, n]."""
    side = len(table) - 1
    rows, parts = np.divmod(np.arange(size + 1) * side, size)
    between: np.ndarray = (size - parts)[:, None] * table[rows] + parts[:, None] * table[np.minimum(rows + 1, side)]
    return between


def _cubic(values: np.ndarray, size: int) -> np.ndarray:
    """Interpolates between rows, the border repeated: [side, n] to [size, n], times 4 (2 size)³."""
    terms = [weights[:, None] * values[rows] for rows, weights in _taps(len(values), size)]
    between: np.ndarray = np.sum(terms, axis=0)
    return between


@functools.lru_cache(maxsize=2 * IMAGE_SIZE)
def _taps(side: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the four rows around each new row, and the weights of each: pairs of int64 [size].

    R. G. Keys: Cubic Convolution Interpolation for Digital Image Processing. IEEE Transactions on Acoustics, Speech,
    and Signal Processing 29, 1981; with a slope of -3/4, as in OpenCV.
    """
    unit = 2 * size
    centers = (2 * np.arange(size) + 1) * side - size  # in parts of `unit` of a row
    taps = []
    for tap in (-1, 0, 1, 2):
        rows = centers // unit + tap
        d = np.abs(centers - rows * unit)
        near = 5 * d**3 - 9 * unit * d**2 + 4 * unit**3
        far = -3 * d**3 + 15 * unit * d**2 - 24 * unit**2 * d + 12 * unit**3
        taps.append((np.clip(rows, 0, side - 1), np.where(d <= unit, near, far)))
    return taps
