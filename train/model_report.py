"""The report that a model file ships with: what it is, what it scores, its calibration, robustness and cost."""

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from fer_tf import lineage
from fer_tf.fer2013 import PUBLIC_TEST, Split
from fer_tf.files import write_json, write_text
from fer_tf.installation import program
from fer_tf.lineage import Imported, Labels, Lineage, Run
from fer_tf.metrics import diagnose, measure
from fer_tf.recognizer import Recognizer, predict
from fer_tf.table import Markdown, Table, between, to_markdown
from fer_tf.text import markdown
from fer_tf.train.cost import measure_cost
from fer_tf.train.pictures import draw_confidence, draw_confusion
from fer_tf.train.robustness import POOR_CAMERA_SHARE, VARIATIONS
from fer_tf.train.settings import command_line
from fer_tf.train.summary import summarize, titles

_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)

_INHERITED = {
    Labels.DATA_SET: "the labels of their data sets",
    Labels.VOTES: "the votes of FER+",
    Labels.TEACHERS: "the predictions of other models",
    Labels.UNKNOWN: "unknown labels",
}


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
    choosing: str = PUBLIC_TEST,
) -> None:
    """Writes a report as Markdown and as JSON, with a picture of the confusions and one of the confidence.

    Args:
        path: The report, `<name>.md`; beside it come `<name>.json`, `<name>-confusion.png` and
            `<name>-confidence.png`.
        model: The model file.
        public: The choosing split. Robustness is measured on it, since that may lead to another model.
        figures: Of all splits, as `fer_tf.train.figures.evaluate` returns them.
        shown: The split whose confusions and confidence are shown, one of `figures`.
        probabilities: float [N, 7] for the images of that split.
        labels: int [N], theirs.
        command: Arguments of the command that made the report.
        choosing: What the choosing split is called, as in `fer_tf.fer2013.Fer2013`.
    """
    recognizer = Recognizer(model)
    report = {
        "card": json.loads(recognizer.card.to_json()),
        "measured_by": f"{program('train.evaluate')} {shlex.join(command)}",
        "splits": figures,
        "choosing": choosing,
        "shown": shown,
        **diagnose(probabilities, labels, recognizer.card.temperature),
        "robustness": _robustness(recognizer, public),
        "cost": measure_cost(model, public.images),
    }
    confusion, confidence = (path.with_name(f"{path.stem}-{kind}.png") for kind in ("confusion", "confidence"))
    draw_confusion(np.array(report["confusion"]), confusion, title=titles(choosing)[shown])
    draw_confidence(report, confidence, title=titles(choosing)[shown])
    write_json(path.with_suffix(".json"), report)
    write_text(path, page(report, confusion.name, confidence.name))


def page(report: dict[str, Any], confusion: str, confidence: str) -> str:
    """Returns a report as Markdown.

    Args:
        report: What `write_model_report` writes as JSON.
        confusion: Name of the picture of the confusions.
        confidence: Name of the picture of the confidence.
    """
    blocks = [*_identity(report), *_accuracy(report, confusion), *_calibration(report, confidence)]
    blocks += [*_measured_robustness(report), *_cost(report["cost"]), *_uses(report["card"])]
    return to_markdown(blocks) + "\n"


def labels_seen(training: Lineage) -> str:
    """Returns in words which labels the networks of a model learned from."""
    return "; ".join(dict.fromkeys(_labels_of(network) for _, network in training.networks()))


def _labels_of(network: Lineage) -> str:
    if not isinstance(network, Run):
        return "unknown"
    words, settings = "those of its data set", network.record
    opinions = []
    if Labels.VOTES in network.labels and (weight := settings["ferplus_weight"]):
        opinions.append(f"the votes of FER+ (weight {weight:g})")
    if Labels.TEACHERS in network.labels:
        weight = f"weight {settings['teacher_weight']:g}"
        views = ", for each augmented image" if settings.get("teacher_views") == "varied" else ""
        opinions.append(f"the predictions of {', '.join(settings['teacher'])} ({weight}{views})")
    if opinions:
        words += f", mixed with {' and '.join(opinions)}"
    if weight := settings.get("ferplus_head"):
        words += f"; an auxiliary head, dropped after training, learned the votes of FER+ (weight {weight:g})"
    if kinds := [_INHERITED[kind] for kind in network.inherited_labels]:
        sources = {"its initial weights": network.start, "its teachers": Labels.TEACHERS in network.labels}
        learners = " and ".join(name for name, source in sources.items() if source)
        words += f"; {learners} had learned from {', '.join(kinds[:-1])}{' and ' * (len(kinds) > 1)}{kinds[-1]}"
    return words


def chosen_on_public(training: Lineage, choosing: str = PUBLIC_TEST) -> str:
    """Returns in a sentence what PublicTest chose of a model, or the held-out images of its training data."""
    which = PUBLIC_TEST if choosing == PUBLIC_TEST else "Images that were held out of the training data"
    if training.epoch_was_chosen is None:
        return f"{which} chose the temperature."
    if training.epoch_was_chosen:
        return f"{which} chose the epoch and the temperature."
    return f"{which} chose the temperature; the epoch is the last."


def _choosing(report: dict[str, Any]) -> str:
    return report.get("choosing", PUBLIC_TEST)  # which reports of version 0.1 do not say


def _shown(report: dict[str, Any]) -> str:
    return titles(_choosing(report))[report["shown"]]


def _robustness(recognizer: Recognizer, public: Split) -> dict[str, Any]:
    figures = {
        name: measure(predict(recognizer, vary(public.images), description=name), public.labels)
        for name, vary in VARIATIONS.items()
    }
    return {name: {key: row[key] for key in ("accuracy", "accuracy_interval")} for name, row in figures.items()}


def _identity(report: dict[str, Any]) -> Iterator[str | Table]:
    card, cost = report["card"], report["cost"]
    training = lineage.read(card["training"])
    networks = training.networks()
    joined = f"The file averages the predictions of {len(networks)} networks. " if len(networks) > 1 else ""
    yield (
        f"# {markdown(card['name'])}\n{markdown(card['architecture'])} on {markdown(card['dataset'])}, with "
        f"{markdown(card['arithmetic'])} arithmetic. {joined}"
        f"It has {cost['bytes'] / 1e6:.1f} MB, {cost['parameters'] / 1e6:.2f} million parameters and "
        f"{cost['multiply_adds'] / 1e6:.1f} million multiply-adds per face."
    )
    facts = [("made from", f"{card['source_file']}, SHA-256 {card['source_sha256'][:16]}…")]
    for name, network in networks:
        for run in network.line if isinstance(network, Run) else ():
            facts += _training_facts(run, f" ({name})" if name else "")
    facts.append(("labels", labels_seen(training)))
    if numbers := training.quantization:
        kinds = f"weights {numbers.weights}, activations {numbers.activations}"
        checked = PUBLIC_TEST if _choosing(report) == PUBLIC_TEST else "the images that it was checked on"
        change = f"{100 * card['metrics']['accuracy_change']:+.2f} points on {checked}"
        facts.append(("quantization", f"{kinds}: {change}"))
    facts.append(("measured by", Markdown(markdown(report["measured_by"], code=True))))
    yield Table(("", ""), facts, "ll")


def _training_facts(run: Run, of: str) -> Iterator[tuple[str, str]]:
    hours, done = run.record.get("hours"), run.record.get("epochs_done")
    ended = f", ended after {done} epochs" if done and done < run.record["epochs"] else ""
    took = f", {hours} hours" if hours else ""
    command = markdown(command_line(run.record) or "", code=True)
    yield f"trained by{of}", Markdown(command + markdown(ended + took))
    if files := [f"{name}, SHA-256 {digest[:16]}…" for name, digest in run.files]:
        yield "files used", "; ".join(files)


def _accuracy(report: dict[str, Any], confusion: str) -> Iterator[str | Table]:
    shown, training, choosing = _shown(report), lineage.read(report["card"]["training"]), _choosing(report)
    lines = ["## Accuracy"]
    if not isinstance(training, Imported):
        lines.append(chosen_on_public(training, choosing))
    if "private" in report["splits"] and choosing == PUBLIC_TEST:
        lines.append(
            "PrivateTest was looked at when the model was finished, and chose nothing. PublicTest + PrivateTest is the "
            "first project's protocol."
        )
    yield "\n".join(lines)
    yield from summarize(report["splits"], titles(choosing))
    yield f"![Confusion matrix on {shown}]({quote(confusion)})"
    rows = [
        (name, str(row["n"]), f"{row['value']:.1%}", between(row["interval"], ".1%"))
        for name, row in report["recall"].items()
    ]
    images = shown if "images" in shown else f"images of {shown}"
    yield Table(("class", images, "recall", "95 % interval"), rows)


def _calibration(report: dict[str, Any], confidence: str) -> Iterator[str | Table]:
    yield (
        f"## Calibration\n{_sentence(_shown(report))}, before and after the temperature of "
        f"{report['card']['temperature']:.3f}; and the accuracy on the most confident faces alone."
    )
    yield f"![Reliability, and accuracy against coverage]({quote(confidence)})"
    covered = dict(zip(report["coverage"]["share"], report["coverage"]["accuracy"], strict=True))
    shares = [f"{share:.0%}" for share in _SHARES]
    yield Table(("of the faces", *shares), [("accuracy", *(f"{covered[share]:.1%}" for share in _SHARES))])


def _measured_robustness(report: dict[str, Any]) -> Iterator[str | Table]:
    varied = f"{_sentence(_choosing(report))}, with each face crop varied:"
    lines = ["## Robustness", f"A webcam differs from the data set. {varied}"]
    runs = lineage.read(report["card"]["training"]).runs
    if any(run.record.get("augment", "").endswith("camera") for run in runs):
        share = f"{POOR_CAMERA_SHARE:.0%}"
        lines.append(f"In training, {share} of the images had blur, noise and low light of up to this strength, too.")
    yield "\n".join(lines)
    plain = next(iter(report["robustness"].values()))["accuracy"]
    rows = [
        (
            name,
            f"{row['accuracy']:.1%}",
            between(row["accuracy_interval"], ".1%"),
            f"{100 * (row['accuracy'] - plain):+.1f}",
        )
        for name, row in report["robustness"].items()
    ]
    yield Table(("variation", "accuracy", "95 % interval", "difference"), rows)


def _cost(cost: dict[str, Any]) -> Iterator[str | Table]:
    yield f"## Cost\nMedian milliseconds of a call on {markdown(cost['machine'])}:"
    times = {(row["threads"], row["faces"]): f"{row['milliseconds']:.2f}" for row in cost["milliseconds"]}
    threads, counts = (list(dict.fromkeys(values)) for values in zip(*times, strict=True))
    rows = [(str(number), *(times[number, count] for count in counts)) for number in threads]
    yield Table(("threads, faces", *map(str, counts)), rows, "r" * (1 + len(counts)))


def _uses(card: dict[str, Any]) -> Iterator[str]:
    yield f"## Uses\n{markdown(_sentence(card['intended_uses']))}."
    yield markdown(card["excluded_uses"])
    yield f"License: {markdown(card['license'])}."


def _sentence(text: str) -> str:
    """Returns text with a capital at the beginning."""
    return text[:1].upper() + text[1:]
