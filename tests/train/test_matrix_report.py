import json
import re

import cv2
import pytest

pytest.importorskip("keras")

from scipy.stats import ttest_1samp

from fer_tf.train import matrix_report

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
    (folder / "evaluation.json").write_text(json.dumps({"private_fingerprint": "-", "splits": figures}))


def test_the_interval_is_that_of_a_t_test():
    values = [1.1, 0.1, 1.1, 1.6]
    mean, interval = matrix_report.mean_interval(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean == pytest.approx(0.975)
    assert interval == pytest.approx([expected.low, expected.high])
    assert matrix_report.mean_interval([1.5]) == (1.5, None)


@pytest.mark.drawn
def test_table_and_chart(tmp_path):
    every = {"public": 0.6, "private": 0.62, "private_deduplicated": 0.61, "all": 0.61}
    add_cell(tmp_path, "resnet50", "original", 0, {"public": 0.5})
    add_cell(tmp_path, "base_cnn", "stack_sharpen", 0, {**every, "private": 0.64, "all": 0.63})
    add_cell(tmp_path, "base_cnn", "stack_sharpen", 1, {**every, "private": 0.66, "all": 0.65})
    add_cell(tmp_path, "base_cnn", "original", 0, every)
    add_cell(tmp_path, "base_cnn", "original", 1, every)
    add_cell(tmp_path, "base_cnn", "sobel", 0, every)
    shown = matrix_report.write_matrix(tmp_path, "-")
    text = (tmp_path / "matrix.md").read_text()
    assert "|" not in shown
    assert re.sub(r"[-|: ]+", " ", text).split() == re.sub(r"[-|: ]+", " ", shown).split(), "the same in two forms"
    table = text.partition("What each stack adds")[0]
    rows = [line for line in table.splitlines() if line.startswith(("| base_cnn", "| resnet50"))]
    assert rows == [
        "| base_cnn | original | 2 | 60.00 ± 0.00 | 62.00 ± 0.00 | 61.00 ± 0.00 | 61.00 ± 0.00 | 56.42 | +4.58 |",
        "| base_cnn | sobel | 1 | 60.00 | 62.00 | 61.00 | 61.00 | – | – |",
        "| base_cnn | stack_sharpen | 2 | 60.00 ± 0.00 | 65.00 ± 1.41 | 61.00 ± 0.00 | 64.00 ± 1.41 | 59.64 | +4.36 |",
        "| resnet50 | original | 1 | 50.00 | – | – | – | 58.93 | – |",
    ]
    # Student's t for one degree of freedom is 12.71, the standard error 1.
    assert "- base_cnn on stack_sharpen, 2 seeds: 65.00 on PrivateTest (95 % interval 52.29 to 77.71)" in text
    assert "| stack_sharpen | PrivateTest | 2 | +3.00 | -9.71 to +15.71 | no difference shown |" in text
    assert "thresholds" not in text
    report = json.loads((tmp_path / "matrix.json").read_text())
    assert [cell["first_project"] for cell in report["cells"]] == [56.42, 56.42, None, 59.64, 59.64, 58.93]
    assert report["cells"][0]["accuracy_interval"]["public"] == pytest.approx([0.59, 0.61])
    assert [row["split"] for row in report["stacking"]] == ["private", "all"]
    assert min(cv2.imread(str(tmp_path / "matrix.png")).shape[:2]) > 200


@pytest.mark.parametrize(
    ("gains", "says"),
    [
        ((0.020, 0.021, 0.022), "| helps |"),
        ((-0.020, -0.021, -0.022), "| harms |"),
        ((0.02, -0.03, 0.01), "| no difference shown |"),
        ((0.02,), "| one seed decides nothing |"),
    ],
)
def test_the_verdict_is_the_intervals(gains, says, tmp_path):
    for seed, gain in enumerate(gains):
        add_cell(tmp_path, "base_cnn", "original", seed, {"public": 0.5, "private": 0.6 + seed / 50, "all": 0.6})
        add_cell(tmp_path, "base_cnn", "stack_canny", seed, {"public": 0.5, "private": 0.6 + seed / 50 + gain})
    matrix_report.write_matrix(tmp_path, "-")
    text = (tmp_path / "matrix.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| base_cnn | stack_canny | PrivateTest")]
    assert says in line
    assert "Canny's thresholds are 20 and 60 here" in text


def test_of_other_data_nothing_is_compared_with_the_first_project(tmp_path):
    every = {"public": 0.6, "private": 0.62, "private_deduplicated": 0.61, "all": 0.61}
    for dataset in ("original", "stack_canny"):
        for seed in (0, 1):
            add_cell(tmp_path, "base_cnn", dataset, seed, every)
    shown = matrix_report.write_matrix(tmp_path, "-", choosing="held-out images")
    text = (tmp_path / "matrix.md").read_text()
    for word in ("Public", "Private", "first project", "thresholds"):
        assert word not in text + shown
    assert "The held-out images chose the epoch." in text
    columns = "network | data set | seeds | held-out images | test images | without copies | held-out images + test"
    assert f"| {columns} images |\n" in text
    assert "| base_cnn | original | 2 | 60.00 ± 0.00 | 62.00 ± 0.00 | 61.00 ± 0.00 | 61.00 ± 0.00 |\n" in text
    assert "| base_cnn | stack_canny | test images | 2 | +0.00 |" in text
    assert all(cell["first_project"] is None for cell in json.loads((tmp_path / "matrix.json").read_text())["cells"])
