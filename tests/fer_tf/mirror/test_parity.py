import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

keras = pytest.importorskip("keras")

from fer_tf.mirror.kernels import folded  # noqa: E402
from fer_tf.mirror.parity import ParityWriter, complete  # noqa: E402
from fer_tf.mirror.plain import PlainWriter, in_8_bits  # noqa: E402
from fer_tf.mirror.reader import prefixes, read  # noqa: E402
from fer_tf.mirror.writer import Writer  # noqa: E402
from fer_tf.models import create_model  # noqa: E402

SIZES = [(48, 48), (42, 33), (37, 44)]
"""Of 48 pixels all widths are odd where they are halved; of 33 and 44 one is even, and that convolution stays whole."""


def network_of(widths, blocks, *, dataset="stack_sharpen", seed=0) -> keras.Model:
    """A network with random statistics, whose logits are of about the size of a trained one's."""
    keras.utils.set_random_seed(seed)
    model = create_model("mirror_resnet", dataset, widths=widths, blocks=blocks, dropout=0)
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if len(variable.shape) == 1:
            low = 0.5 if "variance" in variable.path or "gamma" in variable.path else -0.5
            variable.assign(random.uniform(low, low + 1, variable.shape))
    return model


@pytest.fixture(scope="module")
def network():
    return network_of((8, 16, 32), (2, 1))


def images_of(height: int, width: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (3, height, width, channels)).astype(np.float32)


def model_of(
    kind: type[Writer], networks, size=(48, 48), *, channels=2, temperatures=(1.0,), prefix=""
) -> onnx.ModelProto:
    """A model of networks alone: float32 [batch, channels, height, width] → probabilities."""
    writer = kind(list(map(folded, networks)), size, prefix)
    writer.write(temperatures, "probabilities")
    images = helper.make_tensor_value_info(writer.images, TensorProto.FLOAT, ["batch", channels, *size])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 7])
    graph = helper.make_graph(writer.nodes, "networks", [images], [probabilities], list(writer.weights.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.transpose(0, 3, 1, 2)})[0]


def softmax(logits, temperature=1.0) -> np.ndarray:
    return keras.ops.softmax(logits / temperature).numpy()


@pytest.mark.parametrize("writer", [ParityWriter, PlainWriter])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_both_forms_answer_as_keras_does(writer, height, width, network):
    images = images_of(height, width)
    expected = softmax(network(images))
    assert expected.std() > 0.05
    np.testing.assert_allclose(run(model_of(writer, [network], (height, width)), images), expected, atol=1e-5)


@pytest.mark.parametrize("writer", [ParityWriter, PlainWriter])
def test_so_does_a_network_from_before_features_were_smoothed(writer, monkeypatch):
    monkeypatch.setattr(keras.layers, "AveragePooling2D", lambda *_, name, **__: keras.layers.Identity(name="x" + name))
    older = network_of((8, 16, 32), (2, 1))
    monkeypatch.undo()
    images = images_of(47, 49)
    model = model_of(writer, [older], (47, 49))
    np.testing.assert_allclose(run(model, images), softmax(older(images)), atol=1e-5)
    assert not [node for node in model.graph.node if node.op_type == "AveragePool"]


@pytest.mark.parametrize("writer", [ParityWriter, PlainWriter])
def test_several_networks_answer_with_their_mean(writer):
    """Of different widths, so that one of them is padded, in single channels."""
    networks = [network_of((32, 64, width), (1, 2), dataset="original", seed=width) for width in (96, 72)]
    images = images_of(48, 48, 1)
    expected = np.mean([softmax(network(images), t) for network, t in zip(networks, (0.5, 2.0), strict=True)], axis=0)
    model = model_of(writer, networks, channels=1, temperatures=(0.5, 2.0))
    np.testing.assert_allclose(run(model, images), expected, atol=1e-5)


def multiply_adds(model: onnx.ModelProto, images: np.ndarray) -> int:
    """Those of the convolutions for one image, by the sizes of what they return."""
    inferred = onnx.ModelProto()
    inferred.CopyFrom(model)
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    inferred.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in nodes)
    session = onnxruntime.InferenceSession(inferred.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run([node.output[0] for node in nodes], {"network/images": images[:1].transpose(0, 3, 1, 2)})
    kernels = {tensor.name: np.prod(tensor.dims) for tensor in model.graph.initializer}
    return sum(int(kernels[node.input[1]] * np.prod(value.shape[2:])) for node, value in zip(nodes, found, strict=True))


def test_by_parity_it_takes_about_half_the_multiply_adds():
    network, images = network_of((32, 64, 128), (1, 1)), images_of(48, 48)
    by_parity, plain = (multiply_adds(model_of(kind, [network]), images) for kind in (ParityWriter, PlainWriter))
    assert by_parity < 0.56 * plain


@pytest.mark.parametrize("count", [1, 2])
def test_onnxruntime_fuses_it(count, tmp_path):
    """Changes of layout, as reshapes or else, remain where channels are weighted, and behind the last pooling. Each
    ReLU has gone into a convolution, and so have all additions but those of both halves."""
    networks = [network_of((32, 64, 96), (1, 1), dataset="original", seed=seed) for seed in range(count)]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    model = model_of(ParityWriter, networks, channels=1, temperatures=[1.0] * count)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    if "com.microsoft.nchwc" not in {node.domain for node in nodes}:
        pytest.skip("onnxruntime has no layout of its own for convolutions on this processor")
    producers = {name: node.name for node in nodes for name in node.output}
    weightings = [node for node in nodes if node.name.endswith(".weights")]
    assert len(weightings) == 2
    around = {name for node in weightings for name in (*node.input, *node.output)}
    for node in nodes:
        assert node.op_type not in ("Relu", "Transpose", "Concat", "Sub", "ReorderInput"), node
        if node.op_type == "Reshape":
            assert {node.input[0], node.output[0]} & around, node
        if node.op_type == "ReorderOutput":
            assert re.search(r"pooled|squeeze|excite", producers[node.input[0]]), node
        if node.op_type == "Add":
            assert node.name.endswith((".weights", "sum")), node


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_its_weights_can_be_read_again(height, width, network):
    model = model_of(ParityWriter, [network], (height, width), temperatures=[0.9], prefix="a/b/")
    assert prefixes(model) == ["a/b/"]
    (found,), temperatures = read(model, "a/b/")
    assert temperatures == [pytest.approx(0.9)]
    assert_alike(found, folded(network))


def test_the_weights_of_several_can_be_read_without_their_padding():
    networks = [network_of((32, 64, width), (1, 2), seed=width) for width in (96, 72)]
    found, temperatures = read(model_of(ParityWriter, networks, temperatures=[0.5, 2]))
    assert temperatures == [0.5, 2]
    for one, other in zip(found, networks, strict=True):
        assert_alike(one, folded(other))


def assert_alike(found, expected):
    assert found.smooth == expected.smooth
    assert found.layers.keys() == expected.layers.keys()
    for name, values in expected.layers.items():
        for one, other in zip(found.layers[name], values, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6, err_msg=name)


def test_what_is_computed_in_8_bits(network):
    """Neither stem and first down-sampling nor what weighs channels; of an even width both halves' convolutions."""
    for size, down in (((48, 48), {"stage2.down"}), ((42, 42), {"stage2.down.first", "stage2.down.second"})):
        model = model_of(PlainWriter, [network], size, prefix="member1/")
        assert prefixes(model) == [], "it is not computed by parity"
        convolutions = {name for name in in_8_bits(model) if not name.endswith(".relu")}
        blocks = {f"stage{block}.conv{number}" for block in ("1.0", "1.1", "2.0") for number in (1, 2)}
        assert convolutions == {f"member1/network/0.{name}" for name in blocks | down}
        relus = {name for name in in_8_bits(model) if name.endswith(".relu")}
        assert len(relus) == (4 if down == {"stage2.down"} else 3)


def test_preprocessing_goes_before_it(network):
    """Here, of the mean and the deviation from it."""
    nodes = [
        helper.make_node("Cast", ["faces"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["pixels", "last"], ["planes"]),
        helper.make_node("Mul", ["planes", "scales"], ["scaled"]),
    ]
    inputs = [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["batch", 48, 48])]
    outputs = [helper.make_tensor_value_info("scaled", TensorProto.FLOAT, ["batch", 48, 48, 2])]
    constants = [
        onnx.numpy_helper.from_array(np.array([3]), "last"),
        onnx.numpy_helper.from_array(np.array([0.01, -0.004], np.float32), "scales"),
    ]
    graph = helper.make_graph(nodes, "preprocessing", inputs, outputs, constants)
    preprocessing = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    before = preprocessing.SerializeToString()
    model = complete(network, preprocessing, 1.5)
    onnx.checker.check_model(model, full_check=True)
    assert preprocessing.SerializeToString() == before
    faces = np.random.default_rng(3).integers(0, 256, (5, 48, 48)).astype(np.uint8)
    images = faces[..., None] * np.array([0.01, -0.004], np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"faces": faces})
    np.testing.assert_allclose(found, softmax(network(images), 1.5), atol=1e-5)
