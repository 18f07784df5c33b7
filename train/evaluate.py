"""Measures a model file on FER-2013: `python -m train.evaluate FILE.onnx`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import fer2013
from fer_tf.command import Parser, UserError, command
from fer_tf.emotions import CLASSES
from fer_tf.ferplus import Votes, read_votes
from fer_tf.files import check_writable, write_json
from fer_tf.recognizer import Recognizer, predict

_TITLES = {
    "public": "PublicTest (the choosing split)",
    "private": "PrivateTest",
    "private_deduplicated": "PrivateTest without copies of train",
    "all": "PublicTest + PrivateTest",
}


def tested(data: fer2013.Fer2013, splits: str) -> fer2013.Split:
    """Returns the images to measure on: `public`, or for `all` those of `private` behind them.

    Raises:
        UserError: if a split that is asked for is empty.
    """
    wanted = [data.public] if splits == "public" else [data.public, data.private]
    if not all(map(len, wanted)):
        missing = "private" if len(data.public) else "public"
        raise UserError(f"{data.source}: its '{missing}' split is empty; use --splits public or a data set that has it")
    arrays = ([getattr(split, name) for split in wanted] for name in ("images", "labels", "names"))
    return fer2013.Split(*map(np.concatenate, arrays))


def evaluate(
    probabilities: np.ndarray,
    data: fer2013.Fer2013,
    *,
    temperature: float,
    splits: str = "public",
    votes: Votes | None = None,
) -> dict[str, dict[str, Any]]:
    """Returns the figures of `fer_tf.metrics.measure` by split.

    Args:
        probabilities: float [N, 7] for the images of `tested(data, splits)`.
        data: A data set.
        temperature: Of the calibration that is in the probabilities.
        splits: `public`, or `all`, which adds `private`, `private_deduplicated` (without the images that stand pixel
            for pixel in train; left out if none is left) and `all` (public and private: the first project's protocol,
            which holds the split that chose).
        votes: For the same images. Each split then has `ferplus`, the figures of `fer_tf.metrics.measure_votes`.

    Raises:
        UserError: if a split that is asked for is empty.
    """
    from fer_tf.metrics import measure, measure_votes

    labels = tested(data, splits).labels

    def figures(chosen: np.ndarray | slice) -> dict[str, Any]:
        figures = measure(probabilities[chosen], labels[chosen], temperature)
        if votes:
            figures["ferplus"] = measure_votes(probabilities[chosen], votes.shares[chosen], votes.majority[chosen])
        return figures

    count = len(data.public)
    report = {"public": figures(slice(count))}
    if splits == "all":
        original = np.flatnonzero(~fer2013.copies(data.private.images, data.train.images)) + count
        report["private"] = figures(slice(count, None))
        if len(original):
            report["private_deduplicated"] = figures(original)
        report["all"] = figures(slice(None))
    return report


def describe(report: dict[str, dict[str, Any]]) -> str:
    """Returns a report as Markdown: a table of the figures and one of the recall by class."""
    lines = [
        "| split | images | accuracy | 95 % interval | macro-F1 | ECE before | after |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in report.items():
        low, high = row["accuracy_interval"]
        lines.append(
            f"| {_TITLES[name]} | {row['n']:,} | {row['accuracy']:.2%} | {low:.2%} to {high:.2%} "
            f"| {row['macro_f1']:.3f} | {row['ece_before']:.3f} | {row['ece_after']:.3f} |"
        )
    lines += ["", f"| recall | {' | '.join(CLASSES)} |", f"|---{'|---' * len(CLASSES)}|"]
    for name, row in report.items():
        values = ("–" if value is None else f"{value:.1%}" for value in row["recall"].values())
        lines.append(f"| {_TITLES[name]} | {' | '.join(values)} |")
    if any("ferplus" in row for row in report.values()):
        lines += ["", "| FER+ | images | accuracy | cross-entropy, nats |", "|---|---|---|---|"]
        for name, row in report.items():
            votes = row["ferplus"]
            figures = f"{votes['accuracy']:.2%} | {votes['cross_entropy']:.3f}" if votes["n"] else "– | –"
            lines.append(f"| {_TITLES[name]} | {votes['n']:,} | {figures} |")
    return "\n".join(lines)


def compare(names: Sequence[str], correct: Sequence[np.ndarray], split: str) -> str:
    """Returns a Markdown table that holds each model against the first by McNemar's test.

    Args:
        names: Of the models.
        correct: For each model bool [N]: which images it named rightly.
        split: Name of the split, for the heading.
    """
    from fer_tf.metrics import mcnemar

    lines = [
        f"| {split} | accuracy | against {names[0]} | only the first right | only this right | McNemar's p |",
        "|---|---|---|---|---|---|",
        f"| {names[0]} | {correct[0].mean():.2%} | | | | |",
    ]
    for name, right in zip(names[1:], correct[1:], strict=True):
        first, this, p = mcnemar(correct[0], right)
        difference = 100 * (right.mean() - correct[0].mean())
        lines.append(f"| {name} | {right.mean():.2%} | {difference:+.2f} points | {first} | {this} | {p:.2g} |")
    return "\n".join(lines)


@command
def main(argv: list[str] | None = None) -> None:
    """Prints the figures of model files, and writes the report of one."""
    parser = Parser(
        prog="python -m train.evaluate",
        description="Measure model files on FER-2013, and several side by side. PublicTest chose their epochs and "
        "temperatures; PrivateTest (--splits all) is for finished models and chooses nothing.",
    )
    option = parser.add_argument
    option("files", nargs="+", metavar="FILE.onnx", help="model files")
    option("--data", help="zip, folder or CSV (default $FER2013, data/fer2013.zip, …)")
    option("--splits", choices=("public", "all"), default="public")
    option("--ferplus", metavar="FILE.csv", help="compare with the votes of FER+, too")
    option("--json", metavar="OUT.json", help="write the figures there, of several files by name")
    option("--report", type=Path, metavar="OUT.md", help="write what there is to say of one file, with pictures beside")
    arguments = parser.parse_args(argv)
    recognizers = [Recognizer(path) for path in arguments.files]
    if arguments.report and (len(recognizers) > 1 or arguments.report.suffix != ".md"):
        raise UserError(f"--report {arguments.report}: expected one model file, and a name that ends in .md")
    if arguments.json and Path(arguments.json).suffix != ".json":
        raise UserError(f"--json {arguments.json}: expected a name that ends in .json, to write the figures to")
    for path in filter(None, (arguments.json, arguments.report)):
        check_writable(path)
    data = fer2013.load(fer2013.find(arguments.data))
    for note in data.notes:
        print(f"note: {note}")
    images = tested(data, arguments.splits)
    votes = read_votes(arguments.ferplus, images.names) if arguments.ferplus else None
    reports, correct = {}, []
    for path, recognizer in zip(arguments.files, recognizers, strict=True):
        probabilities = predict(recognizer, images.images)
        options = {"temperature": recognizer.card.temperature, "splits": arguments.splits, "votes": votes}
        reports[path] = evaluate(probabilities, data, **options)
        correct.append(probabilities.argmax(axis=1) == images.labels)
        if len(recognizers) > 1:
            print(f"\n## {path}")
        print(describe(reports[path]))
    if len(recognizers) > 1:
        last = slice(None) if arguments.splits == "public" else slice(len(data.public), None)
        split = _TITLES["public" if arguments.splits == "public" else "private"]
        print(f"\n{compare(arguments.files, [right[last] for right in correct], split)}")
    if arguments.json:
        write_json(arguments.json, reports if len(reports) > 1 else next(iter(reports.values())))
    if arguments.report:
        from train.model_report import write_model_report

        options = {"figures": describe(reports[path]), "command": sys.argv[1:] if argv is None else argv}
        write_model_report(arguments.report, Path(path), recognizer, data.public, **options)
        print(f"wrote {arguments.report}")


if __name__ == "__main__":
    raise SystemExit(main())
