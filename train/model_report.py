"""The report that a model file ships with: what it is, what it scores, how sure it is, and what it bears."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fer_tf.fer2013 import Split
from fer_tf.files import write_json, write_text
from fer_tf.lineage import REPEATED
from fer_tf.metrics import diagnose, measure
from fer_tf.recognizer import Recognizer, predict
from fer_tf.train.cost import measure_cost
from fer_tf.train.evaluate import TITLES, describe
from fer_tf.train.pictures import draw_confusion, save_figure
from fer_tf.train.robustness import VARIATIONS
from fer_tf.train.settings import command_line

_FEWEST = 10
"""Images that a bin of confidence must have to be drawn; the accuracy of fewer says nothing."""

_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def write_model_report(
    path: Path,
    model: Path,
    public: Split,
    *,
    figures: dict[str, dict[str, Any]],
    shown: str,
    probabilities: np.ndarray,
    labels: np.ndarray,
    command: Sequence[str],
) -> None:
    """Writes a report as Markdown and as JSON, with a picture of the confusions and one of the confidence.

    Args:
        path: The report, `<name>.md`; beside it come `<name>.json`, `<name>-confusion.png` and
            `<name>-confidence.png`.
        model: The model file.
        public: PublicTest, on which is measured what the model bears: that may lead to another model.
        figures: Of all splits, as `fer_tf.train.evaluate.evaluate` gives them.
        shown: The split of which errors and confidence are shown, one of `figures`.
        probabilities: float [N, 7] for the images of that split.
        labels: int [N], theirs.
        command: That made the report, without the interpreter.
    """
    recognizer = Recognizer(model)
    report = {
        "card": dataclasses.asdict(recognizer.card),
        "measured_by": shlex.join(["python", "-m", "train.evaluate", *command]),
        "splits": figures,
        "shown": shown,
        **diagnose(probabilities, labels, recognizer.card.temperature),
        "robustness": _robustness(recognizer, public),
        "cost": measure_cost(model, public.images),
    }
    confusion, confidence = (path.with_name(f"{path.stem}-{kind}.png") for kind in ("confusion", "confidence"))
    draw_confusion(np.array(report["confusion"]), confusion, title=TITLES[shown])
    _draw_confidence(report, confidence)
    write_json(path.with_suffix(".json"), report)
    write_text(path, "\n".join(_lines(report, confusion.name, confidence.name)) + "\n")


def labels_seen(training: dict[str, Any]) -> str:
    """Returns in words which labels a model learned from, by what its card says of its training."""
    if "members" in training:
        return "; ".join(dict.fromkeys(labels_seen(member) for _, member in _members(training)))
    if "model" not in training:
        return "not known"
    words = "those of its data set"
    opinions = []
    if training.get("ferplus") and (weight := training["ferplus_weight"]):
        opinions.append(f"the votes of FER+ (by {weight:g})")
    if training.get("teacher"):
        asked = ", asked of each image as it was varied" if training.get("teacher_views") == "varied" else ""
        names, weight = ", ".join(training["teacher"]), training["teacher_weight"]
        opinions.append(f"the answers of {names} (by {weight:g}{asked})")
    if opinions:
        words += f", mixed with {' and '.join(opinions)}"
    if weight := training.get("ferplus_head"):
        words += f"; beside them a second head, which is not kept, learned the votes of FER+ (weight {weight:g})"
    if inherited := _inherited(training):
        sources = {"init": "its first weights", "teacher": "its teachers"}
        told = " and ".join(learner for name, learner in sources.items() if training.get(name))
        words += f"; {told} had learned from {', '.join(inherited[:-1])}{' and ' * (len(inherited) > 1)}{inherited[-1]}"
    return words


def _inherited(training: dict[str, Any]) -> list[str]:
    """Returns which labels reached a model through its first weights and its teachers, each kind once.

    What is repeated reached it by another way, too, which is told in full.
    """
    sources = [training.get("init_origin") or {}] if training.get("init") else []
    sources += [teacher["training"] for teacher in training.get("teacher_origins") or ()]
    kinds = []
    for source in sources:
        for _, parent in _members(source):
            if parent == REPEATED:
                continue
            kinds.append("the labels of their data sets" if "model" in parent else "labels that are not known")
            if parent.get("ferplus"):
                kinds.append("the votes of FER+")
            if parent.get("teacher"):
                kinds.append("the answers of other models")
            kinds += _inherited(parent)
    return list(dict.fromkeys(kinds))


def chosen_on_public(training: dict[str, Any]) -> str:
    """Returns in a sentence what of a trained model PublicTest chose."""
    known = [single for _, single in _members(training) if "model" in single]  # and not an imported checkpoint
    if not known:
        return "PublicTest chose the temperature."
    if all(single.get("keep") == "last" for single in known):
        return "PublicTest chose the temperature; the epoch is the last."
    return "PublicTest chose the epoch and the temperature."


def _members(training: dict[str, Any], name: str | None = None) -> list[tuple[str | None, dict[str, Any]]]:
    """Returns name and training of each single model that a file consists of, however often they were joined.

    A file that is not joined of others is one model without a name.
    """
    if "members" not in training:
        return [(name, training)]
    return [single for member in training["members"] for single in _members(member["training"], member["name"])]


def _runs(training: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the trainings that a model's weights went through, in order."""
    origin = training.get("init_origin")
    return [*(_runs(origin) if origin else ()), training]


def files_of(run: dict[str, Any]) -> list[str]:
    """Returns which files a run began with and learned from, as far as it kept their digests."""
    init = run.get("init")
    if run.get("init_origin") and not init.endswith(".onnx"):
        init += "/model.keras"
    named = [(init, run.get("init_sha256"))]
    if origins := run.get("teacher_origins"):
        named += zip(run["teacher"], (origin["sha256"] for origin in origins), strict=True)
    return [f"{name}, SHA-256 {digest[:16]}…" for name, digest in named if digest]


def _robustness(recognizer: Recognizer, public: Split) -> dict[str, Any]:
    figures = {
        name: measure(predict(recognizer, vary(public.images), description=name), public.labels)
        for name, vary in VARIATIONS.items()
    }
    return {name: {key: row[key] for key in ("accuracy", "accuracy_interval")} for name, row in figures.items()}


def _lines(report: dict[str, Any], confusion: str, confidence: str) -> Iterator[str]:
    """Yields the lines of the Markdown."""
    card, cost, shown = report["card"], report["cost"], TITLES[report["shown"]]
    training = card["training"]
    members = _members(training)
    joined = f"; {len(members)} networks in one graph, whose answers are averaged" if len(members) > 1 else ""
    yield f"# {card['name']}"
    yield (
        f"{card['architecture']} on {card['dataset']}, {card['arithmetic']} arithmetic{joined}: a model file of "
        f"{cost['bytes'] / 1e6:.1f} MB with {cost['parameters'] / 1e6:.2f} million parameters, which takes "
        f"{cost['multiply_adds'] / 1e6:.1f} million multiply-adds a face."
    )
    yield from ("", "| | |", "|---|---|")
    yield f"| made from | {card['source_file']}, SHA-256 {card['source_sha256'][:16]}… |"
    for name, single in members:
        of = f" ({name})" if name else ""
        for run in _runs(single):
            if command := command_line(run):
                hours, done = run.get("hours"), run.get("epochs_done")
                ended = f", ended after {done} epochs" if done and done < run["epochs"] else ""
                yield f"| trained by{of} | `{command}`{ended}{f', {hours} hours' if hours else ''} |"
                if files := files_of(run):
                    yield f"| files named there | {'; '.join(files)} |"
    yield f"| labels | {labels_seen(training)} |"
    if "quantization" in training:
        numbers, change = training["quantization"], 100 * card["metrics"]["accuracy_change"]
        kinds = f"weights {numbers['weights']}, activations {numbers['activations']}"
        yield f"| numbers | {kinds}: {change:+.2f} points on PublicTest |"
    yield f"| measured by | `{report['measured_by']}` |"

    yield from ("", "## Accuracy")
    if "model" in training or "members" in training:
        yield chosen_on_public(training)
    if "private" in report["splits"]:
        yield (
            "PrivateTest was looked at when the model was finished, and chose nothing. Public + Private is the first "
            "project's protocol."
        )
    yield from ("", describe(report["splits"]))
    yield from ("", f"![Confusion matrix on {shown}]({confusion})", "")
    yield from (f"| class | images of {shown} | recall | 95 % interval |", "|---|--:|--:|--:|")
    for name, row in report["recall"].items():
        low, high = row["interval"]
        yield f"| {name} | {row['n']} | {row['value']:.1%} | {low:.1%} to {high:.1%} |"

    yield from ("", "## How sure it is")
    yield (
        f"{shown}, before and after the temperature of {card['temperature']:.3f}; and how often it is right on the "
        "faces that it is most sure of, if the others are set aside."
    )
    yield from ("", f"![Reliability, and accuracy against coverage]({confidence})", "")
    covered = dict(zip(report["coverage"]["share"], report["coverage"]["accuracy"], strict=True))
    yield f"| of the faces | {' | '.join(f'{share:.0%}' for share in _SHARES)} |"
    yield f"|---|{'--:|' * len(_SHARES)}"
    yield f"| accuracy | {' | '.join(f'{covered[share]:.1%}' for share in _SHARES)} |"

    yield from ("", "## What it bears")
    yield "A webcam differs from the data set. PublicTest, with each face crop varied:"
    if any(single.get("augment", "").endswith("camera") for _, single in members):
        yield "(Blur, noise and low light up to this strength are also what one in four training images had.)"
    yield from ("", "| variation | accuracy | 95 % interval | difference |", "|---|--:|--:|--:|")
    plain = next(iter(report["robustness"].values()))["accuracy"]
    for name, row in report["robustness"].items():
        low, high = row["accuracy_interval"]
        difference = f"{100 * (row['accuracy'] - plain):+.1f}"
        yield f"| {name} | {row['accuracy']:.1%} | {low:.1%} to {high:.1%} | {difference} |"

    yield from ("", "## What it costs")
    yield f"Median milliseconds of a call on {cost['machine']}:"
    counts = list(dict.fromkeys(row["faces"] for row in cost["milliseconds"]))
    yield from ("", f"| threads, faces | {' | '.join(map(str, counts))} |", f"|--:|{'--:|' * len(counts)}")
    for threads in dict.fromkeys(row["threads"] for row in cost["milliseconds"]):
        times = [f"{row['milliseconds']:.2f}" for row in cost["milliseconds"] if row["threads"] == threads]
        yield f"| {threads} | {' | '.join(times)} |"

    yield from ("", "## Uses")
    yield f"{card['intended_uses'][0].upper()}{card['intended_uses'][1:]}."
    yield from ("", card["excluded_uses"], "", f"Licence: {card['license']}.")


def _draw_confidence(report: dict[str, Any], path: Path) -> None:
    """Draws accuracy against confidence, before and after the temperature, and accuracy against coverage, to a PNG."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(TITLES[report["shown"]])
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    for when, name, color in (("before", "before the temperature", "#D55E00"), ("after", "after", "#0072B2")):
        bins = report[f"reliability_{when}"]
        counts = np.array(bins["n"])
        confidence, accuracy, sizes = (
            np.array(values, float)[counts >= _FEWEST] for values in (bins["confidence"], bins["accuracy"], counts)
        )
        left.plot(confidence, accuracy, "-", color=color, linewidth=1)
        left.scatter(confidence, accuracy, 8 + 400 * sizes / counts.sum(), color=color, label=name)
    left.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title="Reliability (area: images)")
    left.legend(markerscale=0.6)
    right.plot(report["coverage"]["share"], report["coverage"]["accuracy"], color="#0072B2")
    right.set(xlabel="share of the faces, the surest first", ylabel="accuracy", xlim=(0, 1), title="Coverage")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_figure(figure, path)
