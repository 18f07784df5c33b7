import csv
import functools
import json
import multiprocessing
import os
import random
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf import fer2013  # noqa: E402
from fer_tf.models import load_network  # noqa: E402
from fer_tf.train import run  # noqa: E402
from fer_tf.train.run_folder import HISTORY_COLUMNS, RunFolder  # noqa: E402

ROOT = Path(__file__).parents[2]
INT8 = ROOT / "weights/resnet50-stack_sharpen-int8.onnx"
SINGLE = ROOT / "weights/mirror_resnet-original.onnx"
PAIR = ROOT / "weights/mirror_resnet-original-pair.onnx"
DIVERGED = "the training diverged in epoch 1; start anew with a lower learning rate"


def listing(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name != ".lock")


def read_history(folder: Path) -> list[dict[str, float]]:
    with open(folder / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_the_folder_holds_what_is_promised(finished):
    names = ["confusion.png", "curves.png", "history.csv", "model.keras", "public.json", "settings.json", "state.keras"]
    assert listing(finished) == names
    rows = read_history(finished)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert set(rows[0]) == set(HISTORY_COLUMNS)
    for picture in ("curves.png", "confusion.png"):
        assert min(cv2.imread(str(finished / picture)).shape[:2]) > 300


def test_it_learns_and_keeps_the_best_epoch(finished):
    rows, public = read_history(finished), json.loads((finished / "public.json").read_text())
    best = max(row["public_accuracy"] for row in rows)
    assert best > 0.8
    assert public["accuracy"] == pytest.approx(best, abs=1e-5)
    assert rows[public["epoch"] - 1]["public_accuracy"] == best


def test_the_kept_network_scores_what_the_history_says(finished, class_folders):
    public = fer2013.load(class_folders).public
    logits = load_network(finished / "model.keras").predict(public.images[..., None] / 127.5 - 1, verbose=0)
    accuracy = (logits.argmax(axis=1) == public.labels).mean()
    assert accuracy == pytest.approx(json.loads((finished / "public.json").read_text())["accuracy"])


def test_resuming_reaches_the_uninterrupted_run(small, finished, class_folders, tmp_path, interrupted, capsys):
    folder = tmp_path / "interrupted"
    with interrupted():
        assert run.main([*small, "--data", str(class_folders), "--output", str(folder)]) == 130
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].endswith(f"--resume {folder}")
    assert len(read_history(folder)) == 1
    assert run.main(["--resume", str(folder)]) == 0
    for row, expected in zip(read_history(folder), read_history(finished), strict=True):
        for name in set(HISTORY_COLUMNS) - {"seconds"}:
            assert row[name] == pytest.approx(expected[name], rel=1e-3), name


def test_a_run_is_resumed_with_the_network_that_it_was_begun_with(class_folders, tmp_path, monkeypatch):
    """As one that another version began, whose network had other widths."""
    from fer_tf.models import se_resnet

    options = ["--model", "se_resnet", "--dataset", "original", "--epochs", "1", "--data", str(class_folders)]
    options += ["--limit", "64", "--ghost-batches", "1"]
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        earlier = functools.partial(se_resnet.se_resnet, widths=(8, 8, 16, 24), blocks=(0, 0, 0))
        patch.setattr(se_resnet, "se_resnet", earlier)
        assert run.main([*options, "--output", str(folder)]) == 0
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps({**settings, "epochs": 2}))
    (folder / "public.json").unlink()
    assert run.main(["--resume", str(folder)]) == 0
    assert len(read_history(folder)) == 2
    assert load_network(folder / "model.keras").get_layer("stage3.down").kernel.shape[-1] == 24


def test_a_network_has_the_widths_that_were_asked_for(class_folders, tmp_path, capsys):
    options = ["--model", "mirror_resnet", "--dataset", "original", "--epochs", "1", "--data", str(class_folders)]
    options += ["--limit", "64", "--ghost-batches", "1", "--optimizer", "sgd"]
    folder = tmp_path / "run"
    assert run.main([*options, "--widths", "8", "16", "24", "32", "--output", str(folder)]) == 0
    network = load_network(folder / "model.keras")
    layers = [network.get_layer(name) for name in ("stem", "stage1.down", "stage2.0.conv1", "stage3.0.conv2")]
    assert [layer.output.shape[-1] for layer in layers] == [8, 16, 24, 32]
    capsys.readouterr()
    assert run.main(["--resume", str(folder), "--widths", "8", "16", "24", "40"]) == 2
    assert "is a run with --widths 8 16 24 32, not 8 16 24 40" in capsys.readouterr().err
    other = ["--output", str(tmp_path / "other")]
    assert run.main([*options, *other, "--init", str(folder)]) == 2
    assert capsys.readouterr().err.endswith("is a mirror_resnet of other widths; give --widths 8 16 24 32\n")
    assert run.main([*options, *other, "--init", str(SINGLE), "--widths", "8", "16", "24", "32"]) == 2
    assert capsys.readouterr().err.endswith("is a mirror_resnet of other widths; leave --widths out\n")


@pytest.mark.parametrize(
    ("model", "widths", "said"),
    [
        ("base_cnn", "32 64 128", "the widths of base_cnn are fixed"),
        ("se_resnet", "32 64 128", "expected 4 even numbers from 8 on"),
        ("mirror_resnet", "32 64 128 211", "expected 4 even numbers from 8 on"),
        ("mirror_resnet", "6 64 128 224", "expected 4 even numbers from 8 on"),
    ],
)
def test_widths_that_a_network_cannot_have_are_said(model, widths, said, class_folders, tmp_path, capsys):
    folder = tmp_path / "run"
    options = ["--model", model, "--dataset", "original", "--data", str(class_folders), "--output", str(folder)]
    assert run.main([*options, "--widths", *widths.split()]) == 2
    assert f"error: widths {widths}: {said}" in capsys.readouterr().err
    assert not folder.exists()


def test_resuming_a_finished_run_changes_nothing(finished):
    before = (finished / "history.csv").read_bytes(), (finished / "model.keras").read_bytes()
    assert run.main(["--resume", str(finished)]) == 0
    assert before == ((finished / "history.csv").read_bytes(), (finished / "model.keras").read_bytes())


def test_a_history_that_is_too_short_for_the_state_is_said(finished, tmp_path, capsys):
    folder = shutil.copytree(finished, tmp_path / "run")
    for name in ("history.csv", "public.json"):
        (folder / name).unlink()
    assert run.main(["--resume", str(folder)]) == 2
    assert "history.csv: has 0 of" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--init", "--ferplus", "--teacher"])
def test_a_file_that_is_not_there_is_said_at_once(option, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "load_data", None)  # takes long
    assert run.main([option, str(tmp_path / "none"), "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'none'}: no such file\n"


def test_a_run_without_memory_leaves_its_place_to_another(small, class_folders, tmp_path, monkeypatch, capsys):
    def exhausted(*arguments, **keywords):
        raise MemoryError

    monkeypatch.setattr("fer_tf.train.loop.fit", exhausted)
    assert run.main([*small, "--data", str(class_folders), "--output", str(tmp_path / "run")]) == 2
    assert "smaller batches" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_diverged_run_is_one_clear_line(small, tiny, class_folders, tmp_path, capsys):
    options = [*small, "--model", tiny, "--learning-rate", "1e20", "--data", str(class_folders)]
    assert run.main([*options, "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == f"error: {DIVERGED}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["history.csv", "targets.npz", "curves.png"])
def test_a_users_file_in_the_run_folder_is_not_touched(small, name, class_folders, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert run.main([*small, "--data", str(class_folders), "--output", str(tmp_path)]) == 2
    assert f"holds {name}" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_users_folder_stays_when_its_run_fails(small, tiny, class_folders, tmp_path):
    options = [*small, "--model", tiny, "--learning-rate", "1e20", "--data", str(class_folders)]
    assert run.main([*options, "--output", str(tmp_path)]) == 2
    assert listing(tmp_path) == []


WRONG = {
    "no data": (["--data", "nowhere.zip"], "nowhere.zip"),
    "unknown data set": (["--dataset", "blurred"], "invalid choice: 'blurred'"),
    "unknown model": (["--model", "vgg19"], "invalid choice: 'vgg19'"),
    "no checkpoint to start from": (["--init", "none.pth"], "none.pth: no such file"),
    "no run to start from": (["--init", "{tmp}"], "no run there"),
    "a run of another network": (["--model", "se_resnet", "--init", "{finished}"], "give --model base_cnn"),
    "a run for another data set": (["--dataset", "canny", "--init", "{finished}"], "not a base_cnn for canny"),
    "a run without an epoch": (["--dataset", "original", "--init", "{begun}"], "has come to no epoch"),
    "the network of a run": (["--init", "{finished}/model.keras"], "name the folder of the run"),
    "weights in 8 bits": (["--init", str(INT8)], "is in INT8"),
    "an ensemble": (["--init", str(PAIR)], "joined of several; name one of them: mirror_resnet-original.onnx, "),
    "a picture as checkpoint": (["--init", "{other}/happy/0.png"], "not a readable PyTorch checkpoint"),
    "a size that only grows": (["--model", "resnet50", "--image-size", "64", "--start-size", "72"], "72 is above"),
    "images too small": (["--model", "mirror_resnet", "--start-size", "4"], "takes images of 8 pixels or more"),
    "another image size": (["--image-size", "64"], "48 pixels only"),
    "no size to grow to": (["--model", "se_resnet", "--start-size", "64"], "a start size of 64 is above"),
    "no parameter of the filter": (["--dataset", "canny", "--filter", "lo=1"], "its parameters are low, high, sigma"),
    "a filter without parameters": (["--dataset", "sobel", "--filter", "low=1"], "it has no parameters"),
    "thresholds the wrong way round": (["--dataset", "canny", "--filter", "low=70"], "low=70, high=60"),
    "a parameter that is no number": (["--filter", "amount=inf"], "'amount=inf' is not NAME=NUMBER"),
    "resuming with another filter": (["--resume", "{finished}", "--filter", "low=1"], "--filter None, not low=1"),
    "a run is there": (["--output", "{finished}"], "--resume"),
    "resuming nothing": (["--resume", "{tmp}"], "no run there"),
    "resuming with other settings": (["--resume", "{finished}", "--epochs", "9"], "--epochs 3, not 9"),
    "resuming elsewhere": (["--resume", "{finished}", "--output", "{tmp}/x"], "own folder"),
    "resuming with other data": (["--resume", "{finished}", "--data", "{other}"], "other images"),
    "weights of no teacher": (["--teacher-weight", "0.5"], "--teacher-weight needs --teacher; add it"),
    "views of no teacher": (["--teacher-views", "varied"], "--teacher-views needs --teacher"),
    "a negative seed": (["--seed", "-1"], "from 0 to"),
    "a file as folder": (["--output", "{other}/happy/0.png"], "is a file"),
    "a folder in a file": (["--output", "{other}/happy/0.png/run"], "its folder cannot be made"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_clear_line(name, finished, class_folders, tmp_path, capfd):
    arguments, expected = WRONG[name]
    other = tmp_path / "other"
    for class_name in ("happy", "sad"):
        (other / class_name).mkdir(parents=True)
        for number in range(30):
            image = np.random.default_rng(number).integers(0, 256, (48, 48), np.uint8)
            cv2.imwrite(str(other / class_name / f"{number}.png"), image)
    (begun := tmp_path / "begun").mkdir()
    shutil.copy(finished / "settings.json", begun)
    arguments = [a.format(finished=finished, tmp=tmp_path, other=other, begun=begun) for a in arguments]
    if "--data" not in arguments and "--resume" not in arguments:
        arguments += ["--data", str(class_folders)]
    before = listing(finished)
    assert run.main(arguments) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line]
    assert len(errors) == 1, errors
    assert errors[0].startswith("error: ")
    assert expected in errors[0]
    assert listing(finished) == before


def test_a_run_killed_at_random_moments_comes_to_its_end(small, class_folders, tmp_path):
    """Five times SIGKILL; each time every file is readable, and in the end the history is whole."""
    folder, history = tmp_path / "killed", tmp_path / "killed/history.csv"
    start = [*small, "--limit", "64", "--epochs", "12", "--data", str(class_folders), "--output", str(folder)]
    # The server imports once what takes long; the runs are forked from it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fer_tf.train.loop", "fer_tf.train.report"])
    moments = random.Random(0)
    for attempt in range(5):
        begun = folder.exists()
        process = context.Process(target=run.main, args=(["--resume", str(folder)] if begun else start,))
        before = modified(history)
        process.start()
        # From its first epoch on, so that kills fall into the work and not into what comes before it.
        while process.is_alive() and not (modified(history) > before if attempt else folder.exists()):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        process.kill()
        process.join()
        assert_readable(folder)
    assert run.main(["--resume", str(folder)]) == 0
    assert [row["epoch"] for row in read_history(folder)] == list(range(1, 13))
    assert "public.json" in listing(folder)
    assert not list(folder.glob(".*.part*"))


def modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def assert_readable(folder: Path) -> None:
    for path in (folder / name for name in ("settings.json", "public.json")):
        assert not path.exists() or json.loads(path.read_text())
    if (folder / "history.csv").exists():
        assert all(set(row) == set(HISTORY_COLUMNS) for row in read_history(folder))
    for path in (folder / name for name in ("model.keras", "state.keras")):
        assert not path.exists() or keras.models.load_model(path)
    assert RunFolder(folder).settings.epochs == 12


def test_fer2013_is_found_and_its_public_test_measured(fer2013_path, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("FER2013", str(fer2013_path))
    folder = tmp_path / "run"
    assert run.main(["--model", tiny, "--epochs", "1", "--limit", "256", "--output", str(folder)]) == 0
    public = json.loads((folder / "public.json").read_text())
    assert public["n"] == 3589
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["dataset"], settings["limit"]) == ("stack_sharpen", 256)
