"""Keeps what was read off the faces as tables. docs/formats.md describes them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf.emotions import CLASSES
from fer_tf.files import check_writable, named_errors, write_json
from realtime.capture import Frame
from realtime.pipeline import Face

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
        path: Where to; a file that is there is replaced, missing folders are made.

    Raises:
        UserError: if nothing can be written there.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        check_writable(self.path)
        with named_errors(self.path):
            # Buffered by line: a line goes out in one piece.
            self._file = open(self.path, "w", newline="", encoding="utf-8", buffering=1)  # noqa: SIM115

    def close(self) -> None:
        """Ends the file."""
        with named_errors(self.path):
            self._file.close()


class CsvSink(_LineSink):
    """Writes a row for each face and model to a CSV file, each row as soon as it is known.

    Args:
        path: Where to; a file that is there is replaced, missing folders are made.

    Raises:
        UserError: if nothing can be written there.
    """

    def __init__(self, path: Path | str):
        super().__init__(path)
        self._rows = csv.writer(self._file, lineterminator="\n")
        with named_errors(self.path):
            self._rows.writerow(COLUMNS)

    def write(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        """Adds the rows of a frame.

        Raises:
            UserError: if they cannot be written, because the disk is full for instance.
        """
        with named_errors(self.path):
            for face in faces:
                place = [source, f"{frame.time_s:.3f}", frame.index, face.track, *face.box]
                for reading in face.readings:
                    numbers = (reading.confidence, *reading.probabilities, *reading.raw)
                    self._rows.writerow([*place, reading.model, reading.label, *(f"{n:.4f}" for n in numbers)])


class JsonlSink(_LineSink):
    """Writes a JSON object for each frame, also for one without faces, on a line of its own as soon as it is known.

    Args:
        path: Where to; a file that is there is replaced, missing folders are made.

    Raises:
        UserError: if nothing can be written there.
    """

    def write(self, source: str, frame: Frame, faces: Sequence[Face]) -> None:
        """Adds the line of a frame.

        Raises:
            UserError: if it cannot be written, because the disk is full for instance.
        """
        described = [{"face": face.track, **describe_face(face, raw=True)} for face in faces]
        line = {"source": source, "time_s": round(frame.time_s, 3), "frame": frame.index, "faces": described}
        with named_errors(self.path):
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")


class SummarySink:
    """Adds up for how long each face showed each expression, and writes that as one JSON file when it is closed.

    What a frame shows counts until the next frame of the source, the last one for as long as the one before it.

    Args:
        path: Where to; a file that is there is replaced, missing folders are made.

    Raises:
        UserError: if nothing can be written there.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        check_writable(self.path)
        self._sources: dict[str, dict[str, Any]] = {}
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
        entry = self._sources.setdefault(source, {"frames": 0, "seconds": 0.0, "faces": {}})
        entry["frames"] += 1
        for face in faces:
            self._see(entry["faces"], face)

    def close(self) -> None:
        """Writes the file.

        Raises:
            UserError: if it cannot be written.
        """
        self._count_last()
        for entry in self._sources.values():
            for face in entry["faces"].values():
                for model in face["models"].values():
                    model["mean_confidence"] /= face["frames"]
        with named_errors(self.path):
            write_json(self.path, {"sources": _rounded(self._sources)})

    def _see(self, known: dict[str, dict[str, Any]], face: Face) -> None:
        """Counts a frame of a face."""
        entry = known.setdefault(
            str(face.track), {"first_s": self._time_s, "last_s": 0.0, "frames": 0, "seconds": 0.0, "models": {}}
        )
        entry["last_s"] = self._time_s
        entry["frames"] += 1
        for reading in face.readings:
            model = entry["models"].setdefault(
                reading.model, {"mean_confidence": 0.0, "seconds": dict.fromkeys(CLASSES, 0.0)}
            )
            model["mean_confidence"] += reading.confidence

    def _count_last(self) -> None:
        """Counts the time that the last frame lasted."""
        if self._source is None:
            return
        source = self._sources[self._source]
        source["seconds"] += self._step_s
        for face in self._faces:
            entry = source["faces"][str(face.track)]
            entry["seconds"] += self._step_s
            for reading in face.readings:
                entry["models"][reading.model]["seconds"][reading.label] += self._step_s


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
    """Returns a nested value with all its numbers to a thousandth."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 3) if isinstance(value, float) else value
