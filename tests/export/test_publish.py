import dataclasses

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from fer_tf.errors import UserError  # noqa: E402
from fer_tf.export.publish import check_output, compare, publish  # noqa: E402
from fer_tf.recognizer import Recognizer  # noqa: E402


@pytest.fixture
def tiny(make_model_file, tmp_path):
    """The graph of a model file, and a card that is not its own."""
    (tmp_path / "source").mkdir()
    source = make_model_file(tmp_path / "source" / "tiny.onnx")
    card = dataclasses.replace(Recognizer(source).card, name="another", temperature=0.5)
    return onnx.load(source), card


def test_the_proof_is_of_the_file_as_it_will_be(tiny, tmp_path):
    graph, card = tiny
    path, seen = tmp_path / "out.onnx", []

    def prove(recognizer: Recognizer) -> None:
        assert not path.exists(), "nothing is there before it has passed"
        seen.append((recognizer.card, recognizer(np.full((1, 48, 48), 255, np.uint8)).argmax()))

    publish(graph, card, path, prove)
    assert seen == [(card, 6)]
    assert Recognizer(path).card == card
    assert onnx.load(path).producer_name == "fer-tf"


def break_graph(graph) -> None:
    graph.graph.node[0].op_type = "NoSuchOperator"


def break_shape(graph) -> None:
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 8


@pytest.mark.parametrize("change", [None, break_graph, break_shape])
def test_what_fails_its_proof_or_the_checker_leaves_all_as_it_was(change, tiny, tmp_path):
    graph, card = tiny
    path = tmp_path / "out.onnx"
    path.write_bytes(b"the old one")

    def refuse(recognizer: Recognizer) -> None:
        assert change is None, "onnx.checker comes first"
        raise UserError("no")

    if change:
        change(graph)
    with pytest.raises(UserError, match="valid ONNX" if change else "no"):
        publish(graph, card, path, refuse)
    assert path.read_bytes() == b"the old one"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.onnx", "source"]


@pytest.mark.parametrize(
    ("temperature", "error", "passes"),
    [(1, 0.9e-5, True), (1, 2e-5, False), (4, 2e-5, False), (0.1, 9e-5, True), (0.1, 2e-4, False), (1, np.nan, False)],
)
def test_a_temperature_below_1_allows_more(temperature, error, passes, make_model_file, tmp_path):
    recognizer = Recognizer(make_model_file(tmp_path / "m.onnx", card_changes={"temperature": temperature}))
    faces = np.arange(0, 250, 50, dtype=np.uint8)[:, None, None] * np.ones((5, 48, 48), np.uint8)
    expected = recognizer(faces).astype(np.float64)
    expected[3, 2] += error
    if passes:
        assert compare(recognizer, faces, expected, source="it") == pytest.approx(error, rel=1e-2)
    else:
        with pytest.raises(UserError, match="onnxruntime differs from it by"):
            compare(recognizer, faces, expected, source="it")


def test_what_may_be_replaced(make_model_file, tmp_path):
    source, other = make_model_file(tmp_path / "source.onnx"), tmp_path / "other.onnx"
    digest = Recognizer(source).card.source_sha256
    check_output(other, [source], digest)
    make_model_file(other)
    check_output(other, [source], digest)
    check_output(other, [source], "another", digest_of=lambda card: "another")
    for path, options in ((other, {}), (tmp_path / "text.onnx", {}), (source, {"force": True})):
        path.touch()
        with pytest.raises(UserError, match=str(path)):
            check_output(path, [source], "another", **options)
    check_output(other, [source], "another", force=True)
    with pytest.raises(UserError, match=r"<name>\.onnx"):
        check_output(tmp_path / "m.pb", [source], digest)
