"""Keeps what was read off the faces as tables. docs/formats.md describes them."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fer_tf.classes import CLASSES
from fer_tf.files import check_writable, named_errors, write_json
from fer_tf.locks import claim
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.pipeline import Face

COLUMNS = (
    *("source", "time_s", "frame", "face", "x", "y", "width", "height"),
    *("model", "expression", "confidence"),
    *(f"p_{name}" for name in CLASSES),
    *(f"raw_{name}" for name in CLASSES),
)
"""Of the CSV file."""

LONGEST_STEP_S = 2.0
"""A summary counts a frame for as long as it lasts, but no longer than this: a camera that stalls shows nothing new."""


class _LineSink:
    """A growing file (UTF-8) whose lines are there as soon as they are known, so that it stays whole if killed.

    Args:
        path: Where to; by the first frame a file that is there is replaced. Missing folders are made.

    Raises:
        UserError: if nothing can be written there.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        check_writable(self.path, in_place=True)
        self._file: TextIO | None = None

    def write(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        """Adds the lines of a frame.

        Raises:
            UserError: if they cannot be written, because the disk is full or another run writes there, for instance.
        """
        with named_errors(self.path):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # Buffered by line: a line goes out in one piece.
                self._file = io.TextIOWrapper(claim(self.path), encoding="utf-8", newline="", line_buffering=True)
                if self.path.is_file():
                    self._file.truncate(0)
                self._begin(self._file)
            self._add(source, frame, faces)

    def close(self) -> None:
        """Ends the file."""
        if self._file is not None:
            with named_errors(self.path):
                self._file.close()

    def _begin(self, file: TextIO) -> None:
        """Takes the file that is to be written to, just opened."""

    def _add(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        raise NotImplementedError


class CsvSink(_LineSink):
    """Writes a row for each face and model to a CSV file, each row as soon as it is known.

    Args:
        path: Where to; by the first frame a file that is there is replaced. Missing folders are made.

    Raises:
        UserError: if nothing can be written there.
    """

    def _begin(self, file: TextIO) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def _add(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        for face in faces:
            place = [source, f"{frame.time_s:.3f}", frame.index, face.track, *face.box]
            for reading in face.readings:
                numbers = (reading.confidence, *reading.probabilities, *reading.raw)
                self._rows.writerow([*place, reading.model, reading.label, *(f"{n:.4f}" for n in numbers)])


class JsonlSink(_LineSink):
    """Writes a JSON object for each frame, also for one without faces, on a line of its own as soon as it is known.

    Args:
        path: Where to; by the first frame a file that is there is replaced. Missing folders are made.

    Raises:
        UserError: if nothing can be written there.
    """

    def _add(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        described = [{"face": face.track, **describe_face(face, raw=True)} for face in faces]
        line = {"source": source, "time_s": round(frame.time_s, 3), "frame": frame.index, "faces": described}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")


class SummarySink:
    """Adds up for how long each face showed each expression to each model, as one JSON file when it is closed.

    What a frame shows counts until the next frame of the source, the last one for as long as the one before it.

    Args:
        path: Where to; a file that is there is replaced, but not if there was no frame. Missing folders are made.

    Raises:
        UserError: if nothing can be written there.
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
        """Takes what a frame shows."""
        if source == self._source:
            self._step_s = min(max(0.0, frame.time_s - self._time_s), LONGEST_STEP_S)
        self._count_last()
        if source != self._source:
            self._step_s = 0.0
        self._source, self._time_s, self._faces = source, frame.time_s, faces
        self._sources.setdefault(source, {"source": source, "frames": 0, "seconds": 0.0})["frames"] += 1
        for face in faces:
            for reading in face.readings:
                key = {"source": source, "face": face.track, "model": reading.model}
                new = key | {"first_s": frame.time_s, "last_s": 0.0, "frames": 0, "seconds": 0.0}
                new |= {"mean_confidence": 0.0, "expressions": dict.fromkeys(CLASSES, 0.0)}
                entry = self._readings.setdefault(tuple(key.values()), new)
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
        """Counts the time that the last frame lasted."""
        if self._source is None:
            return
        self._sources[self._source]["seconds"] += self._step_s
        for face in self._faces:
            for reading in face.readings:
                entry = self._readings[self._source, face.track, reading.model]
                entry["seconds"] += self._step_s
                entry["expressions"][reading.label] += self._step_s


def describe_face(face: Face, *, raw: bool = False) -> dict[str, Any]:
    """Returns where a face is and what each model says of it, as it stands in JSON files; `raw` readings on demand."""
    readings = []
    for reading in face.readings:
        entry = {"model": reading.model, "expression": reading.label, "confidence": round(reading.confidence, 4)}
        entry["probabilities"] = _by_class(reading.probabilities)
        if raw:
            entry["raw"] = _by_class(reading.raw)
        readings.append(entry)
    return {"box": list(face.box), "certain": face.certain, "readings": readings}


def _by_class(probabilities: np.ndarray) -> dict[str, float]:
    return {name: round(float(p), 4) for name, p in zip(CLASSES, probabilities, strict=True)}


def _rounded(value: Any) -> Any:
    """Returns nested lists and objects with all their numbers to a ten-thousandth."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
