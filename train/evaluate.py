"""Measures a model file on FER-2013: `python -m train.evaluate FILE.onnx`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tf import fer2013
from fer_tf.classes import CLASSES
from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.ferplus import Votes, read_votes
from fer_tf.files import check_writable, write_json
from fer_tf.recognizer import Recognizer, predict

TITLES = {
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
        missing, remedy = ("private", "use --splits public or") if len(data.public) else ("public", "use")
        raise UserError(f"{data.source}: its '{missing}' split is empty; {remedy} a data set that has it")
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
        "| split | images | accuracy | 95 % interval | macro-F1 | cross-entropy, nats | ECE before | after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in report.items():
        low, high = row["accuracy_interval"]
        lines.append(
            f"| {TITLES[name]} | {row['n']:,} | {row['accuracy']:.2%} | {low:.2%} to {high:.2%} "
            f"| {row['macro_f1']:.3f} | {row['cross_entropy']:.4f} | {row['ece_before']:.3f} | {row['ece_after']:.3f} |"
        )
    lines += ["", f"| recall | {' | '.join(CLASSES)} |", f"|---{'|---' * len(CLASSES)}|"]
    for name, row in report.items():
        values = ("–" if value is None else f"{value:.1%}" for value in row["recall"].values())
        lines.append(f"| {TITLES[name]} | {' | '.join(values)} |")
    if any("ferplus" in row for row in report.values()):
        lines += ["", "| FER+ | images | accuracy | 95 % interval | cross-entropy, nats |", "|---|---|---|---|---|"]
        for name, row in report.items():
            votes = row["ferplus"]
            accuracy, entropy = "– | –", "–"
            if votes["n"]:
                low, high = votes["accuracy_interval"]
                accuracy = f"{votes['accuracy']:.2%} | {low:.2%} to {high:.2%}"
            if votes["n_voted"]:
                entropy = f"{votes['cross_entropy']:.3f}"
            lines.append(f"| {TITLES[name]} | {votes['n']:,} | {accuracy} | {entropy} |")
    return "\n".join(lines)


def hold_against_first(
    rows: dict[str, dict[str, Any]], probabilities: Sequence[np.ndarray], labels: np.ndarray
) -> None:
    """Adds `mcnemar` and `cross_entropy_difference` to the figures of each model but the first: how it differs from it.

    Args:
        rows: Of each model, by its name, what `evaluate` returns for a split.
        probabilities: Of each model, float [N, 7] for the images of the split.
        labels: int [N].
    """
    from fer_tf.metrics import mcnemar, paired_difference, surprise

    first, *others = rows
    (right, surprised), *rest = ((given.argmax(axis=1) == labels, surprise(given, labels)) for given in probabilities)
    for name, (also_right, also_surprised) in zip(others, rest, strict=True):
        only_first, only_this, p = mcnemar(right, also_right)
        difference, error = paired_difference(surprised, also_surprised)
        rows[name]["mcnemar"] = {"against": first, "only_first": only_first, "only_this": only_this, "p": p}
        rows[name]["cross_entropy_difference"] = {"against": first, "value": difference, "standard_error": error}


def compare(rows: dict[str, dict[str, Any]], split: str) -> str:
    """Returns two Markdown tables that hold each model against the first, by its accuracy and by its probabilities.

    Args:
        rows: Of each model, by its name, its figures after `hold_against_first`.
        split: Name of the split, for the heading.
    """
    first = next(iter(rows))
    lines = [
        f"| {split} | accuracy | 95 % interval | macro-F1 | against {first} | only the first right "
        "| only this right | McNemar's p |",
        f"|---|{'---|' * 7}",
    ]
    for name, row in rows.items():
        low, high = row["accuracy_interval"]
        line = f"| {name} | {row['accuracy']:.2%} | {low:.2%} to {high:.2%} | {row['macro_f1']:.3f} |"
        if test := row.get("mcnemar"):
            difference = 100 * (row["accuracy"] - rows[first]["accuracy"])
            line += f" {difference:+.2f} points | {test['only_first']} | {test['only_this']} | {test['p']:.2g} |"
        else:
            line += " | | | |"
        lines.append(line)
    lines += [
        "",
        f"| {split} | ECE | cross-entropy, nats | against {first} | standard error of the difference |",
        f"|---|{'---|' * 4}",
    ]
    for name, row in rows.items():
        line = f"| {name} | {row['ece_after']:.3f} | {row['cross_entropy']:.4f} |"
        if found := row.get("cross_entropy_difference"):
            error = "–" if found["standard_error"] is None else f"{found['standard_error']:.4f}"
            line += f" {found['value']:+.4f} | {error} |"
        else:
            line += " | |"
        lines.append(line)
    return "\n".join(lines)


@command
def main(argv: list[str] | None = None) -> None:
    """Prints the figures of model files, and writes the report of one."""
    parser = Parser(
        "train.evaluate",
        description="Measure model files on FER-2013, and several side by side. PublicTest chose their epochs and "
        "temperatures; PrivateTest (--splits all) is for finished models and chooses nothing.",
    )
    option = parser.add_argument
    option("files", nargs="+", metavar="FILE.onnx", help="model files")
    option("--data", help="zip, folder or CSV (default $FER2013, data/fer2013.zip, …)")
    option("--splits", choices=("public", "all"), default="public")
    option("--ferplus", metavar="FILE.csv", help="compare with the votes of FER+, too")
    option("--json", metavar="OUT.json", help="write the figures there, of several files by name")
    option(
        "--report",
        type=Path,
        metavar="OUT.md",
        help="write all there is to say of one file, with OUT.json and pictures beside",
    )
    arguments = parser.parse_args(argv)
    files = list(dict.fromkeys(arguments.files))
    recognizers = [Recognizer(path) for path in files]
    if arguments.report and (len(files) > 1 or arguments.report.suffix != ".md"):
        raise UserError(f"--report {arguments.report}: expected one model file, and a name that ends in .md")
    if arguments.json and Path(arguments.json).suffix != ".json":
        raise UserError(f"--json {arguments.json}: expected a name that ends in .json, to write the figures to")
    outputs = [arguments.report, arguments.report.with_suffix(".json")] if arguments.report else []
    if arguments.json and Path(arguments.json) in outputs:
        raise UserError(f"--json {arguments.json}: --report writes more than that there; leave --json away")
    for path in filter(None, (arguments.json, *outputs)):
        check_writable(path)
    data = fer2013.load(fer2013.find(arguments.data))
    for note in data.notes:
        print(f"note: {note}")
    images = tested(data, arguments.splits)
    votes = read_votes(arguments.ferplus, images.names) if arguments.ferplus else None
    reports, answers = {}, []
    for path, recognizer in zip(files, recognizers, strict=True):
        probabilities = predict(recognizer, images.images)
        options = {"temperature": recognizer.card.temperature, "splits": arguments.splits, "votes": votes}
        reports[path] = evaluate(probabilities, data, **options)
        answers.append(probabilities)
        if len(files) > 1:
            print(f"\n## {path}")
        print(describe(reports[path]))
    shown, behind = "public", slice(None)
    if arguments.splits == "all":
        shown, behind = "private", slice(len(data.public), None)
    if len(files) > 1:
        rows = {path: report[shown] for path, report in reports.items()}
        hold_against_first(rows, [probabilities[behind] for probabilities in answers], images.labels[behind])
        print(f"\n{compare(rows, TITLES[shown])}")
    if arguments.json:
        write_json(arguments.json, reports if len(files) > 1 else reports[path])
    if arguments.report:
        from fer_tf.train.model_report import write_model_report

        command = [path, "--splits", arguments.splits]
        for option, file in (("--data", arguments.data), ("--ferplus", arguments.ferplus)):
            command += [option, Path(file).name] if file else []
        write_model_report(
            arguments.report,
            Path(path),
            data.public,
            figures=reports[path],
            shown=shown,
            probabilities=probabilities[behind],
            labels=images.labels[behind],
            command=[*command, "--report", str(arguments.report)],
        )
        print(f"wrote {arguments.report} and {arguments.report.with_suffix('.json')}, with two pictures")


if __name__ == "__main__":
    raise SystemExit(main())
