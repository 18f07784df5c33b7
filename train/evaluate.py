"""Measures a model file on FER-2013: `python -m train.evaluate FILE.onnx`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from fer_tf import fer2013
from fer_tf.command import Parser, UserError, command
from fer_tf.emotions import CLASSES
from fer_tf.files import check_writable, write_json
from fer_tf.recognizer import Recognizer

_TITLES = {
    "public": "PublicTest (the choosing split)",
    "private": "PrivateTest",
    "private_deduplicated": "PrivateTest without copies of train",
    "all": "PublicTest + PrivateTest",
}


def evaluate(
    recognize: Callable[[np.ndarray], np.ndarray],
    data: fer2013.Fer2013,
    *,
    temperature: float,
    splits: str = "public",
    ferplus: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Returns the figures of `fer_tf.metrics.measure` by split.

    Args:
        recognize: What is measured, a `Recognizer` for instance: uint8 [N, 48, 48] to float [N, 7] probabilities.
        data: A data set.
        temperature: Of the calibration that is in the probabilities.
        splits: `public`, or `all`, which adds `private`, `private_deduplicated` (without the images that stand pixel
            for pixel in train; left out if none is left) and `all` (public and private: the first project's protocol,
            which holds the split that chose).
        ferplus: Table of votes for `fer_tf.ferplus.read_votes`. Each split then has `ferplus` too: the `accuracy`
            against the majority of the votes and the `cross_entropy`, in nats, to their shares, on the `n` images
            whose majority is one of our classes.

    Raises:
        UserError: if a split that is asked for is empty, or if the votes cannot be read.
    """
    from fer_tf.ferplus import read_votes
    from fer_tf.metrics import measure, measure_votes

    wanted = [data.public] if splits == "public" else [data.public, data.private]
    if not all(map(len, wanted)):
        missing = "private" if len(data.public) else "public"
        raise UserError(f"{data.source}: its '{missing}' split is empty; use --splits public or a data set that has it")
    images = np.concatenate([split.images for split in wanted])
    labels = np.concatenate([split.labels for split in wanted])
    votes = read_votes(ferplus, np.concatenate([split.names for split in wanted])) if ferplus else None
    probabilities = _predict(recognize, images)

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
            lines.append(
                f"| {_TITLES[name]} | {votes['n']:,} | {votes['accuracy']:.2%} | {votes['cross_entropy']:.3f} |"
            )
    return "\n".join(lines)


def _predict(recognize: Callable[[np.ndarray], np.ndarray], images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    with tqdm(total=len(images), desc="recognizing", unit=" faces", disable=None) as bar:
        rows = []
        for start in range(0, len(images), batch_size):
            rows.append(recognize(images[start : start + batch_size]))
            bar.update(len(rows[-1]))
    return np.concatenate(rows)


@command
def main(argv: list[str] | None = None) -> None:
    """Prints the figures of a model file and writes them as JSON."""
    parser = Parser(
        prog="python -m train.evaluate",
        description="Measure a model file on FER-2013. PublicTest chose its epoch and temperature; PrivateTest "
        "(--splits all) is for a finished model and chooses nothing.",
    )
    parser.add_argument("file", help="model file (.onnx)")
    parser.add_argument("--data", help="zip, folder or CSV (default $FER2013, data/fer2013.zip, …)")
    parser.add_argument("--splits", choices=("public", "all"), default="public")
    parser.add_argument("--ferplus", metavar="FILE.csv", help="compare with the votes of FER+, too")
    parser.add_argument("--json", metavar="OUT", help="write the figures there")
    arguments = parser.parse_args(argv)
    recognizer = Recognizer(arguments.file)
    if arguments.json:
        check_writable(arguments.json)
    data = fer2013.load(fer2013.find(arguments.data))
    for note in data.notes:
        print(f"note: {note}")
    options = {"splits": arguments.splits, "ferplus": arguments.ferplus}
    report = evaluate(recognizer, data, temperature=recognizer.card.temperature, **options)
    print(describe(report))
    if arguments.json:
        write_json(arguments.json, report)


if __name__ == "__main__":
    raise SystemExit(main())
