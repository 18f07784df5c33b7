import json

import cv2
import pytest

pytest.importorskip("keras")

from scipy.stats import ttest_rel

from train import matrix_report

SETTINGS = {
    "data": "/nowhere",
    "data_fingerprint": "",
    "epochs": 25,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "limit": None,
    "augment": "standard",
}


def add_cell(root, model: str, dataset: str, seed: int, accuracies: dict[str, float]) -> None:
    folder = root / f"{model}-{dataset}-seed{seed}"
    folder.mkdir()
    settings = {**SETTINGS, "model": model, "dataset": dataset, "seed": seed}
    (folder / "settings.json").write_text(json.dumps(settings))
    figures = {
        split: {"accuracy": value, "accuracy_interval": [value - 0.01, value + 0.01]}
        for split, value in accuracies.items()
    }
    (folder / "evaluation.json").write_text(json.dumps(figures))


def test_the_interval_is_that_of_a_paired_t_test():
    one, other = [65.1, 64.2, 66.0, 65.5], [64.0, 64.1, 64.9, 63.9]
    mean, half, count = matrix_report.paired_difference(dict(enumerate(one)), {**dict(enumerate(other)), 9: 1.0})
    interval = ttest_rel(one, other).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((interval.low, interval.high))
    assert count == 4


def test_one_seed_has_no_interval():
    assert matrix_report.paired_difference({0: 60.0}, {0: 58.5, 1: 70.0}) == (1.5, None, 1)


def test_table_and_chart(tmp_path):
    every = {"public": 0.6, "private": 0.62, "private_deduplicated": 0.61, "all": 0.61}
    add_cell(tmp_path, "resnet50", "original", 0, {"public": 0.5})
    add_cell(tmp_path, "base_cnn", "stack_sharpen", 0, {**every, "private": 0.64, "all": 0.63})
    add_cell(tmp_path, "base_cnn", "stack_sharpen", 1, {**every, "private": 0.66, "all": 0.65})
    add_cell(tmp_path, "base_cnn", "original", 0, every)
    add_cell(tmp_path, "base_cnn", "original", 1, every)
    add_cell(tmp_path, "base_cnn", "sobel", 0, every)
    matrix_report.write_matrix(tmp_path)
    text = (tmp_path / "matrix.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| base_cnn", "| resnet50"))]
    assert rows == [
        "| base_cnn | original | 2 | 60.00 ± 0.00 | 62.00 ± 0.00 | 61.00 ± 0.00 | 61.00 ± 0.00 | 56.42 | +4.58 |",
        "| base_cnn | sobel | 1 | 60.00 | 62.00 | 61.00 | 61.00 | – | – |",
        "| base_cnn | stack_sharpen | 2 | 60.00 ± 0.00 | 65.00 ± 1.41 | 61.00 ± 0.00 | 64.00 ± 1.41 | 59.64 | +4.36 |",
        "| resnet50 | original | 1 | 50.00 | – | – | – | 58.93 | – |",
    ]
    # Student's t for one degree of freedom is 12.71, the standard error 1.
    assert "stack_sharpen over original: +3.00 (± 12.71, 2 seeds) on PrivateTest" in text
    cells = json.loads((tmp_path / "matrix.json").read_text())["cells"]
    assert [cell["first_project"] for cell in cells] == [56.42, 56.42, None, 59.64, 59.64, 58.93]
    assert min(cv2.imread(str(tmp_path / "matrix.png")).shape[:2]) > 200
