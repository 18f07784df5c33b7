"""The demo clip: a public-domain photograph, panned and zoomed in one to four tiles."""

from collections.abc import Iterator

import cv2
import numpy as np

from fer_tf.photograph import read_photograph

FPS = 25.0
LENGTH = 250
WIDTH, HEIGHT = 640, 480

# The tiles of each scene: left, top, right, bottom, as shares of the frame.
_SCENES = (
    ((0, 0, 1, 1),),
    ((0, 0, 1 / 2, 1), (1 / 2, 0, 1, 1)),
    ((0, 0, 1 / 2, 1), (1 / 2, 0, 1, 1 / 2), (1 / 2, 1 / 2, 1, 1)),
    ((0, 0, 1 / 2, 1 / 2), (1 / 2, 0, 1, 1 / 2), (0, 1 / 2, 1 / 2, 1), (1 / 2, 1 / 2, 1, 1)),
)
_FACE_CENTER = (222.0, 114.0)
_FACE_HEIGHT = 96.0


def demo_clip() -> tuple[Iterator[np.ndarray], int]:
    """Returns the demo clip, whose frames show one to four faces.

    Returns:
        The frames, each uint8 [480, 640, 3], BGR, for `FPS` frames per second; and their number.

    Raises:
        ModuleNotFoundError: if scikit-image, which contains the photograph, is not installed.
        UserError: if its copy of the photograph cannot be read.
    """
    photograph = read_photograph()
    return (_frame(photograph, index) for index in range(LENGTH)), LENGTH


def _frame(photograph: np.ndarray, index: int) -> np.ndarray:
    """Draws frame `index`: uint8 [HEIGHT, WIDTH, 3]."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for tile, (left, top, right, bottom) in enumerate(_SCENES[index * len(_SCENES) // LENGTH]):
        x, y = round(left * WIDTH), round(top * HEIGHT)
        width, height = round(right * WIDTH) - x, round(bottom * HEIGHT) - y
        # The tiles share one slow movement, at different phases.
        phase = 2 * np.pi * (index / LENGTH * 2 + tile / 4)
        zoom = (0.45 + 0.08 * np.sin(phase)) * min(width, height) / _FACE_HEIGHT
        center_x = width * (0.5 + 0.06 * np.cos(phase))
        # No lower than where the upper edge of the photograph meets that of the tile.
        center_y = min(height * (0.5 + 0.04 * np.sin(2 * phase)), zoom * _FACE_CENTER[1])
        mirror = -1 if tile % 2 else 1
        matrix = np.array(
            [
                [mirror * zoom, 0, center_x - mirror * zoom * _FACE_CENTER[0]],
                [0, zoom, center_y - zoom * _FACE_CENTER[1]],
            ]
        )
        frame[y : y + height, x : x + width] = cv2.warpAffine(
            photograph, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
    return frame
