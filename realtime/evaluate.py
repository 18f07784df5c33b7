"""Measures model files on your own labeled pictures. `python -m realtime.evaluate --help`."""

import argparse
import shlex
import sys
from pathlib import Path

from fer_tf import weights
from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.fer2013.labels import HELP
from fer_tf.files import check_writable, sha256, write_json, write_text
from fer_tf.installation import program
from fer_tf.mixture import PRESETS
from fer_tf.quiet import silence_opencv
from fer_tf.realtime.detect import whole_picture
from fer_tf.realtime.evaluation.figures import measure_mixtures
from fer_tf.realtime.evaluation.labeled import list_pictures
from fer_tf.realtime.evaluation.page import page, tables
from fer_tf.realtime.evaluation.recognized import recognize_pictures
from fer_tf.realtime.options import add_detection, check_crops, expected_mixture, make_detector, model_file
from fer_tf.realtime.outputs import check_overwriting
from fer_tf.realtime.resting import WEIGHT
from fer_tf.recognizer import Recognizer
from fer_tf.table import to_text
from fer_tf.text import printable


@command
def main(argv: list[str] | None = None) -> int:
    """Prints the figures of model files on labeled pictures, and writes them to files."""
    arguments = _parse(argv)
    silence_opencv()
    files = list(dict.fromkeys(arguments.models))
    recognizers = [Recognizer(file) for file in files]
    find = whole_picture if arguments.crops else make_detector(arguments).still
    listing = list_pictures(arguments.pictures, arguments.classes)
    for note in listing.notes:
        print(f"note: {note}")
    if listing.left_out:
        told = ", ".join(f"{what} {count}" for what, count in listing.left_out.most_common(12))
        print(printable(f"note: left out: {told}"))
    recognized = recognize_pictures(listing.pictures, find, recognizers)
    if not recognized.pictures:
        raise UserError(
            f"{arguments.pictures}: no face was found in {len(recognized.missed)} pictures, and "
            f"{len(recognized.broken)} could not be read; if the pictures are face crops, add --crops"
        )
    names = _names(recognizers)
    cards = {name: recognizer.card for name, recognizer in zip(names, recognizers, strict=True)}
    report = {
        "measured_by": f"{program('realtime.evaluate')} {shlex.join(sys.argv[1:] if argv is None else argv)}",
        "files": {name: {"path": str(file), "sha256": sha256(file)} for name, file in zip(names, files, strict=True)},
        "crops": arguments.crops,
        "notes": list(listing.notes),
        "left_out": dict(listing.left_out.most_common()),
        "resting_weight": arguments.resting_weight,
        **measure_mixtures(recognized, cards, arguments.expect, resting_weight=arguments.resting_weight),
    }
    print(to_text(tables(report)))
    if arguments.json:
        write_json(arguments.json, report)
    if arguments.report:
        write_text(arguments.report, page(report))
    return 1 if recognized.broken else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        "realtime.evaluate",
        description="Measure model files on your own labeled pictures: the whole way from a photograph to an "
        "expression. For each mixture of expressions to expect, side by side; with the resting faces of people of whom "
        "there are other neutral pictures.",
    )
    add = parser.add_argument
    default = weights.DEFAULT_MODEL
    help_text = f"model files, or some of {', '.join(weights.names())}; each is compared with the first (default: "
    add("models", nargs="*", type=model_file, default=[default], metavar="MODEL", help=f"{help_text}{default.stem})")
    help_text = "folder of class folders, or a table (.csv) with the columns path, label and, if you know it, person"
    add("--pictures", type=Path, required=True, metavar="DIR|TABLE.csv", help=help_text)
    help_text = "the pictures are face crops, gray or in color, of any size: search no faces"
    add("--crops", action="store_true", help=help_text)
    add("--classes", nargs="+", default=[], metavar="NAME=CLASS", help=HELP)
    help_text = f"mixtures to correct for: {', '.join(PRESETS)}, or shares such as happy=.3,neutral=.5 (default: all)"
    add("--expect", nargs="+", type=expected_mixture, default=list(PRESETS), metavar="MIXTURE", help=help_text)
    help_text = "how much of what is particular in a resting face is taken away, 0 to 1 (default: %(default)s)"
    add("--resting-weight", type=float, default=WEIGHT, metavar="SHARE", help=help_text)
    add("--json", type=Path, metavar="OUT.json", help="write all figures to this file")
    add("--report", type=Path, metavar="OUT.md", help="write a report in Markdown")
    add_detection(add)
    arguments = parser.parse_args(argv)
    check_crops(parser, arguments)
    if not 0 <= arguments.resting_weight <= 1:
        parser.error(f"--resting-weight {arguments.resting_weight:g}: expected a number from 0 to 1")
    arguments.expect = list(dict.fromkeys(arguments.expect))
    outputs = [("--json", arguments.json), ("--report", arguments.report)]
    for (name, path), suffix in zip(outputs, (".json", ".md"), strict=True):
        if path and path.suffix != suffix:
            parser.error(f"{name} {path}: expected a name that ends in {suffix}")
    check_overwriting([("--pictures", arguments.pictures), *(("MODEL", file) for file in arguments.models)], outputs)
    for _, path in outputs:
        if path:
            check_writable(path)
    return arguments


def _names(recognizers: list[Recognizer]) -> list[str]:
    """Returns what the models are called: by their cards, with a number where two have the same name."""
    names: list[str] = []
    for recognizer in recognizers:
        name, number = recognizer.card.name, 1
        while name in names:
            number += 1
            name = f"{recognizer.card.name} ({number})"
        names.append(name)
    return names


if __name__ == "__main__":
    raise SystemExit(main())
