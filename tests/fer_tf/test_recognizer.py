import json
import pickle

import numpy as np
import onnxruntime
import pytest

from fer_tf.errors import UserError
from fer_tf.recognizer import LARGEST_BATCH, Recognizer, main

onnx = pytest.importorskip("onnx")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tiny.onnx"


def test_rows_are_probabilities_and_do_not_depend_on_the_batch(make_model_file, path):
    recognizer = Recognizer(make_model_file(path), threads=1)
    faces = np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8)
    faces //= np.arange(1, 6, dtype=np.uint8)[:, None, None]
    rows = recognizer(faces)
    assert rows.shape == (5, 7)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(rows, np.concatenate([recognizer(face[None]) for face in faces]), atol=1e-6)
    logits = faces.mean(axis=(1, 2))[:, None] / 255 * np.arange(7)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_no_face_gives_no_row(make_model_file, path):
    rows = Recognizer(make_model_file(path))(np.zeros((0, 48, 48), np.uint8))
    assert rows.shape == (0, 7)
    assert rows.dtype == np.float32


@pytest.mark.parametrize(
    "faces",
    [
        np.zeros((48, 48), np.uint8),
        np.zeros((1, 48, 47), np.uint8),
        np.zeros((1, 48, 48, 1), np.uint8),
        np.zeros((1, 48, 48), np.float32),
    ],
)
def test_faces_of_another_kind_are_refused(make_model_file, path, faces):
    with pytest.raises(ValueError, match="Received"):
        Recognizer(make_model_file(path))(faces)


def test_the_card_is_read_and_printed(make_model_file, path, capsys):
    recognizer = Recognizer(make_model_file(path, card_changes={"temperature": 1.5}))
    assert recognizer.card.name == "tiny-original"
    assert recognizer.card.temperature == 1.5
    assert main([str(path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["temperature"] == 1.5
    assert printed["labels"] == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def test_an_absent_provider_is_refused(make_model_file, path):
    with pytest.raises(UserError, match="NoSuchProvider"):
        Recognizer(make_model_file(path), providers=["NoSuchProvider"])


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_work_here_is_refused(make_model_file, path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["NoSuchProvider", "CPUExecutionProvider"])
    with pytest.raises(UserError, match="cannot be used"):
        Recognizer(make_model_file(path), providers=["NoSuchProvider"])


MUTILATED = {
    "no card": {"card": None},
    "an empty card": {"card": ""},
    "a card that is no JSON": {"card": "{"},
    "a card that is no object": {"card": "[1, 2]"},
    "a card that is a number": {"card": "1"},
    "another format version": {"card_changes": {"format_version": 2}},
    "a missing version": {"card_changes": {"format_version": ...}},
    "a missing key": {"card_changes": {"architecture": ...}},
    "an unknown key": {"card_changes": {"color": "red"}},
    "a name that is no text": {"card_changes": {"name": None}},
    "other labels": {"card_changes": {"labels": ["happy", "sad"]}},
    "labels in another order": {
        "card_changes": {"labels": ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]}
    },
    "labels that are no list": {"card_changes": {"labels": None}},
    "a temperature of zero": {"card_changes": {"temperature": 0}},
    "an infinite temperature": {"card_changes": {"temperature": float("inf")}},
    "metrics that are no object": {"card_changes": {"metrics": [1]}},
    "another input name": {"input_name": "images"},
    "another input type": {"input_type": onnx.TensorProto.FLOAT},
    "another image size": {"input_shape": ("batch", 64, 64)},
    "a dimension of channels": {"input_shape": ("batch", 48, 48, 1)},
    "a fixed batch": {"input_shape": (1, 48, 48)},
    "another output name": {"output_name": "scores"},
    "another output type": {"output_type": onnx.TensorProto.DOUBLE},
    "another number of classes": {"output_shape": ("batch", 8)},
    "a second output": {"extra_output": True},
}


def assert_refused(path, capfd):
    with pytest.raises(UserError, match=str(path)):
        Recognizer(path)
    capfd.readouterr()
    assert main([str(path)]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("changes", MUTILATED.values(), ids=MUTILATED.keys())
def test_a_mutilated_file_is_refused_in_one_line(make_model_file, path, changes, capfd):
    assert_refused(make_model_file(path, **changes), capfd)


def test_a_file_that_is_cut_off_is_refused(make_model_file, path, capfd):
    whole = make_model_file(path).read_bytes()
    for length in (1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert_refused(path, capfd)


@pytest.mark.parametrize("content", [b"", b"\0", b"this is text\n" * 50, b"PK\x03\x04" + bytes(500)])
def test_a_file_that_is_no_model_is_refused(path, content, capfd):
    path.write_bytes(content)
    assert_refused(path, capfd)


def test_a_folder_and_a_missing_file_are_refused(tmp_path, capfd):
    assert_refused(tmp_path, capfd)
    assert_refused(tmp_path / "missing.onnx", capfd)


def replace_softmax(path, *nodes):
    """Puts other nodes, from `logits` to `softmax`, in place of the softmax of a tiny model file."""
    model = onnx.load(path)
    (place,) = (n for n, node in enumerate(model.graph.node) if node.op_type == "Softmax")
    before, after = list(model.graph.node[:place]), list(model.graph.node[place + 1 :])
    del model.graph.node[:]
    model.graph.node.extend([*before, *(onnx.helper.make_node(*node[:3], **node[3]) for node in nodes), *after])
    onnx.save(model, path)
    return path


FAULTY = {
    "NaN": ([("Log", ["logits"], ["log"], {}), ("Sub", ["log", "log"], ["softmax"], {})], "NaN"),
    "no softmax": ([("Identity", ["logits"], ["softmax"], {})], "sum to"),
    "log-softmax": ([("LogSoftmax", ["logits"], ["softmax"], {"axis": 1})], "negative values"),
    "one row": (
        [
            ("Constant", [], ["zero"], {"value_ints": [0]}),
            ("Slice", ["logits", "zero", "axes"], ["one"], {}),
            ("Softmax", ["one"], ["softmax"], {}),
        ],
        "for 3 faces",
    ),
    "a failure": ([("MatMul", ["logits", "logits"], ["softmax"], {})], "failed while it ran"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_answers_that_are_no_probabilities_are_refused(name, make_model_file, path):
    nodes, expected = FAULTY[name]
    recognizer = Recognizer(replace_softmax(make_model_file(path), *nodes), threads=1)
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    faces[0] = 0
    with pytest.raises(UserError, match=expected) as error:
        recognizer(faces)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 2 * LARGEST_BATCH + 5])
def test_threads_share_the_faces_of_a_call(make_model_file, path, count):
    faces = np.random.default_rng(count).integers(0, 256, (count, 48, 48), np.uint8)
    make_model_file(path, slope=20)
    rows = Recognizer(path, threads=3)(faces)
    brightness = faces.mean(axis=(1, 2), dtype=np.float64) / 255
    expected = np.exp(20 * brightness[:, None] * np.arange(7))
    np.testing.assert_allclose(rows, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)


def test_faults_are_told_whichever_thread_meets_them(make_model_file, path):
    nodes, _ = FAULTY["NaN"]
    with pytest.raises(UserError, match="NaN"):
        Recognizer(replace_softmax(make_model_file(path), *nodes), threads=3)(np.zeros((6, 48, 48), np.uint8))


def test_large_batches_are_split(make_model_file, path):
    faces = np.random.default_rng(0).integers(0, 256, (2 * LARGEST_BATCH + 3, 48, 48), np.uint8)
    recognizer, seen = Recognizer(make_model_file(path)), []
    session = recognizer._session

    class Watched:
        def run(self, names, inputs):
            seen.append(len(inputs["faces"]))
            return session.run(names, inputs)

    recognizer._session = Watched()
    rows = recognizer(faces)
    assert seen == [LARGEST_BATCH, LARGEST_BATCH, 3]
    np.testing.assert_array_equal(rows, np.concatenate([session.run(None, {"faces": face[None]})[0] for face in faces]))


def test_a_pickled_recognizer_opens_its_file_again(make_model_file, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_model_file(path)
    content = pickle.dumps(Recognizer("tiny.onnx", threads=1))
    monkeypatch.chdir("/")
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    again = pickle.loads(content)
    np.testing.assert_array_equal(again(faces), Recognizer(path, threads=1)(faces))
    assert again.card == Recognizer(path).card
    path.unlink()
    with pytest.raises(UserError, match="no such model file"):
        pickle.loads(content)
