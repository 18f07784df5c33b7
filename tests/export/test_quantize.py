import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("tf2onnx")
pytest.importorskip("sklearn")

from fer_tf import weights  # noqa: E402
from fer_tf.card import INPUT_NAME  # noqa: E402
from fer_tf.classes import CLASSES  # noqa: E402
from fer_tf.export import ensemble, quantize  # noqa: E402
from fer_tf.recognizer import Recognizer  # noqa: E402

SOURCE = weights.DEFAULT_MODEL.with_name("base_cnn-stack_sharpen.onnx")
"""A shipped model that has a filter, and is sure of some patterns that are no faces."""
MIRROR_RESNET = SOURCE.with_name("mirror_resnet-original.onnx")


def patterns(count: int, seed: int) -> np.ndarray:
    """Waves of all kinds with a little noise, uint8 [count, 48, 48]."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :48] / 48
    down, right, phase = random.uniform(-9, 9, (3, count, 1, 1))
    waves = 128 + 70 * np.sin(down * rows + right * columns + phase) + random.normal(0, 4, (count, 48, 48))
    return np.clip(waves, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Images in class folders, each in the one that the float model is sure of."""
    folder = tmp_path_factory.mktemp("labelled")
    images = patterns(900, seed=3)
    probabilities = Recognizer(SOURCE)(images)
    best = np.sort(probabilities, axis=1)
    for number, index in enumerate(np.flatnonzero(best[:, -1] - best[:, -2] > 0.7)):
        place = folder / ("train" if number % 10 else "val") / CLASSES[probabilities[index].argmax()]
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{index}.png"), images[index])
    return folder


@pytest.fixture(scope="module")
def int8(labelled, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "m.onnx"
    source = str(SOURCE)
    assert quantize.main([source, "--data", str(labelled), "-o", str(path), "--images", "128"]) == 0
    return path


def nodes_of(path):
    return onnx.load(path).graph.node


def test_it_says_what_the_float_file_is_sure_of(int8):
    faces = patterns(400, seed=9)
    exact, found = Recognizer(SOURCE)(faces), Recognizer(int8)(faces)
    sure = exact.max(axis=1) > 0.85
    assert sure.sum() > 20
    assert (found.argmax(axis=1) == exact.argmax(axis=1))[sure].mean() > 0.95
    assert np.abs(found - exact).max() > 1e-4, "it is another network"
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_what_lies_beside_the_float_file_stays(tmp_path):
    """Where onnxruntime, left to itself, writes what it infers."""
    source, beside = shutil.copy(SOURCE, tmp_path / "m.onnx"), tmp_path / "m-inferred.onnx"
    beside.write_text("mine")
    quantize.quantize(Path(source), patterns(16, seed=1))
    assert beside.read_text() == "mine"


def test_sums_of_two_products_fit_in_16_bits(int8):
    """In which processors without VNNI instructions add them, and saturate; on others nothing shows."""
    shipped = sorted(SOURCE.parent.glob("*-int8.onnx"))
    assert shipped
    for path in (int8, *shipped):
        tensors = map(onnx.numpy_helper.to_array, onnx.load(path).graph.initializer)
        largest = [np.abs(tensor.astype(int)).max() for tensor in tensors if tensor.dtype == np.int8 and tensor.size]
        assert max(largest) * 255 * 2 < 2**15, path


def test_it_computes_what_its_numbers_say(int8):
    """Unoptimised, each layer is computed in float from the numbers that the file has for it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(int8, options, providers=["CPUExecutionProvider"])
    faces = patterns(400, seed=9)
    (expected,) = session.run(None, {INPUT_NAME: faces})
    np.testing.assert_allclose(Recognizer(int8)(faces), expected, atol=0.05)


def test_it_is_a_fraction_as_large(int8):
    assert int8.stat().st_size < 0.3 * SOURCE.stat().st_size


def test_preprocessing_last_layer_and_calibration_stay_in_float(int8):
    exact, found = (
        {node.name: node for node in nodes_of(path) if node.name.startswith("preprocessor")} for path in (SOURCE, int8)
    )
    assert len(exact) > 10
    assert found == exact
    by_output = {node.output[0]: node for node in nodes_of(int8)}
    layers = [node for node in nodes_of(int8) if node.op_type in ("Conv", "MatMul", "Gemm")]
    fed_in_8_bits = [
        by_output[node.input[1]].op_type == "DequantizeLinear" for node in layers if node.input[1] in by_output
    ]
    assert fed_in_8_bits == [True] * 4
    assert len(layers) == 5, "three convolutions and two dense layers, the last of them in float"
    assert nodes_of(int8)[-1].op_type == "Softmax"
    assert not {node.op_type for node in nodes_of(int8)[-3:]} & {"QuantizeLinear", "DequantizeLinear"}


@pytest.fixture(scope="module")
def mirror_resnet(tmp_path_factory) -> Path:
    """A network of random weights, as `export.onnx` writes it."""
    keras = pytest.importorskip("keras")
    from fer_tf.export.convert import convert
    from fer_tf.models import create_model
    from fer_tf.preprocessing.preprocessor import create_preprocessor

    path = tmp_path_factory.mktemp("mirror_resnet") / "m.onnx"
    keras.utils.set_random_seed(0)
    network = create_model("mirror_resnet", "original", widths=(16, 16, 32), blocks=(1, 1))
    random = np.random.default_rng(0)
    for variable in network.variables:
        if len(variable.shape) == 1:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    card = dataclasses.replace(Recognizer(MIRROR_RESNET).card, temperature=1)
    convert(network, create_preprocessor("original", "mirror_resnet"), card, path)
    return path


def test_a_mirror_resnet_is_in_8_bits_without_its_parity(mirror_resnet, tmp_path):
    """And neither where it begins nor where it weighs channels."""
    faces = patterns(64, seed=1)
    model = quantize.quantize(mirror_resnet, faces)
    rounded = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    in_8_bits = {node.name.partition("0.")[2] for node in convolutions if node.input[1] in rounded}
    blocks = {f"stage{stage}.0.conv{number}" for stage in (1, 2) for number in (1, 2)}
    assert in_8_bits == blocks | {"stage2.down"}
    assert {node.name.partition("0.")[2] for node in convolutions} - in_8_bits == {"stem", "stage1.down"}
    onnx.save(model, tmp_path / "int8.onnx")
    expected, found = Recognizer(mirror_resnet)(faces), Recognizer(tmp_path / "int8.onnx")(faces)
    difference = np.abs(found - expected)
    assert 1e-5 < difference.mean() < 0.2 * expected.std(axis=0).mean()


def test_convolutions_of_single_channels_stay_in_float(tmp_path):
    random = np.random.default_rng(0)
    shapes = {"first": (8, 1, 3, 3), "single": (8, 1, 3, 3), "second": (8, 8, 3, 3), "last": (7, 8, 48, 48)}
    nodes = [onnx.helper.make_node("Cast", [INPUT_NAME], ["pixels"], to=onnx.TensorProto.FLOAT)]
    nodes.append(onnx.helper.make_node("Unsqueeze", ["pixels", "axis"], ["planes"]))
    weights = [onnx.numpy_helper.from_array(np.array([1]), "axis")]
    features = "planes"
    for name, shape in shapes.items():
        weights.append(onnx.numpy_helper.from_array(random.normal(size=shape).astype(np.float32) / 100, f"{name}.w"))
        options = {"group": 8 if name == "single" else 1, "pads": [0 if name == "last" else 1] * 4}
        nodes.append(onnx.helper.make_node("Conv", [features, f"{name}.w"], [name], name=name, **options))
        features = name
    nodes.append(onnx.helper.make_node("Flatten", [features], ["logits"]))
    faces = onnx.helper.make_tensor_value_info(INPUT_NAME, onnx.TensorProto.UINT8, ["batch", 48, 48])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 7])
    graph = onnx.helper.make_graph(nodes, "network", [faces], [logits], weights)
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "m.onnx")
    model = quantize.quantize(tmp_path / "m.onnx", patterns(16, seed=1))
    rounded = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert [node.name for node in convolutions if node.input[1] in rounded] == ["first", "second"]


def test_of_a_run_it_is_the_exported_file(mirror_resnet, labelled, tmp_path, monkeypatch):
    from fer_tf.export import from_run
    from fer_tf.train import run_folder

    exported = Path(shutil.copy(mirror_resnet, tmp_path / "exported.onnx"))
    monkeypatch.setattr(run_folder.RunFolder, "open", lambda path: path)
    monkeypatch.setattr(from_run, "export_run", lambda folder, force: exported if folder == tmp_path else None)
    monkeypatch.setattr(quantize, "ALLOWED_LOSS", 1)
    assert quantize.main([str(tmp_path), "--data", str(labelled), "--images", "32"]) == 0
    card = Recognizer(tmp_path / "exported-int8.onnx").card
    assert card.lineage.quantization.images == 32


def test_an_ensemble_is_in_8_bits_what_its_members_are(tmp_path):
    """Joined twice, so that members have members."""
    models = [onnx.load(SOURCE), onnx.load(MIRROR_RESNET)]
    faces, before, after = patterns(64, seed=1), tmp_path / "before.onnx", tmp_path / "after.onnx"

    def joined(models: list) -> "onnx.ModelProto":
        return ensemble.join([ensemble.join(models, 0.9), models[0]], 1.1)

    onnx.save(joined(models), before)
    onnx.save(quantize.quantize(before, faces), after)
    parts = []
    for number, model in enumerate(models):
        path = tmp_path / f"{number}.onnx"
        onnx.save(model, path)
        parts.append(quantize.quantize(path, faces))

    def answers(model: "onnx.ModelProto") -> np.ndarray:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {INPUT_NAME: faces})[0]

    found = answers(onnx.load(after))
    np.testing.assert_allclose(found, answers(joined(parts)), atol=1e-3)
    assert np.abs(found - answers(onnx.load(before))).max() > 5e-3


def test_weights_have_a_scale_for_each_channel(int8):
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(int8).graph.initializer}
    kernels = [name for name, value in tensors.items() if value.dtype == np.int8 and value.ndim == 4]
    assert sorted(len(tensors[name]) for name in kernels) == [32, 64, 128]
    for name in kernels:
        assert len(tensors[name.replace("_quantized", "_scale")]) == len(tensors[name])


def test_the_card_says_what_was_done(int8, labelled):
    before, after = Recognizer(SOURCE).card, Recognizer(int8).card
    assert after.name == int8.stem
    assert after.training["quantization"]["images"] == 128
    assert after.training["epochs"] == before.training["epochs"]
    assert after.metrics["accuracy_in_float"] == 1
    assert after.metrics["accuracy_change"] == pytest.approx(after.metrics["accuracy"] - 1)
    kept = ("architecture", "dataset", "arithmetic", "framework", "source_file", "source_sha256", "temperature")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]


def test_a_file_that_has_become_worse_is_not_written(labelled, tmp_path, monkeypatch, capsys):
    """Calibrated on black images, it has no levels for what real ones cause."""
    real = quantize.quantize
    monkeypatch.setattr(quantize, "quantize", lambda source, faces: real(source, np.zeros_like(faces)))
    path = tmp_path / "m.onnx"
    assert quantize.main([str(SOURCE), "--data", str(labelled), "-o", str(path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert "nothing written" in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_the_default_name_and_what_is_not_overwritten(labelled, tmp_path, capsys, make_model_file):
    source, expected = tmp_path / "mine.onnx", tmp_path / "mine-int8.onnx"
    shutil.copy(SOURCE, source)
    arguments = [str(source), "--data", str(labelled), "--images", "64"]
    assert quantize.main(arguments) == 0
    assert "points" in capsys.readouterr().out
    assert quantize.main(arguments) == 0, "made from the same file"
    make_model_file(expected)
    before = expected.read_bytes()
    assert quantize.main(arguments) == 2
    assert "--force" in capsys.readouterr().err
    assert expected.read_bytes() == before
    assert quantize.main([*arguments, "--force"]) == 0
    assert expected.read_bytes() != before


WRONG = {
    "no such file": (["none.onnx"], "no such model file"),
    "no model file": ([__file__], "not a readable ONNX file"),
    "no data": (["{source}", "--data", "none.zip"], "none.zip: no such file"),
    "another suffix": (["{source}", "-o", "{tmp}/m.tflite"], "<name>.onnx"),
    "INT8 already": (["{int8}", "--data", "{data}"], "in INT8 already"),
    "its own source": (["{source}", "--data", "{data}", "-o", "{source}", "--force"], "is what the new file is made"),
    "INT8 in part": (["{joined}", "--data", "{data}"], "or part of it"),
    "no network": (["{tiny}", "--data", "{data}"], "no network that can be quantized"),
    "no images": (["{source}", "--images", "0"], "above 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_user_gets_wrong_is_one_line(name, int8, labelled, tmp_path, make_model_file, capfd):
    arguments, expected = WRONG[name]
    places = {"source": tmp_path / "s.onnx", "int8": int8, "tmp": tmp_path, "data": labelled}
    shutil.copy(SOURCE, places["source"])
    places["tiny"] = make_model_file(tmp_path / "tiny.onnx")
    members = [{"training": {}}, {"training": {"members": [{"training": {"quantization": {}}}]}}]
    places["joined"] = make_model_file(tmp_path / "joined.onnx", card_changes={"training": {"members": members}})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert quantize.main([argument.format(**places) for argument in arguments]) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1, errors
    assert expected in errors[0]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
