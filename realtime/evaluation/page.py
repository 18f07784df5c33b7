"""The figures of models on labeled pictures as tables: for a terminal, and as a page in Markdown."""

from collections.abc import Iterator
from typing import Any

from fer_tf.classes import CLASSES
from fer_tf.table import Table, between, to_markdown
from fer_tf.text import markdown

_MOST_NAMED = 50
"""Pictures that a page names of each kind; the JSON has all."""

Figures = dict[str, Any]


def tables(report: Figures) -> list[str | Table]:
    """Returns the figures side by side: what one wants to see at once.

    Args:
        report: What `fer_tf.realtime.evaluation.figures.measure_mixtures` returned.
    """
    blocks: list[str | Table] = [_counted(report), _summary(report)]
    if report["missed"]:
        blocks += ["Of all pictures, if a missed face counts as wrong:", _of_all(report)]
    blocks += ["Recall by class:", _recall(report)]
    if len(report["models"]) > 1:
        blocks += ["Against the first model, on the same faces:", _against_first(report)]
    if resting := _resting(report):
        blocks += [_resting_said(report), resting]
    return blocks


def page(report: Figures) -> str:
    """Returns a report as Markdown.

    Args:
        report: As in `tables`, with `measured_by`, the command; `left_out`, numbers of pictures by what they are;
            `notes`; and `crops`, whether the pictures are face crops.
    """
    blocks: list[str | Table] = [
        "# Expressions in labeled pictures",
        f"Measured by {markdown(report['measured_by'], code=True)}.",
    ]
    blocks += [f"Note: {markdown(note)}." for note in report["notes"]]
    if left_out := report["left_out"]:
        told = ", ".join(f"{what} {count:,}" for what, count in left_out.items())
        blocks.append(f"Left out: {markdown(told)}.")
    blocks += [*tables(report), *_how(report), *_labels(report), *_confusions(report), *_calibration(report)]
    for title, named in (
        ("Pictures without a face", report["missed_pictures"]),
        ("Pictures that could not be read", list(report["broken_pictures"].values())),
    ):
        if named:
            shown = "\n".join(f"- {markdown(name, code=True)}" for name in named[:_MOST_NAMED])
            more = len(named) - _MOST_NAMED
            blocks += [f"## {title}", shown + (f"\n- and {more:,} more, which the JSON names" if more > 0 else "")]
    return to_markdown(blocks) + "\n"


def _counted(report: Figures) -> str:
    parts = [f"{report['pictures']:,} pictures"]
    if report["crops"]:
        parts.append("each taken for a face crop")
    else:
        parts.append(f"a face found in {report['recognized']:,}")
        parts.append(f"none in {report['missed']:,}")
    if report["several_faces"]:
        parts.append(f"several in {report['several_faces']:,}, where the largest counts")
    if report["broken"]:
        parts.append(f"{report['broken']:,} could not be read")
    return f"{parts[0]}: {'; '.join(parts[1:])}."


def _rows(report: Figures) -> Iterator[tuple[list[str], Figures]]:
    """Yields the first cells and the figures of each model and mixture."""
    several = len(report["models"]) > 1
    for model, mixtures in report["models"].items():
        for mixture, figures in mixtures.items():
            yield [model, mixture] if several else [mixture], figures


def _first_cells(report: Figures) -> list[str]:
    return ["model", "--expect"] if len(report["models"]) > 1 else ["--expect"]


def _table(report: Figures, header: list[str], rows: list[list[str]]) -> Table:
    first = _first_cells(report)
    return Table([*first, *header], rows, "l" * len(first) + "r" * len(header))


def _summary(report: Figures) -> Table:
    header = ["faces", "accuracy", "95 % interval", "balanced accuracy", "macro-F1", "ECE", "cross-entropy, nats"]
    rows = [
        [
            *cells,
            f"{row['n']:,}",
            f"{row['accuracy']:.1%}",
            between(row["accuracy_interval"], ".1%"),
            f"{row['balanced_accuracy']:.1%}",
            f"{row['macro_f1']:.3f}",
            f"{row['ece']:.3f}",
            f"{row['cross_entropy']:.3f}",
        ]
        for cells, row in _rows(report)
    ]
    return _table(report, header, rows)


def _of_all(report: Figures) -> Table:
    rows = [
        [*cells, f"{row['n']:,}", f"{row['accuracy']:.1%}", between(row["accuracy_interval"], ".1%")]
        for cells, row in ((cells, figures["of_all"]) for cells, figures in _rows(report))
    ]
    return _table(report, ["pictures", "accuracy", "95 % interval"], rows)


def _recall(report: Figures) -> Table:
    rows = [
        [*cells, *("–" if value is None else f"{value:.1%}" for value in row["recall"].values())]
        for cells, row in _rows(report)
    ]
    return _table(report, list(CLASSES), rows)


def _against_first(report: Figures) -> Table:
    first, *others = report["models"]
    rows = []
    for model in others:
        for mixture, figures in report["models"][model].items():
            test, entropy = figures["mcnemar"], figures["cross_entropy_difference"]
            error = entropy["standard_error"]
            difference = figures["accuracy"] - report["models"][first][mixture]["accuracy"]
            cells = [f"{100 * difference:+.1f} points", f"{test['only_first']:,}", f"{test['only_this']:,}"]
            cells += [f"{test['p']:.2g}", f"{entropy['value']:+.3f}", "–" if error is None else f"{error:.3f}"]
            rows.append([model, mixture, *cells])
    header = ["accuracy", "only first right", "only this right", "McNemar's p", "cross-entropy", "standard error"]
    return _table(report, header, rows)


def _resting_said(report: Figures) -> str:
    return (
        "With the resting face of the person, from up to three other neutral pictures, on the pictures of people who "
        f"have one (weight {report['resting_weight']:g}):"
    )


def _resting(report: Figures) -> Table | None:
    rows = []
    for cells, figures in _rows(report):
        if found := figures["resting"]:
            without, rested, test = found["without"], found["with_resting"], found["mcnemar"]
            numbers = [f"{found['n']:,}", f"{without['accuracy']:.1%}", f"{rested['accuracy']:.1%}"]
            numbers += [between(rested["accuracy_interval"], ".1%"), f"{rested['balanced_accuracy']:.1%}"]
            numbers += [f"{rested['macro_f1']:.3f}", f"{without['ece']:.3f}", f"{rested['ece']:.3f}"]
            rows.append([*cells, *numbers, f"{test['p']:.2g}"])
    header = ["faces", "accuracy without", "with", "95 % interval", "balanced", "macro-F1", "ECE without", "with"]
    return _table(report, [*header, "McNemar's p"], rows) if rows else None


def _how(report: Figures) -> list[str]:
    faces = "Each picture is taken for a face crop." if report["crops"] else "Where a picture has several faces, the "
    faces += "" if report["crops"] else "largest counts. Accuracy is of the faces that were found."
    return [
        f"{faces} Balanced accuracy is the mean recall of the classes that occur. ECE is the mean gap between "
        "confidence and accuracy, in 15 bins. The intervals take each picture for a sample of its own; with several "
        "pictures of each person they are too narrow."
    ]


def _labels(report: Figures) -> Iterator[str | Table]:
    missed, labeled = report["missed_by_class"], report["labeled"]
    count = max(1, sum(labeled.values()))
    yield "## Labels" if report["crops"] else "## Labels and missed faces"
    rows = [
        ["pictures", *(f"{labeled[name]:,}" for name in CLASSES)],
        ["share of all", *(f"{labeled[name] / count:.1%}" for name in CLASSES)],
    ]
    if not report["crops"]:
        rows.append(["no face found", *(f"{missed[name]:,}" for name in CLASSES)])
        rows.append(["share of the class", *(_share(missed[name], labeled[name]) for name in CLASSES)])
    yield Table(["", *CLASSES], rows)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _confusions(report: Figures) -> Iterator[str | Table]:
    yield "## Confusion"
    yield "Numbers of faces: a row for each label, a column for each prediction."
    for cells, figures in _rows(report):
        yield f"### {markdown(', '.join(cells))}"
        rows = [[name, *map(str, row)] for name, row in zip(CLASSES, figures["confusion"], strict=True) if any(row)]
        yield Table(["label", *CLASSES], rows)


def _calibration(report: Figures) -> Iterator[str | Table]:
    yield "## Calibration"
    yield "Accuracy of the faces whose confidence lies in each range, and their number."
    rows = []
    for cells, figures in _rows(report):
        bins = figures["reliability"]
        found = zip(bins["accuracy"], bins["n"], strict=True)
        rows.append([*cells, *("–" if accuracy is None else f"{accuracy:.0%} of {n:,}" for accuracy, n in found)])
    count = len(rows[0]) - len(_first_cells(report))
    yield _table(report, [f"{100 * k // count} to {100 * (k + 1) // count} %" for k in range(count)], rows)
