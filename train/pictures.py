"""The pictures of a run and of a model: curves, confusions and confidence, as PNG."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fer_tf.classes import CLASSES
from fer_tf.files import written_aside

_FEWEST = 10
"""Images that a bin of confidence must have to be drawn; the accuracy of fewer says nothing."""


def draw_curves(rows: list[dict[str, float]], path: Path, *, kept: dict[str, float], title: str, choosing: str) -> None:
    """Draws loss and accuracy over the epochs of a history, and the row of it that is kept, to a PNG.

    `choosing` is what the images are called that the epochs were measured on.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    epochs = [row["epoch"] for row in rows]
    marker = "." if len(rows) == 1 else ""
    for axes, name, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("nats", "share"), strict=True):
        axes.plot(
            epochs,
            [row[name] for row in rows],
            label="train (augmented images, dropout)",
            color="#0072B2",
            marker=marker,
        )
        axes.plot(
            epochs,
            [row[f"public_{name}"] for row in rows],
            label=f"{choosing} (averaged weights)",
            color="#D55E00",
            marker=marker,
        )
        axes.set(xlabel="epoch", ylabel=f"{name} ({unit})")
        axes.grid(alpha=0.3)
        axes.margins(y=0.1)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    label = f"kept: epoch {kept['epoch']:.0f}, {kept['public_accuracy']:.2%}"
    axes.plot(kept["epoch"], kept["public_accuracy"], "o", label=label, color="#D55E00")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save_figure(figure, path)


def draw_confusion(counts: np.ndarray, path: Path, *, title: str) -> None:
    """Draws a confusion matrix, int [7, 7] with a row for each label, to a PNG, as shares of each row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(CLASSES))
    axes.set(xticks=ticks, yticks=ticks, yticklabels=CLASSES, xlabel="predicted", ylabel="labeled")
    axes.set_xticklabels(CLASSES, rotation=30, ha="right")
    axes.set_title(f"{title}: {np.trace(counts) / counts.sum():.2%} of {counts.sum():,}")
    for row in ticks:
        for column in ticks:
            color = "white" if shares[row, column] > 0.5 else "black"
            text = f"{shares[row, column]:.0%}\n{counts[row, column]}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    save_figure(figure, path)


def draw_confidence(diagnosis: dict[str, Any], path: Path, *, title: str) -> None:
    """Draws accuracy against confidence, before and after the temperature, and accuracy against coverage, to a PNG.

    Args:
        diagnosis: What `fer_tf.metrics.diagnose` returned.
        path: The file to write.
        title: Name of the split.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    for when, name, color in (("before", "before the temperature", "#D55E00"), ("after", "after", "#0072B2")):
        bins = diagnosis[f"reliability_{when}"]
        counts = np.array(bins["n"])
        confidence, accuracy, sizes = (
            np.array(values, float)[counts >= _FEWEST] for values in (bins["confidence"], bins["accuracy"], counts)
        )
        left.plot(confidence, accuracy, "-", color=color, linewidth=1)
        left.scatter(confidence, accuracy, 8 + 400 * sizes / counts.sum(), color=color, label=name)
    left.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title="Reliability (area: images)")
    left.legend(markerscale=0.6)
    right.plot(diagnosis["coverage"]["share"], diagnosis["coverage"]["accuracy"], color="#0072B2")
    right.set(xlabel="share of the faces, the most confident first", ylabel="accuracy", xlim=(0, 1), title="Coverage")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    with written_aside(path) as temporary:
        figure.savefig(temporary, dpi=120)
