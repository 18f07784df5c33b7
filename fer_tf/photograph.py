"""The photograph in the demo and the gallery: NASA's portrait of Eileen Collins, in the public domain."""

from pathlib import Path

import cv2
import numpy as np

from fer_tf.errors import UserError
from fer_tf.images import decode


def read_photograph(flag: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Returns the photograph, 512 pixels square: uint8 [512, 512, 3], BGR, or [512, 512] for `cv2.IMREAD_GRAYSCALE`.

    Raises:
        ModuleNotFoundError: if scikit-image, which contains it, is not installed.
        UserError: if it cannot be read.
    """
    import skimage  # an extra, and needed for nothing else

    # `skimage.data.astronaut()` reads this very file, but imports half a second of other things first.
    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    photograph = decode(path.read_bytes(), flag) if path.is_file() else None
    if photograph is None:
        raise UserError(f"{path}: cannot be read; run: pip install --force-reinstall scikit-image")
    return photograph
