import numpy as np
import onnx
import onnxruntime
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

import tensorflow as tf  # noqa: E402

from fer_tf.card import INPUT_NAME  # noqa: E402
from fer_tf.export.convert import to_onnx  # noqa: E402
from fer_tf.export.ensemble import join  # noqa: E402
from fer_tf.export.rewrite import plain, stacked  # noqa: E402
from fer_tf.mirror.parity import complete  # noqa: E402
from fer_tf.mirror.reader import prefixes, read  # noqa: E402
from fer_tf.models import create_model  # noqa: E402
from fer_tf.preprocessing.preprocessor import create_preprocessor  # noqa: E402


def faces() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (6, 48, 48)).astype(np.uint8)


def model_of(dataset="original", widths=(32, 64, 128), *, blocks=(1, 1), size=48, temperature=1.0, seed=0):
    """A model with preprocessing and a network with random statistics."""
    keras.utils.set_random_seed(seed)
    network = create_model("mirror_resnet", dataset, widths=widths, blocks=blocks, dropout=0)
    random = np.random.default_rng(seed)
    for variable in network.variables:
        if len(variable.shape) == 1:
            low = 0.5 if "variance" in variable.path or "gamma" in variable.path else -0.5
            variable.assign(random.uniform(low, low + 1, variable.shape))
    preprocessor = create_preprocessor(dataset, "mirror_resnet", image_size=size)
    signature = [tf.TensorSpec((None, 48, 48), tf.uint8, name=INPUT_NAME)]
    return complete(network, to_onnx(tf.function(lambda faces: preprocessor(faces), signature)), temperature)


def run(model: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT_NAME: faces()})[0]


@pytest.mark.parametrize(("dataset", "size"), [("original", 48), ("stack_sharpen", 42)])
def test_stacked_networks_answer_with_the_mean_of_all(dataset, size):
    """Here of three, of which one is padded; the converter names the parts of their preprocessing differently."""
    models = [
        model_of(dataset, (32, 64, width), size=size, temperature=temperature, seed=width)
        for width, temperature in ((128, 0.8), (128, 1.3), (124, 1.0))
    ]
    expected = np.mean([run(model) for model in models], axis=0)
    assert expected.std() > 0.01
    before = [model.SerializeToString() for model in models]
    found = stacked(models)
    np.testing.assert_allclose(run(found), expected, atol=1e-5)
    assert before == [model.SerializeToString() for model in models]
    assert len(found.graph.node) < 1.1 * len(models[0].graph.node)


OTHERS = {
    "stack": ("stack_sharpen", (32, 64, 128), {}),
    "another filter": ("canny", (32, 64, 128), {}),
    "another size": ("original", (32, 64, 128), {"size": 40}),
    "more blocks": ("original", (32, 64, 128), {"blocks": (1, 2)}),
    "much wider": ("original", (32, 64, 192), {}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_networks_that_differ_are_not_stacked(name):
    dataset, widths, options = OTHERS[name]
    assert stacked([model_of(), model_of(dataset, widths, **options)]) is None


def test_nor_are_those_that_are_stacked_or_joined_already():
    """Of which each network would weigh as much as the other model."""
    models = [model_of(seed=seed) for seed in range(2)]
    pair = stacked(models)
    assert stacked([pair, models[0]]) is None
    assert stacked([join(models, 0.9), models[0]]) is None
    assert stacked([join([models[0]], 0.9), models[1]]) is None


@pytest.mark.parametrize("dataset", ["original", "stack_sharpen"])
def test_without_parity_the_answers_are_the_same(dataset):
    """Of a single network, of a stacked pair, and of networks that were joined apart, twice."""
    models = [model_of(dataset, seed=seed, temperature=1 + seed) for seed in range(2)]
    for model in (models[0], stacked(models), join([join(models, 0.9), models[0]], 1.1)):
        found = plain(model)
        np.testing.assert_allclose(run(found), run(model), atol=1e-5)
        assert prefixes(model)
        assert prefixes(found) == []
        groups = [attribute.i for node in found.graph.node for attribute in node.attribute if attribute.name == "group"]
        assert set(groups) <= {1}


def test_a_model_of_another_network_stays_as_it_is(make_model_file, tmp_path):
    model = onnx.load(make_model_file(tmp_path / "m.onnx"))
    assert plain(model) == model
    assert stacked([model, model]) is None


def test_the_pair_can_be_taken_apart_again():
    models = [model_of(seed=seed, temperature=1 + seed) for seed in range(2)]
    networks, temperatures = read(stacked(models))
    assert temperatures == [1, 2]
    for network, model in zip(networks, models, strict=True):
        (alone,), _ = read(model)
        for name, (kernel, bias) in alone.layers.items():
            np.testing.assert_allclose(network.layers[name][0], kernel, atol=1e-6)
            np.testing.assert_allclose(network.layers[name][1], bias, atol=1e-6)
