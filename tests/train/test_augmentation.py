import cv2
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from fer_tf.train.augmentation import AUGMENTATIONS, _affine, _smoothed, augment  # noqa: E402
from fer_tf.train.settings import AUGMENTATIONS as NAMES  # noqa: E402

STILL = {"shift": 0.0, "rotation": 0.0, "zoom": 1.0, "contrast": 0.0, "brightness": 0.0, "erase_probability": 0.0}


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (64, 48, 48), np.uint8)
    return np.stack([cv2.GaussianBlur(image, (7, 7), 2) for image in noise])


def test_equal_seeds_equal_images_other_seeds_others(faces):
    first, again, other = (augment(tf.constant(faces), seed).numpy() for seed in ([0, 1], [0, 1], [0, 2]))
    assert first.dtype == np.uint8
    assert first.shape == faces.shape
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=(1, 2)).all()


def test_without_ranges_an_image_stays_or_is_mirrored(faces):
    varied = augment(tf.constant(faces), [0, 0], **STILL).numpy()
    same = (varied == faces).all(axis=(1, 2))
    mirrored = (varied == faces[:, :, ::-1]).all(axis=(1, 2))
    assert (same ^ mirrored).all()
    assert 16 < same.sum() < 48


def test_affine_map_is_that_of_opencv(faces):
    random = np.random.default_rng(1)
    images = faces[:8].astype(np.float32)
    angles, scales = random.uniform(-0.3, 0.3, 8), random.uniform(0.8, 1.25, 8)
    shifts = random.uniform(-5, 5, (2, 8))
    mirrors = np.array([1, -1] * 4)
    cosines, sines = mirrors * np.cos(angles) / scales, np.sin(angles) / scales
    moved = _affine(*(tf.constant(x, tf.float32) for x in (images, cosines, sines, mirrors, shifts))).numpy()
    for n, image in enumerate(images):
        # Output to input: about the centre, mirror, rotate and scale, then shift.
        turn = np.array([[cosines[n], -sines[n]], [mirrors[n] * sines[n], mirrors[n] * cosines[n]]])
        assert abs(abs(np.linalg.det(turn)) - scales[n] ** -2) < 1e-9
        offset = np.array([23.5, 23.5]) + shifts[:, n] - turn @ [23.5, 23.5]
        matrix = np.column_stack([turn, offset])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        expected = cv2.warpAffine(image, matrix, (48, 48), flags=flags, borderMode=cv2.BORDER_REFLECT)
        assert np.abs(moved[n] - expected).max() < 3  # OpenCV rounds positions to 1/32 of a pixel


def test_shift_moves_at_most_so_far():
    dot = np.zeros((200, 48, 48), np.uint8)
    dot[:, 24, 24] = 255
    moved = augment(tf.constant(dot), [0, 0], **{**STILL, "shift": 5.0}).numpy().astype(float)
    weight = moved.sum(axis=(1, 2))
    y = (moved.sum(axis=2) @ np.arange(48)) / weight - 24
    x = (moved.sum(axis=1) @ np.arange(48)) / weight - 24
    assert 4 < np.abs(y).max() < 5.1
    assert 4 < np.abs(x).max() < 6.1  # mirroring takes column 24 to 23


def test_erased_part_is_one_rectangle_of_one_level(faces):
    flat = np.full((300, 48, 48), 7, np.uint8)
    erased = augment(tf.constant(flat), [0, 0], **{**STILL, "erase_probability": 0.5}).numpy()
    touched = 0
    for image in erased:
        rows, columns = np.nonzero(image != 7)
        if not len(rows):
            continue
        touched += 1
        block = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (block == block[0, 0]).all()
        assert 0.01 < block.size / 48**2 < 0.25
    assert 110 < touched < 190


def test_contrast_and_brightness_stay_in_range(faces):
    flat = np.full((300, 48, 48), 100, np.uint8)
    changed = augment(tf.constant(flat), [0, 0], **{**STILL, "brightness": 25.0}).numpy()
    assert changed.min() in range(75, 79)
    assert changed.max() in range(122, 126)
    assert (changed == changed[:, :1, :1]).all()


def test_each_name_that_a_run_may_give_is_known():
    assert tuple(AUGMENTATIONS) == NAMES


def test_of_a_poor_camera_is_the_given_part_of_the_images_darker_and_noisier():
    flat = np.full((1000, 48, 48), 128, np.uint8)
    shots = augment(tf.constant(flat), [0, 0], **STILL, poor_camera=0.25).numpy().astype(float)
    poor = (shots != 128).any(axis=(1, 2))
    assert 200 < poor.sum() < 300
    means, noise = shots[poor].mean(axis=(1, 2)), shots[poor].std(axis=(1, 2))
    darkest = 255 * (128 / 255) ** 2.2 * 0.5
    assert darkest - 1 < means.min() < darkest + 12
    assert 120 < means.max() < 129
    assert 10.5 < noise.max() < 12.5  # of this size, a sample's deviation is within 0.5 of its σ
    assert np.median(noise) == pytest.approx(6, abs=1)
    rows = (shots - shots.mean(axis=(1, 2), keepdims=True))[poor & (shots.std(axis=(1, 2)) > 4)]
    neighbours = (rows[:, :, 1:] * rows[:, :, :-1]).mean() / (rows**2).mean()
    assert abs(neighbours) < 0.02  # noise comes after the blur, so no pixel knows of the next


def test_what_a_poor_camera_sees_is_blurred_more_or_less():
    white = np.indices((48, 48)).sum(axis=0) % 2 == 1  # a blur of one pixel leaves nothing of a checkerboard
    board = np.repeat(np.where(white, 255, 0).astype(np.uint8)[None], 400, axis=0)
    shots = augment(tf.constant(board), [0, 0], **STILL, poor_camera=1.0).numpy().astype(float)
    bright, dark = shots[:, white].mean(axis=1), shots[:, ~white].mean(axis=1)
    left = np.abs(bright - dark) / (bright + dark)
    assert left.min() < 0.05
    assert left.max() > 0.9
    assert left.mean() == pytest.approx(0.5, abs=0.08)


def test_smoothing_is_that_of_opencv(faces):
    smoothed = _smoothed(_smoothed(tf.constant(faces[:4], tf.float32), 1), 2).numpy()
    kernel = np.array([0.25, 0.5, 0.25])
    for face, found in zip(faces[:4], smoothed, strict=True):
        expected = cv2.sepFilter2D(face.astype(np.float32), -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_light_erases_nothing_and_moves_half_as_far():
    white = np.full((200, 48, 48), 200, np.uint8)
    varied = AUGMENTATIONS["light"](tf.constant(white), [0, 0]).numpy()
    assert (varied == varied[:, :1, :1]).all()  # one level an image, so there is no rectangle
    assert 185 < varied.min() < varied.max() < 215
    dot = np.zeros((200, 48, 48), np.uint8)
    dot[:, 24, 24] = 255
    moved = AUGMENTATIONS["light"](tf.constant(dot), [0, 0]).numpy().astype(float) > 60
    rows = moved.any(axis=2) * np.abs(np.arange(48) - 23.5)
    assert 2 < rows.max() < 5


def test_light_camera_is_light_but_for_one_image_in_four():
    white = tf.constant(np.full((1000, 48, 48), 200, np.uint8))
    light, shots = (AUGMENTATIONS[name](white, [0, 0]).numpy() for name in ("light", "light-camera"))
    poor = (shots != light).any(axis=(1, 2))
    assert 200 < poor.sum() < 300
    assert (shots[poor].std(axis=(1, 2)) > 0).mean() > 0.9  # noise, while light leaves an even face even


def test_zoom_makes_faces_smaller_as_far_as_larger():
    disk = cv2.circle(np.zeros((96, 96), np.uint8), (48, 48), 20, 255, cv2.FILLED)
    zoomed = augment(tf.constant(np.stack([disk] * 300)), [0, 0], **{**STILL, "zoom": 1.5}).numpy()
    scales = np.sqrt(zoomed.sum(axis=(1, 2), dtype=float) / disk.sum(dtype=float))
    assert scales.max() == pytest.approx(1.5, rel=0.03)
    assert scales.min() == pytest.approx(1 / 1.5, rel=0.03)
    assert 120 < (scales > 1).sum() < 180


def test_rectangles_lie_in_all_quarters_of_the_image_alike():
    flat = np.full((2000, 48, 48), 7, np.uint8)
    erased = augment(tf.constant(flat), [0, 0], **{**STILL, "erase_probability": 0.5}).numpy() != 7
    middles = np.array([np.mean(np.nonzero(mask), axis=1) for mask in erased if mask.any()])
    lower, right = (middles > 23.5).T
    quarters = np.bincount(2 * lower + right, minlength=4) / len(middles)
    np.testing.assert_allclose(quarters, 0.25, atol=0.06)
