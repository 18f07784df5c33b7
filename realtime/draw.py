"""Draws faces on a frame (box, label and seven bars), and the status of the loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import cv2
import numpy as np

from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.classes import CLASSES
from fer_tf.realtime.face import Box, Face, Reading

Color = tuple[int, int, int]
"""Blue, green and red, 0 to 255."""

COLORS = {
    "angry": (0, 94, 213),
    "disgust": (115, 158, 0),
    "fear": (167, 121, 204),
    "happy": (66, 228, 240),
    "neutral": (233, 180, 86),
    "sad": (178, 114, 0),
    "surprise": (0, 159, 230),
}
"""BGR by class: the palette of Okabe and Ito (2008), which is safe for color-blind viewers."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _BLACK, _GRAY, _DARK = (255, 255, 255), (0, 0, 0), (185, 185, 185), (75, 75, 75)

_QUIET = 0.75
"""Height of secondary text, as a share of other text."""

_LARGEST_PANEL = 0.75
"""Largest size of a panel, as a share of the frame's width or height."""

_HIDDEN_AT_MOST = 0.1
"""How much of faces, labels and other panels a panel may hide if there are several faces: the sum of shares."""

_LONGEST_NAME = 9
"""Largest width of a model's name, in heights of text."""


_RESTING = {"": "", "taking": ", taking rest", "taken": ", rest taken"}
"""Stands behind the id of a face."""


class Pen:
    """Writes ASCII text, which is all that the font has.

    Args:
        text: Height of a capital in pixels.
    """

    def __init__(self, text: int):
        self.text = text
        self.line = max(1, round(text / 9))
        self.scale = cv2.getFontScaleFromHeight(_FONT, text, self.line)

    def measure(self, text: str, size: float = 1.0) -> int:
        """Returns the width of `text` at `size` times the usual height."""
        return cv2.getTextSize(text, _FONT, self.scale * size, self.line)[0][0]

    def fit(self, text: str, width: int, size: float = 1.0) -> str:
        """Cuts `text` at its beginning until it fits into `width` pixels."""
        shown = text
        while len(text) > 1 and self.measure(shown, size) > width:
            text = text[1:]
            shown = f"..{text}"
        return shown

    def write(self, image: np.ndarray, text: str, origin: tuple[int, int], color: Color, size: float = 1.0) -> None:
        """Writes `text` on the image; `origin` is the left end of its baseline."""
        text = text.encode("ascii", "replace").decode()
        line = max(1, round(self.line * size**2))
        cv2.putText(image, text, origin, _FONT, self.scale * size, color, line, cv2.LINE_AA)


class _Style(Pen):
    """Sizes in pixels, in proportion to the frame."""

    def __init__(self, image: np.ndarray):
        height, width = image.shape[:2]
        super().__init__(max(8, round(min(width, height) / 46)))
        self.frame = (width, height)
        self.margin = max(3, round(self.text * 0.6))
        self.row = round(self.text * 1.65)


@dataclass(frozen=True)
class _Chip:
    """The label of one model, above the box of a face."""

    box: Box
    loud: str
    quiet: str
    color: Color

    def draw(self, image: np.ndarray, style: _Style) -> None:
        x, y, width, height = self.box
        cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), self.color, cv2.FILLED)
        ink = _BLACK if np.dot(self.color, (0.114, 0.587, 0.299)) > 110 else _WHITE
        left, baseline = x + style.margin, y + (height + style.text) // 2
        style.write(image, self.loud, (left, baseline), ink)
        style.write(image, self.quiet, (left + style.measure(self.loud) + style.margin, baseline), ink, _QUIET)


class _Panel:
    """Seven bars for each model, under the models' names if there are several, and the models' input."""

    def __init__(self, style: _Style, models: Sequence[str], *, details: bool, show_input: bool):
        self.style, self.models = style, models
        self.names = max(style.measure(name) for name in CLASSES)
        self.head = style.row if len(models) > 1 else 0
        self.bar = max([5 * style.text, *(style.measure(name, _QUIET) for name in models if self.head)])
        bars_height = self.head + style.row * len(CLASSES)
        # A whole factor, so that all pixels have the same size.
        self.crop = max(1, bars_height // IMAGE_SIZE) * IMAGE_SIZE if show_input else 0
        parts = [self.crop] * show_input + [self.names] * details + [self.bar] * details * len(models)
        width = sum(parts) + style.margin * (len(parts) + 1)
        self.size = (width, max(self.crop, bars_height * details) + 2 * style.margin)
        self.details = details
        self.fits = self.size[0] <= _LARGEST_PANEL * style.frame[0] and self.size[1] <= _LARGEST_PANEL * style.frame[1]

    def draw(self, image: np.ndarray, place: Box, face: Face) -> None:
        x, y, width, height = place
        image[y : y + height, x : x + width] //= 4
        left, top = x + self.style.margin, y + self.style.margin
        if self.crop:
            side = (self.crop, self.crop)
            enlarged = cv2.resize(face.crop, side, interpolation=cv2.INTER_NEAREST)
            image[top : top + self.crop, left : left + self.crop] = enlarged[..., None]
            left += self.crop + self.style.margin
        if self.details:
            self._draw_bars(image, left, top, face)
        # The color tells whose panel it is.
        cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), _color(face), self.style.line)

    def _draw_bars(self, image: np.ndarray, left: int, top: int, face: Face) -> None:
        style = self.style
        first = top + self.head + (style.row + style.text) // 2
        baselines = range(first, first + style.row * len(CLASSES), style.row)
        for name, baseline in zip(CLASSES, baselines, strict=True):
            style.write(image, name, (left, baseline), _WHITE if name == face.shown else _GRAY)
        left += self.names + style.margin
        for model, reading in zip(self.models, face.readings, strict=True):
            if self.head:
                style.write(image, model, (left, top + (style.row + style.text) // 2), _WHITE, _QUIET)
            for name, baseline, probability in zip(CLASSES, baselines, reading.probabilities, strict=True):
                upper = baseline - style.text
                cv2.rectangle(image, (left, upper), (left + self.bar, baseline), _DARK, cv2.FILLED)
                length = round(self.bar * float(probability))
                if length:
                    cv2.rectangle(image, (left, upper), (left + length, baseline), COLORS[name], cv2.FILLED)
            left += self.bar + style.margin


def draw_faces(image: np.ndarray, faces: Sequence[Face], *, details: bool = True, show_input: bool = False) -> None:
    """Draws a box, a label for each model and a panel for each face on the image, in place.

    Text scales with the frame. Labels and panels stay inside it. Panels avoid the faces; if there is not enough room,
    the largest faces get theirs first.

    Args:
        image: uint8 [H, W, 3], BGR; modified.
        faces: The faces of this frame.
        details: Whether panels show the seven probabilities, in a column for each model.
        show_input: Whether panels show the models' input, enlarged.
    """
    if not faces:
        return
    style = _Style(image)
    models = _short_names([reading.model for reading in faces[0].readings], style)
    chips = [_chips(face, models, style) for face in faces]
    if details or show_input:
        panel = _Panel(style, models, details=details, show_input=show_input)
        taken = [face.box for face in faces] + [chip.box for own in chips for chip in own]
        order = sorted(range(len(faces)), key=lambda index: -faces[index].box[3])
        for index in order if panel.fits else ():
            place, hidden = _place(panel.size, faces[index].box, chips[index][0].box[1], taken, style)
            if len(faces) == 1 or hidden <= _HIDDEN_AT_MOST:
                taken.append(place)
                panel.draw(image, place, faces[index])
    for face, own in zip(faces, chips, strict=True):  # last, so that panels never hide labels
        left, top, width, height = face.box
        corner = (left + width - 1, top + height - 1)
        cv2.rectangle(image, (left, top), corner, _color(face), 2 * style.line, cv2.LINE_AA)
        for chip in own:
            chip.draw(image, style)


def draw_status(image: np.ndarray, lines: Sequence[str], *, alarm: str | None = None) -> None:
    """Draws status lines in the lower left corner and an alarm across the bottom of the image, in place.

    Args:
        image: uint8 [H, W, 3], BGR; modified.
        lines: Status lines, such as the frames per second; may be empty.
        alarm: What the user must know, if anything.
    """
    style = _Style(image)
    width, height = style.frame
    if alarm:
        height = max(0, height - 2 * style.row)
        image[height:] = COLORS["angry"]
        text = style.fit(alarm, width - 2 * style.margin)
        style.write(image, text, (style.margin, height + style.row + style.text // 2), _WHITE)
    if lines:
        longest = max(style.measure(line, _QUIET) for line in lines) + 2 * style.margin
        top = max(0, height - style.row * len(lines) - style.margin)
        image[top:height, :longest] //= 4
        for index, line in enumerate(lines, start=1):
            style.write(image, line, (style.margin, top + index * style.row), _WHITE, _QUIET)


def _color(shown: Face | Reading) -> Color:
    return COLORS[shown.shown] if shown.certain else _GRAY


def _chips(face: Face, models: Sequence[str], style: _Style) -> list[_Chip]:
    """Returns the labels of all models, stacked above the box and inside the frame."""
    loud, quiet = [], [model if len(models) > 1 else "" for model in models]
    for index, reading in enumerate(face.readings):
        if reading.certain:
            loud.append(f"{reading.shown} {reading.probabilities[CLASSES.index(reading.shown)]:.0%}")
        else:
            loud.append(reading.shown)
            quiet[index] = f"{reading.label} {reading.confidence:.0%} {quiet[index]}".strip()
    quiet[0] = f"{quiet[0]} id {face.track}{_RESTING[face.resting]}".strip()
    colors = map(_color, face.readings)
    left, top = face.box[0] - style.line, face.box[1] - style.line - style.row * len(models)
    top = min(max(top, 0), max(0, style.frame[1] - style.row * len(models)))
    chips = []
    for index, (one, other, color) in enumerate(zip(loud, quiet, colors, strict=True)):
        width = style.measure(one) + style.measure(other, _QUIET) + 3 * style.margin
        box = _clamp((left, top + index * style.row, width, style.row), style.frame)
        chips.append(_Chip(box, one, other, color))
    return chips


def _short_names(models: Sequence[str], style: _Style) -> list[str]:
    """Shortens the names of models: hyphenated parts that all names start or end with are dropped.

    A name that is still too long loses parts at its end while it differs from the others, and then characters at its
    beginning.
    """
    names = [model.split("-") for model in models]
    if len(set(models)) == len(models) > 1:
        for _ in range(2):
            alike = len(list(takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))))
            alike = min(alike, min(map(len, names)) - 1)
            names = [name[alike:][::-1] for name in names]
    longest = _LONGEST_NAME * style.text
    for index, name in enumerate(names):
        while len(name) > 1 and style.measure("-".join(name), _QUIET) > longest and name[:-1] not in names:
            names[index] = name = name[:-1]
    return [style.fit("-".join(name), longest, _QUIET) for name in names]


def _place(size: tuple[int, int], face: Box, above: int, taken: Sequence[Box], style: _Style) -> tuple[Box, float]:
    """Returns where a panel beside a face hides least of what is in the frame, and how much: shares of it added.

    Of equal places it is the nearest.

    Args:
        size: Width and height of the panel.
        face: Box of the face.
        above: Upper edge of its labels.
        taken: What should not be hidden.
        style: Of the frame.
    """
    left, top, width, height = face
    panel_width, panel_height = size
    gap = style.margin
    right, bottom = left + width, top + height
    columns = (right + gap, left - panel_width - gap, left, right - panel_width)
    rows = (top, bottom - panel_height, bottom + gap, above - panel_height - gap)
    places = np.array([_clamp((x, y, panel_width, panel_height), style.frame) for x in columns for y in rows])
    occupied = np.array(taken)
    hidden = (_overlaps(places, occupied) / np.maximum(occupied[:, 2:].prod(axis=1), 1)).sum(axis=1)
    distances = np.abs(2 * places[:, :2] + places[:, 2:] - (left + right, top + bottom)).sum(axis=1)
    best = np.lexsort((distances, hidden))[0]
    return tuple(places[best].tolist()), hidden[best]


def _clamp(box: Box, frame: tuple[int, int]) -> Box:
    """Moves a box into the frame; one that is larger keeps its upper left part."""
    x, y, width, height = box
    width, height = min(width, frame[0]), min(height, frame[1])
    return min(max(x, 0), frame[0] - width), min(max(y, 0), frame[1] - height), width, height


def _overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the areas that boxes, int [N, 4] and [M, 4], share: int [N, M]."""
    upper = np.maximum(one[:, None, :2], other[:, :2])
    lower = np.minimum(one[:, None, :2] + one[:, None, 2:], other[:, :2] + other[:, 2:])
    return np.maximum(lower - upper, 0).prod(axis=2)
