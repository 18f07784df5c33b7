import numpy as np
import pytest

pytest.importorskip("keras")

from fer_tf.card import ModelCard
from fer_tf.catalogue import ARCHITECTURES, Architecture
from fer_tf.errors import UserError
from fer_tf.models import check_widths, create_model, load_network
from fer_tf.preprocessing.preprocessor import create_preprocessor
from fer_tf.recognizer import Recognizer

MODULE = """
import keras
from onnx import TensorProto, helper, numpy_helper


@keras.saving.register_keras_serializable("toy")
class Doubled(keras.layers.Layer):
    def call(self, features):
        return 2 * features


def toy(channels, *, widths=(8, 8)):
    images = keras.Input((None, None, channels), name="images")
    features = keras.layers.GlobalAveragePooling2D()(Doubled()(images))
    return keras.Model(images, keras.layers.Dense(7, name="logits")(features), name="toy")


def cheaper(network, preprocessing, temperature):
    kernel, bias = network.get_layer("logits").get_weights()
    (images,) = preprocessing.graph.output
    preprocessing.graph.initializer.extend(
        [numpy_helper.from_array(2 * kernel / temperature, "kernel"), numpy_helper.from_array(bias, "bias")]
    )
    preprocessing.graph.node.extend(
        [
            helper.make_node("Transpose", [images.name], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("GlobalAveragePool", ["planes"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["features"]),
            helper.make_node("Gemm", ["features", "kernel", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["answers"], axis=-1),
        ]
    )
    images.CopyFrom(helper.make_tensor_value_info("answers", TensorProto.FLOAT, [None, 7]))
    return preprocessing
"""


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Architecture:
    """A network of a file and a row: it sees how bright a face is."""
    (tmp_path / "toy_network.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    row = Architecture("toy_network:toy", image_size=32, exported_as="toy_network:cheaper", recipe={"mixup": 0.1})
    monkeypatch.setitem(ARCHITECTURES, "toy", row)
    return row


@pytest.mark.usefixtures("toy")
def test_a_network_is_a_file_and_a_row(tmp_path):
    """It is built, fed, kept, loaded and exported, and answers as its formula says."""
    pytest.importorskip("tf2onnx")
    import onnx
    from scipy.special import softmax

    from fer_tf.export.convert import convert

    network = create_model("toy", "stack_sharpen")
    kernel = np.arange(14, dtype=np.float32).reshape(2, 7) / 7
    network.get_layer("logits").set_weights([kernel, np.zeros(7, np.float32)])
    network.save(tmp_path / "toy.keras")
    preprocessor = create_preprocessor("stack_sharpen", "toy")
    assert preprocessor(np.zeros((3, 48, 48), np.uint8)).shape == (3, 32, 32, 2)
    card = ModelCard("toy", "toy", "stack_sharpen", "standard", "keras", "toy.keras", "0" * 64, {}, {})
    convert(load_network(tmp_path / "toy.keras"), preprocessor, card, tmp_path / "toy.onnx")
    operations = [node.op_type for node in onnx.load(tmp_path / "toy.onnx").graph.node]
    assert "GlobalAveragePool" in operations, "it is exported in its cheaper form"
    flat = np.array([0, 51, 255], np.uint8)  # which sharpening leaves as it is
    expected = softmax(2 * np.stack([flat / 255, flat / 255], axis=1) @ kernel, axis=1)
    faces = np.tile(flat[:, None, None], (1, 48, 48))
    np.testing.assert_allclose(Recognizer(tmp_path / "toy.onnx")(faces), expected, atol=1e-5)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("command", ["run", "matrix"])
def test_the_commands_offer_a_new_network(command, capsys):
    module = pytest.importorskip(f"fer_tf.train.{command}")
    with pytest.raises(SystemExit):
        module.main(["--help"])
    assert "toy" in capsys.readouterr().out


def test_widths_are_checked_against_the_networks_own(toy):
    check_widths("toy", [8, 16])
    for widths, message in (([8], "expected 2 even numbers"), ([8, 9], "even"), ([6, 8], "from 8 on")):
        with pytest.raises(UserError, match=message):
            check_widths("toy", widths)
    with pytest.raises(UserError, match="base_cnn"):
        check_widths("base_cnn", [8])


def test_a_damaged_network_is_one_line(tmp_path):
    (tmp_path / "x.keras").write_bytes(b"no network")
    with pytest.raises(UserError, match="not a readable Keras model") as error:
        load_network(tmp_path / "x.keras")
    assert "\n" not in str(error.value)


def test_the_precision_of_one_network_is_not_that_of_the_next():
    assert create_model("base_cnn", "original", precision="bfloat16").get_layer("conv1").compute_dtype == "bfloat16"
    assert create_model("base_cnn", "original").get_layer("conv1").compute_dtype == "float32"
