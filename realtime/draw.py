"""Paints faces on a frame: box, label and seven bars."""

from collections.abc import Sequence

import cv2
import numpy as np

from fer_tf.emotions import CLASSES
from realtime.pipeline import Face

COLOURS = {
    "angry": (0, 94, 213),
    "disgust": (115, 158, 0),
    "fear": (167, 121, 204),
    "happy": (66, 228, 240),
    "neutral": (233, 180, 86),
    "sad": (178, 114, 0),
    "surprise": (0, 159, 230),
}
"""BGR by class: the palette of Okabe and Ito, which colour-blind people can tell apart."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _BLACK, _GRAY = (255, 255, 255), (0, 0, 0), (185, 185, 185)

Box = tuple[int, int, int, int]


class _Style:
    """Sizes in pixels, all of them from the size of the frame."""

    def __init__(self, image: np.ndarray):
        height, width = image.shape[:2]
        self.frame = (width, height)
        self.text = max(8, round(min(width, height) / 46))  # height of a capital
        self.line = max(1, round(self.text / 9))
        self.margin = max(3, round(self.text * 0.6))
        self.row = round(self.text * 1.65)
        self.scale = cv2.getFontScaleFromHeight(_FONT, self.text, self.line)
        self.names = max(self.measure(name) for name in CLASSES)
        self.bar = self.text * 5
        self.panel = (self.names + self.bar + 3 * self.margin, self.row * len(CLASSES) + 2 * self.margin)

    def measure(self, text: str) -> int:
        """Returns the width of `text`."""
        return cv2.getTextSize(text, _FONT, self.scale, self.line)[0][0]

    def measure_label(self, face: Face) -> int:
        """Returns the width of the label of `face` with its margins."""
        return self.measure(_label(face)) + 2 * self.margin


def _label(face: Face) -> str:
    return f"{face.label} {face.confidence:.0%}"


def draw_faces(image: np.ndarray, faces: Sequence[Face]) -> None:
    """Paints a box, a label and the probabilities for each face on the image itself.

    Text grows with the frame. Labels and panels stay inside it, and panels off the faces where there is room.

    Args:
        image: uint8 [H, W, 3], BGR; changed.
        faces: The faces of this frame.
    """
    style = _Style(image)
    taken = [_with_label(face, style) for face in faces]
    for face, occupied in zip(faces, list(taken), strict=True):
        panel = _place_panel(occupied, taken, style)
        taken.append(panel)
        _draw_panel(image, panel, face, style)
    for face in faces:  # last, so that no panel hides a label
        _draw_box(image, face, style)


def _draw_box(image: np.ndarray, face: Face, style: _Style) -> None:
    left, top, width, height = face.box
    colour = COLOURS[face.label]
    cv2.rectangle(image, (left, top), (left + width - 1, top + height - 1), colour, 2 * style.line, cv2.LINE_AA)
    label = (left - style.line, top - style.row - style.line, style.measure_label(face), style.row)
    x, y, w, h = _clamp(label, style.frame)
    cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), colour, cv2.FILLED)
    ink = _BLACK if np.dot(colour, (0.114, 0.587, 0.299)) > 110 else _WHITE
    _write(image, _label(face), (x + style.margin, y + (h + style.text) // 2), ink, style)


def _draw_panel(image: np.ndarray, panel: Box, face: Face, style: _Style) -> None:
    x, y, width, height = panel
    background = image[y : y + height, x : x + width]
    background[:] = cv2.convertScaleAbs(background, alpha=0.25)
    outline = (x + width - 1, y + height - 1)
    cv2.rectangle(image, (x, y), outline, COLOURS[face.label], style.line)  # says whose panel it is
    left = x + style.names + 2 * style.margin
    for index, (name, probability) in enumerate(zip(CLASSES, face.probabilities, strict=True)):
        row = y + style.margin + index * style.row
        baseline = row + (style.row + style.text) // 2
        ink = _WHITE if name == face.label else _GRAY
        _write(image, name, (x + style.margin, baseline), ink, style)
        upper, lower = baseline - style.text, baseline
        length = round(style.bar * float(probability))
        cv2.rectangle(image, (left, upper), (left + style.bar, lower), (75, 75, 75), cv2.FILLED)
        if length:
            cv2.rectangle(image, (left, upper), (left + length, lower), COLOURS[name], cv2.FILLED)


def _write(image: np.ndarray, text: str, origin: tuple[int, int], colour: tuple, style: _Style) -> None:
    cv2.putText(image, text, origin, _FONT, style.scale, colour, style.line, cv2.LINE_AA)


def _with_label(face: Face, style: _Style) -> Box:
    """Returns what the box of a face and the label above it occupy together."""
    left, top, width, height = face.box
    return left, top - style.row, max(width, style.measure_label(face)), height + style.row


def _place_panel(face: Box, taken: Sequence[Box], style: _Style) -> Box:
    """Returns where the panel of a face hides least of what is in the frame; of equal places, the nearest."""
    left, top, width, height = face
    panel_width, panel_height = style.panel
    gap = style.margin
    right, bottom = left + width, top + height
    columns = (right + gap, left - panel_width - gap, left, right - panel_width)
    rows = (top, bottom - panel_height, bottom + gap, top - panel_height - gap)
    places = [_clamp((x, y, panel_width, panel_height), style.frame) for x in columns for y in rows]

    def cost(place: Box) -> tuple[int, int]:
        distance = abs(2 * place[0] + place[2] - left - right) + abs(2 * place[1] + place[3] - top - bottom)
        return sum(_overlap(place, other) for other in taken), distance

    return min(places, key=cost)


def _clamp(box: Box, frame: tuple[int, int]) -> Box:
    """Moves a box into the frame; one that is larger keeps its upper left part."""
    x, y, width, height = box
    width, height = min(width, frame[0]), min(height, frame[1])
    return min(max(x, 0), frame[0] - width), min(max(y, 0), frame[1] - height), width, height


def _overlap(one: Box, other: Box) -> int:
    """Returns the area that two boxes share."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)
