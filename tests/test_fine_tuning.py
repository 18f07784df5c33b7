"""The way of docs/training.md from photographs to a model of one's own, each command as a user gives it."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_tf import photograph
from fer_tf.classes import CLASSES
from fer_tf.recognizer import Recognizer

ROOT = Path(__file__).parents[1]
PER_CLASS = 10


@pytest.fixture
def photos(tmp_path):
    """Class folders of photographs to learn from and to measure on: one face in each, seen and lit differently."""
    pytest.importorskip("skimage")
    picture, random = photograph.read_photograph(), np.random.default_rng(0)
    for folder, count in (("photos", PER_CLASS), ("measure", 3)):
        for name in CLASSES:
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(count):
                move = cv2.getRotationMatrix2D((222, 114), random.uniform(-20, 20), random.uniform(0.8, 1.1))
                move[:, 2] += np.array((120, 120)) - (222, 114)
                view = cv2.warpAffine(picture, move, (240, 240), borderMode=cv2.BORDER_REPLICATE)
                view = np.clip(view * random.uniform(0.6, 1.2), 0, 255).astype(np.uint8)
                cv2.imwrite(str(tmp_path / folder / name / f"{number}.jpg"), view)
    return tmp_path


def steps() -> list[str]:
    """Returns the commands of the page, in their order."""
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    section = page.partition("\n## Fine-tune on your own faces\n")[2].partition("\n## ")[0]
    blocks = "\n".join(re.findall(r"```\n(.*?)```", section, re.DOTALL)).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if line.startswith("python -m ")]


@pytest.mark.drawn
def test_from_photographs_to_a_measured_model(photos, run_module):
    pytest.importorskip("tensorflow")
    pytest.importorskip("tf2onnx")
    commands = steps()
    modules = [command.split()[2] for command in commands]
    assert modules == ["realtime.crops", "train.run", "export.onnx", "realtime.evaluate"]
    places = {name: str(photos / name) for name in ("photos/", "faces/", "runs/mine", "mine.onnx", "measure/")}
    places["mine.json"] = str(photos / "mine.json")
    for command in commands:
        words = [places.get(word, word) for word in command.split()[1:]]
        if "train.run" in words:
            words[words.index("--epochs") + 1] = "1"
        run_module(*words[1:])
    assert len(list((photos / "faces").rglob("*.png"))) == 7 * PER_CLASS
    card = Recognizer(photos / "mine.onnx").card
    assert card.training_shares == pytest.approx([1 / 7] * 7)  # and not FER-2013's
    assert "training_shares" not in card.metrics
    report = json.loads((photos / "mine.json").read_text())
    assert (report["pictures"], report["recognized"]) == (21, 21)
    first, mine = report["models"].values()
    assert mine["even"]["mcnemar"]["against"] == "mirror_resnet-original"
    assert len(first) == len(mine) == 3
