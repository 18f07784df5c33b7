"""The report that a model file ships with: what it is, what it scores, how sure it is, and what it bears."""

import shlex
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import softmax
from scipy.stats import binomtest

from fer_tf.card import ModelCard
from fer_tf.emotions import CLASSES
from fer_tf.fer2013 import Split
from fer_tf.files import write_text
from fer_tf.metrics import coverage, reliability
from fer_tf.recognizer import Recognizer, predict
from train.report import draw_confusion, save_figure
from train.robustness import VARIATIONS

_FEWEST = 10
"""Images that a bin of confidence must have to be drawn; the accuracy of fewer says nothing."""

_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def write_model_report(
    path: Path, model: Path, recognizer: Recognizer, public: Split, *, figures: str, command: Sequence[str]
) -> None:
    """Writes a report as Markdown, with a picture of the confusions and one of the confidence beside it.

    What it measures itself, it measures on PublicTest.

    Args:
        path: The report, `<name>.md`; the pictures are `<name>-confusion.png` and `<name>-confidence.png`.
        model: The model file.
        recognizer: The same, opened.
        public: PublicTest.
        figures: Of all splits, as `train.evaluate.describe` gives them.
        command: That made the report, without the interpreter.
    """
    card = recognizer.card
    probabilities = {name: predict(recognizer, vary(public.images)) for name, vary in VARIATIONS.items()}
    plain = next(iter(probabilities.values()))
    confusion, confidence = (path.with_name(f"{path.stem}-{kind}.png") for kind in ("confusion", "confidence"))
    draw_confusion(plain.argmax(axis=1), public.labels, confusion, title="PublicTest")
    _draw_confidence(plain, public.labels, card.temperature, confidence)
    lines = [
        f"# {card.name}",
        f"A model file of {model.stat().st_size / 1e6:.1f} MB: {card.architecture} on {card.dataset}, "
        f"{card.arithmetic} arithmetic.",
        "",
        *_origin(card, command),
        "",
        "## Accuracy",
        "PublicTest chose the epoch and the temperature; PrivateTest is looked at once and chooses nothing. Public + "
        "Private is the first project's protocol, and holds the split that chose.",
        "",
        figures,
        "",
        f"![Confusion matrix on PublicTest]({confusion.name})",
        "",
        *_recall(plain, public.labels),
        "",
        "## How sure it is",
        f"On PublicTest, before and after the temperature of {card.temperature:.3f}; and how often it is right on the "
        "faces that it is most sure of, if the others are set aside.",
        "",
        f"![Reliability, and accuracy against coverage]({confidence.name})",
        "",
        f"| of the faces | {' | '.join(f'{share:.0%}' for share in _SHARES)} |",
        f"|---|{'--:|' * len(_SHARES)}",
        f"| accuracy | {' | '.join(f'{value:.1%}' for value in coverage(plain, public.labels, _SHARES))} |",
        "",
        "## What it bears",
        "A webcam differs from the data set. PublicTest, with each face crop varied:",
        "",
        "| variation | accuracy | difference |",
        "|---|--:|--:|",
    ]
    accuracies = {name: (found.argmax(axis=1) == public.labels).mean() for name, found in probabilities.items()}
    unvaried = next(iter(accuracies.values()))
    lines += [f"| {name} | {value:.1%} | {100 * (value - unvaried):+.1f} |" for name, value in accuracies.items()]
    lines += [
        "",
        "## What it costs",
        *_cost(model, public.images),
        "",
        "## Uses",
        f"{card.intended_uses[0].upper()}{card.intended_uses[1:]}.",
        "",
        card.excluded_uses,
        "",
        f"Licence: {card.license}.",
    ]
    write_text(path, "\n".join(lines) + "\n")


def _origin(card: ModelCard, command: Sequence[str]) -> list[str]:
    """Returns a table of what made and measured the file."""
    lines = ["| | |", "|---|---|", f"| made from | {card.source_file}, SHA-256 {card.source_sha256[:16]}… |"]
    if settings := _settings(card.training):
        lines.append(f"| trained with | {settings} |")
    for member in card.training.get("members", ()):
        settings = _settings(member["training"])
        lines.append(f"| member | {member['name']}, SHA-256 {member['sha256'][:16]}…, trained with {settings} |")
    command = shlex.join(["python", "-m", "train.evaluate", *command])
    return [*lines, f"| measured by | `{command}` |"]


def _settings(training: dict) -> str:
    """Returns what a model was trained with, as a list in words."""
    left_out = ("members", "data_fingerprint")
    return ", ".join(
        f"{name} {value}" for name, value in training.items() if value is not None and name not in left_out
    )


def _recall(probabilities: np.ndarray, labels: np.ndarray) -> list[str]:
    """Returns the recall of each class on PublicTest with its 95 % Wilson interval, as a table."""
    lines = ["| class | images | recall | 95 % interval |", "|---|--:|--:|--:|"]
    predicted = probabilities.argmax(axis=1)
    for index, name in enumerate(CLASSES):
        count = int((labels == index).sum())
        if count:
            right = int(((labels == index) & (predicted == index)).sum())
            interval = binomtest(right, count).proportion_ci(0.95, method="wilson")
            lines.append(f"| {name} | {count} | {right / count:.1%} | {interval.low:.1%} to {interval.high:.1%} |")
    return lines


def _cost(model: Path, images: np.ndarray) -> list[str]:
    """Returns the time of a call on this machine by number of faces and threads, as a table."""
    counts = (1, 4, 16)
    lines = [f"| threads | {' | '.join(f'{count} faces' for count in counts)} |", f"|--:|{'--:|' * len(counts)}"]
    for threads in (1, 2):
        recognizer = Recognizer(model, threads=threads)
        lines.append(
            f"| {threads} | {' | '.join(f'{_seconds(recognizer, images[:n]) * 1e3:.2f} ms' for n in counts)} |"
        )
    return ["Median of a call of onnxruntime on the machine that made this report:", "", *lines]


def _seconds(recognizer: Recognizer, faces: np.ndarray, repeats: int = 25) -> float:
    """Returns the median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        recognizer(faces)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _draw_confidence(probabilities: np.ndarray, labels: np.ndarray, temperature: float, path: Path) -> None:
    """Draws accuracy against confidence, before and after the temperature, and accuracy against coverage, to a PNG."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)) * temperature
    for name, found, color in (
        ("before the temperature", softmax(logits, axis=1), "#D55E00"),
        ("after", probabilities, "#0072B2"),
    ):
        bins = reliability(found, labels)
        counts = bins[-1]
        confidence, accuracy, counts = (values[counts >= _FEWEST] for values in bins)
        left.plot(confidence, accuracy, "-", color=color, linewidth=1)
        left.scatter(confidence, accuracy, 8 + 400 * counts / len(labels), color=color, label=name)
    left.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title="Reliability (area: images)")
    left.legend(markerscale=0.6)
    shares = np.linspace(0.02, 1, 99)
    right.plot(shares, coverage(probabilities, labels, shares), color="#0072B2")
    right.set(xlabel="share of the faces, the surest first", ylabel="accuracy", xlim=(0, 1), title="Coverage")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_figure(figure, path)
