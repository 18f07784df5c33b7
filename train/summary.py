"""The figures of models as tables."""

from typing import Any

from fer_tf.classes import CLASSES
from fer_tf.fer2013 import PUBLIC_TEST
from fer_tf.table import Table, between

TITLES = {
    "public": "PublicTest (the choosing split)",
    "private": "PrivateTest",
    "private_deduplicated": "PrivateTest without copies of train",
    "all": "PublicTest + PrivateTest",
}


def titles(choosing: str) -> dict[str, str]:
    """Returns what the splits are called, of a data set whose choosing split has this name."""
    if choosing == PUBLIC_TEST:
        return TITLES
    names = (choosing, "test images", "test images without copies of train", f"{choosing} + test images")
    return dict(zip(TITLES, names, strict=True))


def summarize(report: dict[str, dict[str, Any]], titles: dict[str, str] = TITLES) -> list[Table]:
    """Returns the figures of a model, the recall by class and, if they were measured, the figures on the FER+ votes.

    Args:
        report: What `fer_tf.train.figures.evaluate` returned.
        titles: What the splits are called.
    """
    figures = [
        [
            titles[name],
            f"{row['n']:,}",
            f"{row['accuracy']:.2%}",
            between(row["accuracy_interval"], ".2%"),
            f"{row['macro_f1']:.3f}",
            f"{row['cross_entropy']:.4f}",
            f"{row['ece_before']:.3f}",
            f"{row['ece_after']:.3f}",
        ]
        for name, row in report.items()
    ]
    header = ["split", "images", "accuracy", "95 % interval", "macro-F1", "cross-entropy, nats", "ECE before", "after"]
    recall = [
        [titles[name], *("–" if value is None else f"{value:.1%}" for value in row["recall"].values())]
        for name, row in report.items()
    ]
    tables = [Table(header, figures), Table(["recall", *CLASSES], recall)]
    if any("ferplus" in row for row in report.values()):
        votes = [[titles[name], *_votes(row["ferplus"])] for name, row in report.items()]
        tables.append(Table(["FER+", "images", "accuracy", "95 % interval", "cross-entropy, nats"], votes))
    return tables


def compare(rows: dict[str, dict[str, Any]], split: str) -> list[Table]:
    """Returns two tables that compare each model with the first: its accuracy, and its probabilities.

    Args:
        rows: By the name of each model, its figures after `fer_tf.metrics.compare_to_first`.
        split: Name of the split, for the header.
    """
    first = next(iter(rows.values()))
    right, probable = [], []
    for name, row in rows.items():
        tested, changed = [""] * 4, [""] * 2
        if test := row.get("mcnemar"):
            difference = f"{100 * (row['accuracy'] - first['accuracy']):+.2f} points"
            tested = [difference, str(test["only_first"]), str(test["only_this"]), f"{test['p']:.2g}"]
        if found := row.get("cross_entropy_difference"):
            error = "–" if found["standard_error"] is None else f"{found['standard_error']:.4f}"
            changed = [f"{found['value']:+.4f}", error]
        interval = between(row["accuracy_interval"], ".2%")
        right.append([name, f"{row['accuracy']:.2%}", interval, f"{row['macro_f1']:.3f}", *tested])
        probable.append([name, f"{row['ece_after']:.3f}", f"{row['cross_entropy']:.4f}", *changed])
    columns = ["accuracy", "95 % interval", "macro-F1", "difference", "only first right", "only this right"]
    return [
        Table([split, *columns, "McNemar's p"], right),
        Table([split, "ECE", "cross-entropy, nats", "difference", "standard error"], probable),
    ]


def _votes(figures: dict[str, Any]) -> list[str]:
    accuracy, interval, entropy = "–", "–", "–"
    if figures["n"]:
        accuracy, interval = f"{figures['accuracy']:.2%}", between(figures["accuracy_interval"], ".2%")
    if figures["n_voted"]:
        entropy = f"{figures['cross_entropy']:.3f}"
    return [f"{figures['n']:,}", accuracy, interval, entropy]
