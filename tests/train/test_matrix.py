import functools
import json
import os
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("keras")

import keras

from fer_tf.train import matrix, run
from fer_tf.train.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("tiny", "uncollected")


@pytest.fixture(scope="module")
def uncollected():
    """Cells do not collect garbage, which beside a test run's own objects takes as long as their training."""
    with pytest.MonkeyPatch.context() as patch:
        clear = functools.partial(keras.backend.clear_session, free_memory=False)
        patch.setattr(keras.backend, "clear_session", clear)
        yield


def train_matrix(class_folders: Path, output: Path, *options: str) -> int:
    options = ["--models", "tiny", "--epochs", "1", "--limit", "64", *options]
    return matrix.main([*options, "--data", str(class_folders), "--output", str(output)])


@pytest.fixture(scope="module")
def trained(class_folders, tiny, tmp_path_factory) -> Path:
    """A matrix of two cells."""
    output = tmp_path_factory.mktemp("matrix")
    assert train_matrix(class_folders, output, "--datasets", "original", "stack_sobel") == 0
    return output


def modified(output: Path) -> dict[str, int]:
    return {str(path): os.stat(path).st_mtime_ns for path in output.glob("*/*")}


def test_each_cell_is_a_run_and_is_measured(trained):
    assert sorted(p.name for p in trained.iterdir()) == [
        "matrix.json",
        "matrix.md",
        "matrix.png",
        "tiny-original-seed0",
        "tiny-stack_sobel-seed0",
    ]
    cells = json.loads((trained / "matrix.json").read_text())["cells"]
    assert [(cell["model"], cell["dataset"], cell["seed"]) for cell in cells] == [
        ("tiny", "original", 0),
        ("tiny", "stack_sobel", 0),
    ]
    for cell in cells:
        public = RunFolder.open(trained / f"tiny-{cell['dataset']}-seed0").public_metrics()
        assert cell["accuracy"]["public"] == public["accuracy"]


def test_finished_cells_are_kept_and_others_added(trained, class_folders):
    before = modified(trained)
    assert train_matrix(class_folders, trained, "--datasets", "original", "--seeds", "0", "1") == 0
    after = modified(trained)
    assert {path: after[path] for path in before} == before
    assert "tiny-original-seed1" in " ".join(after)
    assert "± " in (trained / "matrix.md").read_text()


def test_an_interrupted_cell_is_continued(class_folders, tmp_path, interrupted, capsys):
    with interrupted():
        assert train_matrix(class_folders, tmp_path, "--datasets", "original") == 130
    assert "same command" in capsys.readouterr().err
    kept = (tmp_path / "tiny-original-seed0" / "state.keras").read_bytes()
    assert train_matrix(class_folders, tmp_path, "--datasets", "original") == 0
    assert (tmp_path / "tiny-original-seed0" / "state.keras").read_bytes() == kept


def test_a_run_of_train_run_is_a_cell(class_folders, tmp_path):
    cell = tmp_path / "tiny-original-seed0"
    options = ["--model", "tiny", "--dataset", "original", "--epochs", "1", "--limit", "64"]
    assert run.main([*options, "--data", str(class_folders), "--output", str(cell)]) == 0
    model = (cell / "model.keras").read_bytes()
    assert train_matrix(class_folders, tmp_path, "--datasets", "original") == 0
    assert (cell / "model.keras").read_bytes() == model


def test_a_cell_that_was_made_otherwise_is_refused(trained, class_folders, capsys):
    before = modified(trained)
    assert train_matrix(class_folders, trained, "--datasets", "original", "--epochs", "2") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--epochs 1, not 2" in line
    assert modified(trained) == before


def test_a_cell_of_another_filter_is_refused(class_folders, tmp_path, capsys):
    options = ["--model", "tiny", "--epochs", "1", "--limit", "64", "--data", str(class_folders)]
    cell = tmp_path / "tiny-canny-seed0"
    assert run.main([*options, "--dataset", "canny", "--filter", "high=150", "--output", str(cell)]) == 0
    assert train_matrix(class_folders, tmp_path, "--datasets", "canny") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{cell} is a cell with --filter low=20 high=150 sigma=1.4, not low=20 high=60 sigma=1.4" in line
    assert not (tmp_path / "matrix.md").exists()


def test_cells_that_do_not_compare_are_not_put_into_one_table(trained, class_folders, tmp_path, capsys):
    before = modified(trained)
    assert train_matrix(class_folders, trained, "--datasets", "sobel", "--limit", "32") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "tiny-original-seed0 is a cell with --limit 64, not 32" in line
    assert train_matrix(class_folders, trained, "--datasets", "sobel", "--epochs", "2") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "tiny-original-seed0 is a cell with --epochs 1, not 2" in line
    fewer = shutil.copytree(class_folders, tmp_path / "fewer")
    next(path for path in sorted(fewer.rglob("*")) if path.is_file()).unlink()
    assert train_matrix(fewer, trained, "--datasets", "sobel") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "other images" in line
    assert modified(trained) == before


def test_cells_of_one_table_are_measured_on_one_private_test(class_folders, tmp_path, capsys):
    """Also for those who had the challenge's table without its last part first."""
    data, output = shutil.copytree(class_folders, tmp_path / "data"), tmp_path / "matrix"
    image = next(path for path in sorted(data.rglob("*.*")) if path.is_file())

    def cells(dataset: str) -> dict[str, bool]:
        """Trains a cell; returns which ones the table then has, and whether they have figures of PrivateTest."""
        assert train_matrix(data, output, "--datasets", dataset) == 0
        listed = json.loads((output / "matrix.json").read_text())["cells"]
        return {cell["dataset"]: "private" in cell["accuracy"] for cell in listed}

    assert cells("original") == {"original": False}
    shutil.copy(image, image.with_name(f"PrivateTest_1{image.suffix}"))
    assert cells("original") == {"original": True}
    another = shutil.copy(image, image.with_name(f"PrivateTest_2{image.suffix}"))
    capsys.readouterr()
    assert cells("sobel") == {"sobel": True}
    assert "tiny-original-seed0 is left out until it is named" in capsys.readouterr().out
    another.unlink()
    assert cells("sobel") == {"original": True, "sobel": True}
    before = modified(output)
    cells("sobel")
    kept = {path: time for path, time in before.items() if "seed0" in path}
    assert kept.items() <= modified(output).items()


def test_a_cell_that_fails_does_not_stop_the_others(class_folders, tmp_path, capsys):
    broken = tmp_path / "tiny-original-seed0"
    broken.write_text("a file where the cell's folder should be")
    assert train_matrix(class_folders, tmp_path, "--datasets", "original", "sobel") == 1
    captured = capsys.readouterr()
    assert "tiny-original-seed0" in captured.err
    assert re.search(r"^tiny +sobel +1 ", captured.out, re.MULTILINE)
