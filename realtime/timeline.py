"""Plots expressions over time from a table of the live loop or an archive. `python -m realtime.timeline --help`."""

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fer_tf.classes import CLASSES
from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.files import check_writable
from fer_tf.installation import program
from fer_tf.quiet import silence_opencv
from fer_tf.realtime.draw import COLORS, Color, Pen
from fer_tf.realtime.record import IMAGE_SUFFIXES, write_image
from fer_tf.realtime.tables import COLUMNS, from_cell
from fer_tf.text import printable

_FINER = 2
"""Supersampling factor, which smooths text and edges."""

_WIDTH, _LEFT, _RIGHT = 1600, 70, 40
_PLOT_WIDTH = _WIDTH - _LEFT - _RIGHT
_LEGEND, _TITLE, _BAND, _PLOT, _AXIS = 64, 34, 18, 130, 46
_STRIP = _TITLE + _BAND + _PLOT + _AXIS
_PEN = Pen(11 * _FINER)
_INK, _QUIET_INK, _NOTHING = (40, 40, 40), (120, 120, 120), (240, 240, 240)
_PALETTE = np.array([COLORS[name] for name in CLASSES] + [_NOTHING], np.uint8)

_COLUMNS_BEFORE = COLUMNS[: COLUMNS.index("shown")]
"""Columns of tables of version 0.1."""

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


@dataclass(frozen=True, eq=False)
class Strip:
    """The predictions of one model for one face over time."""

    source: str
    face: int
    model: str
    times: np.ndarray
    """float64 [N], in seconds, ascending."""
    probabilities: np.ndarray
    """float64 [N, 7], in the order of `fer_tf.CLASSES`, 0 to 1."""

    @property
    def name(self) -> str:
        """Title of the strip: its face, source and model."""
        return f"face {self.face}   {self.source}   {self.model}"


@command
def main(argv: list[str] | None = None) -> None:
    """Reads the table and writes the plot."""
    parser = Parser(
        "realtime.timeline",
        description=f"Plot the expressions of each face over time, from a CSV file of {program('realtime.webcam')} or "
        f"the folder of {program('realtime.archive')}.",
    )
    parser.add_argument("csv", type=Path, help="table written by --csv, or the --output of an archive")
    parser.add_argument(
        "-o", "--output", type=Path, help="plot to write, .png or .jpg (default: <csv>-timeline.png next to the table)"
    )
    parser.add_argument("--face", type=int, metavar="N", help="plot only this face")
    parser.add_argument("--model", metavar="NAME", help="plot only this model")
    parser.add_argument("--source", metavar="NAME", help="plot only this source")
    help_text = "plot at most N strips, the longest ones (default: %(default)s)"
    parser.add_argument("--most", type=positive(), default=8, metavar="N", help=help_text)
    arguments = parser.parse_args(argv)
    silence_opencv()
    strips = _read_archive(arguments.csv) if arguments.csv.is_dir() else read_strips(arguments.csv)
    output = arguments.output or arguments.csv.with_name(f"{arguments.csv.stem}-timeline.png")
    if output.suffix.lower() not in IMAGE_SUFFIXES:
        raise UserError(f"{output}: the plot must end in {', '.join(IMAGE_SUFFIXES)}")
    if output.resolve() == arguments.csv.resolve():
        raise UserError(f"{output}: the plot would replace the table; choose another --output")
    check_writable(output)
    wanted = {"face": arguments.face, "model": arguments.model, "source": arguments.source}
    for key, value in wanted.items():
        present = sorted({getattr(strip, key) for strip in strips})
        strips = [strip for strip in strips if value is None or getattr(strip, key) == value]
        if not strips:
            shown = ", ".join(map(str, present[:20])) + (", ..." if len(present) > 20 else "")
            raise UserError(f"{arguments.csv}: no {key} {value!r} in it; there is {shown}")
    longest = sorted(strips, key=lambda strip: -len(strip.times))[: arguments.most]
    picture = draw_timeline([strip for strip in strips if strip in longest])
    write_image(output, picture)
    left_out = [strip for strip in strips if strip not in longest]
    if left_out:
        rows = sum(len(strip.times) for strip in left_out)
        print(f"left out: {len(left_out)} shorter strips with {rows} rows (--most, --face)")
    print(f"wrote {printable(str(output))}")


def read_strips(path: Path) -> list[Strip]:
    """Reads a CSV file that `fer_tf.realtime.tables.CsvSink` wrote.

    Args:
        path: The file.

    Returns:
        A strip for each source, face and model, in the order of the file.

    Raises:
        OSError: if it cannot be opened.
        UserError: if it is not such a file, or has no faces in it.
    """
    samples: dict[tuple[str, int, str], list[list[float]]] = defaultdict(list)
    with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets add a byte order mark
        rows, columns = csv.reader(file), COLUMNS
        try:
            columns = tuple(next(rows, []))
            known = columns in (COLUMNS, _COLUMNS_BEFORE)
            for row in rows if known else ():
                key, sample = _parse(dict(zip(columns, row, strict=True)))
                samples[key].append(sample)
        except (ValueError, csv.Error):  # text that is not UTF-8 is a ValueError, too
            expected = f"expected a row of {len(columns)} values"
            raise UserError(f"{path}: damaged near line {max(1, rows.line_num)}; {expected}") from None
    if not known:
        raise UserError(f"{path}: not a table of faces; its first line must be {','.join(COLUMNS)}")
    return _strips_of(path, samples)


def _read_archive(folder: Path) -> list[Strip]:
    """Reads the parts of an archive; the strips are in the order of their sources."""
    names = sorted(path.name for path in folder.glob("part-*.parquet"))
    if not names:
        raise UserError(f"{folder}: no archive; expected a CSV file, or a folder of {program('realtime.archive')}")
    from fer_tf.realtime.archive.parts import read_tables  # what these need comes with an extra
    from fer_tf.realtime.archive.store import Store

    store = Store(str(folder))
    samples: dict[tuple[str, int, str], list[list[float]]] = defaultdict(list)
    columns = ("source", "face", "model", "time_s", *(f"p_{name}" for name in CLASSES))
    for name in names:
        for table in read_tables(store, name, columns):
            for source, face, model, *sample in zip(*(column.to_pylist() for column in table.columns), strict=True):
                samples[source, face, model].append(sample)
    return sorted(_strips_of(folder, samples), key=lambda strip: strip.source)


def _strips_of(path: Path, samples: dict[tuple[str, int, str], list[list[float]]]) -> list[Strip]:
    if not samples:
        raise UserError(f"{path}: no faces in it; there is nothing to draw")
    strips = []
    for key, values in samples.items():
        array = np.array(sorted(values))
        strips.append(Strip(*key, array[:, 0], array[:, 1:]))
    return strips


def _parse(row: dict[str, str]) -> tuple[tuple[str, int, str], list[float]]:
    """Returns source, face and model of a row, and its time and probabilities, or raises `ValueError`."""
    sample = [float(row["time_s"]), *(float(row[f"p_{name}"]) for name in CLASSES)]
    if not (0 <= sample[0] < 1e9 and all(0 <= probability <= 1 for probability in sample[1:])):
        raise ValueError
    return (from_cell(row["source"]), int(row["face"]), from_cell(row["model"])), sample


def draw_timeline(strips: Sequence[Strip]) -> np.ndarray:
    """Draws strips below each other, under a legend.

    A strip shows the seven probabilities as stacked areas. Above them is a band in the color of the most probable
    expression, below them a time axis, the same for all strips of a source. It is empty while the face was not seen.

    Args:
        strips: The strips, at least one.

    Returns:
        uint8 [H, 1600, 3], BGR.
    """
    image = np.full((_FINER * (_LEGEND + _STRIP * len(strips)), _FINER * _WIDTH, 3), 255, np.uint8)
    _draw_legend(image)
    for index, strip in enumerate(strips):
        times = np.unique(np.concatenate([other.times for other in strips if other.source == strip.source]))
        step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
        _draw_strip(image, _LEGEND + index * _STRIP, strip, times[0], times[-1] + step, step)
    return cv2.resize(image, None, fx=1 / _FINER, fy=1 / _FINER, interpolation=cv2.INTER_AREA)


def _draw_legend(image: np.ndarray) -> None:
    x = _LEFT
    for name in CLASSES:
        _fill(image, (x, 22, 22, 22), COLORS[name])
        _write(image, name, x + 30, 39)
        x += 30 + _PEN.measure(name) // _FINER + 36


def _draw_strip(image: np.ndarray, top: int, strip: Strip, start: float, end: float, step: float) -> None:
    """Draws a strip from `top` on, for times from `start` to `end`; frames are `step` seconds apart."""
    room = _FINER * _PLOT_WIDTH
    _write(image, _PEN.fit(strip.name, room), _LEFT, top + _TITLE - 12)
    columns = _columns(strip, start, end, step, room)
    seen = np.isfinite(columns[:, 0])
    best = np.where(seen, np.nan_to_num(columns).argmax(axis=1), len(CLASSES))
    left, right = _FINER * _LEFT, _FINER * (_LEFT + _PLOT_WIDTH)
    band, plot, axis = (_FINER * (top + offset) for offset in (_TITLE, _TITLE + _BAND, _TITLE + _BAND + _PLOT))
    image[band : plot - 2 * _FINER, left:right] = _PALETTE[best]
    heights = (np.arange(axis - plot, 0, -1) - 0.5) / (axis - plot)
    # The class that a pixel belongs to is the number of classes whose areas end below it.
    classes = (np.cumsum(columns[:, :-1], axis=1)[None] < heights[:, None, None]).sum(axis=2)
    image[plot:axis, left:right] = _PALETTE[np.where(seen, classes, len(CLASSES))]
    for share in (0, 50, 100):
        y = axis // _FINER - share * _PLOT // 100
        _write(image, f"{share}%", _LEFT - 8, y + 5, _QUIET_INK, anchor=1.0)
        _fill(image, (_LEFT - 5, y, 5, 1), _QUIET_INK)
    _draw_axis(image, axis // _FINER, start, end)


def _columns(strip: Strip, start: float, end: float, step: float, width: int) -> np.ndarray:
    """Returns the probabilities in each column of a plot: float64 [width, 7], NaN where the face was not seen."""
    result = np.full((width, len(CLASSES)), np.nan)
    scale = width / (end - start)
    gaps = np.flatnonzero(np.diff(strip.times) > max(3 * step, 0.25)) + 1
    for times, rows in zip(np.split(strip.times, gaps), np.split(strip.probabilities, gaps), strict=True):
        places = np.minimum(((times - start) * scale).astype(int), width - 1)
        # Several frames in one column are averaged.
        occupied, first, counts = np.unique(places, return_index=True, return_counts=True)
        means = np.add.reduceat(rows, first) / counts[:, None]
        last = min(width, math.ceil((times[-1] + step - start) * scale))
        inside = np.arange(occupied[0], max(last, occupied[-1] + 1))
        result[inside] = np.column_stack([np.interp(inside, occupied, column) for column in means.T])
    return result


def _draw_axis(image: np.ndarray, y: int, start: float, end: float) -> None:
    _fill(image, (_LEFT, y, _PLOT_WIDTH, 1), _QUIET_INK)
    step = next((step for step in _STEPS if (end - start) / step <= 12), math.ceil((end - start) / 12 / 3600) * 3600)
    for number in range(math.ceil(start / step), math.floor(end / step) + 1):
        x = _LEFT + round((number * step - start) / (end - start) * _PLOT_WIDTH)
        _fill(image, (x, y, 1, 6), _QUIET_INK)
        _write(image, _clock(number * step, end), x, y + 22, _QUIET_INK, anchor=0.5)


def _clock(seconds: float, end: float) -> str:
    """Formats a time for an axis that ends at `end`."""
    if end < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if end >= 3600 else f"{minutes}:{rest:02}"


def _fill(image: np.ndarray, box: tuple[int, int, int, int], color: Color) -> None:
    x, y, width, height = (_FINER * side for side in box)
    image[y : y + height, x : x + width] = color


def _write(image: np.ndarray, text: str, x: int, y: int, color: Color = _INK, *, anchor: float = 0.0) -> None:
    """Writes text whose left end (`anchor` 0), middle (0.5) or right end (1) is at x, on the baseline y."""
    _PEN.write(image, text, (_FINER * x - round(anchor * _PEN.measure(text)), _FINER * y), color)


if __name__ == "__main__":
    raise SystemExit(main())
