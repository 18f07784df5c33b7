from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

from fer_tf.card import ModelCard  # noqa: E402
from fer_tf.errors import UserError  # noqa: E402
from fer_tf.export import convert as convert_module  # noqa: E402
from fer_tf.export.convert import convert, proof_faces  # noqa: E402
from fer_tf.models import create_model  # noqa: E402
from fer_tf.preprocessing import filters  # noqa: E402
from fer_tf.preprocessing.preprocessor import create_preprocessor  # noqa: E402
from fer_tf.recognizer import Recognizer  # noqa: E402


def card(dataset: str, temperature: float = 1.0) -> ModelCard:
    return ModelCard(
        name=f"base_cnn-{dataset}",
        architecture="base_cnn",
        dataset=dataset,
        arithmetic="standard",
        framework="keras",
        source_file="model.keras",
        source_sha256="0" * 64,
        training={},
        metrics={},
        temperature=temperature,
    )


@pytest.fixture(scope="module")
def network():
    """A network whose running statistics are not those of a new one."""
    keras.utils.set_random_seed(0)
    model = create_model("base_cnn", "stack_sharpen")
    images = create_preprocessor("stack_sharpen")(proof_faces(32))
    for _ in range(3):
        model(images, training=True)
    return model


@pytest.fixture(scope="module")
def model_file(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "m.onnx"
    convert(network, create_preprocessor("stack_sharpen"), card("stack_sharpen", temperature=1.7), path)
    return path


def test_the_file_is_what_the_format_says(model_file):
    graph = onnx.load(model_file)
    onnx.checker.check_model(graph, full_check=True)
    assert [(entry.domain, entry.version) for entry in graph.opset_import if not entry.domain] == [("", 18)]
    session = onnxruntime.InferenceSession(model_file)
    (faces,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (faces.name, faces.type, faces.shape) == ("faces", "tensor(uint8)", ["batch", 48, 48])
    assert (probabilities.name, probabilities.type, probabilities.shape) == (
        "probabilities",
        "tensor(float)",
        ["batch", 7],
    )
    assert Recognizer(model_file).card == card("stack_sharpen", temperature=1.7)


def test_probabilities_are_those_of_numpy_and_keras(network, model_file):
    faces = proof_faces(40, seed=7)
    sharp = np.asarray(filters.Sharpen()(faces))
    logits = network(np.stack([faces, sharp], axis=-1).astype(np.float32) / 255, training=False).numpy() / 1.7
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    found = Recognizer(model_file)(faces)
    assert np.abs(found - expected).max() < 1e-5
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_batch_size_changes_no_row(model_file):
    recognizer = Recognizer(model_file)
    faces = proof_faces(33)
    single = np.concatenate([recognizer(faces[n : n + 1]) for n in range(33)])
    assert np.abs(single - recognizer(faces)).max() < 1e-6
    assert recognizer(faces[:0]).shape == (0, 7)


def test_the_sharpening_in_the_graph_is_the_original_ones_to_the_bit(reference, tmp_path):
    """A network that shows single pixels of its second plane: no rounding can hide behind a softmax."""
    images = keras.Input((48, 48, 2))
    plane = keras.layers.Flatten()(keras.layers.Lambda(lambda x: x[..., 1])(images))
    pixels = keras.layers.Dense(7, use_bias=False)
    network = keras.Model(images, pixels(plane))
    found = np.zeros((112, 48 * 48), np.uint8)
    chosen = np.random.default_rng(0).permutation(48 * 48)[:21].reshape(3, 7)
    for columns in chosen:
        kernel = np.zeros((48 * 48, 7), np.float32)
        kernel[columns, range(7)] = 1
        pixels.set_weights([kernel])
        convert(network, create_preprocessor("stack_sharpen"), card("stack_sharpen"), tmp_path / "m.onnx")
        logits = np.log(Recognizer(tmp_path / "m.onnx")(reference["images"]))
        values = reference["sharpen"].reshape(112, -1)[:, columns] / 255
        np.testing.assert_allclose(logits - logits[:, :1], values - values[:, :1], atol=1e-3)
        found[:, columns] = values * 255
    assert found.any()


def test_a_file_that_fails_its_proof_is_not_written(network, tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"the old one")
    monkeypatch.setattr(convert_module.Recognizer, "__call__", lambda self, faces: np.full((len(faces), 7), 1 / 7))
    with pytest.raises(UserError, match="differs from Keras"):
        convert(network, create_preprocessor("stack_sharpen"), card("stack_sharpen"), path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("temperature", "error", "written"), [(1, 5e-5, False), (0.1, 5e-5, True), (0.1, 5e-4, False)])
def test_the_proof_allows_for_what_the_temperature_makes_of_rounding(
    network, tmp_path, monkeypatch, temperature, error, written
):
    true = Recognizer.__call__
    monkeypatch.setattr(convert_module.Recognizer, "__call__", lambda self, faces: true(self, faces) + error)
    path = tmp_path / "m.onnx"
    with nullcontext() if written else pytest.raises(UserError, match="differs from Keras"):
        convert(network, create_preprocessor("stack_sharpen"), card("stack_sharpen", temperature), path)
    assert path.exists() == written


def test_nan_weights_fail_the_proof(network, tmp_path):
    broken = create_model("base_cnn", "stack_sharpen")
    broken.set_weights([np.full_like(weight, np.nan) for weight in broken.get_weights()])
    with pytest.raises(UserError, match="answers with NaN"):
        convert(broken, create_preprocessor("stack_sharpen"), card("stack_sharpen"), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_refused(network, tmp_path):
    with pytest.raises(UserError, match=r"\.onnx"):
        convert(network, create_preprocessor("stack_sharpen"), card("stack_sharpen"), tmp_path / "m.pb")
