"""Keeps what was read off the faces as tables. docs/formats.md describes them."""

import csv
from collections.abc import Sequence
from pathlib import Path

from fer_tf.emotions import CLASSES
from fer_tf.files import check_writable, named_errors
from realtime.capture import Frame
from realtime.pipeline import Face

COLUMNS = (
    *("source", "time_s", "frame", "face", "x", "y", "width", "height"),
    *("model", "expression", "confidence"),
    *(f"p_{name}" for name in CLASSES),
    *(f"raw_{name}" for name in CLASSES),
)
"""Of the CSV file."""


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
