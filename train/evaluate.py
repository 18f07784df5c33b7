"""Measures model files on FER-2013: `python -m train.evaluate FILE.onnx`."""

import argparse
from pathlib import Path

from fer_tf import fer2013, weights
from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.fer2013.labels import HELP
from fer_tf.ferplus import read_votes
from fer_tf.files import check_writable, write_json
from fer_tf.metrics import compare_to_first
from fer_tf.recognizer import Recognizer, predict
from fer_tf.table import to_text
from fer_tf.train.summary import compare, summarize, titles


@command
def main(argv: list[str] | None = None) -> None:
    """Prints the figures of model files, and writes the report of one."""
    arguments = _parser().parse_args(argv)
    files = list(dict.fromkeys(arguments.files))
    recognizers = [Recognizer(weights.find(file)) for file in files]
    _check_outputs(arguments, files)
    from fer_tf.train.figures import evaluate, evaluation_split

    data = fer2013.load(fer2013.find(arguments.data), classes=arguments.classes)
    for note in data.notes:
        print(f"note: {note}")
    images = evaluation_split(data, arguments.splits)
    votes = read_votes(arguments.ferplus, images.names) if arguments.ferplus else None
    reports, answers = {}, []
    for path, recognizer in zip(files, recognizers, strict=True):
        probabilities = predict(recognizer, images.images)
        options = {"temperature": recognizer.card.temperature, "splits": arguments.splits, "votes": votes}
        reports[path] = evaluate(probabilities, data, **options)
        answers.append(probabilities)
        if len(files) > 1:
            print(f"\n{path}\n")
        print(to_text(summarize(reports[path], titles(data.choosing))))
    shown, behind = "public", slice(None)
    if arguments.splits == "all":
        shown, behind = "private", slice(len(data.public), None)
    if len(files) > 1:
        rows = {path: report[shown] for path, report in reports.items()}
        compare_to_first(rows, [probabilities[behind] for probabilities in answers], images.labels[behind])
        print(f"\n{to_text(compare(rows, titles(data.choosing)[shown]))}")
    if arguments.json:
        write_json(arguments.json, reports if len(files) > 1 else reports[path])
    if arguments.report:
        from fer_tf.train.model_report import write_model_report

        command = [path, "--splits", arguments.splits]
        for option, file in (("--data", arguments.data), ("--ferplus", arguments.ferplus)):
            command += [option, Path(file).name] if file else []
        command += ["--classes", *arguments.classes] if arguments.classes else []
        write_model_report(
            arguments.report,
            weights.find(path),
            data.public,
            figures=reports[path],
            shown=shown,
            probabilities=probabilities[behind],
            labels=images.labels[behind],
            command=[*command, "--report", str(arguments.report)],
            choosing=data.choosing,
        )
        print(f"wrote {arguments.report}, {arguments.report.with_suffix('.json')} and two pictures")


def _parser() -> Parser:
    parser = Parser(
        "train.evaluate",
        description="Measure model files on FER-2013, and compare several. PublicTest chose their epochs and "
        "temperatures. PrivateTest (--splits all) is for finished models and chooses nothing.",
    )
    option = parser.add_argument
    option(
        "files",
        nargs="+",
        metavar="FILE.onnx",
        help="model files, or names of models that are present; each is compared with the first",
    )
    option("--data", metavar="PATH", help="FER-2013: a zip, folder or CSV (default: $FER2013, data/fer2013.zip, …)")
    option("--classes", nargs="+", metavar="NAME=CLASS", help=HELP)
    option("--splits", choices=("public", "all"), default="public", help="default: public")
    option("--ferplus", metavar="FILE.csv", help="also compare with the FER+ votes")
    option("--json", metavar="OUT.json", help="write the figures to this file; those of several models by file name")
    option(
        "--report",
        type=Path,
        metavar="OUT.md",
        help="write a full report on one model, with OUT.json and two pictures beside it",
    )
    return parser


def _check_outputs(arguments: argparse.Namespace, files: list[str]) -> None:
    """Raises `UserError` if the files that are asked for cannot be written."""
    report = arguments.report
    if report and (len(files) > 1 or report.suffix != ".md"):
        raise UserError(f"--report {report}: expected one model file, and a name that ends in .md")
    if arguments.json and Path(arguments.json).suffix != ".json":
        raise UserError(f"--json {arguments.json}: expected a name that ends in .json, to write the figures to")
    outputs = [report, report.with_suffix(".json")] if report else []
    if arguments.json and Path(arguments.json) in outputs:
        raise UserError(f"--json {arguments.json}: --report writes the figures there, too; leave --json away")
    for path in filter(None, (arguments.json, *outputs)):
        check_writable(path)


if __name__ == "__main__":
    raise SystemExit(main())
