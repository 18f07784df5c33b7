import hashlib
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf import fer2013  # noqa: E402
from fer_tf.errors import UserError  # noqa: E402
from fer_tf.models import create_model, load_network  # noqa: E402
from fer_tf.recognizer import Recognizer  # noqa: E402
from fer_tf.train import run  # noqa: E402
from fer_tf.train.run_folder import RunFolder  # noqa: E402
from fer_tf.train.warm_start import find_start  # noqa: E402

ROOT = Path(__file__).parents[2]
SINGLE = ROOT / "weights/mirror_resnet-original.onnx"


@pytest.mark.parametrize("classes", [7, 1000])
def test_a_checkpoint_gives_the_first_weights(classes, torch_base_cnn, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    network = torch_base_cnn(1, classes)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    model = create_model("base_cnn", "original")
    before = model.get_layer("logits").kernel.numpy()
    find_start(str(tmp_path / "x.pth")).load_into(model, ())
    found, dense = model.get_layer("conv2").kernel.numpy(), model.get_layer("dense").kernel.numpy()
    np.testing.assert_array_equal(found, network.model[4].weight.detach().numpy().transpose(2, 3, 1, 0))
    pixels = np.random.default_rng(0).normal(0, 1, (2, 128, 6, 6)).astype(np.float32)
    expected = pixels.reshape(2, -1) @ network.model[13].weight.detach().numpy().T
    np.testing.assert_allclose(pixels.transpose(0, 2, 3, 1).reshape(2, -1) @ dense, expected, atol=1e-4)
    said = "1000 classes and was left out" in capsys.readouterr().out
    head = model.get_layer("logits").kernel.numpy()
    if classes == 7:
        np.testing.assert_array_equal(head, network.model[16].weight.detach().numpy().T)
        assert not said
    else:
        np.testing.assert_array_equal(head, before)
        assert said
    with pytest.raises(UserError, match="holds a base_cnn of 1 channels; expected a base_cnn of 2"):
        find_start(str(tmp_path / "x.pth")).load_into(create_model("base_cnn", "stack_sharpen"), ())


@pytest.mark.parametrize("smooth", [False, True])
def test_a_run_from_before_features_were_smoothed_is_told_of(smooth, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        if not smooth:
            patch.setattr(keras.layers, "AveragePooling2D", lambda *_, name, **__: keras.layers.Identity(name=name))
        source = create_model("mirror_resnet", "original")
    source.save(tmp_path / "model.keras")
    model = create_model("mirror_resnet", "original")
    find_start(str(tmp_path)).load_into(model, ())
    for found, expected in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert ("begins less accurate" in capsys.readouterr().out) != smooth


def test_a_run_starts_from_a_checkpoint(class_folders, torch_base_cnn, tmp_path):
    import torch

    network = torch_base_cnn(1)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    options = ["--dataset", "original", "--epochs", "1", "--learning-rate", "1e-9", "--data", str(class_folders)]
    options += ["--limit", "64"]
    assert run.main([*options, "--init", str(tmp_path / "x.pth"), "--output", str(tmp_path / "run")]) == 0
    kernel = load_network(tmp_path / "run" / "model.keras").get_layer("conv2").kernel.numpy()
    np.testing.assert_allclose(kernel.transpose(3, 2, 0, 1), network.model[4].weight.detach(), atol=1e-5)


def test_a_run_starts_from_a_model_file_and_inherits_its_card(class_folders, tmp_path, capsys):
    options = ["--dataset", "original", "--epochs", "1", "--batch-size", "32", "--data", str(class_folders)]
    options += ["--limit", "64", "--init", str(SINGLE), "--output", str(tmp_path / "run")]
    assert run.main([*options, "--model", "base_cnn"]) == 2
    assert capsys.readouterr().err.endswith("give --model mirror_resnet --dataset original\n")
    options += ["--ghost-batches", "1", "--optimizer", "sgd"]
    assert run.main([*options, "--model", "mirror_resnet", "--learning-rate", "1e-9"]) == 0
    settings = RunFolder(tmp_path / "run").settings
    assert settings.init_origin == Recognizer(SINGLE).card.training
    assert settings.init_sha256 == hashlib.sha256(SINGLE.read_bytes()).hexdigest()
    public = fer2013.load(class_folders).public
    right = Recognizer(SINGLE)(public.images).argmax(axis=1) == public.labels
    assert f"held-out images with the initial weights: {right.mean():.2%}\n" in capsys.readouterr().out


def test_weights_that_learned_by_another_arithmetic_are_told_of(make_model_file, tmp_path, capsys):
    for arithmetic in ("standard", "original"):
        path = make_model_file(tmp_path / f"{arithmetic}.onnx", card_changes={"arithmetic": arithmetic})
        card = Recognizer(path).card
        assert find_start(str(path)).origin(card.architecture, card.dataset, None) == card.training
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"note: {tmp_path / 'original.onnx'} learned with the first project's arithmetic")


def test_weights_that_learned_with_another_filter_are_told_of(class_folders, tiny, tmp_path, monkeypatch, capsys):
    options = ["--model", tiny, "--dataset", "canny", "--epochs", "1", "--limit", "32", "--data", str(class_folders)]
    first, second = tmp_path / "first", tmp_path / "second"
    assert run.main([*options, "--filter", "low=50", "high=150", "--output", str(first)]) == 0
    monkeypatch.setattr(run, "complete", lambda *_: {"accuracy": 0, "epoch": 1, "temperature": 1})  # it is told before
    options += ["--init", str(first)]
    assert run.main([*options, "--filter", "low=50", "high=150", "--output", str(tmp_path / "same")]) == 0
    assert "learned with" not in capsys.readouterr().out
    assert run.main([*options, "--output", str(second)]) == 0
    assert "learned with the filter's low=50 high=150 sigma=1.4;" in capsys.readouterr().out


def test_a_run_starts_from_another(finished, class_folders, tmp_path):
    options = ["--dataset", "original", "--epochs", "1", "--learning-rate", "1e-9", "--data", str(class_folders)]
    options += ["--limit", "64"]
    assert run.main([*options, "--init", str(finished), "--output", str(tmp_path / "run")]) == 0
    earlier, later = (load_network(path / "model.keras") for path in (finished, tmp_path / "run"))
    for expected, found in zip(earlier.trainable_variables, later.trainable_variables, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=found.path)
    settings = RunFolder(tmp_path / "run").settings
    assert settings.init_sha256 == hashlib.sha256((finished / "model.keras").read_bytes()).hexdigest()
    assert settings.init_origin["epochs"] == RunFolder(finished).settings.epochs
    assert settings.init_origin["data"] == class_folders.name  # not the folders of a user
