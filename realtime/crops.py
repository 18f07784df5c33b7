"""Cuts faces out of photographs, to train on. `python -m realtime.crops --help`."""

import argparse
import csv
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.locks import claim
from fer_tf.quiet import silence_opencv
from fer_tf.realtime.detect import Detections
from fer_tf.realtime.largest import CutOut, faces_by_size
from fer_tf.realtime.options import add_detection, make_detector
from fer_tf.realtime.pictures import read_image
from fer_tf.realtime.record import write_image
from fer_tf.realtime.sources import check_name, expand_sources
from fer_tf.realtime.tables import from_cell, to_cell
from fer_tf.text import one_line

RECORD = "crops.csv"
"""Name of the table in the output folder that says where each crop comes from."""

COLUMNS = ("photo", "crop", "x", "y", "width", "height", "faces")
"""Its columns. A photograph without a face has a row with neither crop nor box."""


@command
def main(argv: list[str] | None = None) -> int:
    """Writes a crop of each photograph, and of each of its faces if that is asked for."""
    arguments = _parse(argv)
    silence_opencv()
    photos, output = arguments.photos, arguments.output
    names = _list(photos)
    find = make_detector(arguments).still
    record = _Record(output, resume=arguments.resume)
    left = [name for name in names if name not in record.photos]
    if len(left) < len(names):
        print(f"note: {len(names) - len(left):,} of {len(names):,} photographs are done, as {record.path} says")
    crops = without = several = broken = 0
    with record:
        for name in tqdm(left, desc="cutting out", unit=" photographs", disable=None):
            try:
                faces = _faces(photos / name, find)
            except (UserError, OSError) as error:
                tqdm.write(f"error: {one_line(str(error))}", file=sys.stderr)
                broken += 1
                continue
            several += len(faces) > 1
            without += not faces
            crops += record.add(name, faces, most=None if arguments.all_faces else 1)
    told = "" if arguments.all_faces else ", of which the largest was taken"
    print(
        f"{len(left):,} photographs: {crops:,} crops written to {output}; no face in {without:,}, several in "
        f"{several:,}{told if several else ''}; {broken:,} could not be read; {record.path} lists them"
    )
    return 1 if broken else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        "realtime.crops",
        description="Cut faces out of photographs as the models see them: found, turned level, gray, 48 pixels square. "
        "Subfolders, such as class folders, are kept. Of each photograph the largest face is taken, since the label of "
        "a photograph is about one person.",
    )
    add = parser.add_argument
    add("photos", type=Path, metavar="PHOTOS", help="folder of photographs, with its subfolders")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="new folder for the crops")
    help_text = "write every face, the largest first, and not the largest alone"
    add("--all-faces", action="store_true", help=help_text)
    help_text = f"go on with a folder where an earlier run ended; what its {RECORD} lists is not done again"
    add("--resume", action="store_true", help=help_text)
    add_detection(add)
    arguments = parser.parse_args(argv)
    photos, output = (path.resolve() for path in (arguments.photos, arguments.output))
    if not photos.is_dir():
        raise UserError(f"{arguments.photos}: no such folder; expected a folder of photographs")
    if photos == output or photos in output.parents or output in photos.parents:
        raise UserError(f"--output {arguments.output}: lies in {arguments.photos} or around it; choose another")
    return arguments


def _list(folder: Path) -> list[str]:
    """Returns the photographs below a folder, as paths from there with slashes."""
    files = expand_sources([os.path.join(folder, "")], recursive=True, videos=False)
    return [Path(file).relative_to(folder).as_posix() for file in files]


def _faces(photo: Path, find: Callable[[np.ndarray], Detections]) -> list[CutOut]:
    check_name(str(photo))
    return faces_by_size(read_image(str(photo)), find)


class _Record:
    """The folder of crops, and the table in it that grows row by row.

    Args:
        folder: The folder; it need not exist yet.
        resume: Whether it may hold the crops of an earlier run.

    Raises:
        UserError: if it is not empty, and not to be resumed, or if another run is writing it.
    """

    def __init__(self, folder: Path, *, resume: bool):
        self.path = folder / RECORD
        self.photos: set[str] = set()
        self._folder = folder
        self._taken: set[str] = set()
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file; expected a folder for the crops")
        if folder.is_dir() and any(folder.iterdir()):
            if not resume:
                raise UserError(f"{folder}: is not empty; choose another folder, or go on where it ended by --resume")
            if not self.path.is_file():
                raise UserError(f"{folder}: has no {RECORD}, so no earlier run ended here; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = claim(self.path)
        self._read()

    def __enter__(self) -> "_Record":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, photo: str, faces: list[CutOut], *, most: int | None) -> int:
        """Writes the crops of a photograph, then its rows; returns how many crops."""
        rows = []
        for face in faces[:most]:
            name = self._unused(PurePosixPath(photo).with_suffix(""))
            write_image(self._folder / name, face.crop)
            rows.append((to_cell(photo), to_cell(name), *face.box, len(faces)))
        self._write(rows or [(to_cell(photo), *[""] * 5, 0)])
        return len(rows)

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))  # a killed run may have left part of a row
        if not whole:
            self._write([COLUMNS])
            return
        try:
            header, *rows = csv.reader(io.StringIO(whole.decode("utf-8"), newline=""))
            if tuple(header) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
                raise ValueError
        except (ValueError, csv.Error):
            self._file.close()
            raise UserError(f"{self.path}: not a table of crops; choose another folder") from None
        self.photos = {from_cell(row[0]) for row in rows}
        self._taken = {from_cell(row[1]).lower() for row in rows}

    def _write(self, rows: list[tuple]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode("utf-8"))
        self._file.flush()

    def _unused(self, stem: PurePosixPath) -> str:
        """Returns a name for a crop; a number sets apart those that differ at most in case."""
        name, number = f"{stem}.png", 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-{number}.png"
        self._taken.add(name.lower())
        return name


if __name__ == "__main__":
    raise SystemExit(main())
