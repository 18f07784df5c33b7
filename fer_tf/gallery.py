"""Draws what the networks see, faces by data set: `python -m fer_tf.gallery -o gallery.png`."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.files import check_writable, named_errors, written_aside
from fer_tf.images import decode, middle_square
from fer_tf.photograph import read_photograph
from fer_tf.quiet import muted_stderr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE = 3
"""How many times a face is enlarged."""

_CELL = IMAGE_SIZE * SCALE
_GAP = 8
_LEFT, _TOP, _RIGHT, _BOTTOM = 140, 74, 20, 20
_BETWEEN_GROUPS = 28
_DPI = 100
_LONGEST_NAME = 18
_LEGEND = (
    (62, "red: original", "#c03030"),
    (152, "green: filtered", "#2e8b3d"),
    (252, "blue: their difference + 128", "#3050c0"),
)


@command
def main(argv: list[str] | None = None) -> int:
    """Reads the faces and draws the picture."""
    parser = Parser(
        "fer_tf.gallery",
        description="Draw what the networks see: a row for each face, a column for each data set.",
    )
    parser.add_argument("images", nargs="*", metavar="IMAGE", type=Path, help="faces, cropped (default a photograph)")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.png", type=Path, help="the picture to write")
    parser.add_argument("--arithmetic", choices=("standard", "original"), default="standard", help="of the filters")
    arguments = parser.parse_args(argv)
    if arguments.output.suffix.lower() != ".png":
        raise UserError(f"{arguments.output}: the gallery is a PNG; call it <name>.png")
    check_writable(arguments.output)
    if any(path.resolve() == arguments.output.resolve() for path in arguments.images):
        raise UserError(f"{arguments.output}: the gallery would replace a face that it shows; name another -o")
    faces = [(path.stem, read_face(path)) for path in arguments.images] or sample_faces()

    with muted_stderr():
        figure = draw(faces, arguments.arithmetic)
    with named_errors(arguments.output), written_aside(arguments.output) as temporary:
        figure.savefig(temporary, dpi=_DPI)
    print(arguments.output)
    return 0


def read_face(path: Path) -> np.ndarray:
    """Returns the middle square of an image, gray: uint8 [48, 48].

    Raises:
        OSError: if the file cannot be opened.
        UserError: if it is not an image.
    """
    image = decode(path.read_bytes(), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise UserError(f"{path}: not a readable image")
    return _shrunk(middle_square(image))


def sample_faces() -> list[tuple[str, np.ndarray]]:
    """Returns six variations of one face as pairs of a name and an image, uint8 [48, 48].

    Raises:
        ModuleNotFoundError: if scikit-image, which contains the photograph, is not installed.
        UserError: if the photograph cannot be read.
    """
    photograph = read_photograph(cv2.IMREAD_GRAYSCALE)
    face = _shrunk(photograph[56:180, 160:284])
    closer = _shrunk(photograph[70:166, 176:272])[:, ::-1]
    noise = np.random.default_rng(0).normal(0, 12, face.shape)
    lights = {
        "as taken": face,
        "closer, mirrored": closer,
        "dark": face * 0.25,
        "little contrast": 150 + face * 0.25,
        "lit from the side": closer * np.linspace(0.15, 1.1, IMAGE_SIZE),
        "noisy": face + noise,
    }
    return [(name, np.clip(levels, 0, 255).astype(np.uint8)) for name, levels in lights.items()]


def draw(faces: list[tuple[str, np.ndarray]], arithmetic: str = "standard") -> "Figure":
    """Draws the gallery.

    Stacks are shown as ResNet50 takes them, with their three channels as red, green and blue. A data set that does not
    exist in this arithmetic has no column.

    Args:
        faces: Pairs of a name and an image, uint8 [48, 48]; each becomes a row.
        arithmetic: One of `fer_tf.preprocessing.filters.ARITHMETICS`.

    Returns:
        The picture, to be saved at 100 dots per inch.
    """
    from matplotlib.figure import Figure

    columns = _columns(np.stack([face for _, face in faces]), arithmetic)
    starts = {
        dataset: _LEFT + index * (_CELL + _GAP) + _BETWEEN_GROUPS * dataset.startswith("stack_")
        for index, dataset in enumerate(columns)
    }
    width = max(starts.values()) + _CELL + _RIGHT
    height = _TOP + len(faces) * (_CELL + _GAP) - _GAP + _BOTTOM
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")

    def write(x: float, y: float, text: str, **style) -> None:
        style = {"fontsize": 10, "color": "#222222", "va": "center", **style}
        figure.text(x / width, 1 - y / height, text, parse_math=False, **style)  # a file's name is no formula

    write(_LEFT, 22, "one image", fontsize=12, weight="bold")
    legend_start = min(start for dataset, start in starts.items() if dataset.startswith("stack_"))
    write(legend_start, 22, "stack", fontsize=12, weight="bold")
    for x, text, color in _LEGEND:
        write(legend_start + x, 22, text, color=color, fontsize=9)
    for dataset, start in starts.items():
        write(start + _CELL / 2, _TOP - 18, dataset, ha="center", family="monospace")
        for row, image in enumerate(columns[dataset]):
            enlarged = np.kron(image, np.ones((SCALE, SCALE, 1), np.uint8))
            figure.figimage(enlarged, start, height - _TOP - row * (_CELL + _GAP) - _CELL)
    for row, (name, _) in enumerate(faces):
        name = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        write(_LEFT - 12, _TOP + row * (_CELL + _GAP) + _CELL / 2, name, ha="right")
    return figure


def _columns(images: np.ndarray, arithmetic: str) -> dict[str, np.ndarray]:
    """Returns the input of ResNet50 before scaling, uint8 [N, 48, 48, 3], by data set."""
    from fer_tf.catalogue import DATASETS
    from fer_tf.preprocessing.preprocessor import create_preprocessor

    columns = {}
    for dataset in DATASETS:
        with suppress(UserError):
            preprocessor = create_preprocessor(dataset, "resnet50", image_size=IMAGE_SIZE, arithmetic=arithmetic)
            columns[dataset] = np.round((np.asarray(preprocessor(images)) + 1) * 127.5).astype(np.uint8)
    return columns


def _shrunk(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    raise SystemExit(main())
