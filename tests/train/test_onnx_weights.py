import dataclasses
import functools

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fer_tf.catalogue import ARCHITECTURES  # noqa: E402
from fer_tf.errors import UserError  # noqa: E402
from fer_tf.export.convert import convert  # noqa: E402
from fer_tf.models import create_model  # noqa: E402
from fer_tf.preprocessing.preprocessor import create_preprocessor  # noqa: E402
from fer_tf.recognizer import Recognizer  # noqa: E402
from fer_tf.train.input_pipeline import evaluation_batches  # noqa: E402
from fer_tf.train.onnx_weights import load_model_file  # noqa: E402
from fer_tf.weights import DEFAULT_MODEL  # noqa: E402

WEIGHTS = DEFAULT_MODEL.parent


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 48), np.uint8)
    smooth = [cv2.GaussianBlur(image, (0, 0), 3) for image in noise]
    return np.stack([cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX) for image in smooth])


@pytest.mark.parametrize("name", ["mirror_resnet-original", "base_cnn-stack_sharpen"])
def test_a_model_file_gives_weights_that_answer_and_normalize_as_it_does(name, photographs):
    """Answers: those of onnxruntime. In training, a normalisation by the same batch must change nothing."""
    recognizer = Recognizer(WEIGHTS / f"{name}.onnx")
    architecture, dataset = recognizer.card.architecture, recognizer.card.dataset
    preprocessor = create_preprocessor(dataset, architecture)
    model = create_model(architecture, dataset, dropout=0)
    load_model_file(model, str(WEIGHTS / f"{name}.onnx"), evaluation_batches(photographs, preprocessor, batch_size=32))
    for training in (False, True):  # of all images at once, so that batches of 32 and 8 must have been weighed
        logits = model(preprocessor(photographs), training=training).numpy()
        found = keras.ops.softmax(logits / recognizer.card.temperature).numpy()
        np.testing.assert_allclose(found, recognizer(photographs), atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "size", "plain"),
    [("se_resnet", 48, False), ("mirror_resnet", 48, True), ("mirror_resnet", 48, False), ("mirror_resnet", 42, False)],
)
def test_a_model_file_of_a_new_network_gives_all_its_weights(
    architecture, size, plain, photographs, tmp_path, monkeypatch
):
    """Files that do not ship: of a SE-ResNet; of a mirror-equivariant network as Keras computes it, with each kernel
    twice in the graph; of one by parity; and of one for 42 pixels, whose second convolution of stride 2 is of an even
    width."""
    create = functools.partial(create_model, architecture, "original", widths=(8, 8, 16), blocks=(1, 1), dropout=0)
    model, preprocessor = create(), create_preprocessor("original", architecture, image_size=size)
    if plain:
        plain_network = dataclasses.replace(ARCHITECTURES[architecture], exported_as=None)
        monkeypatch.setitem(ARCHITECTURES, architecture, plain_network)
    random = np.random.default_rng(0)
    for variable in model.variables:
        if len(variable.shape) == 1:  # of normalisations and biases, which begin as zeros and ones
            variable.assign(random.uniform(0.5, 1, variable.shape))
    card = dataclasses.replace(Recognizer(WEIGHTS / "mirror_resnet-original.onnx").card, architecture=architecture)
    convert(model, preprocessor, card, tmp_path / "m.onnx")
    found = create()
    load_model_file(found, str(tmp_path / "m.onnx"), evaluation_batches(photographs, preprocessor, batch_size=32))
    for training in (False, True):
        logits = found(preprocessor(photographs), training=training).numpy()
        probabilities = keras.ops.softmax(logits / card.temperature).numpy()
        np.testing.assert_allclose(probabilities, Recognizer(tmp_path / "m.onnx")(photographs), atol=1e-4)


def test_a_model_file_of_another_data_set_or_of_8_bits_is_refused():
    model = create_model("base_cnn", "original")
    with pytest.raises(UserError, match=r"no float32 weights of shape \[32, 1, 3, 3\] for the layer conv1"):
        load_model_file(model, str(WEIGHTS / "base_cnn-stack_sharpen.onnx"), [])
    resnet50 = create_model("resnet50", "stack_sharpen")
    with pytest.raises(UserError, match="no float32 weights of shape"):
        load_model_file(resnet50, str(WEIGHTS / "resnet50-stack_sharpen-int8.onnx"), [])


def test_a_mirror_resnet_of_another_width_or_data_set_is_refused(photographs, tmp_path):
    create = functools.partial(create_model, "mirror_resnet", blocks=(1, 1))
    card = Recognizer(WEIGHTS / "mirror_resnet-original.onnx").card
    preprocessor = create_preprocessor("original", "mirror_resnet")
    convert(create("original", widths=(8, 8, 16)), preprocessor, card, tmp_path / "m.onnx")
    for other, layer in (
        (create("original", widths=(8, 8, 32)), "stage2.down"),
        (create("stack_sharpen", widths=(8, 8, 16)), "stem"),
        (create_model("mirror_resnet", "original", blocks=(1, 2), widths=(8, 8, 16)), "stage2.1.conv1"),
        (create_model("base_cnn", "original"), "conv1"),
    ):
        with pytest.raises(UserError, match=f"no float32 weights of shape .* for the layer {layer}; expected"):
            load_model_file(other, str(tmp_path / "m.onnx"), [])
