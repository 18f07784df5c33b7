"""Measures how faces are found and cut out: `python -m benchmarks.framing` prints Markdown tables.

Faces of FER-2013's PublicTest are set into photographs, where they are is known, and what the detector finds and what
the default model says of each way to cut them out is counted.
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from fer_tf import fer2013, weights
from fer_tf.command import Parser, command, positive
from fer_tf.realtime.crop import crop_face, tilt
from fer_tf.realtime.detect import FaceDetector
from fer_tf.recognizer import Recognizer, predict

WIDTH, HEIGHT = 640, 480
ANGLES = (0, 15, -15, 30, -30, 45, -45)
SIDES = ((24, 32), (32, 40), (40, 48), (48, 64), (64, 96), (96, 150))
"""Pixels of the frame from and below which FER-2013's square has its side, where faces are counted."""

LEVELED_SIDES = (120, 220)
"""The same where they are turned: of smaller faces the landmarks do not follow the tilt."""


class Face(NamedTuple):
    """Where a face of FER-2013 was set into a frame: the middle and side of its square, and its angle, clockwise."""

    x: float
    y: float
    side: float
    angle: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Its square as a box."""
        side = round(self.side)
        return round(self.x - side / 2), round(self.y - side / 2), side, side

    @property
    def landmarks(self) -> np.ndarray:
        """Eyes that are turned as it is."""
        return turned(self.angle)


class Found(NamedTuple):
    """A face that the detector found."""

    frame: np.ndarray
    face: Face
    box: tuple[int, int, int, int]
    landmarks: np.ndarray


@command
def main(argv: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = Parser("benchmarks.framing", description=__doc__)
    parser.add_argument("--data", metavar="PATH", help="FER-2013: zip, folder or CSV (default $FER2013, …)")
    parser.add_argument("--images", type=positive(), default=240, help="for each row and angle (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of places and sizes (default %(default)s)")
    arguments = parser.parse_args(argv)
    public = fer2013.load(fer2013.find(arguments.data)).public
    chosen = np.random.default_rng(arguments.seed).permutation(len(public))[: arguments.images]
    images, labels = public.images[chosen], public.labels[chosen]
    detector = FaceDetector(smallest_face=0)
    count(images, detector, arguments.seed)
    recognizer = Recognizer(weights.DEFAULT_MODEL)
    right = {angle: judge(images, labels, detector, recognizer, angle, arguments.seed) for angle in ANGLES}
    for title, names in (("turned", TURNS), ("framed", FRAMINGS)):
        compare(title, list(names), right)


def count(images: np.ndarray, detector: FaceDetector, seed: int) -> None:
    """Prints how many faces of each size are found."""
    print("| side of the face, pixels of 640 | faces | found | false |\n|---|---:|---:|---:|")
    for sides in SIDES:
        false = []
        found = sum(hit is not None for hit in search(images, detector, sides, 0, seed, false))
        print(f"| {sides[0]} to {sides[1]} | {len(images)} | {found / len(images):.0%} | {len(false)} |")


def judge(
    images: np.ndarray, labels: np.ndarray, detector: FaceDetector, recognizer: Recognizer, angle: float, seed: int
) -> dict[str, np.ndarray]:
    """Returns for each rule whether the model is right about each face that was found, bool [found]."""
    crops, kept = {name: [] for name in RULES}, []
    for index, hit in enumerate(search(images, detector, LEVELED_SIDES, angle, seed)):
        if hit is not None:
            kept.append(index)
            for name, rule in RULES.items():
                crops[name].append(rule(hit))
    return {
        name: predict(recognizer, np.stack(cut), description=f"{name}, {angle:+}°").argmax(axis=1) == labels[kept]
        for name, cut in crops.items()
    }


def compare(title: str, names: list[str], right: dict[int, dict[str, np.ndarray]]) -> None:
    """Prints the accuracy by each rule and angle, and how far it is from that of the first rule, with its interval."""
    print(f"\n| {title} | " + " | ".join(f"{angle:+}°" if angle else "0°" for angle in right) + " |")
    print("|---|" + "---:|" * len(right))
    print("| faces found | " + " | ".join(f"{len(found[names[0]])}" for found in right.values()) + " |")
    for name in names:
        cells = []
        for found in right.values():
            gain = found[name].astype(float) - found[names[0]]
            interval = 1.96 * gain.std() / np.sqrt(len(gain))
            change = f" ({100 * gain.mean():+.1f} ± {100 * interval:.1f})" if name != names[0] else ""
            cells.append(f"{100 * found[name].mean():.1f}{change}")
        print(f"| {name} | " + " | ".join(cells) + " |")


def scaled(hit: Found, scale: float = 1, down: float = 0) -> np.ndarray:
    """Returns the crop by a box of another size, or that is moved by a share of its height along the face."""
    left, top, width, height = hit.box
    angle = tilt(hit.landmarks) if abs(tilt(hit.landmarks)) > 10 else 0
    x = left + width / 2 - down * height * np.sin(np.radians(angle))
    y = top + height / 2 + down * height * np.cos(np.radians(angle))
    return crop_face(hit.frame, Face(x, y, scale * height, angle).box, hit.landmarks)


TURNS = {
    "as it is": lambda hit: crop_face(hit.frame, hit.box),
    "level above 10°": lambda hit: crop_face(hit.frame, hit.box, hit.landmarks),
    "level above 5°": lambda hit: crop_face(hit.frame, hit.box, hit.landmarks, least_tilt=5),
    "level above 15°": lambda hit: crop_face(hit.frame, hit.box, hit.landmarks, least_tilt=15),
    "by the true angle": lambda hit: crop_face(hit.frame, hit.box, hit.face.landmarks),
    "the true square": lambda hit: crop_face(hit.frame, hit.face.box, hit.face.landmarks),
}
FRAMINGS = {"level above 10°": TURNS["level above 10°"]} | {
    f"side × {scale}, down {down:+.0%}": lambda hit, scale=scale, down=down: scaled(hit, scale, down)
    for scale, down in ((0.95, 0), (1.05, 0), (1.1, 0), (1.15, 0), (1, -0.03), (1, 0.03), (1.05, -0.03), (1.1, -0.03))
}
RULES = TURNS | FRAMINGS


def search(
    images: np.ndarray,
    detector: FaceDetector,
    sides: tuple[int, int],
    angle: float,
    seed: int,
    false: list | None = None,
) -> Iterator[Found | None]:
    """Sets each face into a frame, as many into one as fit, and yields what is found of it, or None.

    Args:
        images: uint8 [N, 48, 48].
        detector: What finds them.
        sides: Least and largest side in pixels.
        angle: By which they are turned clockwise, in degrees.
        seed: Of backgrounds, places and sizes.
        false: Gets the boxes that are of no face.
    """
    random, photographs = np.random.default_rng(seed), backgrounds()
    cell = 160 if sides[1] <= 160 else 320 if sides[1] <= 226 else 480
    places = [(x, y) for y in range(0, HEIGHT - cell + 1, cell) for x in range(0, WIDTH - cell + 1, cell)]
    for start in range(0, len(images), len(places)):
        frame = photographs[random.integers(len(photographs))].copy()
        faces = []
        for image, (left, top) in zip(images[start:], random.permutation(places), strict=False):
            side = random.uniform(*sides)
            room = cell - side * (np.sqrt(2) if angle else 1)
            x, y = (corner + cell / 2 + random.uniform(-0.5, 0.5) * max(0, room) for corner in (left, top))
            faces.append(Face(x, y, side, angle))
            paste(frame, image, faces[-1])
        hits = detector(frame)
        unused = set(range(len(hits)))
        for face in faces:
            index = next((index for index in sorted(unused) if fits(hits.boxes[index], face)), None)
            unused.discard(index)
            if index is None:
                yield None
            else:
                yield Found(frame, face, tuple(hits.boxes[index].tolist()), hits.landmarks[index])
        if false is not None:
            false += [hits.boxes[index] for index in unused]


def fits(box: np.ndarray, face: Face) -> bool:
    """Returns whether a box is that of a face: its center within a quarter of the side, its height near to it."""
    left, top, width, height = box
    apart = max(abs(left + width / 2 - face.x), abs(top + height / 2 - face.y))
    return apart <= 0.25 * face.side and 0.4 <= height / face.side <= 1.6


def paste(frame: np.ndarray, image: np.ndarray, face: Face) -> None:
    """Draws a face into a frame."""
    scale = face.side / len(image)
    cosine, sine = scale * np.cos(np.radians(face.angle)), scale * np.sin(np.radians(face.angle))
    matrix = np.array([[cosine, -sine, face.x], [sine, cosine, face.y]])
    matrix[:, 2] -= matrix[:, :2] @ np.full(2, len(image) / 2 - 0.5) + 0.5  # from edges to the centers of pixels
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * len(image) - 0.5
    outline = np.rint(corners @ matrix[:, :2].T + matrix[:, 2]).astype(np.int32)
    inside = cv2.fillConvexPoly(np.zeros(frame.shape[:2], np.uint8), outline, 1) > 0
    style = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    frame[inside] = cv2.warpAffine(image, matrix, frame.shape[1::-1], **style)[inside][:, None]


def turned(angle: float) -> np.ndarray:
    """Returns landmarks whose eye line has this angle, float64 [5, 2]."""
    landmarks = np.zeros((5, 2))
    landmarks[1] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return landmarks


def backgrounds() -> list[np.ndarray]:
    """Returns photographs without faces that scikit-image brings, uint8 [HEIGHT, WIDTH, 3], BGR."""
    from skimage import data

    photographs = [cv2.cvtColor(getattr(data, name)(), cv2.COLOR_RGB2BGR) for name in ("coffee", "chelsea", "rocket")]
    photographs += [cv2.cvtColor(getattr(data, name)(), cv2.COLOR_GRAY2BGR) for name in ("brick", "gravel", "grass")]
    return [cv2.resize(photograph, (WIDTH, HEIGHT)) for photograph in photographs]


if __name__ == "__main__":
    raise SystemExit(main())
