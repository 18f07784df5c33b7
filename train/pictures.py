"""The pictures of a run and of a model: curves and confusions, as PNG."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fer_tf.classes import CLASSES
from fer_tf.files import written_aside


def draw_curves(rows: list[dict[str, float]], path: Path, *, kept: dict[str, float], title: str) -> None:
    """Draws loss and accuracy over the epochs of a history to a PNG, and which of its rows is kept."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    epochs = [row["epoch"] for row in rows]
    marker = "." if len(rows) == 1 else ""
    for axes, name, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("nats", "share"), strict=True):
        axes.plot(
            epochs,
            [row[name] for row in rows],
            label="train (as it was trained: varied images, dropout)",
            color="#0072B2",
            marker=marker,
        )
        axes.plot(
            epochs,
            [row[f"public_{name}"] for row in rows],
            label="PublicTest (averaged weights)",
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
    """Draws a confusion matrix, int [7, 7] with a row for each label, to a PNG, as parts of each row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(CLASSES))
    axes.set(xticks=ticks, yticks=ticks, yticklabels=CLASSES, xlabel="predicted", ylabel="labelled")
    axes.set_xticklabels(CLASSES, rotation=30, ha="right")
    axes.set_title(f"{title}: {np.trace(counts) / counts.sum():.2%} of {counts.sum():,}")
    for row in ticks:
        for column in ticks:
            color = "white" if shares[row, column] > 0.5 else "black"
            text = f"{shares[row, column]:.0%}\n{counts[row, column]}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    with written_aside(path) as temporary:
        figure.savefig(temporary, dpi=120)
