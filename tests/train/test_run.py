import contextlib
import csv
import errno
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf import fer2013  # noqa: E402
from fer_tf.errors import UserError  # noqa: E402
from fer_tf.models import load_network  # noqa: E402
from fer_tf.recognizer import Recognizer  # noqa: E402
from fer_tf.train import run  # noqa: E402
from fer_tf.train.run_folder import HISTORY_COLUMNS, RunFolder  # noqa: E402

ROOT = Path(__file__).parents[2]
INT8 = ROOT / "weights/resnet50-stack_sharpen-int8.onnx"
SINGLE = ROOT / "weights/mirror_resnet-original.onnx"
PAIR = ROOT / "weights/mirror_resnet-original-pair.onnx"
DIVERGED = "the training diverged in epoch 1; start anew with a lower --learning-rate"
SMALL = ["--dataset", "original", "--epochs", "3", "--batch-size", "32", "--seed", "5"]


def listing(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name != ".lock")


def read_history(folder: Path) -> list[dict[str, float]]:
    with open(folder / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def finished(class_folders, tmp_path_factory) -> Path:
    """A run of three epochs that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert run.main([*SMALL, "--data", str(class_folders), "--output", str(folder)]) == 0
    return folder


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
    from fer_tf.models import load_network

    public = fer2013.load(class_folders).public
    logits = load_network(finished / "model.keras").predict(public.images[..., None] / 127.5 - 1, verbose=0)
    accuracy = (logits.argmax(axis=1) == public.labels).mean()
    assert accuracy == pytest.approx(json.loads((finished / "public.json").read_text())["accuracy"])


def test_resuming_reaches_the_uninterrupted_run(finished, class_folders, tmp_path, monkeypatch, capsys):
    from fer_tf.train import training

    folder = tmp_path / "interrupted"
    say = training._Recorder._say

    def interrupt(self, row):
        say(self, row)
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training._Recorder, "_say", interrupt)
        assert run.main([*SMALL, "--data", str(class_folders), "--output", str(folder)]) == 130
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
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(se_resnet, "se_resnet", functools.partial(se_resnet.se_resnet, widths=(8, 8, 16, 24)))
        assert run.main([*options, "--output", str(folder)]) == 0
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps({**settings, "epochs": 2}))
    (folder / "public.json").unlink()
    assert run.main(["--resume", str(folder)]) == 0
    assert len(read_history(folder)) == 2
    assert load_network(folder / "model.keras").get_layer("stage3.down").kernel.shape[-1] == 24


def test_a_network_has_the_widths_that_were_asked_for(class_folders, tmp_path, capsys):
    options = ["--model", "mirror_resnet", "--dataset", "original", "--epochs", "1", "--data", str(class_folders)]
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
    assert capsys.readouterr().err.endswith("is a mirror_resnet of other widths; leave --widths away\n")


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


def test_a_run_starts_from_a_checkpoint(class_folders, torch_base_cnn, tmp_path):
    import torch

    network = torch_base_cnn(1)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    options = [*SMALL[:2], "--epochs", "1", "--learning-rate", "1e-9", "--data", str(class_folders)]
    assert run.main([*options, "--init", str(tmp_path / "x.pth"), "--output", str(tmp_path / "run")]) == 0
    kernel = load_network(tmp_path / "run" / "model.keras").get_layer("conv2").kernel.numpy()
    np.testing.assert_allclose(kernel.transpose(3, 2, 0, 1), network.model[4].weight.detach(), atol=1e-5)


def test_a_run_starts_from_a_model_file_and_inherits_its_card(class_folders, tmp_path, capsys):
    options = ["--dataset", "original", "--epochs", "1", "--batch-size", "32", "--data", str(class_folders)]
    options += ["--init", str(SINGLE), "--output", str(tmp_path / "run")]
    assert run.main([*options, "--model", "base_cnn"]) == 2
    assert capsys.readouterr().err.endswith("train it with --model mirror_resnet --dataset original\n")
    assert run.main([*options, "--model", "mirror_resnet", "--learning-rate", "1e-9"]) == 0
    settings = RunFolder(tmp_path / "run").settings
    assert settings.init_origin == Recognizer(SINGLE).card.training
    assert settings.init_sha256 == hashlib.sha256(SINGLE.read_bytes()).hexdigest()
    public = fer2013.load(class_folders).public
    right = Recognizer(SINGLE)(public.images).argmax(axis=1) == public.labels
    assert f"PublicTest of the initial weights: {right.mean():.2%}\n" in capsys.readouterr().out


def test_weights_that_learned_by_another_arithmetic_are_told_of(make_model_file, tmp_path, capsys):
    for arithmetic in ("standard", "original"):
        path = make_model_file(tmp_path / f"{arithmetic}.onnx", card_changes={"arithmetic": arithmetic})
        card = Recognizer(path).card
        assert run._origin_of(str(path), card.architecture, card.dataset, None) == card.training
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"note: {tmp_path / 'original.onnx'} learned by the first project's arithmetic")


def test_weights_that_learned_with_another_filter_are_told_of(class_folders, tmp_path, capsys):
    options = ["--dataset", "canny", "--epochs", "1", "--limit", "32", "--data", str(class_folders)]
    first, second = tmp_path / "first", tmp_path / "second"
    assert run.main([*options, "--filter", "low=50", "high=150", "--output", str(first)]) == 0
    options += ["--init", str(first)]
    assert run.main([*options, "--filter", "low=50", "high=150", "--output", str(tmp_path / "same")]) == 0
    assert "learned with" not in capsys.readouterr().out
    assert run.main([*options, "--output", str(second)]) == 0
    assert "learned with --filter low=50 high=150 sigma=1.4;" in capsys.readouterr().out


def test_a_run_starts_from_another(finished, class_folders, tmp_path):
    options = [*SMALL[:2], "--epochs", "1", "--learning-rate", "1e-9", "--data", str(class_folders)]
    assert run.main([*options, "--init", str(finished), "--output", str(tmp_path / "run")]) == 0
    earlier, later = (load_network(path / "model.keras") for path in (finished, tmp_path / "run"))
    for expected, found in zip(earlier.trainable_variables, later.trainable_variables, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=found.path)
    settings = RunFolder(tmp_path / "run").settings
    assert settings.init_sha256 == hashlib.sha256((finished / "model.keras").read_bytes()).hexdigest()
    assert settings.init_origin["epochs"] == RunFolder(finished).settings.epochs
    assert settings.init_origin["data"] == class_folders.name  # not the folders of a user


def test_other_opinions_are_learned_and_a_resumed_run_needs_none_of_them(
    class_folders, make_model_file, tmp_path, capsys
):
    teacher = make_model_file(tmp_path / "teacher.onnx")
    folder = tmp_path / "run"
    options = [*SMALL[:2], "--epochs", "1", "--data", str(class_folders), "--teacher", str(teacher)]
    assert run.main([*options, "--teacher-weight", "1", "--output", str(folder)]) == 0
    train = fer2013.load(class_folders).train
    np.testing.assert_allclose(np.load(folder / "targets.npy").sum(axis=1), np.ones(len(train)), rtol=1e-5)
    loss = read_history(folder)[0]["loss"]
    assert loss > 1.7  # the tiny model never says anything definite, so it cannot be learned better than this
    (origin,) = json.loads((folder / "settings.json").read_text())["teacher_origins"]
    assert (origin["name"], origin["sha256"]) == ("tiny-original", hashlib.sha256(teacher.read_bytes()).hexdigest())
    teacher.unlink()
    assert run.main(["--resume", str(folder)]) == 0
    assert run.main(["--dataset", "original", "--teacher-weight", "0.5", "--data", str(class_folders)]) == 2
    assert "--teacher-weight without --teacher" in capsys.readouterr().err


@pytest.fixture
def voted(class_folders, tmp_path) -> tuple[Path, np.ndarray, Path]:
    """The class folders' images under names of their own, votes for those to train on, and their table."""
    data = tmp_path / "data"
    for number, path in enumerate(sorted(class_folders.rglob("*.png"))):  # votes are by file name
        copy = data / path.parent.relative_to(class_folders) / f"{number}.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    train = fer2013.load(data).train
    answers = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "unknown", "NF")
    votes = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), len(train))
    votes[3] = 0
    table = tmp_path / "votes.csv"
    named = zip(train.names, votes, strict=True)
    rows = [["image", *answers], *([name.rpartition("/")[2], *row] for name, row in named)]
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return data, votes, table


def test_a_second_head_is_taught_the_votes_and_the_first_the_labels(voted, tmp_path, capsys):
    data, votes, table = voted
    folder = tmp_path / "run"
    options = [*SMALL[:2], "--epochs", "1", "--data", str(data), "--ferplus-head", "0.5"]
    assert run.main([*options, "--output", str(folder)]) == 2
    assert "--ferplus-head without --ferplus" in capsys.readouterr().err
    assert run.main([*options, "--ferplus", str(table), "--label-smoothing", "0", "--output", str(folder)]) == 0
    targets = np.load(folder / "targets.npy")
    np.testing.assert_array_equal(targets[:, :7], np.eye(7)[fer2013.load(data).train.labels])
    np.testing.assert_allclose(targets[:, 7:] * 10, votes, atol=1e-5)
    settings = RunFolder(folder).settings
    assert (settings.ferplus_weight, settings.ferplus_head) == (0, 0.5)
    table.unlink()
    assert run.main(["--resume", str(folder)]) == 0


@pytest.mark.parametrize("head", [[], ["--ferplus-head", "0.5", "--ferplus-weight", "0.5"]])
def test_teachers_asked_of_varied_images_are_asked_again_when_it_is_resumed(
    head, voted, make_model_file, tmp_path, monkeypatch, capsys
):
    """Both teachers say "surprise" of all that is not black, whatever the votes and the labels are."""
    from fer_tf.train import training

    data, _, table = voted
    teachers = [make_model_file(tmp_path / f"{slope}.onnx", slope=slope) for slope in (300, 400)]
    folder = tmp_path / "run"
    options = ["--dataset", "original", "--epochs", "2", "--batch-size", "16", "--keep", "last", "--data", str(data)]
    options += ["--teacher", *map(str, teachers), "--teacher-weight", "1", "--teacher-views", "varied"]

    def interrupt(self, row):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training._Recorder, "_say", interrupt)
        assert run.main([*options, "--ferplus", str(table), *head, "--output", str(folder)]) == 130
    assert np.load(folder / "targets.npy").shape[1] == (24 if head else 14)
    table.unlink()
    teachers[0].rename(tmp_path / "away.onnx")
    assert run.main(["--resume", str(folder)]) == 2
    assert f"{teachers[0]}: no such model file" in capsys.readouterr().err
    shutil.copy(teachers[1], teachers[0])
    assert run.main(["--resume", str(folder)]) == 2
    assert f"{teachers[0]} is not what the run was begun with" in capsys.readouterr().err
    (tmp_path / "away.onnx").rename(teachers[0])
    assert run.main(["--resume", str(folder)]) == 0
    assert [row["epoch"] for row in read_history(folder)] == [1, 2]
    network = load_network(folder / "model.keras")
    images = fer2013.load(data).public.images
    answers = np.asarray(network(RunFolder(folder).preprocessor()(images))).argmax(axis=1)
    assert (answers == 6).mean() > 0.9
    teachers[0].unlink()
    assert run.main(["--resume", str(folder)]) == 0  # it is finished


def test_limit_chooses_at_random(class_folders):
    split = fer2013.load(class_folders).train

    class Settings:
        limit, seed = 40, 0

    chosen = run._limited(split, Settings)
    assert len(chosen) == 40
    assert len(np.unique(chosen.labels)) > 4
    Settings.limit = None
    assert run._limited(split, Settings) is split


def test_blank_images_are_left_out(tmp_path, capsys):
    """A folder of nothing else has nothing to learn from, and no run is made of it."""
    for number in range(60):
        (tmp_path / "data" / "happy").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "data" / "happy" / f"{number}.png"), np.full((48, 48), number, np.uint8))
    assert run.main(["--data", str(tmp_path / "data"), "--output", str(tmp_path / "run")]) == 2
    assert "0 images to train on" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_that_fails_keeps_its_settings(finished, tmp_path, capsys):
    """As a run killed in its first epoch, whose checkpoint to start from has gone since."""
    settings = json.loads((finished / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**settings, "init": "/gone.pth"}))
    assert run.main(["--resume", str(tmp_path)]) == 2
    assert "/gone.pth: no such file" in capsys.readouterr().err
    assert "settings.json" in listing(tmp_path)


def test_a_run_does_not_begin_with_what_has_been_replaced(finished, tmp_path, capsys):
    settings = json.loads((finished / "settings.json").read_text())
    begun = {**settings, "init": str(finished), "init_sha256": "0" * 64}
    (tmp_path / "settings.json").write_text(json.dumps(begun))
    assert run.main(["--resume", str(tmp_path)]) == 2
    assert f"{finished} is not what {tmp_path} was to begin with" in capsys.readouterr().err


def test_a_new_run_does_not_take_over_what_is_left_of_another(finished, class_folders, tmp_path, capsys):
    for name in ("state.keras", "model.keras", "public.json"):
        (folder := tmp_path / name[:5]).mkdir()
        shutil.copy(finished / name, folder)
        assert run.main([*SMALL, "--data", str(class_folders), "--output", str(folder)]) == 2
        assert f"{folder} holds {name}, which a run would replace" in capsys.readouterr().err
        assert listing(folder) == [name]


@pytest.mark.parametrize("content", [b"", b"no array", np.lib.format.magic(1, 0)])
def test_damaged_targets_are_one_clear_line(content, finished, tmp_path):
    shutil.copy(finished / "settings.json", tmp_path)
    folder = RunFolder(tmp_path)
    folder.write_targets(np.full((5, 7), 1 / 7, np.float32))
    assert folder.read_targets(5).shape == (5, 7)
    with pytest.raises(UserError, match=r"targets\.npy: missing or damaged"):
        folder.read_targets(6)
    folder.targets.write_bytes(content)
    with pytest.raises(UserError, match=r"targets\.npy: missing or damaged"):
        folder.read_targets(5)


def test_a_run_that_was_ended_early_says_so(finished, tmp_path):
    assert RunFolder(finished).record()["epochs_done"] == 3
    folder = RunFolder(shutil.copytree(finished, tmp_path / "ended"))
    folder.write_history(folder.read_history()[:2])
    record = folder.record()
    assert (record["epochs"], record["epochs_done"]) == (3, 2)


def test_without_a_temperature_a_run_is_not_finished(finished, tmp_path):
    folder = RunFolder(shutil.copytree(finished, tmp_path / "mended"))
    for text in ("{}", '{"temperature": "1"}', '{"temperature": 0}'):
        folder.public.write_text(text)
        with pytest.raises(UserError, match="--resume"):
            folder.public_metrics()


def test_two_trainings_cannot_share_a_folder(finished, capsys):
    pytest.importorskip("fcntl")
    with RunFolder(finished).locked():
        assert run.main(["--resume", str(finished)]) == 2
    assert "another training is at work" in capsys.readouterr().err


def test_who_comes_second_leaves_the_folder_to_the_first(class_folders, tmp_path, monkeypatch, capsys):
    """Where both found it free."""
    pytest.importorskip("fcntl")
    folder, create = RunFolder(tmp_path / "run"), RunFolder.create
    with contextlib.ExitStack() as first:

        def create_for_the_first(self, settings):
            create(self, settings)
            first.enter_context(self.locked())

        monkeypatch.setattr(RunFolder, "create", create_for_the_first)
        assert run.main([*SMALL, "--data", str(class_folders), "--output", str(folder.path)]) == 2
        assert "another training is at work" in capsys.readouterr().err
        assert folder.exists()


def test_a_folder_that_cannot_be_locked_is_trained_in(finished, monkeypatch, capsys):
    """As on some file systems of a network."""
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert run.main(["--resume", str(finished)]) == 0
    assert "cannot be locked" in capsys.readouterr().out


def test_reading_a_run_leaves_its_writer_alone(finished):
    from fer_tf.files import written_aside

    content = (finished / "history.csv").read_bytes()
    with written_aside(finished / "history.csv") as temporary:
        temporary.write_bytes(content)
        RunFolder.open(finished)
    assert (finished / "history.csv").read_bytes() == content


def test_a_run_without_memory_leaves_its_place_to_another(class_folders, tmp_path, monkeypatch, capsys):
    def exhausted(*arguments):
        raise MemoryError

    monkeypatch.setattr("fer_tf.train.training.fit", exhausted)
    assert run.main([*SMALL, "--data", str(class_folders), "--output", str(tmp_path / "run")]) == 2
    assert "smaller batches" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_diverged_run_is_one_clear_line(class_folders, tmp_path, capsys):
    options = [*SMALL, "--learning-rate", "1e20", "--data", str(class_folders), "--output", str(tmp_path / "run")]
    assert run.main(options) == 2
    assert capsys.readouterr().err == f"error: {DIVERGED}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["history.csv", "targets.npy", "curves.png"])
def test_a_users_file_in_the_run_folder_is_not_touched(name, class_folders, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert run.main([*SMALL, "--data", str(class_folders), "--output", str(tmp_path)]) == 2
    assert f"holds {name}" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_users_folder_stays_when_its_run_fails(class_folders, tmp_path):
    options = [*SMALL, "--learning-rate", "1e20", "--data", str(class_folders)]
    assert run.main([*options, "--output", str(tmp_path)]) == 2
    assert listing(tmp_path) == []


WRONG = {
    "no data": (["--data", "nowhere.zip"], "nowhere.zip"),
    "unknown data set": (["--dataset", "blurred"], "invalid choice: 'blurred'"),
    "unknown model": (["--model", "vgg19"], "invalid choice: 'vgg19'"),
    "no checkpoint to start from": (["--init", "none.pth"], "none.pth: no such file"),
    "no run to start from": (["--init", "{tmp}"], "no run there"),
    "a run of another network": (["--model", "se_resnet", "--init", "{finished}"], "train it with --model base_cnn"),
    "a run for another data set": (["--dataset", "canny", "--init", "{finished}"], "not a base_cnn for canny"),
    "a run without an epoch": (["--dataset", "original", "--init", "{begun}"], "has come to no epoch"),
    "the network of a run": (["--init", "{finished}/model.keras"], "name the folder of the run"),
    "weights in 8 bits": (["--init", str(INT8)], "is in INT8"),
    "an ensemble": (["--init", str(PAIR)], "joined of several; name one of them: mirror_resnet-original.onnx, "),
    "a picture as checkpoint": (["--init", "{other}/happy/0.png"], "not a readable PyTorch checkpoint"),
    "a size that only grows": (["--model", "resnet50", "--image-size", "64", "--start-size", "72"], "72 is above"),
    "images too small": (["--model", "mirror_resnet", "--start-size", "4"], "takes images of 8 pixels or more"),
    "another image size": (["--image-size", "64"], "48 pixels only"),
    "no size to grow to": (["--model", "se_resnet", "--start-size", "64"], "--start-size 64 is above"),
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
    "views of no teacher": (["--teacher-views", "varied"], "has nobody to ask"),
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


DAMAGED = {
    "settings without a key": ("settings.json", lambda b: b'{"model": "base_cnn"}', "missing"),
    "settings cut": ("settings.json", lambda b: b[:50], "JSON"),
    "settings of a list": ("settings.json", lambda b: b"[]", "object"),
    "settings of another kind": (
        "settings.json",
        lambda b: b.replace(b'"epochs": 3', b'"epochs": "3"'),
        "epochs is '3'",
    ),
    "state with flipped bytes": (
        "state.keras",
        lambda b: b[:9000] + bytes(64) + b[9064:],
        "not a readable Keras model",
    ),
    "state cut": ("state.keras", lambda b: b[: len(b) // 2], "not a readable Keras model"),
    "state of text": ("state.keras", lambda b: b"hello", "not a readable Keras model"),
    "settings of a batch without images": (
        "settings.json",
        lambda b: b.replace(b'"batch_size": 32', b'"batch_size": 0'),
        "batch_size is 0",
    ),
    "settings of a step down": ("settings.json", lambda b: b.replace(b'"sam": 0.0', b'"sam": -1'), "sam is -1"),
    "settings of an unknown optimizer": (
        "settings.json",
        lambda b: b.replace(b'"optimizer": "adamw"', b'"optimizer": "adam"'),
        "optimizer is 'adam'",
    ),
    "history of text": ("history.csv", lambda b: b"epoch,loss\n1,x\n", "damaged"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_run_folder_is_one_clear_line(name, finished, tmp_path, capfd):
    file, damage, expected = DAMAGED[name]
    for source in finished.iterdir():
        content = source.read_bytes()
        (tmp_path / source.name).write_bytes(damage(content) if source.name == file else content)
    assert run.main(["--resume", str(tmp_path)]) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1, errors
    assert expected in errors[0]


def test_a_run_killed_at_random_moments_comes_to_its_end(class_folders, tmp_path):
    """Five times SIGKILL; each time every file is readable, and in the end the history is whole."""
    folder = tmp_path / "killed"
    command = [sys.executable, "-u", "-m", "train.run"]
    start = [*command, *SMALL, "--epochs", "12", "--data", str(class_folders), "--output", str(folder)]
    moments = random.Random(0)
    for attempt in range(5):
        started = folder.exists()
        process = subprocess.Popen(
            [*command, "--resume", str(folder)] if started else start,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # From its first epoch on, so that kills fall into the work and not into the imports.
        if attempt:
            while (line := process.stdout.readline()) and not line.startswith("epoch "):
                pass
        else:
            while not folder.exists() and process.poll() is None:
                time.sleep(0.01)
        time.sleep(moments.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert_readable(folder)
    last = subprocess.run([*command, "--resume", str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert [row["epoch"] for row in read_history(folder)] == list(range(1, 13))
    assert "public.json" in listing(folder)
    assert not list(folder.glob(".*.part*"))


def assert_readable(folder: Path) -> None:
    for path in (folder / name for name in ("settings.json", "public.json")):
        assert not path.exists() or json.loads(path.read_text())
    if (folder / "history.csv").exists():
        assert all(set(row) == set(HISTORY_COLUMNS) for row in read_history(folder))
    for path in (folder / name for name in ("model.keras", "state.keras")):
        assert not path.exists() or keras.models.load_model(path)
    assert RunFolder(folder).settings.epochs == 12


def test_fer2013_is_found_and_its_public_test_measured(fer2013_path, tmp_path, monkeypatch):
    monkeypatch.setenv("FER2013", str(fer2013_path))
    folder = tmp_path / "run"
    assert run.main(["--epochs", "1", "--limit", "256", "--output", str(folder)]) == 0
    public = json.loads((folder / "public.json").read_text())
    assert public["n"] == 3589
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["dataset"], settings["limit"]) == ("stack_sharpen", 256)
