"""What a finished run leaves to look at: PublicTest's figures, the temperature and the pictures."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from fer_tf.datasets import create_preprocessor
from fer_tf.emotions import CLASSES
from fer_tf.fer2013 import Split
from fer_tf.files import write_json, written_aside
from fer_tf.metrics import fit_temperature, measure
from fer_tf.models import load_network
from train.input_pipeline import evaluation_batches
from train.run_folder import RunFolder
from train.training import predictor

CURVES, CONFUSION = "curves.png", "confusion.png"


def write_report(folder: RunFolder, public: Split) -> dict:
    """Fits the temperature on PublicTest, measures the kept epoch there, and draws the run.

    Returns:
        What `folder.public` then holds: `epoch`, `temperature` and the keys of `fer_tf.metrics.measure`.
    """
    settings, rows = folder.settings, folder.read_history()
    model = load_network(folder.model)
    preprocessor = create_preprocessor(settings.dataset, settings.model, image_size=settings.image_size)
    logits = predictor(model)(evaluation_batches(public.images, preprocessor))
    temperature = fit_temperature(logits, public.labels)
    best = max(rows, key=lambda row: row["public_accuracy"])  # the first of equals, as in training
    figures = measure(softmax(logits / temperature, axis=1), public.labels, temperature)
    draw_curves(rows, folder.path / CURVES, title=f"{settings.model} on {settings.dataset}")
    draw_confusion(logits.argmax(axis=1), public.labels, folder.path / CONFUSION, title="PublicTest")
    report = {"epoch": int(best["epoch"]), "temperature": temperature, **figures}
    write_json(folder.public, report)  # last: it says that the run is finished
    return report


def draw_curves(rows: list[dict[str, float]], path: Path, *, title: str) -> None:
    """Draws loss and accuracy over the epochs of a history to a PNG."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    epochs = [row["epoch"] for row in rows]
    for axes, name, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("nats", "share"), strict=True):
        axes.plot(
            epochs, [row[name] for row in rows], label="train (augmented, smoothed labels, dropout)", color="#0072B2"
        )
        axes.plot(
            epochs,
            [row[f"public_{name}"] for row in rows],
            label="PublicTest (averaged weights)",
            color="#D55E00",
        )
        axes.set(xlabel="epoch", ylabel=f"{name} ({unit})")
        axes.grid(alpha=0.3)
        axes.margins(y=0.1)
        axes.legend()
    best = max(rows, key=lambda row: row["public_accuracy"])
    axes.plot(best["epoch"], best["public_accuracy"], "o", color="#D55E00")
    axes.annotate(
        f"{best['public_accuracy']:.2%}",
        (best["epoch"], best["public_accuracy"]),
        (0, 8),
        textcoords="offset points",
        ha="center",
    )
    save_figure(figure, path)


def draw_confusion(predicted: np.ndarray, labels: np.ndarray, path: Path, *, title: str) -> None:
    """Draws a confusion matrix, rows normalised to the true class, to a PNG. Both arrays are int [N]."""
    counts = confusion_matrix(labels, predicted, labels=range(len(CLASSES)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(CLASSES))
    axes.set(xticks=ticks, yticks=ticks, yticklabels=CLASSES, xlabel="predicted", ylabel="labelled")
    axes.set_xticklabels(CLASSES, rotation=30, ha="right")
    axes.set_title(f"{title}: {(predicted == labels).mean():.2%} of {len(labels):,}")
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
