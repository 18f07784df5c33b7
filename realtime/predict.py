"""Labels the facial expressions in pictures. `python -m realtime.predict --help`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf.card import EXCLUDED_USES
from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.files import check_writable
from fer_tf.quiet import silence_opencv
from fer_tf.realtime.detect import STILL_SEARCH_SIZE, whole_picture
from fer_tf.realtime.draw import draw_faces
from fer_tf.realtime.face import Face
from fer_tf.realtime.options import add_recognition, check_crops, make_detector
from fer_tf.realtime.outputs import check_overwriting, distinct_names
from fer_tf.realtime.pictures import read_image
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.realtime.record import write_image
from fer_tf.realtime.sources import check_name, expand_sources
from fer_tf.realtime.stage import in_thread
from fer_tf.realtime.tables import describe_face
from fer_tf.text import printable


@command
def main(argv: list[str] | None = None) -> int:
    """Labels each picture; those that cannot be read are reported and skipped."""
    arguments = _parse(argv)
    silence_opencv()
    paths = _expand(arguments.images, recursive=arguments.recursive)
    targets = _targets(paths, arguments.output) if arguments.output else {}
    detector = None if arguments.crops else make_detector(arguments)
    pipeline = Pipeline(
        detector or whole_picture,
        arguments.model,
        min_confidence=arguments.min_confidence,
        expect=arguments.expect,
        resting_weight=arguments.resting_weight,
    )
    if arguments.resting_pictures:
        pipeline.rest(arguments.resting_pictures)
    described: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    try:
        for path in paths:
            try:
                check_name(path)
                image = read_image(path)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                failed.append({"source": path, "error": str(error)})
                continue
            faces = in_thread(pipeline.still, image)
            if arguments.json:
                described.append(_describe(path, image, faces))
            else:
                _print(path, faces)
            if path in targets:
                draw_faces(image, faces)
                write_image(targets[path], image)
    finally:  # even after Ctrl-C or on a full disk
        if arguments.json:
            print(
                json.dumps(
                    {"detector": getattr(detector, "backend", None), "images": described, "failed": failed}, indent=2
                )
            )
    if failed and len(paths) == 1:
        return 2
    return 1 if failed else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        "realtime.predict",
        description="Label the facial expressions in pictures.",
        epilog=EXCLUDED_USES,
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image file, folder, or glob pattern")
    parser.add_argument("--recursive", action="store_true", help="also look in the subfolders of folders")
    help_text = "the pictures are face crops, gray or in color, of any size: search no faces, and label each picture"
    parser.add_argument("--crops", action="store_true", help=help_text)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write the labeled pictures to this folder, as PNG")
    add_recognition(parser.add_argument, search=STILL_SEARCH_SIZE)
    arguments = parser.parse_args(argv)
    check_crops(parser, arguments)
    return arguments


def _expand(named: Sequence[str], *, recursive: bool) -> list[str]:
    """Returns the files that the user names, and the pictures in folders and of patterns."""
    # With a slash, since a folder called 2023 or demo would be a camera or the demo clip.
    sources = [os.path.join(text, "") if Path(text).is_dir() else text for text in named]
    return expand_sources(sources, recursive=recursive, videos=False)


def _targets(paths: Sequence[str], folder: Path) -> dict[str, Path]:
    """Returns where each labeled picture goes: a file of its own, which is none of the pictures."""
    names = distinct_names((Path(path).stem, ".png") for path in paths)
    targets = {path: folder / name for path, name in zip(paths, names, strict=True)}
    check_overwriting([("IMAGE", path) for path in paths], [("--output", target) for target in targets.values()])
    for target in targets.values():
        check_writable(target)
    return targets


def _describe(path: str, image: np.ndarray, faces: Sequence[Face]) -> dict[str, Any]:
    height, width = image.shape[:2]
    described = [{"face": face.track, **describe_face(face)} for face in faces]
    return {"source": path, "width": width, "height": height, "faces": described}


def _print(path: str, faces: Sequence[Face]) -> None:
    print(f"{printable(path)}: {len(faces) or 'no'} face{'' if len(faces) == 1 else 's'} found")
    for face in faces:
        left, top, width, height = face.box
        place = f"left {left:5} top {top:5} width {width:4} height {height:4}"
        print(
            f"  {face.track:4}  {face.label:8} {face.confidence:4.0%}  {place}{'' if face.certain else '  uncertain'}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
