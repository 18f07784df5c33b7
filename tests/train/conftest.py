"""Data that several tests of training and evaluation share."""

import numpy as np
import pytest

from fer_tf import fer2013


@pytest.fixture
def data(tmp_path) -> fer2013.Fer2013:
    """A data set in which five of twenty private images are copies of train."""
    random = np.random.default_rng(0)

    def split(count: int) -> fer2013.Split:
        images = random.integers(0, 256, (count, 48, 48), np.uint8)
        return fer2013.Split(images, random.integers(0, 7, count), np.array([str(n) for n in range(count)]))

    train, public, private = split(30), split(50), split(20)
    private.images[:5] = train.images[10:15]
    return fer2013.Fer2013(tmp_path, train, public, private)
