"""What a matrix of runs says: the table, the chart, and whether stacking helps."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t

from fer_tf.catalogue import ARCHITECTURES, DATASETS
from fer_tf.fer2013 import PUBLIC_TEST
from fer_tf.files import write_json, write_text
from fer_tf.table import Table, to_markdown, to_text
from fer_tf.train.pictures import save_figure
from fer_tf.train.run_folder import RunFolder

FIRST_PROJECT = {
    "base_cnn": {
        "original": 56.42,
        "hist_median": 56.20,
        "canny": 40.68,
        "stack_hist_median": 58.12,
        "stack_canny": 53.37,
        "stack_sharpen": 59.64,
    },
    "resnet50": {"original": 58.93, "hist_median": 60.17, "stack_hist_median": 61.70, "stack_sharpen": 64.64},
}
"""Accuracy in percent that the first project reports for its cells, on Public + Private, by network and data set."""

_CANNY = "20 and 60 here, 50 and 150 in the first project, whose gradients overflowed"

_SPLITS = {
    "public": "PublicTest",
    "private": "PrivateTest",
    "private_deduplicated": "without copies",
    "all": "Public + Private",
}

Rows = dict[tuple[str, str], dict[int, dict[str, Any]]]
"""Evaluations by network and data set, and by seed."""


def write_matrix(root: Path, private_fingerprint: str, *, choosing: str = PUBLIC_TEST) -> str:
    """Writes `matrix.md`, `matrix.json` and `matrix.png` about all the cells in `root` that were measured.

    Args:
        root: Folder of the cells.
        private_fingerprint: Of the PrivateTest that they must have been measured on; others would not compare.
        choosing: What the choosing split is called. The first project is compared with on FER-2013 alone.

    Returns:
        What `matrix.md` says, for a terminal.
    """
    folders = [RunFolder.open(path.parent) for path in sorted(root.glob("*/evaluation.json"))]
    folders = [folder for folder in folders if folder.is_measured(private_fingerprint)]
    rows: Rows = defaultdict(dict)
    for folder in folders:
        rows[folder.settings.model, folder.settings.dataset][folder.settings.seed] = folder.read_evaluation()["splits"]
    rows = {key: rows[key] for key in sorted(rows, key=_order)}
    epochs = sorted({folder.settings.epochs for folder in folders})
    differences = _differences(rows)
    is_fer2013 = choosing == PUBLIC_TEST
    first = FIRST_PROJECT if is_fer2013 else {}
    others = (choosing, "test images", "without copies", f"{choosing} + test images")
    names = _SPLITS if is_fer2013 else dict(zip(_SPLITS, others, strict=True))
    write_json(
        root / "matrix.json",
        {
            "epochs": epochs,
            "cells": [
                {
                    "model": model,
                    "dataset": dataset,
                    "seed": seed,
                    "accuracy": {split: figures["accuracy"] for split, figures in evaluation.items()},
                    "accuracy_interval": {split: figures["accuracy_interval"] for split, figures in evaluation.items()},
                    "first_project": first.get(model, {}).get(dataset),
                }
                for (model, dataset), seeds in rows.items()
                for seed, evaluation in sorted(seeds.items())
            ],
            "stacking": differences,
        },
    )
    chosen = (
        "PublicTest chose the epoch; Public + Private is the first project's protocol, and holds it."
        if is_fer2013
        else f"The {choosing} chose the epoch."
    )
    blocks: list[str | Table] = [
        f"Each cell was trained for {' or '.join(map(str, epochs))} epochs by its network's recipe. Accuracy in "
        f"percent, mean ± standard deviation where there are several seeds. {chosen}",
        _table(rows, names, first),
    ]
    if is_fer2013 and any("canny" in dataset for _, dataset in rows):
        blocks.append(f"Canny's thresholds are {_CANNY}; PublicTest chose ours.")
    blocks += [*_intervals(rows, names), *_stacking(differences, names)]
    write_text(root / "matrix.md", to_markdown(blocks) + "\n")
    save_figure(_chart(rows, names, first), root / "matrix.png")
    return to_text(blocks)


def mean_interval(values: Sequence[float]) -> tuple[float, list[float] | None]:
    """Returns the mean of values, and its 95 % interval by Student's t: None of fewer than two values."""
    mean, count = statistics.mean(values), len(values)
    if count < 2:
        return mean, None
    half = float(t.ppf(0.975, count - 1)) * statistics.stdev(values) / count**0.5
    return mean, [mean - half, mean + half]


def _order(key: tuple[str, str]) -> tuple[int, int]:
    return list(ARCHITECTURES).index(key[0]), DATASETS.index(key[1])


def _percent(seeds: dict[int, dict[str, Any]], split: str) -> dict[int, float]:
    """Returns the accuracy in percent on a split by seed, without the seeds that have none."""
    return {seed: 100 * figures[split]["accuracy"] for seed, figures in seeds.items() if split in figures}


def _table(rows: Rows, names: Mapping[str, str], first: Mapping[str, Mapping[str, float]]) -> Table:
    lines = []
    for (model, dataset), seeds in rows.items():
        values = {split: list(_percent(seeds, split).values()) for split in names}
        theirs = first.get(model, {}).get(dataset)
        ours = statistics.mean(values["all"]) if values["all"] else None
        difference = "–" if theirs is None or ours is None else f"{ours - theirs:+.2f}"
        beside = ("–" if theirs is None else f"{theirs:.2f}", difference) if first else ()
        lines.append((model, dataset, str(len(seeds)), *map(_cell, values.values()), *beside))
    beside = ("first project", "difference") if first else ()
    header = ("network", "data set", "seeds", *names.values(), *beside)
    return Table(header, lines, "ll" + "r" * (len(header) - 2))


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def _intervals(rows: Rows, names: Mapping[str, str]) -> list[str]:
    """Returns a paragraph and a list about the means of the cells with several seeds, if there are any."""
    lines = []
    for (model, dataset), seeds in rows.items():
        means = []
        for split in ("private", "all"):
            values = list(_percent(seeds, split).values())
            mean, interval = mean_interval(values) if values else (None, None)
            if interval:
                low, high = interval
                means.append(f"{mean:.2f} on {names[split]} (95 % interval {low:.2f} to {high:.2f})")
        if means:
            lines.append(f"- {model} on {dataset}, {len(seeds)} seeds: {', '.join(means)}.")
    return ["Of the cells with several seeds, by Student's t:", "\n".join(lines)] if lines else []


def _differences(rows: Rows) -> list[dict[str, Any]]:
    """Returns what each stack adds to the face alone, in points, paired by seed."""
    found = []
    for (model, dataset), seeds in rows.items():
        alone = rows.get((model, "original"), {})
        for split in ("private", "all"):
            ours, theirs = _percent(seeds, split), _percent(alone, split)
            pairs = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
            if dataset.startswith("stack_") and pairs:
                difference, interval = mean_interval(pairs)
                row = {"model": model, "dataset": dataset, "split": split, "seeds": len(pairs)}
                found.append(row | {"difference": difference, "interval": interval})
    return found


def _stacking(differences: list[dict[str, Any]], names: Mapping[str, str]) -> list[str | Table]:
    """Returns a paragraph and a table that say whether stacks help, if there is anything to compare."""
    rows = []
    for row in differences:
        interval, verdict = "–", "one seed decides nothing"
        if row["interval"]:
            low, high = row["interval"]
            interval = f"{low:+.2f} to {high:+.2f}"
            verdict = "helps" if low > 0 else "harms" if high < 0 else "no difference shown"
        difference = f"{row['difference']:+.2f}"
        split, seeds = names[row["split"]], str(row["seeds"])
        rows.append((row["model"], row["dataset"], split, seeds, difference, interval, verdict))
    header = ("network", "stack", "split", "seeds", "difference", "95 % interval", "verdict")
    title = "What each stack adds to the face alone, in points, paired by seed:"
    return [title, Table(header, rows, "lllrrrl")] if rows else []


def _chart(rows: Rows, names: Mapping[str, str], first: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draws a bar for each data set, the first project's beside it, a panel for each network."""
    models = list(dict.fromkeys(model for model, _ in rows))
    split = "all" if all("all" in e for seeds in rows.values() for e in seeds.values()) else "public"
    figure = Figure(figsize=(9, 1.2 + 0.5 * len(rows)), layout="constrained")
    panels = figure.subplots(
        len(models), squeeze=False, height_ratios=[sum(m == model for m, _ in rows) for model in models]
    )
    for axes, model in zip(panels[:, 0], models, strict=True):
        datasets = [dataset for m, dataset in rows if m == model]
        for place, dataset in enumerate(datasets):
            seeds = rows[model, dataset]
            values = list(_percent(seeds, split).values())
            mean = statistics.mean(values)
            if len(values) > 1:
                error, extent = statistics.stdev(values), [[statistics.stdev(values)]] * 2
            else:
                (figures,) = seeds.values()
                low, high = (100 * bound for bound in figures[split]["accuracy_interval"])
                error, extent = high - mean, [[mean - low], [high - mean]]
            axes.barh(place - 0.2, mean, 0.4, xerr=extent, color="#0072B2", ecolor="#444444", capsize=2)
            axes.text(mean + error + 0.5, place - 0.2, f"{mean:.1f}", va="center", fontsize=8)
            theirs = first.get(model, {}).get(dataset)
            if theirs is not None and split == "all":  # what it was measured on
                axes.barh(place + 0.2, theirs, 0.4, color="#E69F00")
                axes.text(theirs + 0.5, place + 0.2, f"{theirs:.1f}", va="center", fontsize=8)
        axes.set(yticks=np.arange(len(datasets)), yticklabels=datasets, xlim=(0, 100), title=model)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    axes.set_xlabel(
        f"accuracy on {names[split]}, percent; whiskers: 95 % interval, of several seeds ± one standard deviation"
    )
    if first:
        handles = [axes.barh([0], [0], color=color) for color in ("#0072B2", "#E69F00")]
        figure.legend(handles, ("this project", "first project"), loc="outside upper right", ncols=2, frameon=False)
    return figure
