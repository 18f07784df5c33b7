"""Writes the readings as tables: CSV, JSON Lines and a summary. docs/formats.md describes their formats."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fer_tf.classes import CLASSES
from fer_tf.files import check_writable, named_errors, write_json
from fer_tf.locks import claim
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.face import Face

COLUMNS = (
    *("source", "time_s", "frame", "face", "x", "y", "width", "height"),
    *("model", "expression", "confidence"),
    *(f"p_{name}" for name in CLASSES),
    *(f"raw_{name}" for name in CLASSES),
    "shown",
)
"""Columns of the CSV file. Tables of version 0.1 lack the last one."""

LONGEST_STEP_S = 2.0
"""A summary counts a frame for as long as it lasts, up to this many seconds, in case a camera stalls."""


_RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""With these a cell begins that a spreadsheet might run as a formula; the last one marks cells that we changed."""


def to_cell(text: str) -> str:
    """Returns text for a cell of a table that a spreadsheet shows and does not run: with a ' in front if need be."""
    if "\r" in text and "\n" not in text:
        text = text.replace("\r", "\\r")  # which Python's csv does not quote before 3.13
    return f"'{text}" if text.startswith(_RUN) else text


def from_cell(cell: str) -> str:
    """Returns the text that `to_cell` wrote."""
    return cell.removeprefix("'")


Row = tuple[Any, ...]
"""The values of a row, in the order of `COLUMNS`: names are str, counts and pixels int, the rest float."""


def rows_of(source: str, frame: Frame, faces: Sequence[Face]) -> Iterator[Row]:
    """Yields a row for each face and model, with times in milliseconds and probabilities to four digits."""
    for face in faces:
        place = (source, round(frame.time_s, 3), frame.index, face.track, *face.box)
        for reading in face.readings:
            numbers = (reading.confidence, *reading.probabilities, *reading.raw)
            rounded = (round(float(number), 4) for number in numbers)
            yield (*place, reading.model, reading.label, *rounded, reading.shown)


def csv_row(row: Row) -> list[object]:
    """Returns the values of a row as the CSV file has them."""
    cells: dict[str, object] = dict(zip(COLUMNS, row, strict=True))
    for name in COLUMNS[COLUMNS.index("confidence") : COLUMNS.index("shown")]:
        cells[name] = f"{cells[name]:.4f}"
    for name in ("source", "model"):
        cells[name] = to_cell(str(cells[name]))
    return list((cells | {"time_s": f"{cells['time_s']:.3f}"}).values())


class _LineSink:
    """A UTF-8 file that grows line by line, each written at once, so that it stays whole if the program is killed.

    Args:
        path: File to write. The first frame replaces an existing one; missing folders are created.

    Raises:
        UserError: if the file cannot be written.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        check_writable(self.path, in_place=True)
        self._file: TextIO | None = None

    def write(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        """Adds the lines of a frame.

        Raises:
            UserError: if they cannot be written, for instance because the disk is full or another run writes there.
        """
        with named_errors(self.path):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # Line buffering writes each line in one piece.
                self._file = io.TextIOWrapper(claim(self.path), encoding="utf-8", newline="", line_buffering=True)
                if self.path.is_file():
                    self._file.truncate(0)
                self._begin(self._file)
            self._add(self._file, source, frame, faces)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with named_errors(self.path):
                self._file.close()

    def _begin(self, file: TextIO) -> None:
        """Writes what comes before the first line to a file that was just opened."""

    def _add(self, file: TextIO, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        raise NotImplementedError


class CsvSink(_LineSink):
    """Writes a row for each face and model to a CSV file, each row at once.

    Args:
        path: File to write. The first frame replaces an existing one; missing folders are created.

    Raises:
        UserError: if the file cannot be written.
    """

    def _begin(self, file: TextIO) -> None:
        csv.writer(file, lineterminator="\n").writerow(COLUMNS)

    def _add(self, file: TextIO, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        csv.writer(file, lineterminator="\n").writerows(map(csv_row, rows_of(source, frame, faces)))


class JsonlSink(_LineSink):
    """Writes a JSON object for each frame, even without faces, on a line of its own and at once.

    Args:
        path: File to write. The first frame replaces an existing one; missing folders are created.

    Raises:
        UserError: if the file cannot be written.
    """

    def _add(self, file: TextIO, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        described = [{"face": face.track, **describe_face(face)} for face in faces]
        line = {"source": source, "time_s": round(frame.time_s, 3), "frame": frame.index, "faces": described}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


class SummarySink:
    """Adds up how long each face showed each expression by each model, and writes one JSON file when it is closed.

    A frame counts until the next frame of its source; the last frame counts as long as the one before it.

    Args:
        path: File to write. An existing one is replaced, unless there was no frame; missing folders are created.

    Raises:
        UserError: if the file cannot be written.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        check_writable(self.path)
        self._sources: dict[str, dict[str, Any]] = {}
        self._readings: dict[tuple[str, int, str], dict[str, Any]] = {}
        self._source: str | None = None
        self._time_s = self._step_s = 0.0
        self._faces: Sequence[Face] = ()

    def write(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        """Counts a frame."""
        if source == self._source:
            self._step_s = min(max(0.0, frame.time_s - self._time_s), LONGEST_STEP_S)
        self._count_last()
        if source != self._source:
            self._step_s = 0.0
        self._source, self._time_s, self._faces = source, frame.time_s, faces
        self._sources.setdefault(source, {"source": source, "frames": 0, "seconds": 0.0})["frames"] += 1
        for face in faces:
            for reading in face.readings:
                new: dict[str, Any] = {"source": source, "face": face.track, "model": reading.model}
                new |= {"first_s": frame.time_s, "last_s": 0.0, "frames": 0, "seconds": 0.0}
                new |= {"mean_confidence": 0.0, "expressions": dict.fromkeys(CLASSES, 0.0)}
                entry = self._readings.setdefault((source, face.track, reading.model), new)
                entry["last_s"] = frame.time_s
                entry["frames"] += 1
                entry["mean_confidence"] += (reading.confidence - entry["mean_confidence"]) / entry["frames"]

    def close(self) -> None:
        """Writes the file, if there was a frame.

        Raises:
            UserError: if it cannot be written.
        """
        if not self._sources:
            return
        self._count_last()
        summary = {"sources": list(self._sources.values()), "faces": list(self._readings.values())}
        with named_errors(self.path):
            write_json(self.path, _rounded(summary))

    def _count_last(self) -> None:
        """Counts the duration of the last frame."""
        if self._source is None:
            return
        self._sources[self._source]["seconds"] += self._step_s
        for face in self._faces:
            for reading in face.readings:
                entry = self._readings[self._source, face.track, reading.model]
                entry["seconds"] += self._step_s
                entry["expressions"][reading.label] += self._step_s


def describe_face(face: Face) -> dict[str, Any]:
    """Returns the box and the readings of a face as JSON files have them."""
    readings = []
    for reading in face.readings:
        entry: dict[str, Any] = {"model": reading.model, "expression": reading.label, "shown": reading.shown}
        entry |= {"confidence": round(reading.confidence, 4)}
        entry |= {"probabilities": _by_class(reading.probabilities), "raw": _by_class(reading.raw)}
        readings.append(entry)
    return {"box": list(face.box), "certain": face.certain, "readings": readings}


def _by_class(probabilities: np.ndarray) -> dict[str, float]:
    return {name: round(float(p), 4) for name, p in zip(CLASSES, probabilities, strict=True)}


def _rounded(value: Any) -> Any:
    """Returns nested lists and objects with all numbers rounded to four digits."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
