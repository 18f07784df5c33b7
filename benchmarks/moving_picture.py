"""Draws the moving picture of the README: the labeled demo clip. `python -m benchmarks.moving_picture -o FILE.webp`."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.files import check_writable, named_errors, written_aside
from fer_tf.realtime.demo import FPS, demo_clip
from fer_tf.realtime.draw import draw_faces
from fer_tf.realtime.pipeline import Pipeline

STEP = 3
"""Keeps every third of the clip's 25 frames a second."""
WIDTH = 560
QUALITY = 50
"""WebP's scale from 1 to 100; with the two above it makes a file of 1.3 MB."""


@command
def main(argv: list[str] | None = None) -> int:
    """Labels the clip and writes the picture."""
    parser = Parser("benchmarks.moving_picture", description=__doc__)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE.webp", help="picture to write")
    arguments = parser.parse_args(argv)
    if arguments.output.suffix.lower() != ".webp":
        raise UserError(f"{arguments.output}: the moving picture is a WebP; call it <name>.webp")
    check_writable(arguments.output)
    frames = list(labeled_frames())
    write_animation(arguments.output, frames)
    print(f"{arguments.output}: {len(frames)} frames, {arguments.output.stat().st_size / 1e6:.2f} MB")
    return 0


def labeled_frames() -> Iterator[np.ndarray]:
    """Yields every `STEP`th frame of the demo clip, uint8 [H, `WIDTH`, 3], BGR, with its faces labeled.

    The pipeline sees all of them, so the probabilities are smoothed as they are live.
    """
    pipeline = Pipeline()
    images, _ = demo_clip()
    for index, image in enumerate(images):
        faces = pipeline(image, index / FPS)
        if index % STEP == 0:
            draw_faces(image, faces)
            height = round(image.shape[0] * WIDTH / image.shape[1])
            yield cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA)


def write_animation(path: Path, frames: list[np.ndarray]) -> None:
    """Writes an animated WebP that repeats forever.

    Args:
        path: File to write; one that is there is replaced.
        frames: uint8 [H, W, 3], BGR, all of one size.

    Raises:
        UserError: if nothing can be written there.
    """
    from PIL import Image  # comes with scikit-image, as the clip's photograph does

    first, *others = (Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)) for frame in frames)
    with named_errors(path), written_aside(path) as temporary:
        first.save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=others,
            duration=round(1000 * STEP / FPS),
            loop=0,
            quality=QUALITY,
            method=6,  # the slowest, which makes the smallest file
        )


if __name__ == "__main__":
    raise SystemExit(main())
