import math
from fractions import Fraction

import cv2
import numpy as np
import pytest

from fer_tf.realtime.crop import crop_face, resample, tilt


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


@pytest.fixture(scope="module")
def smooth():
    noise = np.random.default_rng(1).integers(0, 256, (900, 1200, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 8), None, 0, 255, cv2.NORM_MINMAX)


def eyes(angle):
    """Landmarks whose eye line is turned clockwise by so many degrees."""
    landmarks = np.full((5, 2), 100.0)
    landmarks[1] += 30 * np.cos(np.radians(angle)), 30 * np.sin(np.radians(angle))
    return landmarks


def reference_crop(image, box):
    """The crop by another way: pad the whole frame, cut, resize."""
    left, top, width, height = box
    pad = 500
    gray = cv2.copyMakeBorder(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), *[pad] * 4, cv2.BORDER_REPLICATE)
    x, y = left + (width - height) // 2 + pad, top + pad
    square = gray[y : y + height, x : x + height]
    return cv2.resize(square, (48, 48), interpolation=cv2.INTER_AREA if height >= 48 else cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    "box",
    [
        (30, 20, 60, 60),
        (30, 20, 48, 48),
        (30, 20, 20, 20),  # smaller than the crop
        (40, 20, 30, 60),  # narrow: the square reaches beyond its sides
        (40, 20, 81, 60),  # wide
        (-25, -10, 60, 60),
        (130, 90, 60, 60),
        (-20, -40, 200, 200),  # larger than the frame
        (300, 300, 50, 50),  # wholly outside
        (-100, 10, 50, 50),
        (159, 119, 1, 1),
    ],
)
def test_a_crop_is_a_centred_square_with_the_border_repeated(image, box):
    crop = crop_face(image, box)
    assert crop.dtype == np.uint8
    np.testing.assert_allclose(crop, reference_crop(image, box), atol=1)  # OpenCV's rounding differs between processors
    assert (crop != reference_crop(image, box)).mean() < 0.05


def test_a_crop_is_never_stretched():
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(image, (150, 100), 40, (255, 255, 255), cv2.FILLED)
    _, _, width, height = cv2.boundingRect(crop_face(image, (120, 50, 60, 100)))
    assert abs(width - height) <= 1


@pytest.mark.parametrize("side", [1, 2, 7, 30, 47, 48, 49, 60, 96, 131])
def test_the_resampling_is_exact(side):
    """Held against fractions; it rounds half up."""
    square = np.random.default_rng(side).integers(0, 256, (side, side), np.uint8)
    rows = [area(side, index) if side > 48 else cubic(side, index) for index in range(48)]
    crop = resample(square, 48)
    for row, column in [(0, 0), (0, 47), (5, 17), (23, 24), (31, 2), (47, 47)]:
        value = sum(int(square[y, x]) * v * u for y, v in rows[row].items() for x, u in rows[column].items())
        assert crop[row, column] == min(255, max(0, math.floor(value + Fraction(1, 2))))


def area(side, index):
    """The share of each pixel in one of 48."""
    first, last = Fraction(index * side, 48), Fraction((index + 1) * side, 48)
    shares = {pixel: (min(last, pixel + 1) - max(first, pixel)) * 48 / side for pixel in range(side)}
    return {pixel: share for pixel, share in shares.items() if share > 0}


def cubic(side, index):
    """The weight of each pixel in one of 48, by Keys's kernel with a = -3/4; the border is repeated."""
    a, center, weights = Fraction(-3, 4), (index + Fraction(1, 2)) * side / 48 - Fraction(1, 2), {}
    for pixel in range(math.floor(center) - 1, math.floor(center) + 3):
        d = abs(center - pixel)
        weight = (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)
        inside = min(max(pixel, 0), side - 1)
        weights[inside] = weights.get(inside, 0) + weight
    return weights


@pytest.mark.parametrize("box", [(500, 300, 60, 60), (500, 300, 91, 97), (400, 250, 150, 200), (300, 150, 500, 500)])
@pytest.mark.parametrize("angle", [11, -20, 45, -80])
def test_a_tilted_face_is_turned_level(smooth, box, angle):
    left, top, width, side = box
    left += (width - side) // 2
    gray = cv2.cvtColor(smooth, cv2.COLOR_BGR2GRAY)
    matrix = cv2.getRotationMatrix2D((left + (side - 1) / 2, top + (side - 1) / 2), angle, 1)
    level = cv2.warpAffine(gray, matrix, gray.shape[::-1], flags=cv2.INTER_CUBIC)[top : top + side, left : left + side]
    expected = cv2.resize(level, (48, 48), interpolation=cv2.INTER_AREA)
    crop = crop_face(smooth, box, eyes(angle))
    assert crop.dtype == np.uint8
    np.testing.assert_allclose(crop, expected, atol=5)
    assert np.abs(crop.astype(float) - expected).mean() < 1


ODD = [np.array([(0, 0), (5, down), (3, 3), (0, 6), (5, 6)]) for down in (np.nan, np.inf)]


@pytest.mark.parametrize(
    "landmarks",
    [None, eyes(0), eyes(9.9), eyes(-9.9), eyes(90), eyes(135), eyes(180), np.zeros((5, 2)), eyes(np.nan), *ODD],
)
def test_other_faces_stay_as_they_are(smooth, landmarks):
    box = (500, 300, 90, 100)
    np.testing.assert_array_equal(crop_face(smooth, box, landmarks), crop_face(smooth, box))


def test_the_least_tilt_can_be_chosen(smooth):
    box = (500, 300, 90, 100)
    np.testing.assert_array_equal(crop_face(smooth, box, eyes(30), least_tilt=31), crop_face(smooth, box))
    assert (crop_face(smooth, box, eyes(4), least_tilt=3) != crop_face(smooth, box)).any()


def test_a_tilt_is_clockwise():
    assert [round(tilt(eyes(angle))) for angle in (0, 30, -30, 170)] == [0, 30, -30, 170]


@pytest.mark.parametrize(
    "box", [(-20, -30, 60, 80), (140, 100, 70, 60), (300, 300, 50, 50), (0, 0, 1, 1), (70, 5, 9, 5)]
)
def test_a_turned_crop_repeats_the_border_too(image, box):
    padded = cv2.copyMakeBorder(image, *[400] * 4, cv2.BORDER_REPLICATE)
    moved = (box[0] + 400, box[1] + 400, *box[2:])
    np.testing.assert_array_equal(crop_face(image, box, eyes(25)), crop_face(padded, moved, eyes(25)))


@pytest.mark.parametrize("box", [(30, 20, 60, 60), (-5, 30, 37, 31), (20, -40, 150, 193), (1, 2, 4, 7)])
@pytest.mark.parametrize("angle", [17.3, -41])
def test_another_language_gets_the_same_gray_levels(image, box, angle):
    """By loops and scalars alone, as a port would do it."""
    landmarks = eyes(angle).astype(np.float32)
    turned = ported(image.tolist(), box, landmarks.tolist())
    expected = resample(np.array(turned, np.uint8), 48)
    np.testing.assert_array_equal(crop_face(image, box, landmarks), expected)


def ported(image, box, landmarks):
    """The turned square before it is resampled, as a list of rows."""
    left, top, width, side = box
    left += (width - side) // 2
    dx, dy = landmarks[1][0] - landmarks[0][0], landmarks[1][1] - landmarks[0][1]
    length = math.sqrt(dx * dx + dy * dy)
    cosine, sine = dx / length, dy / length
    factor = max(1, side // 96)
    count = max(1, side // factor)
    reach = count * 3 // 4 + 2
    start_x, start_y = ((2 * corner + side - 2 * reach * factor) // 2 for corner in (left, top))

    def gray(x, y):
        blue, green, red = image[min(max(y, 0), len(image) - 1)][min(max(x, 0), len(image[0]) - 1)]
        return (3735 * blue + 19235 * green + 9798 * red + 16384) >> 15

    def block(column, row):
        inside = [
            (start_x + column * factor + x, start_y + row * factor + y) for y in range(factor) for x in range(factor)
        ]
        return (2 * sum(gray(x, y) for x, y in inside) + factor * factor) // (2 * factor * factor)

    around = [[block(column, row) for column in range(2 * reach)] for row in range(2 * reach)]
    middle_x = (left + side / 2 - start_x) / factor - 0.5
    middle_y = (top + side / 2 - start_y) / factor - 0.5
    step = side / factor / count
    rows = []
    for j in range(count):
        rows.append([])
        for i in range(count):
            along, across = (i - (count - 1) / 2) * step, (j - (count - 1) / 2) * step
            x = middle_x + cosine * along - sine * across
            y = middle_y + sine * along + cosine * across
            column, row = math.floor(x), math.floor(y)
            right, down = x - column, y - row
            upper, lower = (
                line[column] + right * (line[column + 1] - line[column]) for line in (around[row], around[row + 1])
            )
            rows[-1].append(math.floor(upper + down * (lower - upper) + 0.5))
    return rows
