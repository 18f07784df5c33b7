import contextlib
import dataclasses
import errno
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.errors import UserError  # noqa: E402
from fer_tf.export import onnx as export_onnx  # noqa: E402
from fer_tf.models import load_network  # noqa: E402
from fer_tf.recognizer import Recognizer  # noqa: E402
from fer_tf.train import run  # noqa: E402
from fer_tf.train.options import create_parser, given  # noqa: E402
from fer_tf.train.run_folder import RunFolder  # noqa: E402
from fer_tf.train.settings import command_line, settle  # noqa: E402
from fer_tf.train.warm_start import find_start  # noqa: E402

OLD = Path(__file__).parents[1] / "data/run-0.1"


def test_a_new_run_does_not_take_over_what_is_left_of_another(small, finished, class_folders, tmp_path, capsys):
    for name in ("state.keras", "model.keras", "public.json"):
        (folder := tmp_path / name[:5]).mkdir()
        shutil.copy(finished / name, folder)
        assert run.main([*small, "--data", str(class_folders), "--output", str(folder)]) == 2
        assert f"{folder} holds {name}, which a run would replace" in capsys.readouterr().err
        assert os.listdir(folder) == [name]


@pytest.mark.parametrize("content", [b"", b"no array", np.lib.format.magic(1, 0), b"PK\x03\x04" + bytes(40)])
def test_damaged_targets_are_one_clear_line(content, finished, tmp_path):
    settings = json.loads((finished / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**settings, "ferplus": "v.csv", "ferplus_head": 1.0}))
    folder = RunFolder(tmp_path)
    targets = {name: np.full((5, columns), 0.1, np.float32) for name, columns in (("classes", 7), ("votes", 10))}
    folder.write_targets(targets)
    for name, values in folder.read_targets(5).items():
        np.testing.assert_array_equal(values, targets.pop(name))
    assert not targets
    with pytest.raises(UserError, match=r"targets\.npz: missing or damaged"):
        folder.read_targets(6)
    folder.write_targets({"classes": np.full((5, 7), 0.1, np.float32)})
    with pytest.raises(UserError, match=r"targets\.npz: missing or damaged"):
        folder.read_targets(5)
    folder.targets.write_bytes(content)
    with pytest.raises(UserError, match=r"targets\.npz: missing or damaged"):
        folder.read_targets(5)


def test_a_run_that_learns_the_labels_alone_has_no_targets(finished):
    assert RunFolder(finished).read_targets(5) == {}


def test_settings_are_read_once(finished, tmp_path):
    shutil.copy(finished / "settings.json", tmp_path)
    folder = RunFolder.open(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    assert folder.settings == RunFolder(finished).settings
    with pytest.raises(UserError, match="data, data_fingerprint missing"):
        RunFolder.open(tmp_path)


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


def test_who_comes_second_leaves_the_folder_to_the_first(small, class_folders, tmp_path, monkeypatch, capsys):
    """Where both found it free."""
    pytest.importorskip("fcntl")
    folder, create = RunFolder(tmp_path / "run"), RunFolder.create
    with contextlib.ExitStack() as first:

        def create_for_the_first(self, settings):
            create(self, settings)
            first.enter_context(self.locked())

        monkeypatch.setattr(RunFolder, "create", create_for_the_first)
        assert run.main([*small, "--data", str(class_folders), "--output", str(folder.path)]) == 2
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
    "deep settings": ("settings.json", lambda b: b'{"a":' * 100_000, "not valid JSON"),
    "settings of teachers that are no names": (
        "settings.json",
        lambda b: b.replace(b'"teacher": null', b'"teacher": [5]'),
        "teacher is [5]; expected list or none",
    ),
    "settings of more origins than teachers": (
        "settings.json",
        lambda b: b.replace(b'"teacher_origins": null', b'"teacher_origins": [{}]'),
        "teacher_origins has 1 entries",
    ),
    "settings of endless training": (
        "settings.json",
        lambda b: b.replace(b'"epochs": 3', b'"epochs": 1' + b"0" * 30),
        "expected int from 1 to 1000000",
    ),
    "settings of another network": (
        "settings.json",
        lambda b: b.replace(b'"model": "base_cnn"', b'"model": "se_resnet"'),
        "model.keras: holds another network than a se_resnet for original",
    ),
    "settings of another data set": (
        "settings.json",
        lambda b: b.replace(b'"dataset": "original"', b'"dataset": "stack_sharpen"'),
        "model.keras: holds another network than a base_cnn for stack_sharpen",
    ),
    "history of a huge field": ("history.csv", lambda b: b + b"4," + b"1" * 200_000, "damaged"),
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


SINCE = {"ferplus_as": "evidence"}
"""Settings that version 0.1 did not have and that are not simply off: what it did then."""


@pytest.fixture
def old_run(tmp_path) -> RunFolder:
    """A run and its model file, both made by version 0.1."""
    return RunFolder.open(shutil.copytree(OLD, tmp_path / "run"))


def test_a_run_of_version_0_1_stays_readable(old_run):
    written = SINCE | json.loads((OLD / "settings.json").read_text())
    read = dataclasses.asdict(old_run.settings)
    assert {name: written.get(name) for name in read} == read  # what it did not know is off
    assert [row["epoch"] for row in old_run.read_history()] == [1, 2]
    assert old_run.public_metrics()["n"] == 3589
    network = load_network(old_run.model)
    assert network.get_layer("stage3.down").output.shape[-1] == 8
    assert find_start(str(old_run.path)).origin("mirror_resnet", "original", [8] * 4)["epochs_done"] == 2


@pytest.mark.parametrize("widths", [[8, 8, 8], [8, 8, 8, 2**19], [8, 8, 8, 16]])
def test_widths_that_are_not_those_of_the_network_are_one_clear_line(widths, old_run):
    settings = json.loads((old_run.path / "settings.json").read_text())
    (old_run.path / "settings.json").write_text(json.dumps(settings | {"widths": widths}))
    with pytest.raises(UserError, match=r"expected 4 even numbers|holds another network"):
        RunFolder.open(old_run.path).network()


def test_a_run_of_version_0_1_is_exported_as_it_was(old_run):
    pytest.importorskip("tf2onnx")
    path = old_run.path / "new.onnx"
    assert export_onnx.main([str(old_run.path), "-o", str(path)]) == 0
    old, new = Recognizer(OLD / "mirror_resnet-original.onnx"), Recognizer(path)
    faces = np.random.default_rng(0).integers(0, 256, (8, 48, 48), np.uint8)
    np.testing.assert_allclose(new(faces), old(faces), atol=1e-6)
    told = SINCE | old.card.training
    assert {name: told.get(name) for name in new.card.training} == new.card.training


def test_a_card_of_version_0_1_tells_the_command_that_repeats_its_run():
    card = Recognizer(OLD / "mirror_resnet-original.onnx").card
    words = shlex.split(command_line(card.training))
    values = settle(given(vars(create_parser().parse_args(words[3:]))))
    told = SINCE | card.training
    assert {name: told.get(name) for name in values} == values
