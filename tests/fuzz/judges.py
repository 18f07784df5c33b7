"""Looks at what a command that succeeded has written: impossible numbers, pictures that others see otherwise."""

import csv
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from .kinds import Outcome

_MOST_DIFFERENCE = 12.0
"""Mean difference in gray levels of two decoders of the same picture; they round colors in their own ways."""


def says_something(outcome: "Outcome") -> str | None:
    """Fails without output."""
    return None if outcome.output.strip() else "exit code 0 without output"


def picture(outcome: "Outcome") -> str | None:
    """Holds what was read of a picture against Pillow."""
    if "--json" not in outcome.arguments:
        return tables(outcome) if "--csv" in outcome.arguments else says_something(outcome)
    if problem := predicted(outcome.output):
        return problem
    from PIL import Image, ImageOps

    from fer_tf.realtime.pictures import read_image

    try:
        Image.MAX_IMAGE_PIXELS = None
        with Image.open(outcome.target) as image:
            if image.mode not in ("RGB", "L", "P", "1"):  # of others each decoder has an idea of its own
                return None
            has_transparency = "transparency" in image.info
            other = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[..., ::-1]
    except Exception:  # it is damaged in Pillow's eyes: that decoders differ there is no fault
        return None
    (described,) = json.loads(outcome.output)["images"]
    ours = read_image(outcome.target).astype(int)
    if ours.shape[:2] != (described["height"], described["width"]):
        return f"{described['width']} x {described['height']} pixels are said to be {ours.shape[1]} x {ours.shape[0]}"
    # A damaged orientation is taken as it is by one and left out by another.
    turned = [np.rot90(part, turns) for part in (other, other[:, ::-1]) for turns in range(4)]
    differences = [float(np.abs(ours - image).mean()) for image in turned if image.shape == ours.shape]
    if not differences:
        return f"{ours.shape[1]} x {ours.shape[0]} pixels; Pillow reads {other.shape[1]} x {other.shape[0]}"
    difference = min(differences)
    if difference > _MOST_DIFFERENCE and not has_transparency:
        return f"differs from what Pillow decodes by {difference:.0f} gray levels in mean"
    return None


def predicted(text: str) -> str | None:
    """Looks at the document of `realtime.predict --json`."""
    try:
        document = json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        return f"invalid JSON: {error}"
    for image in document["images"]:
        for face in image["faces"]:
            for reading in face["readings"]:
                if problem := probabilities(list(reading["probabilities"].values())):
                    return problem
    return None


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def probabilities(values: list[float]) -> str | None:
    """Looks at the probabilities of one face."""
    if len(values) != 7 or not all(math.isfinite(value) and -1e-6 <= value <= 1 + 1e-3 for value in values):
        return f"no probabilities: {values}"
    return None if abs(sum(values) - 1) < 2e-3 else f"probabilities that sum to {sum(values):.4f}"


def tables(outcome: "Outcome", name: str = "out.csv") -> str | None:
    """Looks at the tables of the live loop."""
    frames = int(outcome.output.split()[0])
    if not frames:
        return "exit code 0 without a frame"
    rows = _rows(name)
    for row in rows:
        if problem := probabilities([float(value) for key, value in row.items() if key.startswith("p_")]):
            return problem
    times = [float(row["time_s"]) for row in rows]
    if times != sorted(times) or not all(0 <= time < 1e9 for time in times):
        return f"times that run backwards or away: {times[:20]}"
    if len({row["frame"] for row in rows}) > frames:
        return f"rows of more frames than the {frames} that were analyzed"
    lines = Path("out.jsonl")
    if lines.exists():
        try:
            documents = [json.loads(line, parse_constant=_refuse) for line in lines.read_text().splitlines()]
        except ValueError as error:
            return f"invalid JSON: {error}"
        if len(documents) != frames:
            return f"{len(documents)} lines of JSON for {frames} frames"
    return None


def _rows(name: str) -> list[dict[str, str]]:
    with open(name, newline="") as file:
        return list(csv.DictReader(file))


def video(outcome: "Outcome") -> str | None:
    """Looks at the tables, and counts the frames of the recording."""
    if problem := tables(outcome):
        return problem
    if Path("out.mp4").exists():
        capture, count = cv2.VideoCapture("out.mp4"), 0
        while capture.read()[0]:
            count += 1
        if not count:
            return "a recording without frames"
    return None


def model(outcome: "Outcome") -> str | None:
    """Looks at predictions, at a model file that was written, and at figures."""
    if "--json" in outcome.arguments and "realtime.predict" in outcome.arguments:
        return predicted(outcome.output)
    written = Path("out.onnx")
    if written.exists():
        from fer_tf.recognizer import Recognizer

        images = np.random.default_rng(1).integers(0, 256, (3, 48, 48), np.uint8)
        for row in Recognizer(written)(images):
            if problem := probabilities(row.tolist()):
                return problem
    return figures() or says_something(outcome)


def figures(name: str = "out.json") -> str | None:
    """Looks at the figures of `train.evaluate`."""
    if not Path(name).exists():
        return None
    try:
        document = json.loads(Path(name).read_text(), parse_constant=_refuse)
    except ValueError as error:
        return f"invalid JSON: {error}"
    for split, values in document.items():
        accuracy = values.get("accuracy") if isinstance(values, dict) else None
        if isinstance(accuracy, float) and not 0 <= accuracy <= 1:
            return f"{split} has an accuracy of {accuracy}"
    return None


def data(outcome: "Outcome") -> str | None:
    """Looks at an audit or figures."""
    if "nan" in outcome.output.split():
        return "NaN in the output"
    return figures() or says_something(outcome)


def plot(outcome: "Outcome") -> str | None:
    """Opens the picture that was drawn."""
    from PIL import Image

    with Image.open("out.png") as image:
        image.load()
        return None if min(image.size) >= 100 else f"a plot of {image.size} pixels"


def archive(outcome: "Outcome") -> str | None:
    """Looks at the rows of an archive, each of whose films shows one face."""
    if "realtime.timeline" in outcome.arguments:
        return plot(outcome)
    if "--csv" in outcome.arguments:
        rows = _rows("all.csv")
        keys = [(row["source"], row["frame"], row["face"]) for row in rows]
        if len(keys) != len(set(keys)):
            return "rows that are there twice"
        for row in rows:
            if problem := probabilities([float(value) for key, value in row.items() if key.startswith("p_")]):
                return problem
    return says_something(outcome)
