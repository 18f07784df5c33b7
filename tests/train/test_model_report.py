import re

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("keras")

from fer_tf.fer2013 import Split
from fer_tf.recognizer import Recognizer
from train.model_report import write_model_report


def test_the_report_says_what_is_measured(make_model_file, tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 1, 1)) * np.ones((60, 48, 48))
    public = Split(images.astype(np.uint8), random.integers(0, 7, 60), np.arange(60).astype(str))
    model = make_model_file(tmp_path / "m.onnx", card_changes={"training": {"seed": 5, "hours": 1.5}})
    recognizer = Recognizer(model)
    path = tmp_path / "report" / "m.md"
    path.parent.mkdir()
    command = ["m.onnx", "--report", "m.md"]
    write_model_report(path, model, recognizer, public, figures="THE FIGURES", command=command)
    text = path.read_text()
    assert "THE FIGURES" in text
    assert "python -m train.evaluate m.onnx --report m.md" in text
    assert "seed 5, hours 1.5" in text
    accuracy = (recognizer(public.images).argmax(axis=1) == public.labels).mean()
    assert f"| as they are | {accuracy:.1%} | +0.0 |" in text
    # Of a gray square nothing is blurred, and darkness changes what the tiny model says of it.
    assert f"| blur (Gaussian, σ 1 pixel) | {accuracy:.1%} | +0.0 |" in text
    darkened = (255 * (public.images / 255) ** 2.2 * 0.5).astype(np.uint8)
    dark = (recognizer(darkened).argmax(axis=1) == public.labels).mean()
    assert f"| low light (γ 2.2, half as bright) | {dark:.1%} |" in text
    assert "people at work or in education" in text
    pictures = re.findall(r"\]\(([^)]*png)\)", text)
    assert pictures == ["m-confusion.png", "m-confidence.png"]
    for picture in pictures:
        assert min(cv2.imread(str(path.with_name(picture))).shape[:2]) > 300
