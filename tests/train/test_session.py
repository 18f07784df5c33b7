import dataclasses
import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf import fer2013  # noqa: E402
from fer_tf.models import load_network  # noqa: E402
from fer_tf.train import run  # noqa: E402
from fer_tf.train.run_folder import RunFolder  # noqa: E402
from fer_tf.train.session import choose  # noqa: E402
from fer_tf.train.settings import Settings  # noqa: E402

pytestmark = pytest.mark.usefixtures("tiny")
SMALL = ["--model", "tiny", "--dataset", "original"]


def test_other_opinions_are_learned_and_a_resumed_run_needs_none_of_them(
    class_folders, make_model_file, tmp_path, capsys
):
    teacher = make_model_file(tmp_path / "teacher.onnx")
    folder = tmp_path / "run"
    options = [*SMALL, "--epochs", "1", "--data", str(class_folders), "--teacher", str(teacher)]
    assert run.main([*options, "--teacher-weight", "1", "--output", str(folder)]) == 0
    train = fer2013.load(class_folders).train
    targets = np.load(folder / "targets.npz")
    assert list(targets) == ["classes"]
    np.testing.assert_allclose(targets["classes"].sum(axis=1), np.ones(len(train)), rtol=1e-5)
    loss = RunFolder(folder).read_history()[0]["loss"]
    assert loss > 1.7  # the tiny model never says anything definite, so it cannot be learned better than this
    (origin,) = json.loads((folder / "settings.json").read_text())["teacher_origins"]
    assert (origin["name"], origin["sha256"]) == ("tiny-original", hashlib.sha256(teacher.read_bytes()).hexdigest())
    teacher.unlink()
    assert run.main(["--resume", str(folder)]) == 0
    assert run.main(["--dataset", "original", "--teacher-weight", "0.5", "--data", str(class_folders)]) == 2
    assert "--teacher-weight needs --teacher" in capsys.readouterr().err


def test_a_second_head_is_taught_the_votes_and_the_first_the_labels(voted, tmp_path, capsys):
    data, votes, table = voted
    folder = tmp_path / "run"
    options = [*SMALL, "--epochs", "1", "--data", str(data), "--ferplus-head", "0.5"]
    assert run.main([*options, "--output", str(folder)]) == 2
    assert "--ferplus-head needs --ferplus" in capsys.readouterr().err
    assert run.main([*options, "--ferplus", str(table), "--label-smoothing", "0", "--output", str(folder)]) == 0
    targets = np.load(folder / "targets.npz")
    assert sorted(targets) == ["classes", "votes"]
    np.testing.assert_array_equal(targets["classes"], np.eye(7)[fer2013.load(data).train.labels])
    np.testing.assert_allclose(targets["votes"] * 10, votes, atol=1e-5)
    settings = RunFolder(folder).settings
    assert (settings.ferplus_weight, settings.ferplus_head) == (0, 0.5)
    table.unlink()
    assert run.main(["--resume", str(folder)]) == 0


@pytest.mark.parametrize("head", [[], ["--ferplus-head", "0.5", "--ferplus-weight", "0.5"]])
def test_teachers_asked_of_varied_images_are_asked_again_when_it_is_resumed(
    head, voted, make_model_file, tmp_path, interrupted, capsys
):
    """Both teachers say "surprise" of all that is not black, whatever the votes and the labels are."""
    data, _, table = voted
    teachers = [make_model_file(tmp_path / f"{slope}.onnx", slope=slope) for slope in (300, 400)]
    folder = tmp_path / "run"
    options = [*SMALL, "--epochs", "2", "--batch-size", "16", "--keep", "last", "--data", str(data)]
    options += ["--teacher", *map(str, teachers), "--teacher-weight", "1", "--teacher-views", "varied"]

    with interrupted():
        assert run.main([*options, "--ferplus", str(table), *head, "--output", str(folder)]) == 130
    assert sorted(np.load(folder / "targets.npz")) == ["classes", "evidence", *(["votes"] if head else [])]
    table.unlink()
    teachers[0].rename(tmp_path / "away.onnx")
    assert run.main(["--resume", str(folder)]) == 2
    assert f"{teachers[0]}: no such model file" in capsys.readouterr().err
    shutil.copy(teachers[1], teachers[0])
    assert run.main(["--resume", str(folder)]) == 2
    assert f"{teachers[0]} is not what the run was begun with" in capsys.readouterr().err
    (tmp_path / "away.onnx").rename(teachers[0])
    assert run.main(["--resume", str(folder)]) == 0
    assert [row["epoch"] for row in RunFolder(folder).read_history()] == [1, 2]
    network = load_network(folder / "model.keras")
    images = fer2013.load(data).public.images
    answers = np.asarray(network(RunFolder(folder).preprocessor()(images))).argmax(axis=1)
    assert (answers == 6).mean() > 0.9
    teachers[0].unlink()
    assert run.main(["--resume", str(folder)]) == 0  # it is finished


def test_limit_chooses_at_random(class_folders):
    split = fer2013.load(class_folders).train
    images = split.images.copy()
    images[7] = 93  # blank
    settings = Settings(data="-", data_fingerprint="-", limit=40)
    chosen = choose(images, settings)
    assert len(set(chosen)) == 40
    assert len(np.unique(split.labels[chosen])) > 4
    everything = choose(images, dataclasses.replace(settings, limit=None))
    np.testing.assert_array_equal(everything, np.delete(np.arange(len(split)), 7))
    assert set(chosen) <= set(everything)
    assert set(chosen) != set(choose(images, dataclasses.replace(settings, seed=1)))


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
    assert (tmp_path / "settings.json").is_file()


def test_a_run_does_not_begin_with_what_has_been_replaced(finished, tmp_path, capsys):
    settings = json.loads((finished / "settings.json").read_text())
    begun = {**settings, "init": str(finished), "init_sha256": "0" * 64}
    (tmp_path / "settings.json").write_text(json.dumps(begun))
    assert run.main(["--resume", str(tmp_path)]) == 2
    assert f"{finished} is not what {tmp_path} was to begin with" in capsys.readouterr().err


def test_own_classes_are_kept_for_resuming_and_what_is_held_out_is_counted(class_folders, tmp_path, capsys):
    data = tmp_path / "data"
    for number, source in enumerate(sorted(path for path in class_folders.iterdir())):
        shutil.copytree(source, data / str(number))
    folder = tmp_path / "run"
    options = [*SMALL, "--epochs", "1", "--data", str(data), "--output", str(folder)]
    assert run.main(options) == 2
    assert "say which is meant by --classes" in capsys.readouterr().err
    assert run.main([*options, "--classes", "alphabetical", "6=-"]) == 0
    printed = capsys.readouterr().out
    assert "50 of 350 images are left out: 6 50" in printed
    assert "there are no training images of surprise" in printed
    assert "30 held-out images: " in printed
    assert "PublicTest" not in printed
    public = json.loads((folder / "public.json").read_text())
    assert (public["n"], public["recall"]["surprise"]) == (30, None)
    assert run.main(["--resume", str(folder)]) == 0
    assert run.main(["--resume", str(folder), "--classes", "csv"]) == 2
    assert "is a run with --classes alphabetical 6=-, not csv" in capsys.readouterr().err


def test_one_class_is_not_trained_on(class_folders, tmp_path, capsys):
    shutil.copytree(class_folders / "sad", tmp_path / "data/sad")
    assert run.main(["--data", str(tmp_path / "data"), "--output", str(tmp_path / "run")]) == 2
    assert "all training images are of sad; expected two classes or more" in capsys.readouterr().err
