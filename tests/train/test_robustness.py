import numpy as np
import pytest

from fer_tf.train.robustness import VARIATIONS


@pytest.fixture(scope="module")
def images():
    rows, columns = np.mgrid[:48, :48]
    return np.stack([40 + 3 * rows, 40 + 3 * columns, 100 + 50 * ((rows // 6 + columns // 6) % 2)]).astype(np.uint8)


@pytest.mark.parametrize("name", VARIATIONS)
def test_each_keeps_shape_and_is_repeatable(name, images):
    before = images.copy()
    varied = VARIATIONS[name](images)
    assert (varied.shape, varied.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(VARIATIONS[name](images), varied)
    changed = (varied != images).mean()
    assert changed == 0 if name == "as they are" else changed > 0.05


def test_moves_are_moves(images):
    np.testing.assert_array_equal(VARIATIONS["4 pixels to the right"](images)[:, :, 4:], images[:, :, :-4])
    np.testing.assert_array_equal(VARIATIONS["4 pixels down"](images)[:, 4:], images[:, :-4])
    ramp = images[1].astype(float)
    larger, smaller = (VARIATIONS[name](images)[1].astype(float) for name in ("15 % larger", "15 % smaller"))
    middle = slice(12, 36)
    assert np.diff(larger[middle, middle], axis=1).mean() == pytest.approx(np.diff(ramp).mean() / 1.15, rel=0.02)
    assert np.diff(smaller[middle, middle], axis=1).mean() == pytest.approx(np.diff(ramp).mean() * 1.15, rel=0.02)


def test_low_light_is_half_of_what_gamma_leaves():
    levels = np.full((1, 48, 48), 128, np.uint8)
    levels[0, 0, :3] = 0, 64, 255
    dark = VARIATIONS["low light (γ 2.2, half as bright)"](levels)[0].astype(int)
    # 255 · (64 / 255)^2.2 is 12.2, and 255 · (128 / 255)^2.2 is 56.0
    np.testing.assert_allclose(dark[0, :4], [0, 6.1, 127.5, 28.0], atol=1)
